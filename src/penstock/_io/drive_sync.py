"""The sync driver: performs a flow's effects, blocking the calling thread."""

from __future__ import annotations

import time
from typing import Any

from .._flow.effects import Emit, Permit, Read, Reserve, Send, Settle, Sleep
from ..types import Chunk, Response
from .http import SyncTransport
from .parking import ThreadGate
from .run import Run


class SyncRun(Run[ThreadGate, SyncTransport]):
    """One call under way in this thread."""

    def step(self) -> list[Chunk] | None:
        """Perform effects until the flow shows chunks; None means that it ended and `response` is set.

        Raises: PenstockError; KeyboardInterrupt and the like after the attempt was settled.
        """
        try:
            return self._advance()
        except BaseException:
            # Also for an interrupt between two effects, which no flow would see.
            self.abandon()
            raise

    def _advance(self) -> list[Chunk] | None:
        answer, raised = self._answer, None
        while True:
            try:
                effect = self._flow.send(answer) if raised is None else self._flow.throw(raised)
            except StopIteration as stop:
                self._end(stop.value)
                return None
            if isinstance(effect, Emit):
                self._answer = self._gate.clock.now()
                return effect.chunks
            try:
                answer, raised = self._perform(effect), None
            except BaseException as error:  # noqa: BLE001 - the flow decides, and settles whatever it was
                answer, raised = None, error

    def _perform(self, effect: Any) -> Any:
        kind = type(effect)
        if kind is Read:
            exchange: Any = self._open
            if effect.whole:
                return exchange.read_all(effect.until)
            return exchange.read(effect.until, effect.idle_s)
        if kind is Reserve:
            return self._gate.reserve(effect)
        if kind is Permit:
            return self._gate.permit(effect)
        if kind is Send:
            target = self._targets[effect.lane.id]
            self._open = sent = self._transport.send(target, effect.outbound, effect.until, stream=effect.stream)
            return self._gate.head(sent.status, sent.headers)
        if kind is Settle:
            return self._settle(effect)
        assert kind is Sleep
        return time.sleep(effect.seconds)

    def finish(self) -> Response:
        """Run to the end and return the answer."""
        while self.step() is not None:
            pass
        assert self.response is not None
        return self.response
