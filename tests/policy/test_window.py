"""One dimension: the exact window, the pace, corrections, the trim."""

import random

import pytest

from penstock._policy.window import SLOTS, Dimension


def test_the_window_is_the_sum_of_the_last_period_or_a_little_more() -> None:
    """Slots expire late, never early, and there are at most 600 of them."""
    rng = random.Random(1)
    dimension = Dimension("requests", 0.0, configured=10**9)
    booked: list[tuple[float, int]] = []
    now = 0.0
    for _ in range(1500):
        now += rng.expovariate(12)
        amount = rng.randrange(1, 9)
        dimension.roll(now)
        dimension.book(now, amount)
        booked.append((now, amount))
        exact = sum(amount for at, amount in booked if at > now - 60)
        late = sum(amount for at, amount in booked if at > now - 61.2)
        assert exact <= dimension.used <= late
        assert len(dimension) <= SLOTS + 1
    dimension.roll(now + 62)
    assert (dimension.used, len(dimension)) == (0, 0)


@pytest.mark.parametrize("amount", [1.0, 30.0, 1000.0])
def test_ready_at_is_the_first_moment_at_which_it_is_ready(amount: float) -> None:
    """By pace and by window: not a moment later, and not ready just before."""
    rng = random.Random(2)
    dimension = Dimension("tokens", 0.0, configured=1000)
    now = 0.0
    for _ in range(300):
        ready = dimension.ready_at(now, amount)
        if ready > now:
            before = max(now, ready - 1e-4)
            assert before == now or dimension.ready_at(before, amount) > before
            now = ready
            assert dimension.ready_at(now, amount) == now
        slot = dimension.book(now, amount)
        if rng.random() < 0.3:
            dimension.correct(slot, -amount / 2)


def test_a_refund_of_an_expired_booking_changes_only_the_level() -> None:
    """The window forgot it, so nothing is subtracted twice."""
    dimension = Dimension("tokens", 0.0, configured=1000)
    slot = dimension.book(0.0, 800)
    dimension.roll(70.0)
    dimension.correct(slot, -800)
    assert dimension.used == 0
    assert dimension.level == dimension.cap


def test_a_guessed_limit_grows_beyond_itself_until_the_truth_is_told() -> None:
    """Nothing else says where it is."""
    dimension = Dimension("requests", 0.0, told=100, guessed=True)
    dimension.cut(0.0)
    for second in range(1, 60):
        dimension.roll(float(second))
    assert dimension.trim > 1.4
    dimension.tell(60.0, 100)
    assert (dimension.guessed, dimension.trim, dimension.allowed) == (False, 1.0, 100)


@pytest.mark.parametrize("configured", [None, 1000])
def test_a_cut_of_a_limit_that_the_provider_tells_slows_and_does_not_stop(configured: int | None) -> None:
    """What was let in before stays within the limit, so the window has nothing to wait for."""
    dimension = Dimension("requests", 0.0, configured=configured, told=1000)
    now = 0.0
    while now < 70.0:
        now = dimension.ready_at(now, 1)
        dimension.book(now, 1)
    dimension.cut(now)
    assert dimension.ready_at(now, 1) - now < 0.2


def test_a_cut_of_a_limit_that_only_the_user_states_waits_until_the_window_is_below_it() -> None:
    """The provider may count as long as we do, and then nothing is let in before."""
    dimension = Dimension("requests", 0.0, configured=1000)
    now = 0.0
    while now < 70.0:
        now = dimension.ready_at(now, 1)
        dimension.book(now, 1)
    dimension.cut(now)
    assert dimension.ready_at(now, 1) - now > 0.5


def test_a_trim_has_a_floor() -> None:
    """However many rejections, three tenths of the limit are tried."""
    dimension = Dimension("requests", 0.0, configured=1000)
    for _ in range(100):
        dimension.cut(0.0)
    assert dimension.trim == 0.3
    assert dimension.ready_at(0.0, 1) <= 1.0


def test_what_is_larger_than_a_trimmed_limit_goes_when_the_window_is_empty() -> None:
    """It was let in when the limit was larger, and the trim may stay for long."""
    dimension = Dimension("tokens", 0.0, configured=1000, burst_s=60.0)
    dimension.book(0.0, 10)
    dimension.book(5.0, 10)
    for _ in range(20):
        dimension.cut(5.0)
    assert dimension.ready_at(5.0, 900) == 6.0  # looked at every second while the trim grows back
    dimension.cut(65.5)
    assert dimension.ready_at(65.5, 900) > 65.5
    dimension.roll(66.2)
    dimension.level = dimension.cap
    assert dimension.ready_at(66.2, 900) == 66.2


def test_only_what_was_booked_after_the_question_is_taken_off_what_remains() -> None:
    """The answer already knows of what came before."""
    dimension = Dimension("requests", 0.0, configured=6000, burst_s=1.0)
    dimension.book(0.0, 40)
    dimension.roll(1.0)
    dimension.book(1.0, 10)
    assert dimension.booked_since(0.5) == 10
    dimension.remain(1.0, 30, 1.0)
    assert dimension.level == 20


def test_a_refund_opens_a_window_that_was_full() -> None:
    """At once, though the next slot expires much later."""
    dimension = Dimension("tokens", 0.0, configured=1000, burst_s=60.0)
    slot = dimension.book(0.0, 900)
    dimension.level = dimension.cap
    assert dimension.ready_at(0.0, 500) == 61.0
    dimension.correct(slot, -500)
    assert dimension.ready_at(0.0, 500) == 0.0


def test_what_was_refilled_since_the_question_is_added_to_what_remains() -> None:
    """A slow answer says little of now."""
    dimension = Dimension("requests", 0.0, configured=6000, burst_s=10.0)
    dimension.remain(2.0, 0, 0.0)
    assert dimension.level == pytest.approx(2 * dimension.rate)


def test_a_refund_that_is_not_enough_still_shortens_the_wait() -> None:
    """What was found to block is looked for again."""
    dimension = Dimension("tokens", 0.0, configured=1000, burst_s=60.0)
    dimension.book(0.0, 500)
    later = dimension.book(10.0, 500)
    dimension.roll(10.0)
    dimension.level = dimension.cap
    assert dimension.ready_at(10.0, 700) == 71.0
    dimension.correct(later, -300)
    assert dimension.ready_at(10.0, 700) == 61.0
