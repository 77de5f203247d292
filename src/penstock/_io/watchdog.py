"""Ends waits that take too long; one timer serves all that are far off, since one of its own is a tenth of a call."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Final

from .._flow.effects import Expired

TICK_S: Final = 0.25
"""How often the watchdog looks, and so how late it can be."""
NEAR_S: Final = 30.0
"""An end nearer than this gets an exact timer; beyond it, a tick is less than a percent."""


class Watch:
    """Put around what is awaited, `with watchdog.watch(seconds):`, it raises Expired when that takes longer."""

    __slots__ = ("_dog", "_idle", "_late", "_seconds", "_task", "_timer", "until")

    def __init__(self, dog: Watchdog, seconds: float | None, idle: bool) -> None:
        self._dog = dog
        self._seconds = seconds
        self._idle = idle
        self._late = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.until = 0.0

    def __enter__(self) -> None:
        seconds, dog = self._seconds, self._dog
        if seconds is None:
            return
        self._task = asyncio.current_task(dog.loop)
        if seconds < NEAR_S:
            self._timer = dog.loop.call_later(seconds, self.end)
        else:
            self.until = time.monotonic() + seconds
            dog.add(self)

    def end(self) -> None:
        """The time is over: end what is awaited."""
        self._late = True
        assert self._task is not None
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        elif self._task is not None:
            self._dog.watches.discard(self)
        # A cancel from outside, also one that came together with ours, stays a cancel.
        if self._late and isinstance(error, asyncio.CancelledError):
            assert self._task is not None
            if self._task.uncancel() == 0:
                raise Expired(time.monotonic(), idle=self._idle) from None


class Watchdog:
    """Watches over the waits of one event loop; `watches` are those whose end is far off."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.watches: set[Watch] = set()
        self._ticking = False

    def watch(self, seconds: float | None, *, idle: bool = False) -> Watch:
        """Return the watch over a wait of at most so many seconds, None for no end; `idle` is handed to Expired."""
        return Watch(self, seconds, idle)

    def add(self, watch: Watch) -> None:
        """Look at a watch from time to time."""
        self.watches.add(watch)
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        for watch in [watch for watch in self.watches if now >= watch.until]:
            self.watches.discard(watch)
            watch.end()
        self._ticking = bool(self.watches)
        if self._ticking:
            self.loop.call_later(TICK_S, self._tick)
