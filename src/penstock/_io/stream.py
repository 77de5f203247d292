"""What `client.stream()` gives: chunks as they come, and the whole answer at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from ..types import Chunk, Response
from .drive_async import AsyncRun
from .drive_sync import SyncRun

RunT = TypeVar("RunT", bound=SyncRun | AsyncRun)


class Reading(Generic[RunT]):
    """A call that is read while it is under way: what all of these share, whatever is read of it."""

    def __init__(self, run: RunT) -> None:
        self._run: RunT = run

    @property
    def partial(self) -> Response | None:
        """What came so far of an answer that was cut, cancelled or left early, its usage estimated."""
        return self._run.response or self._run.partial

    def _whole(self) -> Response:
        if self._run.response is None:
            state = (
                "ended early; `partial` has what came" if self._run.ended else "has not ended; read it or finish() it"
            )
            raise RuntimeError(f"the stream {state}")
        return self._run.response

    def __del__(self) -> None:
        # A stream dropped unread still owes its settlement: what was produced is paid.
        self._run.abandon()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'ended' if self._run.ended else 'open'}>"


class SyncReading(Reading[SyncRun]):
    """One that is read in this thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the stream: settle what was used and drop the connection if it has not ended."""
        self._run.abandon()


class AsyncReading(Reading[AsyncRun]):
    """One that is read in the running event loop."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave the stream: settle what was used and drop the connection if it has not ended."""
        self._run.abandon()


class _Chunks(Reading[RunT]):
    def __init__(self, run: RunT) -> None:
        super().__init__(run)
        self._chunks: list[Chunk] = []
        self._next = 0

    @property
    def response(self) -> Response:
        """The whole answer, once the stream ended.

        Raises: RuntimeError while it has not, or when it ended early (`partial` has what came).
        """
        return self._whole()

    def _take(self) -> Chunk:
        chunk = self._chunks[self._next]
        self._next += 1
        return chunk


class Stream(SyncReading, _Chunks[SyncRun]):
    """An answer as it is produced. Iterate it for `Chunk`s, or `text` for the text alone; leave it any time."""

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        while self._next >= len(self._chunks):
            if self._run.ended:
                raise StopIteration
            self._chunks, self._next = self._run.step() or [], 0
        return self._take()

    @property
    def text(self) -> Iterator[str]:
        """The pieces of text of the first choice."""
        return (chunk.text for chunk in self if chunk.kind == "text" and chunk.choice == 0)

    def finish(self) -> Response:
        """Read what is left and return the whole answer."""
        for _ in self:
            pass
        return self.response


class AsyncStream(AsyncReading, _Chunks[AsyncRun]):
    """An answer as it is produced. Iterate it for `Chunk`s, or `text` for the text alone; leave it any time."""

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        while self._next >= len(self._chunks):
            if self._run.ended:
                raise StopAsyncIteration
            self._chunks, self._next = await self._run.step() or [], 0
        return self._take()

    @property
    def text(self) -> AsyncIterator[str]:
        """The pieces of text of the first choice."""
        return (chunk.text async for chunk in self if chunk.kind == "text" and chunk.choice == 0)

    async def finish(self) -> Response:
        """Read what is left and return the whole answer."""
        async for _ in self:
            pass
        return self.response
