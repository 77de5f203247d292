"""The gate: the policies of one client behind one lock, and who waits in front of it.

A driver brings a flow's effects here; the gate asks the policies and never waits itself. It is written once: the async
and the threaded gate differ only in how a parked attempt is woken and who watches the clock for the head of a queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .._flow.accounting import Order
from .._flow.effects import Admission, Head, Lane, Record, Reserve, Settle, Settled
from .._flow.routed import conversation
from .._policy.breaker import Breaker, BreakerSettings, BreakerState, Open, Pass, State, health
from .._policy.budget import Book, BudgetState, Hold
from .._policy.cache import Cache
from .._policy.hedge import Latencies
from .._policy.limiter import GRANT, Limiter, LimiterState, Limits, Refuse, Ticket
from .._policy.prices import Prices
from .._policy.retry import COST_TRANSIENT, GiveUp, Retry, RetryBudget, RetryPolicy, decide
from .._policy.tally import Tallies, Totals
from .._policy.warmth import Warmth, is_cached
from .._wire.headers import limits_seen
from ..errors import (
    AuthenticationFailed,
    BreakerOpen,
    BudgetUnavailable,
    CallError,
    ClientClosed,
    ConnectionFailed,
    DeadlineExceeded,
    LimitExceeded,
    OutcomeUnknown,
    Overloaded,
    PenstockError,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    StreamInterrupted,
)
from ..types import Attempt, Notice, Request, Response, Usage
from .alerts import Alerts
from .clock import Clock

if TYPE_CHECKING:
    from .answers import Answers  # loaded with the first cache
    from .hub import Hub  # loaded with the first subscriber

CLOSED = "this client is closed; make a new one"

CUT_STREAM_MARGIN = 4
"""A cut stream is charged to the budget with a quarter more than was seen: the provider was ahead of us."""

BUSY_S = 2.0
"""How long an attempt waits for another process to let go of the file of a shared budget. A visit takes it 0.1 ms."""

BUSY_STEP_S, BUSY_STEP_MAX_S = 0.001, 0.064
"""How long until it looks again, give or take half and twice as long each time: no process tells another when."""


class Place(Protocol):
    """Where a parked attempt waits for its turn."""

    def come(self) -> None:
        """The turn came; called once, from anywhere."""
        ...


class LaneState:
    """The policies of one lane, and what the gate of its colour needs to wake those who are parked there.

    `account` is the breaker that all lanes of one credential share.
    """

    __slots__ = ("account", "breaker", "lane", "latencies", "limiter", "parked", "retries", "timer", "told")

    def __init__(self, lane: Lane, limiter: Limiter, breaker: Breaker, account: Breaker) -> None:
        self.lane = lane
        self.limiter = limiter
        self.breaker = breaker
        self.account = account
        self.retries = RetryBudget()
        self.latencies: dict[bool, Latencies] = {}
        self.parked: dict[Ticket, Any] = {}
        self.timer: Any = None
        self.told: tuple[State, State] = ("closed", "closed")


class Gate:
    """All state of a client that outlives a call."""

    place: type[Place]

    def __init__(
        self,
        *,
        clock: Clock,
        limits: Callable[[Lane], Limits | None],
        budget: Book,
        retry: RetryPolicy,
        breaker: BreakerSettings,
    ) -> None:
        self.clock = clock
        self.budget = budget
        self.alerts = Alerts(budget.budget)
        self.retry = retry
        self.closed = False
        self.answers: Answers | None = None
        self.hub: Hub | None = None
        self._limits = limits
        self._breaker = breaker
        self._lock = threading.Lock()
        self._lanes: dict[str, LaneState] = {}
        self._accounts: dict[tuple[str, str, str], Breaker] = {}
        self._tallies = Tallies()
        self._warmth = Warmth()

    def state(self, lane: Lane) -> LaneState:
        """Return the state of a lane, made at its first use."""
        found = self._lanes.get(lane.id)
        if found is None:
            with self._lock:
                limiter = Limiter(self._limits(lane), counting=lane.provider.counting, name=lane.name)
                owner = (lane.provider.owner, lane.base_url, lane.credential)
                account = self._accounts.setdefault(owner, Breaker(self._breaker))
                made = LaneState(lane, limiter, Breaker(self._breaker), account)
                found = self._lanes.setdefault(lane.id, made)
        return found

    def lanes(self) -> tuple[LaneState, ...]:
        """Return the lanes used so far."""
        return tuple(self._lanes.values())

    def look(self) -> list[tuple[Lane, LimiterState, BreakerState, BreakerState]]:
        """Return the lanes used so far as they are now: lane, limiter, breaker, and that of the account."""
        with self._lock:
            now = self.clock.now()
            return [
                (each.lane, each.limiter.snapshot(now), each.breaker.snapshot(now), each.account.snapshot(now))
                for each in self._lanes.values()
            ]

    def reserve(self, effect: Reserve) -> Hold | None:
        """Hold an attempt's worst case; None when another process keeps the file of the budget busy.

        Raises: BudgetExceeded, BudgetUnavailable.
        """
        record = effect.record
        # The record has the hold before the book says yes, so that an interrupt in between is settled like any other.
        record.hold = hold = Hold()
        with self._lock:
            found = self.budget.reserve(
                self.clock.wall(), record.worst_nano, effect.tags, elastic=record.elastic, hold=hold
            )
        if self.budget.due:
            self._tell()
        return found

    def book(self, hold: Hold, cost_nano: int | None) -> None:
        """Replace a hold that belongs to no attempt by what it came to; None: nobody knows, so it counts whole."""
        with self._lock:
            self.budget.settle(self.clock.wall(), hold, cost_nano)
        if self.budget.due:
            self._tell()

    def give_back(self, hold: Hold) -> None:
        """Free a hold for which nothing was sent."""
        with self._lock:
            self.budget.release(hold)

    def _busy_until(self, effect: Reserve) -> float:
        """Say how long to wait for the file of the budget."""
        deadline, until = effect.record.ticket.deadline, self.clock.now() + BUSY_S
        return until if deadline is None else min(deadline, until)

    def _busy_step_s(self, until: float, looks: int) -> float:
        """Say how long to wait until the next look at the file, after so many.

        Raises: BudgetUnavailable when there is no time left.
        """
        left_s = until - self.clock.now()
        if left_s <= 0:
            raise BudgetUnavailable(
                f"the file of the budget was locked by another process until the deadline, or for {BUSY_S:g} s; nothing"
                " was sent. End what holds it, and ask again.",
                busy=True,
            )
        return min(left_s, BUSY_STEP_MAX_S, BUSY_STEP_S * 2.0**looks * (0.5 + self.clock.chance()))

    def _tell(self) -> None:
        """Tell the owner of the budget what it reached, outside the lock; what goes wrong there breaks no call."""
        with self._lock:
            due, self.budget.due = self.budget.due, []
        if self.hub is not None:
            for alert in due:
                self.hub.emit(alert)
        self.alerts.tell(due, self.clock.wall())

    def close(self) -> None:
        """Refuse new calls; those under way can still settle."""
        self.closed = True
        with self._lock:
            self.budget.close()
        if self.budget.due:
            self._tell()
        self.alerts.close()
        if self.answers is not None:
            self.answers.close()

    def budget_state(self) -> BudgetState:
        """Return what is spent, held and left in every budget.

        Raises: BudgetUnavailable.
        """
        with self._lock:
            state = self.budget.snapshot(self.clock.wall())
        if self.budget.due:
            self._tell()
        return state

    def spend_retry(self, lane: Lane) -> int:
        """Pay for one more attempt out of a lane's retry budget; 0 when it is empty."""
        state = self.state(lane)
        with self._lock:
            return COST_TRANSIENT if state.retries.spend(COST_TRANSIENT) else 0

    def again(self, order: Order, lane: Lane, broken: StreamInterrupted, number: int) -> Retry | GiveUp:
        """Ask the retry policy whether a call is made anew whose stream broke after output was shown.

        Whatever broke it, it may have been paid. `number` streams broke so far, this one included.
        """
        cause = broken.__cause__
        failed = OutcomeUnknown(broken.message, retry_after_s=getattr(cause, "retry_after_s", None))
        whys = [error for error in (failed, cause) if isinstance(error, PenstockError)]
        state = self.state(lane)
        with self._lock:
            return decide(
                self.retry,
                state.retries,
                error=failed,
                number=number,
                unknowns=number - 1,
                emitted=False,
                now=self.clock.now(),
                deadline=order.deadline,
                u=self.clock.chance(),
                wanted=all(map(order.on_error.retries, whys)),
            )

    def patience(self, lane: Lane, percent: float, stream: bool) -> float | None:
        """Return the time within which that share of a lane's answers comes, None while too few are known.

        Latencies are kept from the first question on, of streams (to their first output) and whole answers apart.
        """
        state = self.state(lane)
        with self._lock:
            return state.latencies.setdefault(stream, Latencies()).percentile(percent)

    def keep_answers(self, cache: Cache | None) -> None:
        """Put a cache before the gate, where there is one."""
        if cache is not None:
            from .answers import Answers

            self.answers = Answers(cache, self.clock, self.place)

    def listen(self) -> Hub:
        """Return the hub of those who listen, made with the first of them."""
        if self.hub is None:
            from .hub import Hub

            self.hub = Hub(self.clock)
        return self.hub

    def carry_spent(self, nano: int) -> None:
        """Count what was spent before this client was made."""
        with self._lock:
            self.budget.carry(nano)
        if self.budget.due:
            self._tell()

    def enter(self, record: Record) -> Admission | None:
        """Ask for a turn; None means that the ticket is queued, with the place to wait at as its tag.

        Raises: LimitExceeded, BreakerOpen, DeadlineExceeded.
        """
        if self.closed:
            raise ClientClosed(CLOSED)
        state = self.state(record.lane)
        ticket, now = record.ticket, self.clock.now()
        if ticket.deadline is not None and now >= ticket.deadline:
            raise DeadlineExceeded("the deadline of the call has passed", deadline_s=0.0)
        with self._lock:
            breaker, account = state.breaker, state.account
            shut = breaker.state != "closed" or account.state != "closed"
            if shut:
                self._look(state, record, now)
            answer = state.limiter.ask(now, ticket)
            if answer is not GRANT:
                if isinstance(answer, Refuse):
                    raise self._refused(state, answer, ticket, now)
                ticket.tag = self.place()
                return None
            if shut:
                return self._probe(state, record, now)
            return Admission(now, now - ticket.asked_at, breaker.current, account.current)

    def admit(self, record: Record, state: LaneState) -> Admission:
        """Take the breaker's pass for a ticket that waited and was granted.

        Raises: BreakerOpen.
        """
        with self._lock:
            now = self.clock.now()
            self._look(state, record, now)
            return self._probe(state, record, now)

    def _look(self, state: LaneState, record: Record, now: float) -> None:
        """Refuse what a breaker would not let through, before it takes a turn or a permit.

        Raises: BreakerOpen.
        """
        shut = state.account.peek(now, self.clock.chance())
        if shut is not None:
            raise self._open(state, shut, f"{state.lane.provider.name} {shut.reason}; this is", retriable=False)
        shut = state.breaker.peek(now, self.clock.chance(), alone=record.past.alone)
        if shut is not None:
            raise self._open(state, shut, f"{state.lane.name} failed too often lately ({shut.reason}); it is")

    def _probe(self, state: LaneState, record: Record, now: float) -> Admission:
        """Take the passes, which a look just before said are there."""
        permit = state.breaker.ask(now, self.clock.chance(), alone=record.past.alone)
        owner = state.account.ask(now, self.clock.chance())
        assert isinstance(permit, Pass)
        assert isinstance(owner, Pass)
        if self.hub is not None:
            state.told = self.hub.watch(state.lane.name, state.told, state.breaker, state.account, now)
        return Admission(now, now - record.ticket.asked_at, permit, owner)

    def cut_off(self, error: BaseException) -> BaseException:
        """Return what an error means once the client is closed: a lost connection is one that it closed itself."""
        if not isinstance(error, OutcomeUnknown | ConnectionFailed):
            return error
        what = "nothing was sent" if isinstance(error, ConnectionFailed) else "it may have been paid"
        closed = ClientClosed(f"the client was closed during this call; {what}")
        closed.__cause__ = error
        return closed

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
            if error is None:
                state.retries.succeeded(now, record.past.retry_cost, record.cost_nano)
                if state.latencies:
                    self._time(state, record, now)
            elif isinstance(error, PenstockError):
                decision = decide(
                    self.retry,
                    state.retries,
                    error=error,
                    number=record.past.attempts + 1,
                    unknowns=record.past.unknowns,
                    limited=record.past.limited,
                    shut=record.past.shut,
                    lanes=record.past.lanes,
                    emitted=record.emitted,
                    now=now,
                    deadline=effect.deadline,
                    u=self.clock.chance(),
                    wanted=effect.on_error.retries(error),
                )
            hub = self.hub
            if hub is not None and (state.breaker.state, state.account.state) != state.told:
                state.told = hub.watch(state.lane.name, state.told, state.breaker, state.account, now)
        self.wake(state, woken)
        if hub is not None and hub.due:
            hub.tell()
        if self.budget.due:
            self._tell()
        return Settled(now, decision)

    @staticmethod
    def _time(state: LaneState, record: Record, now: float) -> None:
        first = record.first_output_at
        latencies = state.latencies.get(first is not None)
        if latencies is not None and record.admission is not None:
            latencies.add((now if first is None else first) - record.admission.now)

    def _settle_limiter(self, state: LaneState, record: Record, now: float) -> list[Ticket]:
        admission, ticket, limiter = record.admission, record.ticket, state.limiter
        if admission is None:
            return limiter.cancel(now, ticket)
        error = record.error
        # What the headers tell comes first, so that the room which this attempt leaves is given away by true limits.
        woken: list[Ticket] = []
        head = record.head
        if head is not None and (now >= limiter.hears_at or error is not None):
            seen = limits_seen(head.headers, record.lane.provider, wall_s=head.wall_s)
            woken = limiter.adopt(now, seen, ticket.granted_at)
        if error is None:
            woken += limiter.settle(now, ticket, usage=record.usage)
        elif isinstance(error, RateLimited):
            woken += limiter.rejected(now, ticket, error.retry_after_s, self.clock.chance())
        elif not record.sent or isinstance(error, ConnectionFailed):
            woken += limiter.cancel(now, ticket)
        else:
            failed, overloaded = health(error) == "failure", isinstance(error, Overloaded)
            woken += limiter.settle(now, ticket, usage=record.usage, failed=failed, overloaded=overloaded)
            if isinstance(error, CallError) and error.retriable and error.retry_after_s:
                limiter.pause(now, now + error.retry_after_s)
        return woken

    def _settle_breaker(self, state: LaneState, record: Record, now: float) -> None:
        admission, error = record.admission, record.error
        if admission is None:
            return
        outcome = "ok" if error is None else health(error)
        first_at, began = record.first_output_at, admission.now
        u, account = self.clock.chance(), state.account
        first_s = None if first_at is None else first_at - began
        state.breaker.settle(now, admission.permit, outcome, now - began, u, first_s=first_s)
        if isinstance(error, QuotaExhausted) and error.of_model:
            state.breaker.trip(now, admission.permit, _model_fault(error), u)
        elif error is not None and isinstance(error, AuthenticationFailed | QuotaExhausted):
            account.trip(now, admission.account, _account_fault(error), u)
        elif account.state != "closed":
            account.settle(now, admission.account, "ok" if error is None else "ignored", now - admission.now, u)

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
        if isinstance(error, ClientClosed):
            return isinstance(error.__cause__, OutcomeUnknown)
        return record.sent and (not isinstance(error, CallError) or isinstance(error, OutcomeUnknown | ServerFault))

    def finished(self, order: Order, attempts: tuple[Attempt, ...], *, ok: bool) -> None:
        """Count a call that ended, with its attempts, in all, by model and by tag."""
        with self._lock:
            self._tallies.ended(order.tags, order.lanes[0].name, attempts, ok=ok)
        if ok and order.opening is not None and attempts:
            self._remember(order.opening, attempts[-1], order.sticky_s)

    def _remember(self, opening: Request, last: Attempt, lasts_s: float) -> None:
        """Remember who answered a conversation, if its prompt is in a cache: most are too short for that."""
        usage = last.usage or Usage()
        key = conversation(opening) if self._warmth or is_cached(usage) else None
        if key is not None:
            with self._lock:
                self._warmth.noticed(self.clock.now(), key, f"{last.provider}:{last.model}", usage, lasts_s)

    @staticmethod
    def notify(notices: list[Notice]) -> None:
        """Write what a caller should know of a call into the log; the facts are fields of the record."""
        import logging  # loaded with the first notice

        for notice in notices:
            facts = {name: getattr(notice, name) for name in notice.__struct_fields__ if name != "message"}
            facts["provider"], _, facts["model"] = notice.model.partition(":")
            level = logging.INFO if notice.kind == "adapted" else logging.WARNING
            logging.getLogger("penstock").log(level, "%s", notice.message, extra=facts)

    def warm(self, request: Request) -> str | None:
        """Return the model that holds a conversation in its provider's prompt cache, None where none does."""
        key = conversation(request) if self._warmth else None
        if key is None:
            return None
        with self._lock:
            return self._warmth.model(self.clock.now(), key)

    def count(self, tags: dict[str, str], lane: Lane, ended: Response | PenstockError, prices: Prices) -> None:
        """Count a row of a batch as a call."""
        with self._lock:
            self._tallies.ended(tags, lane.name, ended.attempts, ok=isinstance(ended, Response))
        if self.hub is not None:
            self.hub.row(tags, lane, ended, prices)

    def saved(self, order: Order, response: Response) -> None:
        """Count a call that the cache answered."""
        with self._lock:
            self._tallies.hit(order.tags, f"{response.provider}:{response.model}", response.saved_nano)

    def usage(self) -> Totals:
        """Return the totals so far."""
        with self._lock:
            return self._tallies.totals()

    def wake(self, state: LaneState, tickets: list[Ticket]) -> None:
        """Let granted tickets go, and watch the clock for the new head of the queue."""
        raise NotImplementedError

    def _open(self, state: LaneState, shut: Open, why: str, *, retriable: bool = True) -> BreakerOpen:
        error = BreakerOpen(
            f"{why} tried again in {shut.retry_after_s:.1f} s", lane=state.lane.name, retry_after_s=shut.retry_after_s
        )
        error.retriable = retriable
        return error

    def _refused(self, state: LaneState, answer: Refuse, ticket: Ticket, now: float) -> PenstockError:
        if answer.retry_after_s is None:
            return LimitExceeded(f"{state.lane.name}: {answer.reason}")
        left = max(0.0, (ticket.deadline or now) - now)
        return DeadlineExceeded(
            f"{state.lane.name}: {answer.reason}; {left:.1f} s are left until the deadline",
            deadline_s=left,
            retry_after_s=answer.retry_after_s,
        )


def _model_fault(error: QuotaExhausted) -> str:
    status = f" (HTTP {error.status})" if error.status else ""
    return f"has no more calls of this model to give for now{status}: use another model, or ask for a higher quota"


def _account_fault(error: AuthenticationFailed | QuotaExhausted) -> str:
    status = f" (HTTP {error.status})" if error.status else ""
    if isinstance(error, AuthenticationFailed):
        return f"did not accept the key{status}: check the key and that it belongs to this provider"
    return f"says that the account is out of money or at its spend limit{status}: top it up or raise the limit"
