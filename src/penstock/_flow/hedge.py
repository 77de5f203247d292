"""A second attempt beside one that shows no output in time; the first to answer stays, both are settled."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import msgspec

from .._policy.retry import GiveUp, Retry
from ..errors import CallError, PenstockError
from .effects import Abandoned, Effect, End, Flow, Lane, Parallel, Past, Send, SpendRetry
from .trail import Trail

T = TypeVar("T")
Verdict = tuple[PenstockError | None, Retry | GiveUp | None, float]
"""How an attempt ended: its error, what the retry policy says of it, and when."""


def hedged(
    first: Flow[Verdict],
    second: Callable[[Past], Flow[Verdict]],
    lane: Lane,
    after_s: float,
    trail: Trail,
    *,
    same_lane: bool,
) -> Flow[Verdict]:
    """Make one attempt, and `after_s` after it was sent a second one, to `lane`, if there is no output by then.

    `same_lane`: the first one went there too, so that what one of them finds hopeless is hopeless for both.
    """
    sent = yield from _until_sent(first)
    if not isinstance(sent, Send):
        return sent
    try:
        ends: tuple[End, ...] = yield Parallel(
            (resumed(first, sent), _paid(second, lane, trail)), stagger_s=after_s, enough=_answered
        )
    except BaseException as error:
        yield from _thrown(first, error)  # the driver may not have come to begin it
        raise
    for end in ends:
        if end.emits is not None:
            verdict: Verdict = yield from resumed(end.flow, end.emits)
            return verdict
    verdicts = [end.result for end in ends if end.result is not None]
    hopeless = filter(_hopeless, verdicts if same_lane else ())
    best: Verdict = next(chain(filter(_answered, verdicts), hopeless, verdicts))
    return best


def resumed(flow: Flow[T], effect: Effect) -> Flow[T]:
    """Go on with a flow that is suspended at `effect`, which nobody has performed yet."""
    try:
        while True:
            try:
                answer = yield effect
            except BaseException as error:  # noqa: BLE001 - it is the flow's to handle
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _until_sent(flow: Flow[Verdict]) -> Flow[Send | Verdict]:
    """Perform a flow up to its `Send`: who waits for a turn is not helped by a second place in line."""
    try:
        effect = next(flow)
        while not isinstance(effect, Send):
            try:
                answer = yield effect
            except BaseException as error:  # noqa: BLE001 - it is the flow's to handle
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict
    return effect


def _paid(second: Callable[[Past], Flow[Verdict]], lane: Lane, trail: Trail) -> Flow[Verdict | None]:
    trail.hedged = True
    if not (yield SpendRetry(lane)):
        return None
    past = trail.past()
    try:
        return (yield from second(msgspec.structs.replace(past, attempts=past.attempts + 1)))
    except Abandoned:
        if trail.emitted:
            raise  # it won, and its reader left
        return None


def _thrown(flow: Flow[Any], error: BaseException) -> Flow[None]:
    try:
        effect = flow.throw(error)
    except StopIteration:
        return
    yield from resumed(flow, effect)


def _hopeless(verdict: Verdict) -> bool:
    return isinstance(verdict[0], CallError) and not verdict[0].retriable


def _answered(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict[0] is None
