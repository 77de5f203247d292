"""Whether a failed attempt is tried again, and after how long.

    phase        what it means                               tried again
    not_sent     the provider saw nothing                    yes, after milliseconds; costs the provider nothing
    refused      turned away before any work (429, 503, 529) yes, not before it said
    unknown      sent, no whole answer; may have been paid   `unknown_outcomes` times, 0 for never
    emitted      output was already shown                    never: the text would be repeated
    final        the same again cannot help                  never

The order of the rules: can it help, may it be repeated, are attempts left, is there time, is there budget. The deadline
comes before any wait: who would wait past it is told now. A look at a lane whose breaker is open costs nothing: a call
with a deadline looks again within it, one without as often as it may try.
"""

from __future__ import annotations

from math import isfinite
from typing import Literal

import msgspec

from ..errors import (
    BreakerOpen,
    ConfigError,
    ConnectionFailed,
    Overloaded,
    PenstockError,
    RateLimited,
    Refused,
    ServerFault,
)

Phase = Literal["not_sent", "refused", "unknown", "emitted", "final"]

BUDGET = 500
COST_TRANSIENT = 14
COST_THROTTLED = 5
EARNED = 1
TOLD_JITTER = 0.1
MONEY_WINDOW_S = 600.0
LEAST_REPEATS = 5  # answers' worth of money that may be risked however little was spent


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How often and how patiently: `attempts` in all, the first included.

    Delays are uniform between 0 and min(`cap_s`, base times 2 per retry), with `base_s`, or `not_sent_base_s` where the
    provider saw nothing. `unknown_outcomes` attempts that may have been paid are repeated. `rate_limits` 429s per call
    do not count as attempts where the caller counts them apart. A provider that asks for more than `patience_s` is
    not waited for. What such repeats may cost twice is at most `money_share` of what the lane's answers cost in the
    last ten minutes, or five answers' worth; where prices are unknown there is no such rule. `unknown_outcomes=0` sends
    nothing that may have been paid a second time.

    Raises: ConfigError when a number is out of its range.
    """

    attempts: int = 3
    base_s: float = 1.0
    not_sent_base_s: float = 0.05
    cap_s: float = 20.0
    unknown_outcomes: int = 1
    rate_limits: int = 10
    patience_s: float = 600.0
    money_share: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("attempts", 1), ("unknown_outcomes", 0), ("rate_limits", 0)):
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"retry {name} must be a whole number of at least {least}; got {value!r}")
        for name in ("base_s", "not_sent_base_s", "cap_s", "patience_s"):
            number: object = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int | float) or not isfinite(number) or number < 0:
                raise ConfigError(f"retry {name} must be a number of seconds of at least 0; got {number!r}")
        share: object = self.money_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConfigError(f"retry money_share must be a number from 0 to 1; got {share!r}")


class RetryBudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of the budget, how often it was used and found empty, and the money that repeats put at risk."""

    level: int
    capacity: int
    spent: int
    empty: int
    risked_nano: int


class RetryBudget:
    """A purse that all calls of a lane share: retries cost, first-try successes earn, so an outage is not multiplied.

    Full, it pays for 35 retries; 200 calls into a total outage therefore make 235 attempts (1.18 per call). Where all
    is throttled it pays for 100; there the lane's pause bounds the rate. Beside it a cap in money: an attempt that may
    have been paid is repeated only while such repeats are a small share of what answers cost lately.
    Source: AWS SDKs' standard retry mode (botocore 1.44, 2026-11).
    """

    __slots__ = ("_answers", "_capacity", "_empty", "_level", "_paid_nano", "_risked_nano", "_spent", "_turns_at")

    def __init__(self, capacity: int = BUDGET) -> None:
        value: object = capacity
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(f"a retry budget must be a whole number of at least 0; got {value!r}")
        self._capacity = capacity
        self._level = capacity
        self._spent = 0
        self._empty = 0
        # Each a half of the window: the one that ended, and the one that runs.
        self._answers = [0, 0]
        self._paid_nano = [0, 0]
        self._risked_nano = [0, 0]
        self._turns_at = 0.0

    def risk(self, now: float, share: float) -> bool:
        """Let an answer's worth of money be paid twice; False when as much as may be was risked lately."""
        self._turn(now)
        answers, paid_nano = sum(self._answers), sum(self._paid_nano)
        if not paid_nano:
            return True
        each_nano = paid_nano // answers
        if sum(self._risked_nano) + each_nano > max(int(share * paid_nano), LEAST_REPEATS * each_nano):
            return False
        self._risked_nano[1] += each_nano
        return True

    def _turn(self, now: float) -> None:
        if now < self._turns_at:
            return
        over = now >= self._turns_at + MONEY_WINDOW_S / 2
        for halves in (self._answers, self._paid_nano, self._risked_nano):
            halves[0], halves[1] = 0 if over else halves[1], 0
        self._turns_at = now + MONEY_WINDOW_S / 2

    def spend(self, cost: int) -> bool:
        """Pay for a retry; False when there is not enough left."""
        if cost > self._level:
            self._empty += 1
            return False
        self._level -= cost
        self._spent += 1
        return True

    def succeeded(self, now: float, cost: int = 0, cost_nano: int | None = None) -> None:
        """A call succeeded: with `cost`, that of its last retry, it is given back; without a retry it earns.

        `cost_nano` is what its answer cost, None where the price is unknown.
        """
        level = self._level + (cost or EARNED)
        self._level = level if level < self._capacity else self._capacity
        if cost_nano:
            if now >= self._turns_at:
                self._turn(now)
            self._answers[1] += 1
            self._paid_nano[1] += cost_nano

    def snapshot(self) -> RetryBudgetState:
        """The budget as it stands."""
        return RetryBudgetState(
            level=self._level,
            capacity=self._capacity,
            spent=self._spent,
            empty=self._empty,
            risked_nano=sum(self._risked_nano),
        )


