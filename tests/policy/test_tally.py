"""Running totals."""

from __future__ import annotations

from penstock._policy.tally import TAGS_MOST, Tallies
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


def test_of_many_tags_the_oldest_are_forgotten() -> None:
    """Every task of an agent is a tag of its own, and a process may run for weeks."""
    tallies = Tallies()
    for number in range(TAGS_MOST + 100):
        tallies.ended({"task": str(number)}, "p:m", (), ok=True)
    totals = tallies.totals()
    assert totals.calls == TAGS_MOST + 100
    assert len(totals.by_tag) == TAGS_MOST
    assert "task=99" not in totals.by_tag
    assert totals.by_tag["task=100"].calls == 1
