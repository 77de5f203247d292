"""Record and replay: transports that keep what passes, or answer from what was kept, without any waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from .._flow.effects import Expired
from .._wire.protocol import Outbound
from ..errors import ConfigError, ConnectionFailed, OutcomeUnknown
from .http import AsyncExchange, AsyncTransport, SyncExchange, SyncTransport, Target
from .tape import Mode, Secrets, Tape, body_of, bytes_of, pieces_of, request_of, response_of

CONNECT_S: Final = 10.0

_ERRORS: Final = {"connection_failed": ConnectionFailed, "outcome_unknown": OutcomeUnknown}


class Cassette:
    """Exchanges kept in a file, as a context manager; see `penstock.testing.cassette`."""

    def __init__(self, path: str | os.PathLike[str], mode: Mode = "auto") -> None:
        self._tape = Tape(path, mode)
        self._lock = threading.Lock()
        self._opened: list[Any] = []

    @property
    def recording(self) -> bool:
        """Whether requests are sent, and kept, or answered from what was kept."""
        return self._tape.records

    @property
    def unused(self) -> int:
        """How many of the recorded exchanges nobody asked for."""
        return 0 if self.recording else self._tape.unused

    def transport(self, around: SyncTransport | None = None) -> SyncTransport:
        """Return a transport for `Client(transport=…)`; while it records it sends through `around`, or urllib3."""
        if around is None and self.recording:
            from .transports.urllib3_ import Urllib3Transport

            around = Urllib3Transport(connect_s=CONNECT_S)
        return Taped(self, around)

    def async_transport(self, around: AsyncTransport | None = None) -> AsyncTransport:
        """Return a transport for `AsyncClient(transport=…)`; while it records it sends through `around`, or aiohttp."""
        if around is None and self.recording:
            from .transports.aiohttp_ import AiohttpTransport

            around = AiohttpTransport(connect_s=CONNECT_S)
        return AsyncTaped(self, around)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.save()

    def save(self) -> None:
        """Write the file, if it records; leaving the `with` block does it, unless an error leaves it."""
        if self.recording:
            with self._lock:
                for taken in self._opened:
                    taken.write()
                self._tape.save()

    def begin(self, target: Target, outbound: Outbound) -> Taking:
        """Take the next request."""
        if outbound.file is not None:
            raise ConfigError("a cassette cannot hold an upload: what is sent from a file is not kept")
        headers = {**target.headers, **outbound.headers}
        url = target.base_url + outbound.path
        secrets = Secrets(headers, url)
        request = request_of(outbound.method, url, headers, outbound.body, secrets)
        taking = Taking(request, secrets)
        if self.recording:
            with self._lock:
                self._tape.exchanges.append(taking.exchange)
                self._opened.append(taking)
        return taking

    def answer(self, target: Target, outbound: Outbound) -> dict[str, Any]:
        """Return the recorded answer to a request.

        Raises: UnknownRequest.
        """
        taking = self.begin(target, outbound)
        with self._lock:
            return self._tape.find(taking.exchange["request"])


class Taking:
    """One exchange while it is recorded."""

    def __init__(self, request: dict[str, Any], secrets: Secrets) -> None:
        self.exchange: dict[str, Any] = {"request": request, "response": {}}
        self._secrets = secrets
        self._pieces: list[bytes] = []
        self._stream = False

    def head(self, status: int, headers: Mapping[str, str], *, stream: bool) -> None:
        """Keep status and headers."""
        self.exchange["response"] = response_of(status, headers, self._secrets)
        self._stream = stream
        if stream:
            self.exchange["response"]["ended"] = False

    def piece(self, data: bytes) -> None:
        """Keep the next bytes; none at the end."""
        if data:
            self._pieces.append(data)
        elif self._stream:
            self.exchange["response"]["ended"] = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep how the exchange broke, if it does in this block."""
        try:
            yield
        except (ConnectionFailed, OutcomeUnknown, Expired) as error:
            told = "expired" if isinstance(error, Expired) else getattr(error, "code", "outcome_unknown")
            words = self._secrets.without(str(getattr(error, "message", "")))
            self.exchange["response"]["error"] = {"code": told, "message": words}
            raise

    def write(self) -> None:
        """Put the body into the exchange."""
        response = self.exchange["response"]
        if "status" in response:
            whole = b"".join(self._pieces)
            response.update(pieces_of(self._pieces, self._secrets) if self._stream else body_of(whole, self._secrets))