class Retry(msgspec.Struct, frozen=True, gc=False):
    """Try again after `after_s`; `cost` goes to `RetryBudget.succeeded` when that works."""

    after_s: float
    cost: int = 0


class GiveUp(msgspec.Struct, frozen=True):
    """Do not try again. `deadline`: there was no time for it; it would have taken `needed_s` more, until `retry_at`."""

    reason: str
    deadline: bool = False
    needed_s: float | None = None
    retry_at: float | None = None


def phase(error: BaseException, emitted: bool = False) -> Phase:
    """Say how far an attempt came, which decides whether it may be repeated and whether it may have been paid."""
    if emitted:
        return "emitted"
    if not isinstance(error, PenstockError) or not error.retriable:
        return "final"
    if isinstance(error, ConnectionFailed | Refused):
        return "not_sent"
    if isinstance(error, RateLimited | Overloaded):
        return "refused"
    if isinstance(error, ServerFault) and error.status in (503, 529):
        return "refused"
    return "unknown"


def decide(
    policy: RetryPolicy,
    budget: RetryBudget,
    *,
    error: PenstockError,
    number: int,
    unknowns: int,
    emitted: bool,
    now: float,
    deadline: float | None,
    u: float,
    limited: int | None = None,
    shut: int = 0,
    lanes: int = 1,
    wanted: bool = True,
) -> Retry | GiveUp:
    """Decide about the attempt that just failed.

    Where a retry is not `wanted`, by the caller's error policy, there is none.

    `number` of them were made (this one included), `unknowns` of those before this one ended unknown, `limited` of
    those before this one were rate limited (None: they count as attempts like any other), `shut` found the breaker of
    one of the call's `lanes` open. `emitted`: output was shown.
    """
    how = phase(error, emitted)
    if not wanted and how != "emitted":
        return GiveUp("the error policy does not want it")
    if isinstance(error, BreakerOpen) and how != "final":
        return _look_again(policy, error, shut, lanes, now, deadline, u)
    counted = number - (limited or 0) - shut
    if how == "emitted":
        return GiveUp("output was already shown")
    if how == "final":
        return GiveUp("the same request cannot succeed")
    if how == "unknown" and unknowns >= policy.unknown_outcomes:
        return GiveUp("it may have been paid, and repeating it could pay twice")
    if limited is not None and isinstance(error, RateLimited):
        if limited >= policy.rate_limits:
            return GiveUp(f"rate limited {limited + 1} times")
        counted = 0
    if counted >= policy.attempts:
        return GiveUp(f"all {policy.attempts} attempts were used" if policy.attempts > 1 else "retries are off")
    after_s = _delay_s(policy, error, how, max(1, counted), u)
    if deadline is not None and after_s >= deadline - now:
        return _too_late(after_s, now, deadline)
    if error.retry_after_s is not None and error.retry_after_s > policy.patience_s:
        return GiveUp(
            f"the provider asked to wait {error.retry_after_s:.0f} s, more than patience_s={policy.patience_s:g}",
            needed_s=after_s,
            retry_at=now + after_s,
        )
    if how == "unknown" and not budget.risk(now, policy.money_share):
        return GiveUp("it may have been paid, and as much as may be was risked on repeats lately")
    cost = COST_THROTTLED if isinstance(error, RateLimited) else COST_TRANSIENT
    if not budget.spend(cost):
        return GiveUp("the retry budget is empty: too many calls fail")
    return Retry(after_s, cost)


def _look_again(
    policy: RetryPolicy, error: BreakerOpen, shut: int, lanes: int, now: float, deadline: float | None, u: float
) -> Retry | GiveUp:
    if lanes > 1 and shut < lanes:
        return Retry(0.0)  # the call's other lanes come first, and then this one as a lane without alternative
    if deadline is None and shut // lanes + 1 >= policy.attempts:
        return GiveUp("every lane it may use stays shut; a call with deadline_s waits longer")
    after_s = (error.retry_after_s or 0.0) * (1.0 + TOLD_JITTER * u)
    if deadline is not None and after_s >= deadline - now:
        return _too_late(after_s, now, deadline)
    return Retry(after_s)


def _too_late(after_s: float, now: float, deadline: float) -> GiveUp:
    left_s = max(0.0, deadline - now)
    return GiveUp(
        f"the next attempt would start in {after_s:.2f} s, the deadline is in {left_s:.2f} s",
        deadline=True,
        needed_s=after_s,
        retry_at=now + after_s,
    )


def _delay_s(policy: RetryPolicy, error: PenstockError, how: Phase, number: int, u: float) -> float:
    told_s = error.retry_after_s
    floor_s = told_s * (1.0 + TOLD_JITTER * u) if told_s is not None and told_s > 0 else 0.0
    if isinstance(error, RateLimited):
        return floor_s  # the lane's pause does the waiting
    base_s = policy.not_sent_base_s if how == "not_sent" else policy.base_s
    backoff_s = u * min(policy.cap_s, base_s * 2.0 ** min(number - 1, 60))
    return max(floor_s, backoff_s)
