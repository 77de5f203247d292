"""What viewers hear of the ledger as it changes: one look for all of them, and only while somebody looks.

    every POLL_S    has anything been committed? (`PRAGMA data_version`: some microseconds, whatever the ledger's size)
    it has          the views that are being watched are read again, each once, and sent to all who watch it
    every BEAT_S    so they are too, because time passes: calls leave the period, lanes get stale

A slow viewer gets the newest view when it is ready for one, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

import msgspec

from ..errors import PenstockError
from .asked import Asked
from .desk import Desk
from .reading import Reading
from .view import View

POLL_S: Final = 0.05
BEAT_S: Final = 10.0
REST_SHARE: Final = 1.0
"""After t seconds of reading, nothing is read for as long: at most half of a core, however fast commits come."""
AGAIN_S: Final = 1.0
"""After an error the ledger is tried again so much later."""
VIEWERS_MAX: Final = 64


class _Topic:
    """A view that somebody watches: its newest event, and who waits for the next."""

    def __init__(self) -> None:
        self.viewers = 0
        self.event = b""
        self.number = 0
        self.told = asyncio.Event()

    def tell(self, event: bytes) -> None:
        self.event = event
        self.number += 1
        told, self.told = self.told, asyncio.Event()
        told.set()


class Feed:
    """Reads for all viewers. Used inside one event loop."""

    def __init__(self, desk: Desk[Reading], wall: Callable[[], float] = time.time) -> None:
        self._desk = desk
        self._wall = wall
        self._topics: dict[Asked, _Topic] = {}
        self._watch: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._closed = False

    @property
    def viewers(self) -> int:
        """How many follow now."""
        return sum(topic.viewers for topic in self._topics.values())

    async def follow(self, asked: Asked) -> AsyncIterator[bytes]:
        """Yield server-sent events: `view` with a view, or `trouble` with why there is none."""
        topic = self._topics.setdefault(asked, _Topic())
        topic.viewers += 1
        try:
            heard = topic.number
            if topic.event:
                yield topic.event
            else:
                self._wanted.set()
            if self._watch is None:
                self._watch = asyncio.create_task(self._look())
            while not self._closed:
                if topic.number == heard:
                    await topic.told.wait()
                    continue
                heard = topic.number
                yield topic.event
        finally:
            topic.viewers -= 1
            if not topic.viewers:
                self._topics.pop(asked, None)
            if not self._topics and self._watch is not None:
                self._watch.cancel()
                self._watch = None

    async def _look(self) -> None:
        seen: int | None = None
        due = 0.0
        loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            rest = POLL_S
            try:
                version = await self._desk.ask(_version)
                new = version != seen or loop.time() >= due
                if new:
                    seen, due = version, loop.time() + BEAT_S
                begun = loop.time()
                await self._read([asked for asked, topic in self._topics.items() if new or not topic.event])
                rest = max(POLL_S, REST_SHARE * (loop.time() - begun))
            except PenstockError as error:
                self._tell_all(_event("trouble", {"error": str(error)}))
                seen, rest = None, AGAIN_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._wanted.wait()

    async def _read(self, views: list[Asked]) -> None:
        for asked in views:
            view = await self._desk.ask(partial(_view, asked=asked, now_s=self._wall()))
            topic = self._topics.get(asked)
            if topic is not None:
                topic.tell(_event("view", view))

    def _tell_all(self, event: bytes) -> None:
        for topic in self._topics.values():
            if topic.event != event:
                topic.tell(event)

    def close(self) -> None:
        """End all streams, so that the server can end."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        for topic in self._topics.values():
            topic.told.set()


def _version(reading: Reading) -> int:
    return reading.version()


def _view(reading: Reading, *, asked: Asked, now_s: float) -> View:
    return reading.view(asked, now_s)


def _event(name: str, value: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(value))
