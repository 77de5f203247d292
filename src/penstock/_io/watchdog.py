"""Ends waits that take too long, with one timer for all of them: a timer of its own costs a tenth of a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from .._flow.effects import Expired
from .http import window

T = TypeVar("T")

TICK_S: Final = 0.25
"""How often the watchdog looks, and so how late it can be."""
NEAR_S: Final = 60.0
"""An end nearer than this gets an exact timer; beyond it, a tick is less than half a percent."""


class Watchdog:
    """Watches over the long waits of one event loop."""

    def __init__(self) -> None:
        self._waits: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._ticking = False

    async def wait(self, awaited: Coroutine[Any, Any, T], until: float) -> T:
        """Wait for `awaited`, but not past the instant `until`.

        Raises: Expired.
        """
        try:
            seconds, _ = window(until)
        except Expired:
            awaited.close()
            raise
        if seconds is None:
            return await awaited
        if seconds < NEAR_S:
            try:
                async with asyncio.timeout(seconds) as clock:
                    return await awaited
            except TimeoutError:
                if not clock.expired():
                    raise
                raise Expired(time.monotonic()) from None
        return await self._watched(awaited, until)

    async def _watched(self, awaited: Coroutine[Any, Any, T], until: float) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._waits[task] = until
        if not self._ticking:
            self._ticking = True
            task.get_loop().call_later(TICK_S, self._tick, task.get_loop())
        try:
            return await awaited
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise Expired(time.monotonic()) from None
            raise
        finally:
            del self._waits[task]
            self._late.discard(task)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        for task, until in self._waits.items():
            if now >= until and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._ticking = bool(self._waits)
        if self._ticking:
            loop.call_later(TICK_S, self._tick, loop)
