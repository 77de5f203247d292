"""The async transport over aiohttp."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from yarl import URL

from ..._wire.protocol import Outbound
from ...errors import ConnectionFailed
from ..http import Target, content_async, lost, not_sent, window
from ..watchdog import Watchdog

CHUNK_BYTES: Final = 256 * 1024
KEEPALIVE_S: Final = 15.0
"""Below the idle limit of every provider's balancer, so that a pooled connection is rarely found closed."""


class _Connector(aiohttp.TCPConnector):
    """A connector that goes quietly when its loop is gone: nothing is left then that could be closed."""

    def __del__(self, _warnings: Any = None) -> None:
        """Say nothing; the sockets close with their transports."""


class AiohttpTransport:
    """One aiohttp session for the running event loop; the caller limits concurrency, not the connection pool."""

    def __init__(self, *, connect_s: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect_s, sock_read=None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: aiohttp.ClientSession | None = None
        self._closed = False
        self.streams: set[AiohttpExchange] = set()
        self._urls: dict[tuple[str, str], URL] = {}
        self._proxied = not {"http", "https", "all"}.isdisjoint(urllib.request.getproxies())

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._open is None or self._loop is not loop:
            if self._closed:
                raise ConnectionFailed("the transport is closed; nothing was sent")
            # A session belongs to its loop: the next asyncio.run(), also that of a forked child, gets its own.
            if self._open is not None:
                self._open.detach()
            self._loop = loop
            self.watchdog = Watchdog(loop)
            self._open = aiohttp.ClientSession(
                connector=_Connector(limit=0, keepalive_timeout=KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                trust_env=self._proxied,
                auto_decompress=True,
            )
        return self._open

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> AiohttpExchange:
        """Send and wait for status and headers, and unless it is a stream for the whole body: one wait is cheaper.

        Raises: ConnectionFailed, OutcomeUnknown, Expired.
        """
        key = (target.base_url, outbound.path)
        url = self._urls.get(key)
        if url is None:
            url = self._urls[key] = URL(target.base_url + outbound.path, encoded=True)
        headers = {**target.headers, **outbound.headers} if outbound.headers else target.headers
        if stream:
            # A compressing proxy holds small chunks back; an uncompressed stream arrives as it is produced.
            headers = {**headers, "Accept-Encoding": "identity"}
        session = self._session()
        seconds, _ = window(until)
        try:
            with self.watchdog.watch(seconds):
                response = await session.request(
                    outbound.method, url, data=content_async(outbound), headers=headers, allow_redirects=False
                )
                body = None if stream else await response.read()
        except aiohttp.ConnectionTimeoutError as error:
            raise not_sent(target, error) from error
        except aiohttp.ClientConnectorError as error:
            raise not_sent(target, error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise lost(target, error) from error
        exchange = AiohttpExchange(target, response, self, body)
        if stream:
            self.streams.add(exchange)
        return exchange

    async def close(self) -> None:
        """Close all connections, also those in use."""
        self._closed = True
        for exchange in tuple(self.streams):
            exchange.close()  # aiohttp would leave its reader waiting
        session, self._open = self._open, None
        if session is None:
            return
        if self._loop is asyncio.get_running_loop():
            await session.close()
        else:
            session.detach()


class AiohttpExchange:
    """The answer to one request; `body` is all of it where it came whole."""

    __slots__ = ("_body", "_response", "_target", "_transport", "headers", "status")

    def __init__(
        self, target: Target, response: aiohttp.ClientResponse, transport: AiohttpTransport, body: bytes | None
    ) -> None:
        self._body = body
        self._target = target
        self._transport = transport
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers  # finds names in any case

    async def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes; b"" at the end.

        Raises: OutcomeUnknown, Expired.
        """
        content: Any = self._response.content
        try:
            ready: bytes = content.read_nowait(-1)
            if ready or content.at_eof():
                return ready
            seconds, idle = window(until, idle_s)
            with self._transport.watchdog.watch(seconds, idle=idle):
                data: bytes = await content.readany()
                return data
        except (aiohttp.ClientError, OSError) as error:
            raise lost(self._target, error) from error

    async def read_all(self, until: float) -> bytes:
        """Wait for the whole body.

        Raises: OutcomeUnknown, Expired.
        """
        if self._body is not None:
            return self._body
        try:
            seconds, _ = window(until)
            with self._transport.watchdog.watch(seconds):
                return await self._response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise lost(self._target, error) from error

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        self._transport.streams.discard(self)
        if self._response.connection is None:
            return  # aiohttp gave it back with the last byte
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
