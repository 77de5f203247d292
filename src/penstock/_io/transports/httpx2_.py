"""Both transports over httpx2, for users who want its mocks, ASGI apps and HTTP/2 (extra `httpx2`)."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Iterator

from ..._flow.effects import Expired
from ..._wire.protocol import Outbound
from ...errors import MissingExtra
from ..http import Target, length_of, lost, not_sent, pieces, pieces_async, window

try:
    import httpx2
except ImportError as error:
    raise MissingExtra("transport 'httpx2' is not installed; run: pip install 'penstock[httpx2]'") from error

NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


def _headers(target: Target, outbound: Outbound, stream: bool) -> dict[str, str]:
    encoding = {"accept-encoding": "identity"} if stream else {}
    return {**target.headers, **outbound.headers, **encoding, **length_of(outbound)}


class Httpx2Transport:
    """The sync transport over `httpx2.Client`; give one of your own to use its mounts or mock transports."""

    def __init__(self, *, connect_s: float, client: httpx2.Client | None = None) -> None:
        self._connect_s = connect_s
        self._given = client
        self._clients: dict[int, httpx2.Client] = {}

    @property
    def _client(self) -> httpx2.Client:
        if self._given is not None:
            return self._given
        # A forked child gets a client of its own: two processes on one connection would read each other's answers.
        found = self._clients.get(os.getpid())
        if found is None:
            made = httpx2.Client(limits=httpx2.Limits(max_connections=None), follow_redirects=False)
            found = self._clients.setdefault(os.getpid(), made)
        return found

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> Httpx2Exchange:
        """Send and wait for status and headers.

        Raises: ConnectionFailed, OutcomeUnknown, Expired.
        """
        seconds, _ = window(until)
        request = self._client.build_request(
            outbound.method,
            target.base_url + outbound.path,
            content=outbound.body if outbound.file is None else pieces(outbound.file),
            headers=_headers(target, outbound, stream),
            timeout=httpx2.Timeout(seconds, connect=min(self._connect_s, seconds or math.inf)),
        )
        try:
            response = self._client.send(request, stream=True)
        except NOT_SENT as error:
            if time.monotonic() >= until:
                raise Expired(time.monotonic()) from None
            raise not_sent(target, error) from error
        except httpx2.TimeoutException:
            raise Expired(time.monotonic()) from None
        except (httpx2.HTTPError, ValueError) as error:
            raise lost(target, error) from error
        return Httpx2Exchange(target, response)

    def close(self) -> None:
        """Close the client, unless the caller owns it."""
        for client in self._clients.values():
            client.close()


class Httpx2Exchange:
    """The answer to one request."""

    def __init__(self, target: Target, response: httpx2.Response) -> None:
        self._target = target
        self._response = response
        self._pieces: Iterator[bytes] | None = None
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes; b"" at the end.

        Raises: OutcomeUnknown, Expired.
        """
        seconds, idle = window(until, idle_s)
        if self._pieces is None:
            # httpx2 looks at the read timeout once, when the body begins: a stream's deadline is therefore only checked
            # between two pieces and can pass by up to idle_s.
            self._response.request.extensions["timeout"]["read"] = seconds
            self._pieces = self._response.iter_bytes()
        try:
            return next(self._pieces, b"")
        except httpx2.TimeoutException:
            raise Expired(time.monotonic(), idle=idle) from None
        except (httpx2.HTTPError, ValueError) as error:
            raise lost(self._target, error) from error

    def read_all(self, until: float) -> bytes:
        """Wait for the whole body.

        Raises: OutcomeUnknown, Expired.
        """
        return b"".join(iter(lambda: self.read(until, None), b""))

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        self._response.close()


class AsyncHttpx2Transport:
    """The async transport over `httpx2.AsyncClient`; give one of your own to use its mounts or mock transports."""

    def __init__(self, *, connect_s: float, client: httpx2.AsyncClient | None = None) -> None:
        self._connect_s = connect_s
        self._owned = client is None
        self._client = client or httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None), follow_redirects=False)

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> AsyncHttpx2Exchange:
        """Send and wait for status and headers.

        Raises: ConnectionFailed, OutcomeUnknown, Expired.
        """
        request = self._client.build_request(
            outbound.method,
            target.base_url + outbound.path,
            content=outbound.body if outbound.file is None else pieces_async(outbound.file),
            headers=_headers(target, outbound, stream),
            timeout=httpx2.Timeout(None, connect=self._connect_s),
        )
        try:
            async with asyncio.timeout(window(until)[0]):
                response = await self._client.send(request, stream=True)
        except NOT_SENT as error:
            raise not_sent(target, error) from error
        except TimeoutError:
            raise Expired(time.monotonic()) from None
        except (httpx2.HTTPError, ValueError) as error:
            raise lost(target, error) from error
        return AsyncHttpx2Exchange(target, response)

    async def close(self) -> None:
        """Close the client, unless the caller owns it."""
        if self._owned:
            await self._client.aclose()


class AsyncHttpx2Exchange:
    """The answer to one request."""

    def __init__(self, target: Target, response: httpx2.Response) -> None:
        self._target = target
        self._response = response
        self._pieces: AsyncIterator[bytes] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes; b"" at the end.

        Raises: OutcomeUnknown, Expired.
        """
        seconds, idle = window(until, idle_s)
        if self._pieces is None:
            self._pieces = self._response.aiter_bytes()
        try:
            async with asyncio.timeout(seconds):
                return await anext(self._pieces, b"")
        except TimeoutError:
            raise Expired(time.monotonic(), idle=idle) from None
        except (httpx2.HTTPError, ValueError) as error:
            raise lost(self._target, error) from error

    async def read_all(self, until: float) -> bytes:
        """Wait for the whole body.

        Raises: OutcomeUnknown, Expired.
        """
        pieces = []
        while data := await self.read(until, None):
            pieces.append(data)
        return b"".join(pieces)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        if not self._response.is_closed:
            self._closing = asyncio.ensure_future(self._response.aclose())
