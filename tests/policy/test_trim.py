"""The trim: what rejections teach, and what is paid for them."""

import pytest

from penstock._policy.trim import EARN_CALLS, MOST_HOLD_S, Trim


def known(share: float = 0.5) -> Trim:
    """A trim that saw `share` of 10 calls a second let in between two rejections, at 0 s and at 10 s."""
    trim = Trim(free=False, sized=False)
    trim.learn(0.0, 0, 0.0, 10.0)
    trim.learn(10.0, int(100 * share), 100 * share, 10.0)
    return trim


def test_what_is_let_in_between_two_rejections_is_the_limit() -> None:
    """Less a fiftieth."""
    assert known(0.6).share == pytest.approx(0.6 * 0.98)


def test_a_rejection_is_paid_for_with_calls_before_more_is_tried() -> None:
    """Then it grows by a hundredth a second."""
    trim = known()
    share = trim.share
    trim.owe(10.0, 0.2)
    trim.grow(10.0, 10.0 + 0.2 * EARN_CALLS)
    assert trim.share == share
    trim.grow(10.0 + 0.2 * EARN_CALLS, 20.0 + 0.2 * EARN_CALLS)
    assert trim.share == pytest.approx(1.07 * share)  # three seconds are clean in any case


def test_what_is_owed_has_an_end() -> None:
    """However slow the lane is."""
    trim = known()
    share = trim.share
    for _ in range(100):
        trim.owe(10.0, 60.0)
    trim.grow(10.0, 10.0 + MOST_HOLD_S)
    assert trim.share == share
    trim.grow(10.0 + MOST_HOLD_S, 20.0 + MOST_HOLD_S)
    assert trim.share > share


def test_rejections_before_a_rate_is_known_are_paid_for_when_it_is() -> None:
    """The search is not free."""
    trim = Trim(free=False, sized=False)
    for _ in range(3):
        trim.owe(0.0, 0.1)
    trim.learn(0.0, 0, 0.0, 10.0)
    trim.learn(10.0, 50, 50.0, 10.0)
    share = trim.share
    trim.owe(10.0, 0.1)
    trim.grow(10.0, 10.0 + 4 * EARN_CALLS * 0.1)
    assert trim.share == share


def test_what_was_clean_is_gone_back_to_and_given_up_when_it_fails() -> None:
    """More was tried and was too much; then the limit fell."""
    trim = known()
    clean = trim.share
    trim.grow(20.0, 24.0)
    trim.learn(50.0, 300, 300.0, 10.0)
    assert trim.share > clean
    trim.learn(51.0, 302, 302.0, 10.0)
    assert trim.share == clean
    trim.learn(61.0, 322, 322.0, 10.0)
    assert trim.share < clean


def strays(*, told: bool, echoes: int) -> Trim:
    """A trim at which a rejection, with others in its wake, comes after every 200 calls at 10 a second."""
    trim = Trim(free=False, sized=False)
    for number in range(4):
        at = 20.0 * number
        trim.grow(at - 20.0, at)
        trim.owe(at, 0.1)
        trim.learn(at, 200 * number, 200.0 * number * trim.share, 10.0, told=told)
        for _ in range(echoes):
            trim.owe(at, 0.1)
    return trim


def test_a_lone_rejection_after_many_calls_is_hardly_a_cut_of_a_limit_that_is_told() -> None:
    """It may have nothing to do with the limit, and was paid for."""
    assert strays(told=True, echoes=0).share == pytest.approx(0.97)
    assert strays(told=True, echoes=2).share < 0.95
    assert strays(told=False, echoes=0).share < 0.95


def test_a_server_that_lets_nothing_in_teaches_nothing_more() -> None:
    """Its period is not over; the rate is not to blame."""
    trim = Trim(free=False, sized=False)
    for second in range(10):
        trim.learn(float(second), 60, 60.0, 10.0)
    assert trim.share == pytest.approx(0.93**2)


def test_a_clock_that_is_put_back_takes_the_debt_with_it() -> None:
    """Nothing grows earlier or later for it."""
    trim = known()
    share = trim.share
    trim.owe(10.0, 0.1)
    trim.shift(8.0)
    trim.grow(2.0, 2.0 + 0.1 * EARN_CALLS)
    assert trim.share == share
    trim.grow(2.0 + 0.1 * EARN_CALLS, 10.0 + 0.1 * EARN_CALLS)
    assert trim.share > share
