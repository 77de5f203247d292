"""The planner of a job: who may start, and what a failure means for the rest of the run."""

from __future__ import annotations

import pytest

from penstock._policy import schedule
from penstock._policy.schedule import FATAL_MAX, FIRST_IN_FLIGHT, SAME_MAX, Planner, Start, Stop, Wait
from penstock.errors import (
    AuthenticationFailed,
    BreakerOpen,
    BudgetExceeded,
    BudgetUnavailable,
    ConfigError,
    InvalidRequest,
    PenstockError,
    RateLimited,
    UnknownModel,
)


def start(planner: Planner, now: float = 0.0, tried: tuple[str, ...] = (), model: str | None = None) -> str:
    """Start one row and say where it went."""
    picked = planner.pick(now, model, tried)
    assert isinstance(picked, Start), picked
    return picked.model


def fail(planner: Planner, model: str, error: PenstockError, now: float = 0.0, *, own: bool = False) -> str:
    """Let a started row fail."""
    return planner.failed(now, model, error, own=own, tried=())


def over(needed: int | None, *, spent: int = 0, held: int = 0, cap: int = 100) -> BudgetExceeded:
    """A refusal of the budget."""
    return BudgetExceeded("no room", scope="total", cap_nano=cap, spent_nano=spent, held_nano=held, needed_nano=needed)


def test_rows_go_to_the_lane_with_the_fewest_calls_under_way() -> None:
    """A slow lane gets fewer rows, and no row waits behind it."""
    planner = Planner(["a", "b"])
    assert [start(planner) for _ in range(4)] == ["a", "b", "a", "b"]
    planner.answered("b")
    planner.answered("b")
    assert [start(planner) for _ in range(2)] == ["b", "b"]


def test_a_lane_without_an_answer_gets_few_calls() -> None:
    """A wrong key wastes eight calls at most, not all that may run at once."""
    planner = Planner(["a"])
    for _ in range(FIRST_IN_FLIGHT):
        start(planner)
    assert planner.pick(0.0) == Wait(None)
    planner.answered("a")
    for _ in range(100):
        start(planner)


def test_a_lane_closes_after_a_few_fatal_failures_and_the_others_go_on() -> None:
    """The rows that found it out are given to another lane."""
    planner = Planner(["a", "b"])
    verdicts = []
    for _ in range(FATAL_MAX):
        assert start(planner, tried=("b",)) == "a"
        verdicts.append(fail(planner, "a", AuthenticationFailed("no")))
    assert verdicts == ["again"] * FATAL_MAX
    assert [start(planner) for _ in range(3)] == ["b"] * 3
    assert planner.reason is None


def test_the_run_stops_when_no_lane_is_left() -> None:
    """Its cause is the error that all rows would have got."""
    planner = Planner(["a"])
    for _ in range(FATAL_MAX):
        start(planner)
        assert fail(planner, "a", AuthenticationFailed("no")) == "record"
    assert planner.pick(0.0) == Stop("failed")
    assert isinstance(planner.cause, AuthenticationFailed)


def test_an_answer_in_between_keeps_a_lane_open() -> None:
    """Only failures in a row close it."""
    planner = Planner(["a"])
    for _ in range(FATAL_MAX * 3):
        start(planner)
        fail(planner, "a", AuthenticationFailed("no"))
        start(planner)
        planner.answered("a")
    assert planner.reason is None


def test_a_model_that_a_row_names_itself_stops_nothing() -> None:
    """Its failure is the row's own result."""
    planner = Planner(["a"])
    for _ in range(FATAL_MAX + 1):
        assert start(planner, model="x") == "x"
        assert fail(planner, "x", UnknownModel("no such"), own=True) == "record"
    assert planner.reason is None


def test_an_option_that_only_one_row_has_stops_nothing() -> None:
    """However many such rows there are: nothing was sent for them."""
    planner = Planner(["a"])
    for _ in range(SAME_MAX + 1):
        start(planner)
        error = ConfigError("deadline_s is -1")
        assert planner.failed(0.0, "a", error, own=False, tried=(), special=True) == "record"
    assert planner.reason is None


def test_a_setting_that_is_wrong_stops_the_run_and_leaves_the_row_undone() -> None:
    """Every other row would fail in the same way."""
    planner = Planner(["a"])
    start(planner)
    assert fail(planner, "a", UnknownModel("no such")) == "leave"
    assert planner.pick(0.0) == Stop("refused")


def test_the_same_failure_of_all_first_rows_stops_the_run() -> None:
    """A parameter that the model refuses must not burn a hundred thousand rows."""
    planner = Planner(["a"])
    for _ in range(SAME_MAX):
        assert planner.reason is None
        start(planner)
        assert fail(planner, "a", InvalidRequest("no")) == "record"
    assert planner.reason == "failed"


def test_failures_after_an_answer_are_the_rows_own() -> None:
    """Once the run works, a bad row is only a bad row."""
    planner = Planner(["a"])
    start(planner)
    planner.answered("a")
    for _ in range(SAME_MAX * 2):
        start(planner)
        fail(planner, "a", InvalidRequest("no"))
    assert planner.reason is None


def test_passing_failures_never_stop_a_run_by_their_number() -> None:
    """They are recorded and tried again later."""
    planner = Planner(["a"])
    for _ in range(SAME_MAX * 2):
        start(planner)
        assert fail(planner, "a", RateLimited("slow")) == "record"
    assert planner.reason is None


