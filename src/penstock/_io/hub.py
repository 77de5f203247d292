"""Who is told what happens in a client. A client that nobody listens to has no hub, and makes no event."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from .._flow.effects import Record, Settled
from .._flow.trail import Trail, outcome_of
from .._policy.alerts import BudgetAlert
from .._policy.breaker import Breaker, State
from ..embeddings import EmbedRequest
from ..errors import PenstockError
from ..events import AttemptEnded, CallEnded, CallStarted, LaneChanged, Operation, RecordsLost, ToolCalled
from ..types import Attempt, Request, Response, Usage
from .forks import FORKS
from .loglines import attempts_logged, calls_logged, write

if TYPE_CHECKING:
    from .._flow.accounting import Order
    from .._flow.effects import Lane
    from .._policy.prices import Prices
    from .clock import Clock

KINDS: Final[tuple[type, ...]] = (
    CallStarted,
    AttemptEnded,
    CallEnded,
    LaneChanged,
    ToolCalled,
    RecordsLost,
    BudgetAlert,
)

PARAMETERS: Final = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
    "dimensions",
)
"""Of a request, what tells nothing of its content."""

States = tuple[State, State]


class Subscriber(Protocol):
    """Who is told of events of some kinds, with prompts and answers in them if it wants `content`."""

    @property
    def kinds(self) -> tuple[type, ...]:
        """Of which kinds it is told."""
        ...

    @property
    def content(self) -> bool:
        """Whether it wants prompts and answers."""
        ...

    @property
    def post(self) -> Callable[[Any], None]:
        """Take an event; never waits and never raises."""
        ...

    def flush(self) -> bool:
        """Take in what was told so far."""
        ...

    def settle(self) -> None:
        """Take in what is left; more may come."""
        ...


class Hub:
    """The subscribers of one client. `due` are changes of lanes that nobody was told yet.

    `hears_starts`, `hears_attempts`, `hears_ends`: whether anybody wants to know of these, so that others make none.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.content = False
        self.due: list[LaneChanged] = []
        self._lock = threading.Lock()
        self._enlist(())
        self._renew()

    def _renew(self) -> None:
        self._forks = FORKS.count
        self._prefix = f"{int.from_bytes(os.urandom(6)):012x}-"
        self._numbers = count(1)

    def call_id(self) -> str:
        """Return an id that no other call has, of any client, process or machine."""
        if self._forks != FORKS.count:
            self._renew()
        return f"{self._prefix}{next(self._numbers):x}"

    def enlist(self, subscriber: Subscriber) -> None:
        """Tell a subscriber from now on."""
        with self._lock:
            self._enlist((*self._subscribers, subscriber))

    def leave(self, subscriber: Subscriber) -> None:
        """Tell a subscriber nothing more."""
        with self._lock:
            self._enlist(tuple(each for each in self._subscribers if each is not subscriber))

    def replace(self, subscriber: Subscriber, other: Subscriber) -> None:
        """Tell another in the place of a subscriber."""
        with self._lock:
            self._enlist(tuple(other if each is subscriber else each for each in self._subscribers))

    def _enlist(self, subscribers: tuple[Subscriber, ...]) -> None:
        self._subscribers = subscribers
        self.content = any(each.content for each in subscribers)
        self._of = {
            kind: _together(posts)
            for kind in KINDS
            if (posts := tuple(each.post for each in subscribers if kind in each.kinds))
        }
        self._attempted, self._ended = self._of.get(AttemptEnded, _nobody), self._of.get(CallEnded, _nobody)
        self.hears_starts, self.hears_attempts = CallStarted in self._of, AttemptEnded in self._of
        self.hears_ends = CallEnded in self._of

    def emit(self, event: Any, logged: bool = False) -> None:
        """Tell those who listen for events of its kind, and the log. Never waits and never raises."""
        self._of.get(type(event), _nobody)(event)
        if logged:
            write(event)

    def lost(self, name: str, count: int, why: str) -> None:
        """Say that a subscriber lost events."""
        self.emit(RecordsLost(subscriber=name, count=count, why=why, at_s=self.clock.wall()))

    def flush(self) -> None:
        """Wait until all were handed what happened so far."""
        for each in self._subscribers:
            each.flush()

    def close(self) -> None:
        """Hand over what is left. Calls that settle after this are still told."""
        for each in self._subscribers:
            each.settle()

    def started(self, order: Order, call_id: str, operation: Operation) -> None:
        """Tell that a call begins."""
        lane = order.lanes[0]
        self.emit(
            CallStarted(
                call_id=call_id,
                operation=operation,
                model=lane.name,
                tags=order.tags,
                at_s=order.wall_s,
                base_url=lane.base_url,
                stream=order.stream,
                tier=order.tier,
                parameters=_parameters(order.request),
                request=order.request if self.content else None,
            )
        )

    def watch(self, name: str, told: States, breaker: Breaker, account: Breaker, now: float) -> States:
        """Note what changed in the breakers of a lane since it was `told`; its owner holds the lock of both."""
        are = (breaker.state, account.state)
        for was, each in zip(told, (breaker, account), strict=True):
            if was != each.state:
                shown = each.snapshot()
                self.due.append(
                    LaneChanged(
                        lane=name,
                        was=was,
                        state=each.state,
                        at_s=self.clock.wall(),
                        account=each is account,
                        reason=shown.reason,
                        retry_after_s=None if shown.open_until is None else shown.open_until - now,
                    )
                )
        return are

    def tell(self) -> None:
        """Tell what changed, outside of the lock."""
        due, self.due = self.due, []
        for change in due:
            self.emit(change)

    def attempt(
        self, order: Order, call_id: str, operation: Operation, record: Record, settled: Settled, logged: bool
    ) -> None:
        """Tell how an attempt ended."""
        lane, admission, error, first, hold = (
            record.lane,
            record.admission,
            record.error,
            record.first_output_at,
            record.hold,
        )
        now = settled.now
        began = now if admission is None else admission.now
        event = AttemptEnded(  # by place: by name it costs the call five times as much
            call_id,
            operation,
            record.past.attempts + 1,
            lane.provider.name,
            lane.model,
            lane.provider.wire,
            lane.id,
            "ok" if error is None else outcome_of(error),
            record.sent,
            order.wall_s + (now - order.started),
            0.0 if admission is None else admission.wait_s,
            now - began,
            order.tags,
            None if first is None else first - began,
            record.status,
            record.request_id,
            None if error is None else getattr(error, "retry_after_s", None),
            record.usage,
            record.cost_nano,
            False,
            () if hold is None else tuple([account.name for account in hold.accounts]),
        )
        self._attempted(event)
        if logged:
            write(event)

    def ended(
        self,
        order: Order,
        call_id: str,
        operation: Operation,
        trail: Trail,
        response: Response | None,
        error: BaseException | None,
        logged: bool,
    ) -> None:
        """Tell how a call ended."""
        attempts, lane = trail.attempts, order.lanes[0]
        cached = response is not None and response.cached
        last = attempts[-1] if attempts else None
        where: Response | Attempt | None = response if cached else last
        told = response if response is not None or last is None or last.usage is None else trail.partial()
        if last is not None and len(attempts) == 1:
            sent, retries, usage, wait_s = int(last.sent), int(last.number > 1), last.usage, last.wait_s
            cost_nano = last.cost_nano
        else:
            sent, retries, usage, wait_s = _tried(attempts)
            cost_nano = trail.cost_nano
        latency_s = response.latency_s if cached and response is not None else trail.ended - order.started
        event = CallEnded(  # by place, as above
            call_id,
            operation,
            lane.name,
            lane.provider.name if where is None else where.provider,
            lane.model if where is None else where.model,
            "ok" if response is not None else "cancelled" if error is None else outcome_of(error),
            order.wall_s + (trail.ended - order.started if not cached else latency_s),
            latency_s,
            order.tags,
            sent,
            retries,
            usage,
            cost_nano,
            None if told is None else told.first_token_s,
            wait_s,
            None if last is None else last.status,
            None if response is None or not response.choices else response.choices[0].stop_reason,
            None if error is None else getattr(error, "message", type(error).__name__),
            cached,
            response.saved_nano if cached and response is not None else None,
            order.batch,
            None,
            order.tier,
            order.reason,
            None if order.strongest is None else self._strongest(order, order.strongest, usage),
            order.prices.date,
            None if response is None else response.id,
            None if response is None else response.served_model,
        )
        if self.content:
            asked = None if isinstance(order.request, EmbedRequest) else order.request
            event = msgspec.structs.replace(event, request=asked, response=told)
        self._ended(event)
        if logged:
            write(event)

    def row(self, tags: dict[str, str], lane: Lane, ended: Response | PenstockError, prices: Prices) -> None:
        """Tell how a row of a provider's batch ended, which is a call as any other."""
        call_id = self.call_id()
        attempt = ended.attempts[0] if ended.attempts else None
        usage = None if attempt is None else attempt.usage
        at_s = self.clock.wall()
        outcome = "ok" if isinstance(ended, Response) else ended.code
        full = None
        if usage is not None:
            full = prices.cost(lane.provider.name, lane.model, usage, wall_s=at_s)
        logged = calls_logged()
        if attempt is not None and (self.hears_attempts or logged):
            self.emit(
                AttemptEnded(
                    call_id=call_id,
                    operation="batch",
                    number=1,
                    provider=lane.provider.name,
                    model=lane.model,
                    wire=lane.provider.wire,
                    lane=lane.id,
                    outcome=outcome,
                    sent=attempt.sent,
                    at_s=at_s,
                    wait_s=0.0,
                    latency_s=attempt.latency_s,
                    tags=tags,
                    status=attempt.status,
                    request_id=attempt.request_id,
                    usage=usage,
                    cost_nano=attempt.cost_nano,
                    batch=True,
                ),
                logged and attempts_logged(),
            )
        if self.hears_ends or logged:
            self.emit(
                CallEnded(
                    call_id=call_id,
                    operation="batch",
                    asked=lane.name,
                    provider=lane.provider.name,
                    model=lane.model,
                    outcome=outcome,
                    at_s=at_s,
                    latency_s=0.0 if attempt is None else attempt.latency_s,
                    tags=tags,
                    attempts=len(ended.attempts),
                    usage=usage,
                    cost_nano=ended.cost_nano,
                    status=None if attempt is None else attempt.status,
                    stop_reason=ended.stop_reason if isinstance(ended, Response) else None,
                    message=None if isinstance(ended, Response) else ended.message,
                    batch=True,
                    full_nano=full,
                    prices=prices.date,
                    response=ended if self.content and isinstance(ended, Response) else None,
                ),
                logged,
            )

    @staticmethod
    def _strongest(order: Order, strongest: Lane, usage: Usage | None) -> int | None:
        """What the same tokens cost at the strongest model there is a tier for."""
        if usage is None:
            return None
        tier, at_s = order.request.service_tier, order.wall_s
        return order.prices.cost(strongest.provider.name, strongest.model, usage, service_tier=tier, wall_s=at_s)


def _nobody(event: Any) -> None:
    """Take an event that nobody listens for."""


def _together(posts: tuple[Callable[[Any], None], ...]) -> Callable[[Any], None]:
    """Return what hands an event to all of them: one is called straight, as for each call there are two events."""
    if len(posts) == 1:
        return posts[0]

    def post(event: Any) -> None:
        for each in posts:
            each(event)

    return post


def _parameters(request: Request) -> dict[str, object]:
    found: dict[str, object] = {
        name: value for name in PARAMETERS if (value := getattr(request, name, None)) is not None
    }
    if request.response_format not in (None, "text"):
        found["output"] = "json"
    return found


def _tried(attempts: list[Attempt]) -> tuple[int, int, Usage | None, float]:
    """Return what attempts come to: how many were sent, how many repeat another, their usage and their waits."""
    used = [attempt.usage for attempt in attempts if attempt.usage is not None]
    return (
        sum(attempt.sent for attempt in attempts),
        sum(attempt.number > 1 for attempt in attempts),
        sum(used[1:], used[0]) if used else None,
        sum(attempt.wait_s for attempt in attempts),
    )
