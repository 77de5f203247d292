"""The sync driver: performs a flow's effects, blocking the calling thread."""

from __future__ import annotations

import time
from typing import Any

from .._flow.effects import Effect, Emit, Permit, Read, Reserve, Send, Settle, Sleep
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
        flow, gate = self._flow, self._gate
        answer, raised = self._answer, None
        try:
            while True:
                effect = flow.send(answer) if raised is None else flow.throw(raised)
                if isinstance(effect, Emit):
                    self._answer = gate.clock.now()
                    return effect.chunks
                try:
                    answer, raised = self._perform(effect), None
                except BaseException as error:  # noqa: BLE001 - the flow decides, and settles whatever it was
                    answer, raised = None, error
        except StopIteration as stop:
            self._end(stop.value)
            return None
        except BaseException:
            # Also for an interrupt between two effects, which no flow would see.
            self.abandon()
            raise

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Read):
            exchange: Any = self._open
            if effect.whole:
                return exchange.read_all(effect.until)
            return exchange.read(effect.until, effect.idle_s)
        if isinstance(effect, Permit):
            admission = self._gate.enter(effect.record)
            return self._gate.park(effect.record) if admission is None else admission
        if isinstance(effect, Send):
            target = self._targets[effect.lane.id]
            self._open = sent = self._transport.send(target, effect.outbound, effect.until, stream=effect.stream)
            return self._gate.head(sent.status, sent.headers)
        if isinstance(effect, Settle):
            return self._settle(effect)
        if isinstance(effect, Reserve):
            return self._gate.reserve(effect)
        assert isinstance(effect, Sleep)
        time.sleep(effect.seconds)
        return None

    def finish(self) -> Response:
        """Run to the end and return the answer."""
        while self.step() is not None:
            pass
        assert self.response is not None
        return self.response