def test_a_budget_that_is_only_held_waits_for_what_flies() -> None:
    """The row goes again when a call settled, one row for each."""
    planner = Planner(["a"])
    start(planner)
    start(planner)
    assert fail(planner, "a", over(40, spent=50, held=40)) == "again"
    assert planner.pick(0.0) == Wait(None)
    planner.answered("a")
    start(planner)


@pytest.mark.parametrize("needed", [60, None])
def test_a_budget_that_can_never_hold_the_call_stops_the_run(needed: int | None) -> None:
    """Waiting would not help, so the row stays undone and nothing starts."""
    planner = Planner(["a"])
    start(planner)
    start(planner)
    assert fail(planner, "a", over(needed, spent=50)) == "leave"
    assert planner.pick(0.0) == Stop("budget")


def test_a_budget_whose_file_cannot_be_used_stops_the_run() -> None:
    """Its rows are left for a run that can count."""
    planner = Planner(["a"])
    start(planner)
    start(planner)
    assert fail(planner, "a", BudgetUnavailable("the budget's file is locked", busy=True)) == "leave"
    assert planner.pick(0.0) == Stop("budget")


def test_a_budget_with_nothing_under_way_stops_the_run() -> None:
    """Nobody is left who could settle for less."""
    planner = Planner(["a"])
    start(planner)
    assert fail(planner, "a", over(40, spent=90)) == "leave"


def test_a_budget_that_others_hold_is_asked_for_again() -> None:
    """Each second, for five minutes from the first time on; an answer begins them anew."""
    planner = Planner(["a"])
    for now in (0.0, 200.0):
        start(planner, now)
        assert fail(planner, "a", over(40, held=90), now) == "again"
        assert planner.pick(now) == Wait(now + 1.0)
    start(planner, 250.0)
    planner.answered("a")
    for now in (400.0, 700.0):
        start(planner, now)
        assert fail(planner, "a", over(40, held=90), now) == "again"
    start(planner, 701.5)
    assert fail(planner, "a", over(40, held=90), 701.5) == "leave"
    assert planner.reason == "budget"


def test_a_shut_lane_is_tried_again_when_its_breaker_says() -> None:
    """Until then rows go elsewhere, or wait."""
    planner = Planner(["a"])
    start(planner)
    assert fail(planner, "a", BreakerOpen("shut", lane="a", retry_after_s=5.0), now=10.0) == "again"
    assert planner.pick(10.0) == Wait(15.0)
    assert start(planner, now=15.0) == "a"


def refused(retry_after_s: float = 5.0) -> BreakerOpen:
    """The breaker of a credential that the provider does not accept."""
    error = BreakerOpen("the key is not accepted", lane="a", retry_after_s=retry_after_s)
    error.retriable = False
    return error


def test_a_refused_credential_stops_the_run_after_its_third_word_and_not_by_an_echo() -> None:
    """Ten rows that meet the shut gate together count once; a probe that is refused again ends it."""
    planner = Planner(["a"])
    for _ in range(8):
        start(planner)
    assert fail(planner, "a", AuthenticationFailed("no")) == "record"
    assert [fail(planner, "a", refused()) for _ in range(7)] == ["again"] * 7
    assert planner.pick(0.0) == Wait(5.0)
    start(planner, now=5.0)
    assert fail(planner, "a", AuthenticationFailed("no"), now=5.0) == "record"
    assert planner.reason == "failed"


def test_a_refused_credential_sends_rows_elsewhere_and_concerns_no_row_with_a_model_of_its_own() -> None:
    """The row that named the model has its result; the others wait no longer than the shut gate says."""
    planner = Planner(["a", "b"])
    start(planner)
    assert fail(planner, "a", refused()) == "again"
    assert start(planner) == "b"
    assert planner.pick(0.0, model="c") == Start("c")
    assert planner.failed(0.0, "c", refused(), own=True, tried=()) == "record"


@pytest.mark.parametrize("answered", [False, True])
def test_a_long_outage_stops_the_run(answered: bool) -> None:
    """It ends sooner when there never was an answer: the address may be wrong."""
    planner = Planner(["a"])
    if answered:
        start(planner)
        planner.answered("a")
    now = 0.0
    while planner.reason is None:
        start(planner, now=now)
        fail(planner, "a", BreakerOpen("shut", lane="a", retry_after_s=5.0), now=now)
        now += 5.0
    assert planner.reason == "outage"
    patience = schedule.OUTAGE_S if answered else schedule.NEVER_UP_S
    assert patience < now <= patience + 15.0


def test_the_first_reason_to_stop_is_the_one_that_counts() -> None:
    """A later one changes nothing."""
    planner = Planner(["a"])
    planner.stop("interrupted")
    planner.stop("budget")
    assert planner.reason == "interrupted"


def test_lanes_are_counted() -> None:
    """Each lane says what it did."""
    planner = Planner(["a"])
    start(planner)
    planner.answered("a")
    start(planner)
    fail(planner, "a", RateLimited("slow"))
    start(planner)
    planner.abandoned("a")
    (lane,) = planner.lanes
    assert (lane.in_flight, lane.answered, lane.failed, lane.closed) == (0, 1, 1, False)
