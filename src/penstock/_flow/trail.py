"""The trail of a call: its attempts so far, and the one answer or error that they end in."""

from __future__ import annotations

import msgspec

from .._policy.retry import GiveUp, Retry, phase
from ..errors import PenstockError, RateLimited
from ..types import Attempt, Response
from .accounting import Order
from .effects import Past, Record, Settled

_FIRST = Past(alone=False)
_FIRST_ALONE = Past(alone=True)


class Trail:
    """Collects what each attempt was and cost; `emitted` says that output was shown and nothing may be repeated.

    `left` is what came of somebody else's answer, from the cache, before its reader left.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.attempts: list[Attempt] = []
        self.emitted = False
        self._unknowns = 0
        self._limited = 0
        self._retry_cost = 0
        self.last: Record | None = None
        self.left: Response | None = None
        self.ended = order.started

    def add(self, record: Record, settled: Settled) -> None:
        """Take in a settled attempt."""
        error, admission = record.error, record.admission
        began = admission.now if admission else settled.now
        self.last = record
        self.ended = settled.now
        self.emitted = self.emitted or record.emitted
        self._unknowns += error is not None and phase(error) == "unknown"
        self._limited += isinstance(error, RateLimited)
        self._retry_cost = settled.decision.cost if isinstance(settled.decision, Retry) else 0
        self.attempts.append(
            Attempt(
                number=record.past.attempts + 1,
                provider=record.lane.provider.name,
                model=record.lane.model,
                outcome=outcome_of(error),
                sent=record.sent,
                started_s=began - self.order.started,
                wait_s=admission.wait_s if admission else 0.0,
                latency_s=settled.now - began,
                status=record.status,
                request_id=record.request_id,
                retry_after_s=getattr(error, "retry_after_s", None),
                usage=record.usage,
                cost_nano=record.cost_nano,
            )
        )
        if isinstance(error, PenstockError) and isinstance(settled.decision, GiveUp) and error.retriable:
            error.gave_up = settled.decision.reason

    def past(self) -> Past:
        """Return what the next attempt must know of those before it."""
        if not self.attempts:
            return _FIRST_ALONE if len(self.order.lanes) == 1 else _FIRST
        return Past(len(self.attempts), self._unknowns, self._limited, self._retry_cost, len(self.order.lanes) == 1)

    @property
    def cost_nano(self) -> int | None:
        """What all attempts cost together, None when one of them cannot be told."""
        if len(self.attempts) == 1:
            return self.attempts[0].cost_nano
        costs = [attempt.cost_nano for attempt in self.attempts]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def answer(self) -> Response:
        """Return the answer of the last attempt with the story of the whole call."""
        assert self.last is not None
        assert self.last.response is not None
        return self._told(self.last.response)

    def partial(self) -> Response | None:
        """Return what came of an answer that did not end well, None when nothing came."""
        return self.left if self.last is None or self.last.response is None else self._told(self.last.response)

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

    def _told(self, response: Response) -> Response:
        started = self.order.started
        first = self.last.first_output_at if self.last else None
        return msgspec.structs.replace(
            response,
            cost_nano=self.cost_nano,
            latency_s=self.ended - started,
            first_token_s=None if first is None else first - started,
            attempts=tuple(self.attempts),
            tags=self.order.tags,
        )


def outcome_of(error: BaseException | None) -> str:
    """Name how an attempt ended: ok, the code of an error class, cancelled, or bug."""
    if error is None:
        return "ok"
    if isinstance(error, PenstockError):
        return error.code
    return "bug" if isinstance(error, Exception) else "cancelled"
