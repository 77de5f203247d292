"""One thread that reads the ledger: SQLite blocks, and a page that waits for it must not stop the others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, Protocol, TypeVar

T = TypeVar("T")
SourceT = TypeVar("SourceT", bound="Source")

CHECKED_S: Final = 1.0
"""How often is looked whether another file is at the path now: removed, moved away, restored from a backup."""


class Source(Protocol):
    """What a desk opens, in its own thread."""

    def close(self) -> None:
        """Let go of the file."""


class Desk(Generic[SourceT]):
    """Asks a source, one question at a time; after an error the source is opened again with the next question."""

    def __init__(self, path: str, opened: Callable[[], SourceT]) -> None:
        self._path = path
        self._opened = opened
        self._source: SourceT | None = None
        self._file: tuple[int, int] | None = None
        self._checked_s = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-dashboard")

    async def ask(self, question: Callable[[SourceT], T]) -> T:
        """Ask in the thread of this desk.

        Raises: whatever the question does; PenstockError where the ledger cannot be opened.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answer, question, loop.time())

    def _answer(self, question: Callable[[SourceT], T], now: float) -> T:
        try:
            return question(self._current(now))
        except BaseException:
            self._leave()
            raise

    def _current(self, now: float) -> SourceT:
        if self._source is not None and now - self._checked_s >= CHECKED_S:
            self._checked_s = now
            if _identity(self._path) != self._file:
                self._leave()
        if self._source is None:
            self._file = _identity(self._path)
            self._source = self._opened()
            self._checked_s = now
        return self._source

    def _leave(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def close(self) -> None:
        """Close the source and end the thread, after the question that it is at."""
        self._thread.submit(self._leave)
        self._thread.shutdown()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
