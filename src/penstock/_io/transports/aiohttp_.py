"""The async transport over aiohttp: its connections, parser and decompression, without its session.

A session costs more than all the rest of a call together: it builds a request anew for every call, of which here only
the length and the body differ. What a lane sends is prepared once, as a `_Road`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from multidict import CIMultiDict
from yarl import URL

from ..._wire.protocol import Outbound
from ...errors import ConfigError, ConnectionFailed
from ..http import Target, lost, not_sent, pieces, window
from ..watchdog import Watchdog
from .proxies import proxy_for

KEEPALIVE_S: Final = 15.0
"""Below the idle limit of every provider's balancer, so that a pooled connection is rarely found closed."""

READ_BYTES: Final = 64 * 1024
"""How much is read at once at most. Asyncio makes room for 256 KiB, which malloc may map anew for each read."""

ROADS_MAX: Final = 1024
"""Prepared requests that are remembered; paths that are asked for once would else pile up."""

_BROKEN: Final = (aiohttp.ClientError, HttpProcessingError, OSError)


class _Connector(aiohttp.TCPConnector):
    """A connector whose connections read little at once, and which goes quietly when its loop is gone."""

    async def _create_connection(self, *given: Any, **named: Any) -> ResponseHandler:
        protocol = await super()._create_connection(*given, **named)
        transport: Any = protocol.transport
        if hasattr(transport, "max_size"):  # asyncio's own, without TLS
            transport.max_size = READ_BYTES
        return protocol

    def __del__(self, _warnings: Any = None) -> None:
        """Say nothing: no loop is left that could close the sockets, which close with their transports."""


