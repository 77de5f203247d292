"""Retry: by phase, deadline first, never before the time told, and a purse that an outage empties."""

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import errors
from penstock._policy.retry import GiveUp, Phase, Retry, RetryBudget, RetryPolicy, decide, phase
from penstock.errors import ConfigError


def answer(error: errors.PenstockError, policy: RetryPolicy | None = None, **facts: Any) -> Retry | GiveUp:
    """Decide with a full purse about the first attempt of a call without a deadline."""
    budget = facts.pop("budget", None) or RetryBudget()
    known = {"number": 1, "unknowns": 0, "emitted": False, "now": 100.0, "deadline": None, "u": 0.5} | facts
    return decide(policy or RetryPolicy(), budget, error=error, **known)


def wait(*args: Any, **facts: Any) -> float:
    """The delay of an answer that must be a retry."""
    decision = answer(*args, **facts)
    assert isinstance(decision, Retry), decision
    return decision.after_s


def reason(*args: Any, **facts: Any) -> str:
    """The reason of an answer that must give up."""
    decision = answer(*args, **facts)
    assert isinstance(decision, GiveUp), decision
    return decision.reason


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attempts": 0}, "attempts must be a whole number of at least 1; got 0"),
        ({"attempts": True}, "attempts"),
        ({"unknown_outcomes": -1}, "unknown_outcomes"),
        ({"rate_limits": 1.0}, "rate_limits"),
        ({"base_s": nan}, "base_s must be a number of seconds of at least 0; got nan"),
        ({"cap_s": inf}, "cap_s"),
        ({"not_sent_base_s": -0.1}, "not_sent_base_s"),
        ({"patience_s": "60"}, "patience_s"),
        ({"money_share": 1.5}, "money_share must be a number from 0 to 1; got 1.5"),
        ({"money_share": nan}, "money_share"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    """One sentence: what, expected, got."""
    with pytest.raises(ConfigError, match=message):
        RetryPolicy(**settings)


@pytest.mark.parametrize("capacity", [-1, True, 1.5])
def test_a_purse_needs_a_whole_number(capacity: Any) -> None:
    """0 is allowed: no retries at all."""
    with pytest.raises(ConfigError, match="retry budget"):
        RetryBudget(capacity)
    assert not RetryBudget(0).spend(1)


PHASES: dict[str, Phase] = {
    "RateLimited": "refused", "Overloaded": "refused", "ServerFault": "unknown", "ConnectionFailed": "not_sent",
    "OutcomeUnknown": "unknown", "FirstTokenTimeout": "unknown", "IdleTimeout": "unknown", "TotalTimeout": "unknown",
    "BreakerOpen": "not_sent",
}  # fmt: skip


@pytest.mark.prove(5)
@pytest.mark.parametrize("kind", errors.all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_has_its_phase(kind: type[errors.PenstockError]) -> None:
    """What cannot succeed the second time is final, and after output everything is."""
    error = kind.__new__(kind)
    if isinstance(error, errors.CallError):
        errors.CallError.__init__(error, "x")
    assert phase(error) == PHASES.get(kind.__name__, "final")
    assert phase(error, emitted=True) == "emitted"


@pytest.mark.parametrize(("status", "how"), [(500, "unknown"), (502, "unknown"), (503, "refused"), (529, "refused")])
def test_a_server_fault_is_refused_only_where_the_status_says_so(status: int, how: Phase) -> None:
    """A 500 may have been paid, a 503 was not worked on."""
    assert phase(errors.ServerFault("x", status=status)) == how


def test_cancellation_is_never_retried() -> None:
    """Nor anything else that is no error of ours."""
    assert phase(KeyboardInterrupt()) == "final"


@pytest.mark.parametrize(
    ("error", "facts", "words"),
    [
        (errors.InvalidRequest("x"), {}, "the same request cannot succeed"),
        (errors.QuotaExhausted("x"), {}, "the same request cannot succeed"),
        (errors.Overloaded("x"), {"emitted": True}, "output was already shown"),
        (errors.Overloaded("x"), {"number": 3}, "all 3 attempts were used"),
        (errors.RateLimited("x"), {"number": 3}, "all 3 attempts were used"),
        (errors.OutcomeUnknown("x"), {"unknowns": 1, "number": 2}, "it may have been paid"),
        (errors.RateLimited("x"), {"number": 11, "limited": 10}, "rate limited 11 times"),
        (errors.Overloaded("x", retry_after_s=198_300), {}, "asked to wait 198300 s, more than patience_s=600"),
        (errors.Overloaded("x"), {"budget": RetryBudget(13)}, "the retry budget is empty"),
    ],
)
def test_giving_up_has_a_reason(error: errors.PenstockError, facts: dict[str, Any], words: str) -> None:
    """Each rule says its own."""
    assert words in reason(error, **facts)


@pytest.mark.prove(8)
def test_retries_can_be_switched_off() -> None:
    """All of them, or only those that could pay twice."""
    assert reason(errors.Overloaded("x"), RetryPolicy(attempts=1)) == "retries are off"
    assert "paid" in reason(errors.OutcomeUnknown("x"), RetryPolicy(unknown_outcomes=0))
    assert wait(errors.ConnectionFailed("x"), RetryPolicy(unknown_outcomes=0)) > 0


def test_rate_limits_can_be_counted_apart() -> None:
    """Then they take nothing from the attempts."""
    assert wait(errors.RateLimited("x"), number=9, limited=8) == 0
    assert wait(errors.Overloaded("x"), number=9, limited=8) > 0
    assert "3 attempts" in reason(errors.Overloaded("x"), number=11, limited=8)


@pytest.mark.parametrize(
    ("error", "longest"),
    [(errors.ConnectionFailed("x"), 0.05), (errors.Overloaded("x"), 1.0), (errors.ServerFault("x"), 1.0)],
)
def test_delays_have_full_jitter_and_double_up_to_the_cap(error: errors.PenstockError, longest: float) -> None:
    """Uniform from 0; milliseconds where nothing was sent."""
    policy = RetryPolicy(attempts=50, unknown_outcomes=50)
    assert wait(error, policy, u=0.0) == 0
    for number in (1, 2, 3, 40):
        assert wait(error, policy, number=number, u=0.5) == 0.5 * min(20.0, longest * 2 ** (number - 1))


@pytest.mark.prove(6)
@given(
    told=st.floats(0, 500), u=st.floats(0, 1, exclude_max=True), number=st.integers(1, 2),
    kind=st.sampled_from([errors.RateLimited, errors.Overloaded, errors.ServerFault]),
)  # fmt: skip
def test_the_next_attempt_is_never_earlier_than_told(told: float, u: float, number: int, kind: Any) -> None:
    """And at most a tenth later, unless the backoff is longer."""
    delay = wait(kind("x", retry_after_s=told), u=u, number=number)
    assert told <= delay <= max(1.1 * told + 1e-9, 2.0)


def test_a_rate_limited_call_waits_in_the_limiter_and_not_here() -> None:
    """The lane's pause does the waiting; only a time that was told is kept."""
    assert wait(errors.RateLimited("x"), u=0.9) == 0
    assert wait(errors.RateLimited("x", retry_after_s=2.0), u=0.5) == pytest.approx(2.1)


@pytest.mark.prove(6)
def test_a_wait_beyond_the_deadline_fails_now_and_says_so() -> None:
    """With the time that it would have taken."""
    budget = RetryBudget()
    decision = answer(errors.RateLimited("x", retry_after_s=270.0), deadline=120.0, u=0.0, budget=budget)
    assert decision == GiveUp(
        "the next attempt would start in 270.00 s, the deadline is in 20.00 s",
        deadline=True, needed_s=270.0, retry_at=370.0,
    )  # fmt: skip
    assert budget.snapshot().spent == 0
    assert isinstance(answer(errors.RateLimited("x"), deadline=100.0), GiveUp)


def outage(error: errors.PenstockError, calls: int, budget: RetryBudget) -> float:
    """Attempts per call when every attempt fails."""
    attempts = 0
    for _ in range(calls):
        number = 1
        while isinstance(answer(error, RetryPolicy(unknown_outcomes=9), number=number, budget=budget), Retry):
            number += 1
        attempts += number
    return attempts / calls


@pytest.mark.prove(7)
@pytest.mark.parametrize("kind", [errors.Overloaded, errors.ServerFault, errors.ConnectionFailed, errors.IdleTimeout])
def test_a_total_outage_makes_at_most_1_2_attempts_per_call(kind: Any) -> None:
    """35 retries over 200 calls: 1.175; peers make 3 to 45."""
    assert outage(kind("x"), 200, RetryBudget()) == 1.175
    assert outage(kind("x"), 2000, RetryBudget()) == 1.0175


def test_throttling_alone_makes_at_most_1_2_attempts_per_call_from_500_calls_on() -> None:
    """100 retries, because a 429 costs the provider little and the lane's pause bounds the rate."""
    assert outage(errors.RateLimited("x"), 500, RetryBudget()) == 1.2


def test_successes_fill_the_purse_again_but_never_beyond_its_size() -> None:
    """A first try earns one, a retry that worked gets its price back."""
    budget = RetryBudget()
    outage(errors.Overloaded("x"), 100, budget)
    assert budget.snapshot().level == 500 - 35 * 14
    assert budget.snapshot().empty > 0
    for _ in range(4):
        budget.succeeded(0.0)
    retry = answer(errors.Overloaded("x"), budget=budget)
    assert isinstance(retry, Retry)
    assert budget.snapshot().level == 0
    budget.succeeded(0.0, retry.cost)
    assert budget.snapshot().level == 14
    for _ in range(1000):
        budget.succeeded(0.0)
    assert budget.snapshot().level == budget.snapshot().capacity == 500


@pytest.mark.prove(7)
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_repeats_of_what_may_have_been_paid_take_a_share_of_the_money(share: float) -> None:
    """Where every second call ends unknown: at most so much of what answers cost lately, and five answers' worth."""
    policy, budget = RetryPolicy(money_share=share, unknown_outcomes=9), RetryBudget()
    paid = repeated = 0
    for now in range(3000):
        budget.succeeded(float(now), 14, 1_000_000)  # and the attempts alone would allow every repeat
        paid += 1
        repeated += isinstance(answer(errors.ServerFault("x"), policy, budget=budget, now=float(now)), Retry)
        assert budget.snapshot().risked_nano <= max(share * min(paid, 600) * 1_000_000, 5_000_000)
    assert 0.9 * share <= repeated / paid <= share


def test_money_never_limits_what_costs_nothing_or_has_no_price() -> None:
    """Refusals and failed connections are free; of an unknown price no share can be told."""
    budget = RetryBudget()
    for _ in range(10):
        budget.succeeded(100.0, 0, 1_000_000)
    decisions = [answer(errors.OutcomeUnknown("x"), budget=budget) for _ in range(6)]
    assert [isinstance(each, Retry) for each in decisions] == [True] * 5 + [False]
    assert "risked" in reason(errors.OutcomeUnknown("x"), budget=budget)
    assert wait(errors.Overloaded("x"), budget=budget) >= 0
    assert wait(errors.ConnectionFailed("x"), budget=budget) >= 0
    assert wait(errors.OutcomeUnknown("x"), budget=budget, now=2000.0) >= 0, "ten minutes later it is forgotten"
    unpriced = RetryBudget()
    unpriced.succeeded(100.0, 0, None)
    assert [isinstance(answer(errors.OutcomeUnknown("x"), budget=unpriced), Retry) for _ in range(9)] == [True] * 9


@pytest.mark.prove(16)
def test_a_shut_lane_is_looked_at_again_within_the_deadline_and_costs_no_attempt_and_no_budget() -> None:
    """However often; without a deadline as often as may be tried, and where several lanes are shut at first at once."""
    shut, budget = errors.BreakerOpen("x", lane="a", retry_after_s=2.0), RetryBudget(0)
    assert wait(shut, budget=budget, deadline=110.0, number=50, shut=49, u=0.0) == 2.0
    assert isinstance(answer(shut, budget=budget, deadline=101.0), GiveUp)
    assert [isinstance(answer(shut, number=n + 1, shut=n), Retry) for n in range(4)] == [True, True, False, False]
    assert wait(shut, number=2, shut=1, lanes=2) == 0.0
    assert wait(shut, number=3, shut=2, lanes=2, u=0.0) == 2.0
    assert wait(errors.Overloaded("x"), number=9, shut=8) > 0
    refused = errors.BreakerOpen("x", lane="a", retry_after_s=2.0)
    refused.retriable = False
    assert reason(refused, deadline=1000.0) == "the same request cannot succeed"