class _Recorded:
    """A recorded answer, given again."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self._answer = answer
        self._pieces = iter(bytes_of(answer))
        if "status" not in answer:
            self._break()
        self.status: int = answer["status"]
        self.headers: Mapping[str, str] = answer.get("headers", {})

    def _break(self) -> None:
        error = self._answer.get("error")
        if error is None:
            if self._answer.get("ended", True):
                return
            raise OutcomeUnknown("the recording ends here: whoever read this stream then left it")
        if error["code"] == "expired":
            raise Expired(time.monotonic())
        raise _ERRORS.get(error["code"], OutcomeUnknown)(error["message"])

    def next(self) -> bytes:
        """Return the next piece; b"" at the end."""
        data = next(self._pieces, b"")
        if not data:
            self._break()
        return data

    def close(self) -> None:
        """Nothing to close."""


class Replayed(_Recorded):
    """One for a `Client`."""

    def read(self, until: float, idle_s: float | None) -> bytes:
        """Return the next piece, at once."""
        return self.next()

    def read_all(self, until: float) -> bytes:
        """Return the whole body, at once."""
        return b"".join(iter(self.next, b""))


class AsyncReplayed(_Recorded):
    """One for an `AsyncClient`."""

    async def read(self, until: float, idle_s: float | None) -> bytes:
        """Return the next piece, at once."""
        return self.next()

    async def read_all(self, until: float) -> bytes:
        """Return the whole body, at once."""
        return b"".join(iter(self.next, b""))


class Taped:
    """The transport of a cassette for a `Client`."""

    def __init__(self, cassette: Cassette, around: SyncTransport | None) -> None:
        self._cassette = cassette
        self._around = around

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> SyncExchange:
        """Send a request and keep it, or find its answer.

        Raises: ConnectionFailed, OutcomeUnknown, Expired, also as they were recorded; UnknownRequest.
        """
        if self._around is None:
            return Replayed(self._cassette.answer(target, outbound))
        taking = self._cassette.begin(target, outbound)
        with taking.watching():
            exchange = self._around.send(target, outbound, until, stream=stream)
        taking.head(exchange.status, exchange.headers, stream=stream)
        return TapedExchange(exchange, taking)

    def close(self) -> None:
        """Close what it sends through."""
        if self._around is not None:
            self._around.close()


class TapedExchange:
    """An answer that is kept while it is read."""

    def __init__(self, exchange: SyncExchange, taking: Taking) -> None:
        self._exchange = exchange
        self._taking = taking
        self.status = exchange.status
        self.headers = exchange.headers

    def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes."""
        with self._taking.watching():
            data = self._exchange.read(until, idle_s)
        self._taking.piece(data)
        return data

    def read_all(self, until: float) -> bytes:
        """Wait for the whole body."""
        with self._taking.watching():
            data = self._exchange.read_all(until)
        self._taking.piece(data)
        self._taking.piece(b"")
        return data

    def close(self) -> None:
        """Close the answer."""
        self._exchange.close()


class AsyncTaped:
    """The transport of a cassette for an `AsyncClient`."""

    def __init__(self, cassette: Cassette, around: AsyncTransport | None) -> None:
        self._cassette = cassette
        self._around = around

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> AsyncExchange:
        """Send a request and keep it, or find its answer.

        Raises: ConnectionFailed, OutcomeUnknown, Expired, also as they were recorded; UnknownRequest.
        """
        if self._around is None:
            return AsyncReplayed(self._cassette.answer(target, outbound))
        taking = self._cassette.begin(target, outbound)
        with taking.watching():
            exchange = await self._around.send(target, outbound, until, stream=stream)
        taking.head(exchange.status, exchange.headers, stream=stream)
        return AsyncTapedExchange(exchange, taking)

    async def close(self) -> None:
        """Close what it sends through."""
        if self._around is not None:
            await self._around.close()


class AsyncTapedExchange:
    """An answer that is kept while it is read."""

    def __init__(self, exchange: AsyncExchange, taking: Taking) -> None:
        self._exchange = exchange
        self._taking = taking
        self.status = exchange.status
        self.headers = exchange.headers

    async def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes."""
        with self._taking.watching():
            data = await self._exchange.read(until, idle_s)
        self._taking.piece(data)
        return data

    async def read_all(self, until: float) -> bytes:
        """Wait for the whole body."""
        with self._taking.watching():
            data = await self._exchange.read_all(until)
        self._taking.piece(data)
        self._taking.piece(b"")
        return data

    def close(self) -> None:
        """Close the answer."""
        self._exchange.close()
