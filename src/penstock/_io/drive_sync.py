"""The sync driver: performs a flow's effects, blocking the calling thread."""

from __future__ import annotations

import time
from typing import Any, cast

from .._flow.effects import Effect, Emit, Permit, Read, Reserve, Send, Settle, Sleep
from ..types import Chunk, Response
from .http import SyncExchange, SyncTransport
from .parking import ThreadGate
from .run import Run


class SyncRun(Run[ThreadGate, SyncTransport]):
    """One call under way in this thread."""

    def step(self) -> list[Chunk] | None:
        """Perform effects until the flow shows chunks; None means that it ended and `response` is set.

        Raises: PenstockError; KeyboardInterrupt and the like after the attempt was settled.
        """
        answer, raised = self._answer, None
        while True:
            try:
                effect = self._flow.send(answer) if raised is None else self._flow.throw(raised)
            except StopIteration as stop:
                self._end(stop.value)
                return None
            except BaseException:
                self._end(None)
                raise
            if type(effect) is Emit:
                self._answer = self._gate.clock.now()
                return effect.chunks
            try:
                answer, raised = self._perform(effect), None
            except BaseException as error:  # noqa: BLE001 - the flow decides, and settles whatever it was
                answer, raised = None, error

    def _perform(self, effect: Effect) -> Any:
        answer: Any = None
        match effect:
            case Read(until, idle_s, whole):
                exchange = cast(SyncExchange, self._open)
                answer = exchange.read_all(until) if whole else exchange.read(until, idle_s)
            case Reserve():
                answer = self._gate.reserve(effect)
            case Permit():
                answer = self._gate.permit(effect)
            case Send(lane, outbound, until, stream):
                self._open = sent = self._transport.send(self._targets[lane.id], outbound, until, stream=stream)
                answer = self._gate.head(sent.status, sent.headers)
            case Settle():
                answer = self._settle(effect)
            case Sleep(seconds):
                time.sleep(seconds)
        return answer

    def finish(self) -> Response:
        """Run to the end and return the answer."""
        while self.step() is not None:
            pass
        return cast(Response, self.response)