class _Road:
    """The way to one address: the request that connections are made for, and the head of all that is sent there."""

    __slots__ = ("head", "request", "target")

    def __init__(self, target: Target, outbound: Outbound, stream: bool, loop: asyncio.AbstractEventLoop) -> None:
        self.target = target
        url = URL(target.base_url + outbound.path, encoded=True)
        proxy = proxy_for(str(url))
        headers = dict(target.headers)
        asked = url.raw_path_qs
        if stream:
            # A compressing proxy holds small chunks back; an uncompressed stream arrives as it is produced.
            headers["Accept-Encoding"] = "identity"
        tunnel: CIMultiDict[str] | None = None
        if proxy is not None and url.scheme == "http":
            asked = str(url)  # a plain-HTTP proxy is asked for the absolute URL
            headers |= {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        elif proxy is not None and proxy.authorization:
            tunnel = CIMultiDict({"Proxy-Authorization": proxy.authorization})
        self.request = aiohttp.ClientRequest(
            "GET",  # whatever is sent in the end: connections are the same for all methods
            url,
            headers=headers,
            loop=loop,
            proxy=URL(proxy.url) if proxy else None,
            proxy_headers=tunnel,
        )
        self.head = f"{outbound.method} {asked} HTTP/1.1\r\n".encode() + _lines(self.request.headers)


def _lines(headers: Mapping[str, str]) -> bytes:
    """Write headers down.

    Raises: ConfigError for one that would end its line, without saying which: it may be the credential.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\r") + lines.count("\n") != 2 * len(headers) or "\0" in lines:
        raise ConfigError("a header has a line break or a NUL inside; nothing was sent")
    return lines.encode()


async def _upload(connection: Connection, head: bytes, outbound: Outbound) -> None:
    """Send a request whose body is a file, no faster than it is taken."""
    protocol = connection.protocol
    assert protocol is not None
    assert protocol.transport is not None
    assert outbound.file is not None
    protocol.set_response_params(read_until_eof=True)
    protocol.transport.write(b"%bContent-Length: %d\r\n\r\n" % (head, outbound.file.size))
    for data in pieces(outbound.file):
        protocol.transport.write(data)
        await protocol._drain_helper()


class AiohttpTransport:
    """One pool of connections for the running event loop; the caller limits concurrency, not the pool."""

    def __init__(self, *, connect_s: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect_s, sock_read=None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connector: _Connector | None = None
        self._closed = False
        self.streams: set[AiohttpExchange] = set()
        self._roads: dict[tuple[int, str, str, bool], _Road] = {}

    def _connections(self) -> _Connector:
        loop = asyncio.get_running_loop()
        if self._connector is None or self._loop is not loop:
            if self._closed:
                raise ConnectionFailed("the transport is closed; nothing was sent")
            # Connections belong to their loop: the next asyncio.run(), also that of a forked child, gets its own.
            self._loop = loop
            self._roads = {}
            self.watchdog = Watchdog(loop)
            self._connector = _Connector(limit=0, keepalive_timeout=KEEPALIVE_S)
        return self._connector

    def _road(self, target: Target, outbound: Outbound, stream: bool) -> _Road:
        key = (id(target), outbound.method, outbound.path, stream)
        road = self._roads.get(key)
        if road is None:
            assert self._loop is not None
            if len(self._roads) >= ROADS_MAX:
                self._roads.clear()
            road = self._roads[key] = _Road(target, outbound, stream, self._loop)
        return road

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> AiohttpExchange:
        """Send and wait for status and headers, and unless it is a stream for the whole body: one wait is cheaper.

        Raises: ConnectionFailed, OutcomeUnknown, Expired.
        """
        connector = self._connections()
        road = self._road(target, outbound, stream)
        own = _lines(outbound.headers) if outbound.headers else b""
        seconds, _ = window(until)
        with self.watchdog.watch(seconds):
            try:
                connection = await connector.connect(road.request, [], self._timeout)
            except (aiohttp.ClientError, OSError) as error:
                raise not_sent(target, error) from error
            try:
                if outbound.file is not None:
                    await _upload(connection, b"%b%b" % (road.head, own), outbound)
                    return await self._answer(connection, target, stream)
                return await self._ask(
                    connection,
                    b"%b%bContent-Length: %d\r\n\r\n%b" % (road.head, own, len(outbound.body), outbound.body),
                    target,
                    stream,
                )
            except _BROKEN as error:
                connection.close()
                raise lost(target, error) from error
            except BaseException:
                connection.close()
                raise

    async def _ask(self, connection: Connection, data: bytes, target: Target, stream: bool) -> AiohttpExchange:
        protocol = connection.protocol
        assert protocol is not None
        protocol.set_response_params(read_until_eof=True)
        assert protocol.transport is not None
        protocol.transport.write(data)
        return await self._answer(connection, target, stream)

    async def _answer(self, connection: Connection, target: Target, stream: bool) -> AiohttpExchange:
        protocol = connection.protocol
        assert protocol is not None
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:
            message, content = await protocol.read()
        if not stream:
            body = await content.read()
            connection.release()
            return AiohttpExchange(target, message, content, connection, self, body)
        exchange = AiohttpExchange(target, message, content, connection, self, None)
        self.streams.add(exchange)
        return exchange

    async def close(self) -> None:
        """Close all connections, also those in use."""
        self._closed = True
        for exchange in tuple(self.streams):
            exchange.close()
        connector, self._connector = self._connector, None
        if connector is not None and self._loop is asyncio.get_running_loop():
            await connector.close()


class AiohttpExchange:
    """The answer to one request; `body` is all of it where it came whole."""

    __slots__ = ("_body", "_connection", "_content", "_target", "_transport", "headers", "status")

    def __init__(
        self,
        target: Target,
        message: RawResponseMessage,
        content: aiohttp.StreamReader,
        connection: Connection,
        transport: AiohttpTransport,
        body: bytes | None,
    ) -> None:
        self._body = body
        self._target = target
        self._transport = transport
        self._content = content
        self._connection = connection
        self.status = message.code
        self.headers: Mapping[str, str] = message.headers  # finds names in any case

    async def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes; b"" at the end.

        Raises: OutcomeUnknown, Expired.
        """
        content = self._content
        try:
            ready: bytes = content.read_nowait(-1)
            if ready or content.at_eof():
                return ready
            seconds, idle = window(until, idle_s)
            with self._transport.watchdog.watch(seconds, idle=idle):
                data: bytes = await content.readany()
                return data
        except _BROKEN as error:
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
                return await self._content.read()
        except _BROKEN as error:
            raise lost(self._target, error) from error

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        self._transport.streams.discard(self)
        if self._content.at_eof():
            self._connection.release()
        else:
            self._connection.close()
            self._content.set_exception(aiohttp.ClientConnectionError("closed"))  # for whoever waits to read
