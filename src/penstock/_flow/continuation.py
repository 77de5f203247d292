"""A stream that broke is asked to go on where it stopped, where the caller allowed it."""

from __future__ import annotations

import msgspec

from ..errors import CallError, ClientClosed, PenstockError, StreamInterrupted
from ..types import Reasoning, Request, Response, Text
from .accounting import Order
from .call import call
from .effects import Emit, Expired, Flow, SpendRetry
from .relay import relayed
from .seam import Joint
from .trail import Trail


def continued(order: Order, trail: Trail) -> Flow[Response]:
    """Make a call whose stream, when it breaks inside its text, is continued up to `order.continuations` times.

    Raises: as `call`; StreamInterrupted with all parts when a continuation fails as well.
    """
    joint = trail.joint = Joint()

    def fit(effect: Emit) -> Flow[float]:
        shown_at: float = yield Emit(joint.fit(effect.chunks))
        return shown_at

    asked = order
    left = order.continuations
    while True:
        try:
            return (yield from relayed(call(asked, trail), fit))
        except PenstockError as error:
            rest = joint.flush()
            if rest:
                yield Emit(rest)
            if joint.before is not None and not isinstance(error, StreamInterrupted | ClientClosed):
                raise _failed(error, trail) from error
            if left == 0 or not isinstance(error, StreamInterrupted) or not _continuable(order.request, error):
                raise
            partial, lane = error.partial, trail.last_lane()
            cost: int = yield SpendRetry(lane)
            if not cost:
                error.gave_up = "the retry budget is empty: too many calls fail"
                raise
        left -= 1
        joint.cut(partial)
        trail.go_on(cost)
        asked = _rest(order, partial, order.lanes.index(lane))


def transient(error: StreamInterrupted) -> bool:
    """Whether what broke a stream need not happen again."""
    cause = error.__cause__
    return isinstance(cause, Expired) or (isinstance(cause, CallError) and cause.retriable)


def _continuable(request: Request, error: StreamInterrupted) -> bool:
    """Whether the answer stopped inside plain text: half a tool call or half a JSON document cannot be joined."""
    if not transient(error):
        return False
    if request.response_format not in (None, "text") or len(error.partial.choices) != 1:
        return False
    choice = error.partial.choices[0]
    plain = all(isinstance(part, Text | Reasoning) for part in choice.content)
    unfinished = choice.stop_reason == "unknown"
    return plain and unfinished and isinstance(choice.content[-1], Text) and bool(error.partial.text.strip())


def _rest(order: Order, partial: Response, first: int) -> Order:
    request = order.request
    if request.max_tokens is not None:
        left = max(1, request.max_tokens - partial.usage.completion)
        request = msgspec.structs.replace(request, max_tokens=left)
    return msgspec.structs.replace(order, request=request, lanes=order.lanes[first:], received=partial.text)


def _failed(error: PenstockError, trail: Trail) -> StreamInterrupted:
    partial = trail.partial()
    assert partial is not None
    failed = StreamInterrupted(
        f"the stream broke and could not be continued: {error.message}; what came is in `partial`", partial=partial
    )
    failed.attempts, failed.cost_nano = error.attempts, error.cost_nano
    return failed
