"""Running totals: what is added up is told as it was given."""

from __future__ import annotations

from penstock._policy.tally import Tallies
from penstock.types import Attempt, Usage


def test_two_estimated_usages_are_one_estimated_sum() -> None:
    """Whether a part was estimated is no number."""
    tallies = Tallies()
    for _ in range(2):
        usage = Usage(input=3, output=2, estimated=True)
        attempt = Attempt(number=1, provider="p", model="m", outcome="ok", usage=usage, cost_nano=5)
        tallies.ended({}, "p:m", (attempt,), ok=True)
    assert tallies.totals().usage == Usage(input=6, output=4, estimated=True)
    assert tallies.totals().cost_nano == 10
