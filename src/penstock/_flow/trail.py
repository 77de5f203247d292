"""The trail of a call: its attempts so far, and the one answer or error that they end in."""

from __future__ import annotations

import msgspec

from .._policy.retry import GiveUp, Retry, phase
from ..errors import BreakerOpen, CallError, PenstockError, RateLimited
from ..types import Attempt, Notice, Response
from .accounting import Order
from .effects import Lane, Past, Record, Settled
from .seam import Joint

_FIRST_ALONE = Past()


class Trail:
    """Collects what each attempt was and cost; `emitted` says that output was shown and nothing may be repeated.

    `notices` is what the caller should know beside, `reductions` how often the provider found the prompt too long.
    `left` is what came of somebody else's answer, from the cache, before its reader left.
    """

    hedged = False
    joint: Joint | None = None

    def __init__(self, order: Order) -> None:
        self.order = order
        self.attempts: list[Attempt] = []
        self.emitted = False
        self._unknowns = 0
        self._limited = 0
        self._shut = 0
        self._retry_cost = 0
        self.last: Record | None = None
        self.left: Response | None = None
        self.ended = order.started
        self.notices: list[Notice] = []
        self.reductions = 0

    def add(self, record: Record, settled: Settled) -> None:
        """Take in a settled attempt."""
        error, admission = record.error, record.admission
        began = admission.now if admission else settled.now
        if self.last is None or self.last.error is not None or error is None:
            self.last = record  # of two attempts side by side, the one that answered
        self.ended = settled.now
        self.emitted = self.emitted or record.emitted
        if error is not None:
            self._failed(error, settled)
        self.attempts.append(
            Attempt(
                number=record.past.attempts + 1,
                provider=record.lane.provider.name,
                model=record.lane.model,
                outcome="ok" if error is None else outcome_of(error),
                sent=record.sent,
                started_s=began - self.order.started,
                wait_s=admission.wait_s if admission else 0.0,
                latency_s=settled.now - began,
                status=record.status,
                request_id=record.request_id,
                idempotency_key=record.idempotency_key,
                retry_after_s=None if error is None else getattr(error, "retry_after_s", None),
                usage=record.usage,
                cost_nano=record.cost_nano,
                max_tokens=record.max_tokens,
            )
        )
        if self.hedged:
            self.attempts.sort(key=lambda attempt: attempt.number)
        for note in record.notes:
            self.note(Notice(kind="adapted", message=note, model=record.lane.name))

    def note(self, notice: Notice) -> None:
        """Tell of something once, however often a lane is asked."""
        if notice not in self.notices:
            self.notices.append(notice)

    def _failed(self, error: BaseException, settled: Settled) -> None:
        decision = settled.decision
        self._unknowns += phase(error) == "unknown"
        self._limited += isinstance(error, RateLimited)
        self._shut += isinstance(error, BreakerOpen)
        self._retry_cost = decision.cost if isinstance(decision, Retry) else 0
        if isinstance(error, PenstockError) and isinstance(decision, GiveUp) and error.retriable:
            error.gave_up = decision.reason

    def past(self) -> Past:
        """Return what the next attempt must know of those before it."""
        lanes = len(self.order.lanes)
        if not self.attempts and lanes == 1:
            return _FIRST_ALONE
        return Past(len(self.attempts), self._unknowns, self._limited, self._shut, self._retry_cost, lanes)

    @property
    def cost_nano(self) -> int | None:
        """What all attempts cost together, None when one of them cannot be told."""
        if len(self.attempts) == 1:
            return self.attempts[0].cost_nano
        costs = [attempt.cost_nano for attempt in self.attempts]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def decided(self) -> bool:
        """Whether the newest attempt that counts ended well, or so that the same request cannot succeed."""
        if self.last is None:
            return False
        error = self.last.error
        return error is None or (isinstance(error, CallError) and not error.retriable)

    def last_lane(self) -> Lane:
        """Return the lane of the last attempt."""
        assert self.last is not None
        return self.last.lane

    def go_on(self, retry_cost: int) -> None:
        """Begin the next part of a continued answer: nothing of it was shown yet."""
        self.emitted = False
        self.last = None
        self._retry_cost = retry_cost

    def answer(self) -> Response:
        """Return the answer of the last attempt with the story of the whole call."""
        assert self.last is not None
        assert self.last.response is not None
        told = self._told(self.last.response)
        assert told is not None
        return told

    def partial(self) -> Response | None:
        """Return what came of an answer that did not end well, None when nothing came."""
        return self._told(self.last.response if self.last else None) or self.left

    def surface(self, error: PenstockError, first: PenstockError | None) -> PenstockError:
        """Return the error that the caller sees, with the log of attempts; an earlier lane's error is its cause."""
        error.attempts = tuple(self.attempts)
        error.cost_nano = self.cost_nano
        partial = getattr(error, "partial", None)
        if partial is not None:
            error.partial = self._told(partial)  # type: ignore[attr-defined]
        if first is not None and first is not error and error.__cause__ is None:
            error.__cause__ = first
        return error

    def _told(self, response: Response | None) -> Response | None:
        started = self.order.started
        first = self.last.first_output_at if self.last else None
        first_token_s = None if first is None else first - started
        if self.joint is not None and self.joint.before is not None:
            first_token_s = self.joint.before.first_token_s
            response = self.joint.whole(response)
        if response is None:
            return None
        return msgspec.structs.replace(
            response,
            cost_nano=self.cost_nano,
            latency_s=self.ended - started,
            first_token_s=first_token_s,
            attempts=tuple(self.attempts),
            tags=self.order.tags,
            notices=tuple(self.notices),
        )


def outcome_of(error: BaseException) -> str:
    """Name how a failed attempt ended: the code of an error class, cancelled, or bug."""
    if isinstance(error, PenstockError):
        return error.code
    return "bug" if isinstance(error, Exception) else "cancelled"
