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
    """One call under way in the running event loop."""

    async def step(self) -> list[Chunk] | None:
        """Perform effects until the flow shows chunks; None means that it ended and `response` is set.

        Raises: PenstockError; CancelledError after the attempt was settled (settling never waits, so that a second
        cancel finds nothing to cut).
        """
        try:
            return await self._advance()
        except BaseException:
            # Also for an interrupt between two effects, which no flow would see.
            self.abandon()
            raise

    async def _advance(self) -> list[Chunk] | None:
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
                answer, raised = (
                    self._settle(effect) if isinstance(effect, Settle) else await self._perform(effect),
                    None,
                )
            except BaseException as error:  # noqa: BLE001 - the flow decides, and settles whatever it was
                answer, raised = None, error

    async def _perform(self, effect: Any) -> Any:
        kind = type(effect)
        if kind is Read:
            exchange: Any = self._open
            if effect.whole:
                return await exchange.read_all(effect.until)
            return await exchange.read(effect.until, effect.idle_s)
        if kind is Reserve:
            return self._gate.reserve(effect)
        if kind is Permit:
            return await self._gate.permit(effect)
        if kind is Send:
            target = self._targets[effect.lane.id]
            self._open = sent = await self._transport.send(target, effect.outbound, effect.until, stream=effect.stream)
            return self._gate.head(sent.status, sent.headers)
        assert kind is Sleep
        return await asyncio.sleep(effect.seconds)

    async def finish(self) -> Response:
        """Run to the end and return the answer."""
        while await self.step() is not None:
            pass
        assert self.response is not None
        return self.response
