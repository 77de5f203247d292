"""The async transport over aiohttp."""

from __future__ import annotations

import asyncio
import os
import time
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from yarl import URL

from ..._flow.effects import Expired
from ..._wire.protocol import Outbound
from ..http import Target, lost, not_sent, window
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
        self._watchdog = Watchdog()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: aiohttp.ClientSession | None = None
        self._pid = 0
        self._urls: dict[tuple[str, str], URL] = {}
        self._proxied = not {"http", "https", "all"}.isdisjoint(urllib.request.getproxies())

    def _session(self) -> aiohttp.ClientSession:
        if self._open is None or self._loop is None or self._loop.is_closed() or self._pid != os.getpid():
            # A session belongs to its loop and process: the next asyncio.run() and a forked child get their own.
            if self._open is not None:
                self._open.detach()
            self._pid = os.getpid()
            self._loop = asyncio.get_running_loop()
            self._watchdog = Watchdog()
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
        try:
            response = await self._watchdog.wait(_ask(session, outbound, url, headers, stream), until)
        except aiohttp.ConnectionTimeoutError as error:
            raise not_sent(target, error) from error
        except aiohttp.ClientConnectorError as error:
            raise not_sent(target, error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise lost(target, error) from error
        return AiohttpExchange(target, response, self._watchdog)

    async def close(self) -> None:
        """Close all connections."""
        session, self._open = self._open, None
        if session is None:
            return
        if self._loop is asyncio.get_running_loop() and self._pid == os.getpid():
            await session.close()
        else:
            session.detach()


async def _ask(
    session: aiohttp.ClientSession, outbound: Outbound, url: URL, headers: Mapping[str, str], stream: bool
) -> aiohttp.ClientResponse:
    response = await session.request(outbound.method, url, data=outbound.body, headers=headers, allow_redirects=False)
    if not stream:
        await response.read()  # aiohttp keeps it, and closes the connection when it fails
    return response


class AiohttpExchange:
    """The answer to one request."""

    __slots__ = ("_response", "_target", "_watchdog", "headers", "status")

    def __init__(self, target: Target, response: aiohttp.ClientResponse, watchdog: Watchdog) -> None:
        self._target = target
        self._watchdog = watchdog
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
            async with asyncio.timeout(seconds):
                data: bytes = await content.readany()
                return data
        except TimeoutError:
            raise Expired(time.monotonic(), idle=idle) from None
        except (aiohttp.ClientError, OSError) as error:
            raise lost(self._target, error) from error

    async def read_all(self, until: float) -> bytes:
        """Wait for the whole body.

        Raises: OutcomeUnknown, Expired.
        """
        try:
            if self._response.content.at_eof():
                return await self._response.read()  # it is all here
            return await self._watchdog.wait(self._response.read(), until)
        except (aiohttp.ClientError, OSError) as error:
            raise lost(self._target, error) from error

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        if self._response.connection is None:
            return  # aiohttp gave it back with the last byte
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
