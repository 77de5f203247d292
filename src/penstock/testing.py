"""Tools for your own tests: a transport that answers from a script instead of the network.

    transport = ScriptedTransport([Scripted(body=b'{"choices": [...]}')])
    client = Client(transport=transport, keys={"openai": "test"}, config=False)

Every request that was sent is in `transport.sent`; a script that runs out raises AssertionError.

    with cassette("tests/cassettes/answer.json") as tape, Client(transport=tape.transport(), …) as client:

records what a provider, or the simulator, said the first time, and replays it from then on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import msgspec

from ._io.cassette import Cassette
from ._io.http import Target
from ._io.tape import Mode, UnknownRequest
from ._wire.protocol import Outbound

__all__ = [
    "AsyncScriptedTransport",
    "Cassette",
    "Scripted",
    "ScriptedTransport",
    "Sent",
    "UnknownRequest",
    "cassette",
]


def cassette(path: str | os.PathLike[str], mode: Mode = "auto") -> Cassette:
    """Return a cassette: a context manager whose transports record what passes into a file, or replay it.

    Its `transport()` is for a Client, its `async_transport()` for an AsyncClient; official SDKs go through it behind a
    gate that has one. 'record' sends everything and writes the file anew, unless an error leaves the block; 'replay'
    sends nothing; 'auto' replays where there is a file and records where there is none. Keys and other secrets are not
    kept. Replaying does not wait, and a request that was not recorded is an UnknownRequest, which shows what differs.

    Raises: ConfigError for another mode, or a file that is missing; InputError for one that is no cassette.
    """
    return Cassette(path, mode)


class Scripted(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: `body` whole or in pieces; an exception in place of a piece, or as `error`, is raised there."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes | Sequence[bytes | BaseException] = b""
    error: BaseException | None = None


class Sent(msgspec.Struct, frozen=True):
    """A request as it left: URL, headers and body. It holds the key that was given; do not print it."""

    url: str
    headers: dict[str, str]
    body: bytes


class _Script:
    def __init__(self, answers: Iterable[Scripted]) -> None:
        self._answers = iter(answers)
        self.sent: list[Sent] = []
        self.open = 0

    def next(self, target: Target, outbound: Outbound) -> Scripted:
        self.sent.append(Sent(target.base_url + outbound.path, {**target.headers, **outbound.headers}, outbound.body))
        answer = next(self._answers, None)
        assert answer is not None, f"the script has no answer left for request {len(self.sent)}"
        if answer.error is not None:
            raise answer.error
        self.open += 1
        return answer


class _Exchange:
    def __init__(self, script: _Script, answer: Scripted) -> None:
        self._script = script
        self._pieces = iter([answer.body] if isinstance(answer.body, bytes) else answer.body)
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.headers.items()}

    def next(self) -> bytes:
        piece = next(self._pieces, b"")
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def close(self) -> None:
        self._script.open -= 1


class _SyncExchange(_Exchange):
    def read(self, until: float, idle_s: float | None) -> bytes:
        return self.next()

    def read_all(self, until: float) -> bytes:
        return b"".join(iter(self.next, b""))


class _AsyncExchange(_Exchange):
    async def read(self, until: float, idle_s: float | None) -> bytes:
        return self.next()

    async def read_all(self, until: float) -> bytes:
        return b"".join(iter(self.next, b""))


class ScriptedTransport(_Script):
    """Answers a `Client` from a script; `sent` has the requests, `open` counts answers not yet closed."""

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> _SyncExchange:
        """Give the next answer of the script."""
        return _SyncExchange(self, self.next(target, outbound))

    def close(self) -> None:
        """Nothing to close."""


class AsyncScriptedTransport(_Script):
    """Answers an `AsyncClient` from a script; `sent` has the requests, `open` counts answers not yet closed."""

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> _AsyncExchange:
        """Give the next answer of the script."""
        return _AsyncExchange(self, self.next(target, outbound))

    async def close(self) -> None:
        """Nothing to close."""
