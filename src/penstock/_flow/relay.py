"""A flow inside a flow, where what it shows is looked at on the way; without that, `yield from` does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .effects import Emit, Flow

T = TypeVar("T")


def relayed(flow: Flow[T], show: Callable[[Emit], Flow[Any]]) -> Flow[T]:
    """Perform a flow with `show` in place of each Emit; whatever is thrown in reaches it, so that it settles."""
    answer: Any = None
    raised: BaseException | None = None
    while True:
        try:
            effect = flow.send(answer) if raised is None else flow.throw(raised)
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            raised = None
            answer = (yield from show(effect)) if isinstance(effect, Emit) else (yield effect)
        except BaseException as error:  # noqa: BLE001 - the flow decides, and settles whatever it was
            answer, raised = None, error
