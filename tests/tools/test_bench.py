"""The verdicts of `make bench`: a figure is judged by its median, and a promise nobody measured is not held."""

import pytest
from bench import agent
from bench.promises import Figure, ratio
from bench.rounds import Samples, Scenario, Spread, order, spread
from bench.table import flat, lines, summary

ASYNC = Scenario("call", "async", 32, count=10, count_peers=5)


def figure(value: Spread | None, *, at_most: float | None = None, at_least: float | None = None) -> Figure:
    """A figure with only what matters here."""
    return Figure("name", "Section", "ours / theirs", "1", "x", value, at_most, at_least)


@pytest.mark.parametrize(
    ("value", "at_most", "at_least", "verdict"),
    [
        (Spread(1.5, 1.0, 9.0), 1.5, None, "held"),
        (Spread(1.51, 1.0, 9.0), 1.5, None, "MISSED"),
        (Spread(5.0, 1.0, 9.0), None, 5.0, "held"),
        (Spread(4.99, 1.0, 9.0), None, 5.0, "MISSED"),
        (None, 1.5, None, "NOT MEASURED"),
        (None, None, 5.0, "NOT MEASURED"),
        (Spread(99.0, 1.0, 99.0), None, None, ""),
    ],
)
def test_a_promise_is_judged_by_the_median(
    value: Spread | None, at_most: float | None, at_least: float | None, verdict: str
) -> None:
    """At the bound is held, beyond it is missed, and no number is no proof."""
    assert figure(value, at_most=at_most, at_least=at_least).verdict == verdict


def test_a_ratio_pairs_the_turns_of_one_round() -> None:
    """A slow round slows both contestants, so it does not change their ratio."""
    samples = Samples()
    for number, (ours, theirs) in enumerate([(15.0, 10.0), (150.0, 100.0), (30.0, 20.0)]):
        samples.add(ASYNC, "penstock", number, ours)
        samples.add(ASYNC, "aiohttp", number, theirs)
    samples.add(ASYNC, "penstock", 3, 999.0)
    found = ratio(samples, ASYNC, "penstock", "aiohttp")
    assert found.value == Spread(1.5, 1.5, 1.5)
    assert found.verdict == "held"


def test_rounds_go_forwards_and_backwards() -> None:
    """Peers take part in some rounds only, and nobody is always first."""
    peers = frozenset({"openai"})
    assert list(order(ASYNC, 0, peers)) == ["aiohttp", "penstock", "openai"]
    assert list(order(ASYNC, 1, peers)) == ["penstock", "aiohttp"]
    assert list(order(ASYNC, 2, peers)) == ["aiohttp", "penstock"]


def test_the_table_says_what_is_missing() -> None:
    """A promised figure without a number stands in the table and not in the figures."""
    missing = figure(spread([]), at_most=1.5)
    held = Figure("other", "Section", "this / that", "32", "x", Spread(1.0, 0.5, 2.0), at_most=1.5)
    shown = "\n".join(lines([missing, held]))
    assert "NOT MEASURED" in shown
    assert "1.00x (0.50..2.00) held" in shown
    assert flat([missing, held]) == {"other": 1.0, "other_min": 0.5, "other_max": 2.0}
    assert summary([missing, held]) == "1 not measured, 1 held"


def test_a_step_of_an_agent_is_measured_in_both_colours() -> None:
    """Each figure is there, and the overhead of one round is what its step took beyond its call."""
    figures = agent.measured(count=1)
    assert len(figures) == 6
    for colour in ("sync", "async"):
        step_us, call_us = figures[f"agent_{colour}_step_us"], figures[f"agent_{colour}_call_us"]
        assert min(step_us, call_us) > 0
        assert figures[f"agent_{colour}_overhead_us"] == pytest.approx(step_us - call_us, abs=0.2)
