"""Running totals."""

from __future__ import annotations

from penstock._policy.tally import Tallies
from penstock.types import Attempt, Usage


def test_estimates_add_up_to_an_estimate() -> None:
    """Two cut streams and an answer: one flag, however many there were."""
    tallies = Tallies()
    for estimated in (True, True, False):
        usage = Usage(input=2, output=3, estimated=estimated)
        attempt = Attempt(number=1, provider="p", model="m", outcome="ok", usage=usage, cost_nano=7)
        tallies.ended({}, "p:m", (attempt,), ok=not estimated)
    totals = tallies.totals()
    assert totals.usage == Usage(input=6, output=9, estimated=True)
    assert (totals.calls, totals.failed, totals.attempts, totals.cost_nano) == (3, 2, 3, 21)
