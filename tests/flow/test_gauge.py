"""Our count of tokens follows what the provider reports."""

from __future__ import annotations

from penstock._flow.gauge import LEAST, MOST, Gauge


def test_a_gauge_says_nothing_before_it_knows_something() -> None:
    """One short answer is no measure."""
    gauge = Gauge()
    gauge.learn(2 * LEAST - 2, LEAST - 1)
    assert gauge.scaled(100) == 100
    gauge.learn(2, 1)
    assert gauge.scaled(100) == 200


def test_newer_answers_weigh_more() -> None:
    """A lane whose traffic changes is followed."""
    gauge = Gauge()
    for _ in range(100):
        gauge.learn(MOST, MOST // 2)
    for _ in range(10):
        gauge.learn(MOST, MOST)
    assert 100 <= gauge.scaled(100) <= 101
