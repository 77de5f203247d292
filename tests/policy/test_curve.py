"""The curve of a router: area, places on it, and the ends that every router shares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.curve import Outcome, apgr, at_quality, at_share, coin, curve, oracle, saving

OUTCOMES = [Outcome(1, 1, 1, 10), Outcome(0, 1, 1, 10), Outcome(0, 1, 1, 10), Outcome(1, 0, 1, 10)]
rows = st.lists(
    st.builds(Outcome, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0]), st.just(1.0), st.just(9.0)),
    min_size=1,
    max_size=30,
)


def test_a_coin_recovers_half() -> None:
    """The straight line, whatever the outcomes."""
    assert apgr(coin(OUTCOMES)) == pytest.approx(0.5)
    assert apgr(curve([0.3] * 4, OUTCOMES)) == pytest.approx(0.5)


def test_a_perfect_order_recovers_more_and_its_opposite_less() -> None:
    """Two prompts where the strong model helps, one where it does not matter, one where it harms."""
    best = oracle(OUTCOMES)
    assert [point.quality for point in best] == [0.5, 1.0, 1.0, 0.75]
    assert apgr(best) == pytest.approx(1.375)
    assert apgr(curve([2, 1, 1, 3], OUTCOMES)) == pytest.approx(-0.375)


def test_prompts_of_one_score_are_mixed_evenly() -> None:
    """A rule with few labels gets no order by accident."""
    points = curve([1, 1, 0, 0], OUTCOMES)
    assert [point.share for point in points] == [0.0, 0.5, 1.0]
    assert at_share(points, 0.25).quality == pytest.approx(0.625)


def test_places_on_the_curve() -> None:
    """By share and by quality; None for a quality that is never reached."""
    best = oracle(OUTCOMES)
    place = at_quality(best, 0.75)
    assert place is not None
    assert (place.share, place.quality) == (0.25, 0.75)
    assert place.cost == pytest.approx(3.25)
    assert saving(best, place) == pytest.approx(0.675)
    assert at_quality(best, 1.1) is None
    assert at_quality(best, 0.4) == best[0]
    assert at_share(best, 1.0) == best[-1]


def test_no_gap_has_no_area() -> None:
    """Where the stronger model is not better, nothing can be recovered."""
    assert apgr(coin([Outcome(1, 1, 0, 0)])) is None
    assert saving(coin([Outcome(0, 1, 0, 0)]), coin([Outcome(0, 1, 0, 0)])[0]) == 0.0


@given(rows, st.data())
def test_every_curve_has_the_same_ends_and_none_is_above_the_oracle(found: list[Outcome], data: st.DataObject) -> None:
    """At each share."""
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(found), max_size=len(found)))
    points, best = curve(scores, found), oracle(found)
    assert points[0] == best[0]
    assert points[-1].quality == pytest.approx(best[-1].quality)
    for share in (0.1, 0.5, 0.9):
        assert at_share(points, share).quality <= at_share(best, share).quality + 1e-9
