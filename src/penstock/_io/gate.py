"""The gate: the policies of one client behind one lock, and who waits in front of it.

A driver brings a flow's effects here; the gate asks the policies and never waits itself. It is written once: the async
and the threaded gate differ only in how a parked attempt is woken and who watches the clock for the head of a queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from .._flow.accounting import Order
from .._flow.effects import Admission, Head, Lane, Record, Reserve, Settle, Settled
from .._policy.breaker import Breaker, BreakerSettings, Open, health
from .._policy.budget import BudgetBook
from .._policy.limiter import Limiter, Limits, Refuse, Ticket, Wait
from .._policy.retry import RetryBudget, RetryPolicy, decide
from .._policy.tally import Tally, Totals
from ..errors import (
    BreakerOpen,
    CallError,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    LimitExceeded,
    OutcomeUnknown,
    PenstockError,
    RateLimited,
    ServerFault,
)
from ..types import Attempt, Response
from .clock import Clock

if TYPE_CHECKING:
    from .answers import Answers  # loaded with the first cache

CLOSED = "this client is closed; make a new one"

CUT_STREAM_MARGIN = 4
"""A cut stream is charged to the budget with a quarter more than was seen: the provider was ahead of us."""


class Place(Protocol):
    """Where a parked attempt waits for its turn."""

    def come(self) -> None:
        """The turn came; called once, from anywhere."""
        ...


class LaneState:
    """The policies of one lane, and what the gate of its colour needs to wake those who are parked there."""

    __slots__ = ("breaker", "lane", "limiter", "parked", "retries", "timer")

    def __init__(self, lane: Lane, limiter: Limiter, breaker: Breaker) -> None:
        self.lane = lane
        self.limiter = limiter
        self.breaker = breaker
        self.retries = RetryBudget()
        self.parked: dict[Ticket, Any] = {}
        self.timer: Any = None


class Gate:
    """All state of a client that outlives a call."""

    place: type[Place]

    def __init__(
        self,
        *,
        clock: Clock,
        limits: Callable[[Lane], Limits | None],
        budget: BudgetBook,
        retry: RetryPolicy,
        breaker: BreakerSettings,
    ) -> None:
        self.clock = clock
        self.budget = budget
        self.retry = retry
        self.closed = False
        self.answers: Answers | None = None
        self._limits = limits
        self._breaker = breaker
        self._lock = threading.Lock()
        self._lanes: dict[str, LaneState] = {}
        self._by_model: dict[tuple[str, str], Tally] = {}
        self._by_tag: dict[tuple[str, str], Tally] = {}

    def state(self, lane: Lane) -> LaneState:
        """Return the state of a lane, made at its first use."""
        found = self._lanes.get(lane.id)
        if found is None:
            with self._lock:
                limiter = Limiter(self._limits(lane), counting=lane.provider.counting, name=lane.name)
                found = self._lanes.setdefault(lane.id, LaneState(lane, limiter, Breaker(self._breaker)))
        return found

    def lanes(self) -> tuple[LaneState, ...]:
        """Return the lanes used so far."""
        return tuple(self._lanes.values())

    def reserve(self, effect: Reserve) -> Any:
        """Hold an attempt's worst case.

        Raises: BudgetExceeded.
        """
        with self._lock:
            return self.budget.reserve(self.clock.wall(), effect.record.worst_nano, effect.tags)

    def carry_spent(self, nano: int) -> None:
        """Count what was spent before this client was made."""
        with self._lock:
            self.budget.carry(nano)

    def enter(self, record: Record) -> Admission | None:
        """Ask for a turn; None means that the ticket is queued, with the place to wait at as its tag.

        Raises: LimitExceeded, BreakerOpen, DeadlineExceeded.
        """
        if self.closed:
            raise ConfigError(CLOSED)
        state = self.state(record.lane)
        ticket, now = record.ticket, self.clock.now()
        if ticket.deadline is not None and now >= ticket.deadline:
            raise DeadlineExceeded("the deadline of the call has passed", deadline_s=0.0)
        with self._lock:
            answer = state.limiter.ask(now, ticket)
            if isinstance(answer, Refuse):
                raise self._refused(state, answer, ticket, now)
            if isinstance(answer, Wait):
                # Before the look at the breaker: until it is settled, a refused ticket can still be given its turn.
                ticket.tag = self.place()
                shut = state.breaker.peek(now, alone=record.past.alone)
                if shut is not None:
                    raise self._open(state, shut)
                return None
            permit = state.breaker.ask(now, self.clock.chance(), alone=record.past.alone)
            if isinstance(permit, Open):
                raise self._open(state, permit)
            return Admission(now, now - ticket.asked_at, permit)

    def admit(self, record: Record, state: LaneState) -> Admission:
        """Take the breaker's pass for a ticket that waited and was granted.

        Raises: BreakerOpen.
        """
        with self._lock:
            now = self.clock.now()
            permit = state.breaker.ask(now, self.clock.chance(), alone=record.past.alone)
            if isinstance(permit, Open):
                raise self._open(state, permit)
            return Admission(now, now - record.ticket.asked_at, permit)

    def advance(self, state: LaneState) -> None:
        """The instant came for which the head of a queue waited."""
        with self._lock:
            woken = state.limiter.advance(self.clock.now())
        self.wake(state, woken)

    def head(self, status: int, headers: Mapping[str, str], body: bytes) -> Head:
        """Stamp an answer's head with the time."""
        return Head(status, headers, self.clock.now(), self.clock.wall(), body)

    def settle(self, effect: Settle) -> Settled:
        """Book an attempt and free what it held. Never waits and never raises for the attempt's own error."""
        record = effect.record
        state = self.state(record.lane)
        with self._lock:
            now = self.clock.now()
            woken = self._settle_limiter(state, record, now)
            self._settle_breaker(state, record, now)
            self._settle_budget(record)
            decision = None
            error = record.error
            if isinstance(error, PenstockError):
                decision = decide(
                    self.retry,
                    state.retries,
                    error=error,
                    number=record.past.attempts + 1,
                    unknowns=record.past.unknowns,
                    limited=record.past.limited,
                    emitted=record.emitted,
                    now=now,
                    deadline=effect.deadline,
                    u=self.clock.chance(),
                )
            elif error is None:
                state.retries.succeeded(record.past.retry_cost)
        self.wake(state, woken)
        return Settled(now, decision)

    def _settle_limiter(self, state: LaneState, record: Record, now: float) -> list[Ticket]:
        admission, ticket, limiter = record.admission, record.ticket, state.limiter
        if admission is None:
            return limiter.cancel(now, ticket)
        error = record.error
        # What the headers tell comes first, so that the room which this attempt leaves is given away by true limits.
        woken = limiter.adopt(now, record.limits_seen, admission.now) if record.limits_seen else []
        if isinstance(error, RateLimited):
            woken += limiter.rejected(now, ticket, error.retry_after_s, self.clock.chance())
        elif not record.sent or isinstance(error, ConnectionFailed):
            woken += limiter.cancel(now, ticket)
        else:
            woken += limiter.settle(now, ticket, usage=record.usage)
            if isinstance(error, CallError) and error.retriable and error.retry_after_s:
                limiter.pause(now, now + error.retry_after_s)
        return woken

    def _settle_breaker(self, state: LaneState, record: Record, now: float) -> None:
        admission, error = record.admission, record.error
        if admission is None:
            return
        outcome = "ok" if error is None else health(error)
        state.breaker.settle(now, admission.permit, outcome, now - admission.now, self.clock.chance())

    def _settle_budget(self, record: Record) -> None:
        if record.hold is None:
            if record.cost_nano is None and not self._may_be_paid(record):
                record.cost_nano = 0
            return
        wall = self.clock.wall()
        usage = record.usage
        # Before its first output, a failed stream tells nothing of what was produced behind it.
        in_the_dark = record.error is not None and not record.emitted and self._may_be_paid(record)
        if usage is not None and not in_the_dark:
            cost = record.cost_nano
            if cost is not None and usage.estimated and record.worst_nano is not None:
                cost = min(record.worst_nano, cost + cost // CUT_STREAM_MARGIN)
            self.budget.settle(wall, record.hold, cost)
        elif in_the_dark:
            self.budget.settle(wall, record.hold, None)
        else:
            self.budget.release(record.hold)
            if record.cost_nano is None:
                record.cost_nano = 0

    @staticmethod
    def _may_be_paid(record: Record) -> bool:
        error = record.error
        return record.sent and (not isinstance(error, CallError) or isinstance(error, OutcomeUnknown | ServerFault))

    def finished(self, order: Order, attempts: tuple[Attempt, ...], *, ok: bool) -> None:
        """Count a call that ended, with its attempts, in all, by model and by tag."""
        with self._lock:
            tags = [self._tally(tag, self._by_tag) for tag in order.tags.items()] if order.tags else ()
            model = None
            for attempt in attempts:
                model = self._tally((attempt.provider, attempt.model), self._by_model)
                if attempt.sent:
                    for tally in (model, *tags):
                        tally.attempt(attempt)
            if model is None:
                lane = order.lanes[0]
                model = self._tally((lane.provider.name, lane.model), self._by_model)
            for tally in (model, *tags):
                tally.call(ok)

    def saved(self, order: Order, response: Response) -> None:
        """Count a call that the cache answered."""
        with self._lock:
            self._tally((response.provider, response.model), self._by_model).hit(response.saved_nano)
            for tag in order.tags.items():
                self._tally(tag, self._by_tag).hit(response.saved_nano)

    @staticmethod
    def _tally(name: tuple[str, str], tallies: dict[tuple[str, str], Tally]) -> Tally:
        found = tallies.get(name)
        if found is None:
            found = tallies[name] = Tally()
        return found

    def usage(self) -> Totals:
        """Return the totals so far."""
        with self._lock:
            by_model = {":".join(name): tally.totals() for name, tally in self._by_model.items()}
            by_tag = {"=".join(tag): tally.totals() for tag, tally in self._by_tag.items()}
        return msgspec.structs.replace(sum(by_model.values(), Totals()), by_model=by_model, by_tag=by_tag)

    def wake(self, state: LaneState, tickets: list[Ticket]) -> None:
        """Let granted tickets go, and watch the clock for the new head of the queue."""
        raise NotImplementedError

    def _open(self, state: LaneState, shut: Open) -> BreakerOpen:
        return BreakerOpen(
            f"{state.lane.name} failed too often lately; it is probed again in {shut.retry_after_s:.1f} s",
            lane=state.lane.name,
            retry_after_s=shut.retry_after_s,
        )

    def _refused(self, state: LaneState, answer: Refuse, ticket: Ticket, now: float) -> PenstockError:
        if answer.retry_after_s is None:
            return LimitExceeded(f"{state.lane.name}: {answer.reason}")
        left = max(0.0, (ticket.deadline or now) - now)
        return DeadlineExceeded(
            f"{state.lane.name}: {answer.reason}; {left:.1f} s are left until the deadline",
            deadline_s=left,
            retry_after_s=answer.retry_after_s,
        )
