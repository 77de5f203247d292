"""The sync transport over urllib3: its pools, connections and responses, without its `urlopen`.

`urlopen` retries, redirects and reads the address anew for every call, which the gate decides or knows already.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError

from ..._flow.effects import Expired
from ..._wire.protocol import Outbound
from ...errors import ConnectionFailed
from ..http import Target, length_of, lost, not_sent, pieces, window
from .lines import Lines
from .proxies import proxy_for

CHUNK_BYTES: Final = 256 * 1024
JOINED_BYTES_MAX: Final = 64 * 1024
"""A larger body is worth a packet of its own more than a copy."""
POOL_CONNECTIONS: Final = 256
"""Idle connections kept per host; more threads than that open connections of their own, closed after use."""


class _OneWrite(HTTPConnection):
    """A connection that sends head and body in one write: http.client makes two system calls, two packets, of them."""

    _waits = False
    _head = b""

    def request(self, method: str, url: str, body: Any = None, *args: Any, **options: Any) -> None:
        self._waits = isinstance(body, bytes) and len(body) <= JOINED_BYTES_MAX
        super().request(method, url, body, *args, **options)

    def send(self, data: Any) -> None:
        if self._waits:
            self._waits, self._head = False, data
        elif self._head:
            head, self._head = self._head, b""
            super().send(head + data)
        else:
            super().send(data)


class _OneWriteTLS(_OneWrite, HTTPSConnection):
    pass


class Urllib3Transport:
    """Connection pools shared by all threads; a blocked read answers Ctrl-C at once."""

    def __init__(self, *, connect_s: float) -> None:
        self._connect_s = connect_s
        self._lock = threading.Lock()
        self.lines = Lines()
        self._pools: dict[tuple[int, str], tuple[Any, str, dict[str, str]]] = {}
        self._managers: list[urllib3.PoolManager] = []

    def _pool(self, base_url: str) -> tuple[Any, str, dict[str, str]]:
        # A forked child gets pools of its own: two processes on one connection would read each other's answers.
        key = (os.getpid(), base_url)
        found = self._pools.get(key)
        if found is not None:
            return found
        with self._lock:
            if self.lines.closed:
                raise ConnectionFailed("the transport is closed; nothing was sent")
            url = urllib3.util.parse_url(base_url)
            proxy = proxy_for(base_url)
            known = {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}
            manager = (
                urllib3.ProxyManager(proxy.url, proxy_headers=known, maxsize=POOL_CONNECTIONS)
                if proxy
                else urllib3.PoolManager(maxsize=POOL_CONNECTIONS)
            )
            self._managers.append(manager)
            prefix = (url.path or "").rstrip("/")
            if proxy and url.scheme == "http":
                prefix = base_url  # a plain-HTTP proxy is asked for the absolute URL
            pool = manager.connection_from_url(base_url)
            pool.ConnectionCls = self.lines.tracked(_OneWriteTLS if pool.scheme == "https" else _OneWrite)
            # Through a tunnel the proxy is told once, when it is dug.
            return self._pools.setdefault(key, (pool, prefix, known if pool.scheme == "http" else {}))

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> Urllib3Exchange:
        """Send and wait for status and headers.

        Raises: ConnectionFailed, OutcomeUnknown, Expired.
        """
        pool, prefix, more = self._pool(target.base_url)
        encoding = "identity" if stream else "gzip, deflate"
        connection = self._connected(pool, target, until)
        try:
            connection.timeout, _ = window(until)
            with contextlib.suppress(BrokenPipeError):  # what it said before it hung up can still be read
                connection.request(
                    outbound.method,
                    prefix + outbound.path,
                    body=outbound.body if outbound.file is None else pieces(outbound.file),
                    headers={
                        **target.headers,
                        **more,
                        **outbound.headers,
                        **length_of(outbound),
                        "Accept-Encoding": encoding,
                    },
                    preload_content=False,
                )
            return Urllib3Exchange(target, connection.getresponse(), connection, pool)
        except TimeoutError:
            _drop(connection, pool)
            raise Expired(time.monotonic()) from None
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            _drop(connection, pool)
            raise lost(target, error) from error
        except BaseException:
            _drop(connection, pool)
            raise

    def _connected(self, pool: Any, target: Target, until: float) -> Any:
        """Take a connection out of the pool; a new one is connected, through the tunnel of a proxy and with TLS.

        Raises: ConnectionFailed, Expired.
        """
        seconds, _ = window(until)
        connection = pool._get_conn()
        if not connection.is_closed:
            return connection
        try:
            connection.timeout = self._connect_s if seconds is None else min(self._connect_s, seconds)
            if pool.proxy is not None and pool.scheme == "https":
                pool._prepare_proxy(connection)
            else:
                connection.connect()
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            _drop(connection, pool)
            if isinstance(error, TimeoutError | ConnectTimeoutError) and time.monotonic() >= until:
                raise Expired(time.monotonic()) from None
            raise not_sent(target, error) from error
        except BaseException:
            _drop(connection, pool)
            raise
        return connection

    def close(self) -> None:
        """Close all connections, also those that threads wait for."""
        self.lines.close()
        with self._lock:
            self._pools.clear()
            for manager in self._managers:
                manager.clear()
            self._managers.clear()


def _drop(connection: Any, pool: Any) -> None:
    """Close a connection; its place in the pool is free for a new one."""
    connection.close()
    pool._put_conn(connection)


class Urllib3Exchange:
    """The answer to one request."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_ended",
        "_plain",
        "_pool",
        "_response",
        "_sock",
        "_target",
        "headers",
        "status",
    )

    def __init__(self, target: Target, response: Any, connection: Any, pool: Any) -> None:
        self._target = target
        self._response = response
        self._connection = connection
        self._pool = pool
        self._ended = False
        self._sock: Any = connection.line
        # What the server sent as one chunk is read as one piece, at half the price of looking for what is there.
        self._chunks = response.read_chunked(decode_content=True) if response.chunked else None
        plain = self._chunks is not None and response.headers.get("content-encoding", "identity") == "identity"
        self._plain: Any = response._fp.fp if plain else None
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers  # finds names in any case

    def read(self, until: float, idle_s: float | None) -> bytes:
        """Wait for the next bytes; b"" at the end.

        Raises: OutcomeUnknown, Expired.
        """
        if self._ended:
            return b""
        seconds, idle = window(until, idle_s)
        try:
            self._sock.until = until
            if not _near(seconds, self._sock.gettimeout()):
                self._sock.settimeout(seconds)
            data: bytes = self._response.read1(CHUNK_BYTES) if self._chunks is None else next(self._chunks, b"")
            if data and self._plain is not None:
                data = self._with_more(data)
        except ReadTimeoutError:
            self.close()
            now = time.monotonic()
            raise Expired(now, idle=idle and now < until) from None
        except (HTTPError, OSError, ValueError, ArithmeticError, MemoryError) as error:
            # http.client and urllib3 let a nonsensical chunk size through to int() and read().
            self.close()
            raise lost(self._target, error) from error
        # Once all that was announced is read, the connection is back in its pool and belongs to somebody else. A full
        # piece may leave more behind in the decoder.
        self._ended = not data or (self._response.length_remaining == 0 and len(data) < CHUNK_BYTES)
        if self._ended:
            self._pool._put_conn(self._connection)
            self._connection = None
        return data

    def _with_more(self, data: bytes) -> bytes:
        """Add the chunks that are here already, whole, so that a burst of them is one piece. Never waits."""
        self._sock.dry = True
        try:
            here: bytes = self._plain.peek()
        finally:
            self._sock.dry = False
        pieces = [data]
        used = 0
        while (line := here.find(b"\r\n", used)) > 0:
            try:
                end = line + 2 + int(here[used:line], 16)
            except ValueError:
                break
            # The last chunk, one that is not whole yet and whatever is odd are left to the library.
            if end <= line + 2 or here[end : end + 2] != b"\r\n":
                break
            pieces.append(here[line + 2 : end])
            used = end + 2
        if not used:
            return data
        self._plain.read(used)
        return b"".join(pieces)

    def read_all(self, until: float) -> bytes:
        """Wait for the whole body.

        Raises: OutcomeUnknown, Expired.
        """
        pieces = []
        while data := self.read(until, None):
            pieces.append(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Drop the connection, unless the body was read to its end and it is back in its pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._response.close()
            _drop(connection, self._pool)


def _near(seconds: float | None, set_s: float | None) -> bool:
    """Whether a socket's timeout is right or at most 2 % too long, which is not worth a system call."""
    if seconds is None or set_s is None:
        return seconds is set_s
    return seconds <= set_s <= seconds * 1.02
