"""The async driver: performs a flow's effects on the running event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from .._flow.effects import Emit, Permit, Read, Reserve, Send, Settle, Sleep
from ..types import Chunk, Response
from .http import AsyncTransport
from .parking import AsyncGate
from .run import Run


class AsyncRun(Run[AsyncGate, AsyncTransport]):
    """One call under way in the running event loop. Once `drained` it begins no further attempt: it is cancelled."""

    drained = False

    async def step(self) -> list[Chunk] | None:
        """Perform effects until the flow shows chunks; None means that it ended and `response` is set.

        Raises: PenstockError; CancelledError after the attempt was settled (settling never waits, so that a second
        cancel finds nothing to cut).
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
                    raised = None
                    if isinstance(effect, Read):
                        answer = await self._read(effect)
                    elif isinstance(effect, Settle):
                        answer = self._settle(effect)
                    elif isinstance(effect, Reserve):
                        answer = gate.reserve(effect)
                    elif isinstance(effect, Permit) and not self.drained:
                        answer = gate.enter(effect.record) or await gate.park(effect.record)
                    else:
                        answer = await self._wait(effect)
                except BaseException as error:  # noqa: BLE001 - the flow decides, and settles whatever it was
                    answer, raised = None, error
        except StopIteration as stop:
            self._end(stop.value)
            return None
        except BaseException:
            # Also for an interrupt between two effects, which no flow would see.
            self.abandon()
            raise

    async def _read(self, effect: Read) -> bytes:
        exchange: Any = self._open
        data: bytes = await (
            exchange.read_all(effect.until) if effect.whole else exchange.read(effect.until, effect.idle_s)
        )
        return data

    async def _wait(self, effect: Send | Sleep | Permit) -> Any:
        if isinstance(effect, Send):
            target = self._targets[effect.lane.id]
            self.under_way = True
            self._open = sent = await self._transport.send(target, effect.outbound, effect.until, stream=effect.stream)
            body = b"" if effect.stream else await sent.read_all(effect.until)
            return self._gate.head(sent.status, sent.headers, body)
        if self.drained or isinstance(effect, Permit):
            raise asyncio.CancelledError
        await asyncio.sleep(effect.seconds)
        return None

    async def finish(self) -> Response:
        """Run to the end and return the answer."""
        while await self.step() is not None:
            pass
        assert self.response is not None
        return self.response
