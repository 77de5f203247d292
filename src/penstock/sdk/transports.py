"""Transports that put an official SDK's client behind the gate, for httpx2 and for httpx, which have one interface."""

from __future__ import annotations

import functools
import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

from .._io.drive_async import AsyncRun
from .._io.drive_sync import SyncRun
from .._io.passage import Passages, Passing, Told, answered, failed
from ..client import AsyncClient, Client
from ..errors import CallError, MissingExtra, OutcomeUnknown, PenstockError, StreamInterrupted

Library = Literal["httpx2", "httpx"]


@functools.cache
def load(name: Library) -> Any:
    """Return the library.

    Raises: MissingExtra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(f"{name} is not installed; run: pip install 'penstock[{name}]'") from error


@functools.cache
def classes(name: Library) -> tuple[type[Transport], type[AsyncTransport]]:
    """Return the transports as the library knows them: it looks at their bases, and at those of the bodies they give.

    Raises: MissingExtra.
    """
    lib = load(name)
    body = type("Body", (Body, lib.SyncByteStream), {"lib": lib})
    async_body = type("AsyncBody", (AsyncBody, lib.AsyncByteStream), {"lib": lib})
    return (
        type("Transport", (Transport, lib.BaseTransport), {"lib": lib, "body": body}),
        type("AsyncTransport", (AsyncTransport, lib.AsyncBaseTransport), {"lib": lib, "body": async_body}),
    )


class Body:
    """The bytes of a stream, as they come; the last word only once the call is settled: its reader leaves with it."""

    lib: Any

    def __init__(self, passing: Passing, run: SyncRun) -> None:
        self._wire = passing.wire
        self._run = run

    def __iter__(self) -> Iterator[bytes]:
        run, wire = self._run, self._wire
        try:
            while not run.ended:
                if not wire.done and (data := wire.take()):
                    yield data
                run.step()
        except PenstockError as error:
            if data := wire.take():
                yield data
            if _is_broken(error):
                raise self.lib.ReadError(str(error)) from error
        if data := wire.take():
            yield data

    def close(self) -> None:
        """Settle what was used, and leave."""
        self._run.abandon()

    def __del__(self) -> None:
        # A stream dropped unread still owes its settlement: what was produced is paid.
        self._run.abandon()


class AsyncBody:
    """The bytes of a stream, as `Body`."""

    lib: Any

    def __init__(self, passing: Passing, run: AsyncRun) -> None:
        self._wire = passing.wire
        self._run = run

    async def __aiter__(self) -> AsyncIterator[bytes]:
        run, wire = self._run, self._wire
        try:
            while not run.ended:
                if not wire.done and (data := wire.take()):
                    yield data
                await run.step()
        except PenstockError as error:
            if data := wire.take():
                yield data
            if _is_broken(error):
                raise self.lib.ReadError(str(error)) from error
        if data := wire.take():
            yield data

    async def aclose(self) -> None:
        """Settle what was used, and leave."""
        self._run.abandon()

    def __del__(self) -> None:
        self._run.abandon()


class _Way:
    lib: Any
    body: Any

    def __init__(self, passages: Passages[Any]) -> None:
        self._passages = passages
        self._beside: Any = None

    def _whole(self, told: Told) -> Any:
        extensions = {} if told.error is None else {"penstock_error": told.error}
        return self.lib.Response(told.status, headers=told.headers, content=told.body, extensions=extensions)

    def _passing(self, request: Any, content: bytes) -> Passing | None:
        return self._passages.passing(request.method, str(request.url), request.headers.raw, content)


class Transport(_Way):
    """Carries the requests of a client through the gate of a `Client`."""

    def handle_request(self, request: Any) -> Any:
        """Make a call of a request; errors are answers too, so that the SDK raises its own."""
        run: SyncRun | None = None
        gate: Client = self._passages.client
        try:
            passing = self._passing(request, request.read())
            if passing is None:
                self._beside = self._beside or self.lib.HTTPTransport()
                return self._beside.handle_request(request)
            run = SyncRun(passing.order, gate._gate, gate._transport, passing.targets)
            if not passing.order.stream:
                return self._whole(answered(run, run.finish()))
            run.step()
            told = answered(run, None)
            return self.lib.Response(told.status, headers=told.headers, stream=self.body(passing, run))
        except PenstockError as error:
            return self._whole(failed(error, run))

    def close(self) -> None:
        """Close what is beside the gate; the gate stays open."""
        if self._beside is not None:
            self._beside.close()


class AsyncTransport(_Way):
    """Carries the requests of a client through the gate of an `AsyncClient`."""

    async def handle_async_request(self, request: Any) -> Any:
        """Make a call of a request; errors are answers too, so that the SDK raises its own."""
        run: AsyncRun | None = None
        gate: AsyncClient = self._passages.client
        try:
            passing = self._passing(request, await request.aread())
            if passing is None:
                self._beside = self._beside or self.lib.AsyncHTTPTransport()
                return await self._beside.handle_async_request(request)
            run = AsyncRun(passing.order, gate._gate, gate._transport, passing.targets)
            if not passing.order.stream:
                return self._whole(answered(run, await run.finish()))
            await run.step()
            told = answered(run, None)
            return self.lib.Response(told.status, headers=told.headers, stream=self.body(passing, run))
        except PenstockError as error:
            return self._whole(failed(error, run))

    async def aclose(self) -> None:
        """Close what is beside the gate; the gate stays open."""
        if self._beside is not None:
            await self._beside.aclose()


def _is_broken(error: PenstockError) -> bool:
    """Whether the connection ended in the middle, and not the provider's own word, which the client reads itself."""
    if not isinstance(error, StreamInterrupted):
        return True
    cause = error.__cause__
    return not isinstance(cause, CallError) or isinstance(cause, OutcomeUnknown)
