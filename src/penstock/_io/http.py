"""What a transport is: one verb, `send`, and an exchange to read from. Errors of HTTP libraries stop here.

A transport raises `ConnectionFailed` when nothing was sent, `OutcomeUnknown` when the request went out and no whole
answer came back, and `Expired` when the given instant passed. `until` is an instant of the monotonic clock or
infinity.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final, Protocol

import msgspec

from .._flow.effects import Expired
from .._wire.protocol import FileBody, Outbound
from ..errors import ConnectionFailed, OutcomeUnknown


class Target(msgspec.Struct, frozen=True):
    """Where a lane's requests go: the base URL and the headers that all of them carry, the credential among them."""

    base_url: str
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"Target({self.base_url!r})"


class SyncExchange(Protocol):
    """The answer to one request; header names are asked for in lower case."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer."""
        ...

    def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes; b"" at the end."""
        ...

    def read_all(self, until: float) -> bytes:
        """Wait for the whole body."""
        ...

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        ...


class SyncTransport(Protocol):
    """Sends requests and waits for answers, from any thread."""

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> SyncExchange:
        """Send and wait for status and headers; a whole answer (`stream` False) may be waited for here already."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class AsyncExchange(Protocol):
    """The answer to one request; header names are asked for in lower case."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer."""
        ...

    async def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes; b"" at the end."""
        ...

    async def read_all(self, until: float) -> bytes:
        """Wait for the whole body."""
        ...

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it; never waits."""
        ...


class AsyncTransport(Protocol):
    """Sends requests and waits for answers inside the running event loop."""

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> AsyncExchange:
        """Send and wait for status and headers; a whole answer (`stream` False) may be waited for here already."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


PIECE_BYTES: Final = 256 * 1024
"""A file is sent in pieces of this size, so that none is held in memory."""


def pieces(file: FileBody) -> Iterator[bytes]:
    """Read a body that is a file piece by piece, anew with each call."""
    yield file.head
    with open(file.path, "rb") as source:
        while data := source.read(PIECE_BYTES):
            yield data
    yield file.tail


async def pieces_async(file: FileBody) -> AsyncIterator[bytes]:
    """Read it where pieces are awaited."""
    for data in pieces(file):
        yield data


def length_of(outbound: Outbound) -> dict[str, str]:
    """Return the header that says how long a file is, so that a library need not cut it into chunks."""
    return {} if outbound.file is None else {"Content-Length": str(outbound.file.size)}


def window(until: float, idle_s: float | None = None) -> tuple[float | None, bool]:
    """Return the seconds left until the nearer of the two clocks (None = no limit), and whether it is the idle one.

    Raises: Expired when `until` has passed.
    """
    now = time.monotonic()
    if until <= now:
        raise Expired(now)
    left = until - now
    if idle_s is not None and idle_s < left:
        return idle_s, True
    return (None if math.isinf(left) else left), False


def not_sent(target: Target, error: BaseException) -> ConnectionFailed:
    """Say that no connection could be made."""
    return ConnectionFailed(f"no connection to {target.base_url}: {_words(error)}; nothing was sent")


def lost(target: Target, error: BaseException) -> OutcomeUnknown:
    """Say that the connection broke after the request went out."""
    return OutcomeUnknown(
        f"the connection to {target.base_url} broke before the whole answer came: {_words(error)}; "
        "the provider may have worked and billed"
    )


def _words(error: BaseException) -> str:
    text = str(error)
    # A library that complains of a header quotes it, and a header may be the credential.
    return type(error).__name__ if not text or "header" in text.lower() else text
