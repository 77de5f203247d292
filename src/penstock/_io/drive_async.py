"""The async driver: performs a flow's effects on the running event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from .._flow.effects import (
    Emit,
    End,
    Follow,
    Head,
    Lookup,
    Parallel,
    Permit,
    Read,
    Reserve,
    Send,
    Settle,
    Share,
    Sleep,
    SpendRetry,
)
from ..types import Chunk, Response
from .http import AsyncTransport
from .parking import AsyncGate
from .run import Run

Step = asyncio.Task[list[Chunk] | None]


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
                    elif isinstance(effect, Permit) and not self.drained:
                        answer = gate.enter(effect.record) or await gate.park(effect.record)
                    elif isinstance(effect, Send):
                        answer = await self._send(effect)
                    elif isinstance(effect, Reserve):
                        answer = gate.reserve(effect) or await gate.reserve_later(effect)
                    else:
                        answer = await self._wait(effect)
                except BaseException as error:  # noqa: BLE001 - the flow decides, and settles whatever it was
                    answer, raised = None, self._meant(error)
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

    async def _send(self, effect: Send) -> Head:
        target = self._targets[effect.lane.door]
        self.under_way = True
        self._open = sent = await self._transport.send(target, effect.outbound, effect.until, stream=effect.stream)
        body = b"" if effect.stream else await sent.read_all(effect.until)
        return self._gate.head(sent.status, sent.headers, body)

    async def _wait(self, effect: Sleep | Permit | SpendRetry | Parallel | Lookup | Follow | Share) -> Any:
        if isinstance(effect, Permit) or (self.drained and isinstance(effect, Sleep)):
            raise asyncio.CancelledError
        if isinstance(effect, Sleep):
            await self._gate.sleep(effect.seconds)
            return None
        if isinstance(effect, SpendRetry):
            return self._gate.spend_retry(effect.lane)
        if isinstance(effect, Parallel):
            return await self._race(effect)
        return await self._follow(effect) if isinstance(effect, Follow) else self._consult(effect)

    async def _race(self, effect: Parallel) -> tuple[End, ...]:
        runs = [self.branch(flow) for flow in effect.flows]
        tasks: list[Step] = []
        pending: set[Step] = set()
        over = False
        self.under_way = True  # one of them may be
        try:
            while not over:
                if len(tasks) < len(runs):
                    tasks.append(asyncio.ensure_future(runs[len(tasks)].step()))
                    pending.add(tasks[-1])
                stagger_s = effect.stagger_s if len(tasks) < len(runs) else None
                done, pending = await asyncio.wait(pending, timeout=stagger_s, return_when=asyncio.FIRST_COMPLETED)
                over = any(self._is_over(task, runs[tasks.index(task)], effect) for task in done)
                over = over or (not pending and stagger_s != 0)
            await _cancelled(pending)
            shown = [None if task.cancelled() else task.result() for task in tasks]
        except BaseException:
            await _cancelled(pending)
            for run in runs:
                run.abandon()
            raise
        return self._ends(list(zip(runs, shown, strict=False)))

    @staticmethod
    def _is_over(task: Step, run: AsyncRun, effect: Parallel) -> bool:
        if task.cancelled() or task.exception() is not None or task.result() is not None:
            return True
        return effect.enough is not None and effect.enough(run.response)

    async def _follow(self, effect: Follow) -> Any:
        answers = self._gate.answers
        assert answers is not None
        news, place, seconds = answers.look(effect)
        while news is None:
            await place.sleep(seconds)
            news, place, seconds = answers.look(effect)
        return news

    async def finish(self) -> Response:
        """Run to the end and return the answer."""
        while await self.step() is not None:
            pass
        assert self.response is not None
        return self.response


async def _cancelled(tasks: set[Step]) -> None:
    """Cancel tasks and see them end, which takes them no wait; a cancel of our own comes after that."""
    cancelled: asyncio.CancelledError | None = None
    for task in tasks:
        task.cancel()
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
