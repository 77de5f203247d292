"""What `client.stream_extract()` gives: the value as it grows, and the checked one at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Generic, TypeVar

from .._flow.extracted import Extracted
from .drive_async import AsyncRun
from .drive_sync import SyncRun
from .stream import AsyncReading, Reading, SyncReading

RunT = TypeVar("RunT", bound=SyncRun | AsyncRun)
T = TypeVar("T")


class _Values(Reading[RunT], Generic[RunT, T]):
    def __init__(self, run: RunT) -> None:
        assert run.extraction is not None
        super().__init__(run)
        self._news = run.extraction.news
        self._told = 0

    @property
    def extracted(self) -> Extracted[T]:
        """The checked value with its repairs and its cost, once the stream ended.

        Raises: RuntimeError while it has not, or when it ended early (`partial` has what came).
        """
        self._whole()
        return self._run.extracted

    def _take(self) -> tuple[bool, Any]:
        """Return whether there is a value that was not seen yet, and that."""
        if self._told < len(self._news):
            value = self._news[-1]  # who reads slowly skips what has grown since
            self._told = len(self._news)
            return True, value
        return False, None

    def _last(self) -> Any:
        """The checked value, after which there is nothing more."""
        self._told = -1
        return self._run.extracted.value


class ExtractStream(SyncReading, _Values[SyncRun, T]):
    """A value as it is produced: plain and partial while it grows, at last the checked value of the type.

    Strings and lists grow; a number, a word of an enum or a date is there once it is whole. Leave it any time.
    """

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while self._told >= 0:
            found, value = self._take()
            if found:
                return value
            if self._run.ended and self._run.response is not None:
                return self._last()
            if self._run.ended:
                break
            self._run.step()
        raise StopIteration

    def finish(self) -> Extracted[T]:
        """Read what is left and return what was extracted."""
        for _ in self:
            pass
        return self.extracted


class AsyncExtractStream(AsyncReading, _Values[AsyncRun, T]):
    """A value as it is produced: plain and partial while it grows, at last the checked value of the type.

    Strings and lists grow; a number, a word of an enum or a date is there once it is whole. Leave it any time.
    """

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while self._told >= 0:
            found, value = self._take()
            if found:
                return value
            if self._run.ended and self._run.response is not None:
                return self._last()
            if self._run.ended:
                break
            await self._run.step()
        raise StopAsyncIteration

    async def finish(self) -> Extracted[T]:
        """Read what is left and return what was extracted."""
        async for _ in self:
            pass
        return self.extracted
