"""Transports that put an official SDK's client behind the gate, for httpx2 and for httpx, which have one interface."""

from __future__ import annotations

import functools
import importlib
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any, Literal

from .._io.drive_async import AsyncRun
from .._io.drive_sync import SyncRun
from .._io.passage import Passages, Passing, Told, answered, failed
from ..client import AsyncClient, Client
from ..errors import CallError, MissingExtra, OutcomeUnknown, PenstockError, StreamInterrupted

Library = Literal["httpx2", "httpx"]


@functools.cache
def load(name: Library) -> ModuleType:
    """Return the library.

    Raises: MissingExtra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(f"{name} is not installed; run: pip install 'penstock[{name}]'") from error


@functools.cache
def sync_transport(name: Library) -> type[Any]:
    """Return the class of the library's transports for a `Client`."""
    lib: Any = load(name)

    class Pieces(lib.SyncByteStream):  # type: ignore[misc] # of one of two libraries
        def __init__(self, passing: Passing, run: SyncRun) -> None:
            self._passing, self._run = passing, run

        def __iter__(self) -> Iterator[bytes]:
            take = self._passing.wire.take
            if not self._passing.wire.done and (data := take()):
                yield data
            try:
                while not self._run.ended:
                    self._run.step()
                    if self._passing.wire.done and not self._run.ended:
                        continue  # the last word is shown once the call is settled: its reader leaves with it
                    if data := take():
                        yield data
                if data := take():
                    yield data
            except PenstockError as error:
                if data := take():
                    yield data
                if _is_broken(error):
                    raise lib.ReadError(str(error)) from error

        def close(self) -> None:
            self._run.abandon()

    class Transport(lib.BaseTransport):  # type: ignore[misc]
        """Carries the requests of a client through the gate."""

        def __init__(self, passages: Passages[Client]) -> None:
            self._passages = passages
            self._beside: Any = None

        def handle_request(self, request: Any) -> Any:
            body = request.read()
            run: SyncRun | None = None
            try:
                passing = self._passages.passing(request.method, str(request.url), _headers(request), body)
                if passing is None:
                    return self._others().handle_request(request)
                gate = self._passages.client
                run = SyncRun(passing.order, gate._gate, gate._transport, passing.targets)
                if not passing.order.stream:
                    return _told(lib, answered(run, run.finish()))
                run.step()
                return _told(lib, answered(run, None), Pieces(passing, run))
            except PenstockError as error:
                return _told(lib, failed(error, run))

        def _others(self) -> Any:
            if self._beside is None:
                self._beside = lib.HTTPTransport()
            return self._beside

        def close(self) -> None:
            if self._beside is not None:
                self._beside.close()

    return Transport


@functools.cache
def async_transport(name: Library) -> type[Any]:
    """Return the class of the library's transports for an `AsyncClient`."""
    lib: Any = load(name)

    class Pieces(lib.AsyncByteStream):  # type: ignore[misc] # of one of two libraries
        def __init__(self, passing: Passing, run: AsyncRun) -> None:
            self._passing, self._run = passing, run

        async def __aiter__(self) -> AsyncIterator[bytes]:
            take = self._passing.wire.take
            if not self._passing.wire.done and (data := take()):
                yield data
            try:
                while not self._run.ended:
                    await self._run.step()
                    if self._passing.wire.done and not self._run.ended:
                        continue  # the last word is shown once the call is settled: its reader leaves with it
                    if data := take():
                        yield data
                if data := take():
                    yield data
            except PenstockError as error:
                if data := take():
                    yield data
                if _is_broken(error):
                    raise lib.ReadError(str(error)) from error

        async def aclose(self) -> None:
            self._run.abandon()

    class Transport(lib.AsyncBaseTransport):  # type: ignore[misc]
        """Carries the requests of a client through the gate."""

        def __init__(self, passages: Passages[AsyncClient]) -> None:
            self._passages = passages
            self._beside: Any = None

        async def handle_async_request(self, request: Any) -> Any:
            body = await request.aread()
            run: AsyncRun | None = None
            try:
                passing = self._passages.passing(request.method, str(request.url), _headers(request), body)
                if passing is None:
                    return await self._others().handle_async_request(request)
                gate = self._passages.client
                run = AsyncRun(passing.order, gate._gate, gate._transport, passing.targets)
                if not passing.order.stream:
                    return _told(lib, answered(run, await run.finish()))
                await run.step()
                return _told(lib, answered(run, None), Pieces(passing, run))
            except PenstockError as error:
                return _told(lib, failed(error, run))

        def _others(self) -> Any:
            if self._beside is None:
                self._beside = lib.AsyncHTTPTransport()
            return self._beside

        async def aclose(self) -> None:
            if self._beside is not None:
                await self._beside.aclose()

    return Transport


def _headers(request: Any) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in request.headers.multi_items()]


def _told(lib: Any, told: Told, stream: Any = None) -> Any:
    extensions = {} if told.error is None else {"penstock_error": told.error}
    if stream is not None:
        return lib.Response(told.status, headers=told.headers, stream=stream, extensions=extensions)
    return lib.Response(told.status, headers=told.headers, content=told.body, extensions=extensions)


def _is_broken(error: PenstockError) -> bool:
    """Whether the connection ended in the middle, and not the provider's own word, which the client reads itself."""
    if not isinstance(error, StreamInterrupted):
        return True
    cause = error.__cause__
    return not isinstance(cause, CallError) or isinstance(cause, OutcomeUnknown)
