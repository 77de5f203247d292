"""The sync transport over urllib3."""

from __future__ import annotations

import os
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from ..._flow.effects import Expired
from ..._wire.protocol import Outbound
from ...errors import ConnectionFailed
from ..http import Target, content, lost, not_sent, window
from .lines import Lines

CHUNK_BYTES: Final = 256 * 1024
NO_RETRIES: Final = urllib3.Retry.from_int(False, redirect=False)
"""The gate owns retries; made once, since urllib3 would make one for every call."""
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
        self._pools: dict[tuple[int, str], tuple[Any, str]] = {}
        self._managers: list[urllib3.PoolManager] = []

    def _pool(self, base_url: str) -> tuple[Any, str]:
        # A forked child gets pools of its own: two processes on one connection would read each other's answers.
        key = (os.getpid(), base_url)
        found = self._pools.get(key)
        if found is not None:
            return found
        with self._lock:
            if self.lines.closed:
                raise ConnectionFailed("the transport is closed; nothing was sent")
            url = urllib3.util.parse_url(base_url)
            proxies = urllib.request.getproxies()
            proxy = None if urllib.request.proxy_bypass(url.host or "") else proxies.get(url.scheme or "http")
            manager = (
                urllib3.ProxyManager(proxy, maxsize=POOL_CONNECTIONS)
                if proxy
                else urllib3.PoolManager(maxsize=POOL_CONNECTIONS)
            )
            self._managers.append(manager)
            prefix = (url.path or "").rstrip("/")
            if proxy and url.scheme == "http":
                prefix = base_url  # a plain-HTTP proxy is asked for the absolute URL
            pool = manager.connection_from_url(base_url)
            pool.ConnectionCls = self.lines.tracked(_OneWriteTLS if pool.scheme == "https" else _OneWrite)
            return self._pools.setdefault(key, (pool, prefix))

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> Urllib3Exchange:
        """Send and wait for status and headers.

        Raises: ConnectionFailed, OutcomeUnknown, Expired.
        """
        pool, prefix = self._pool(target.base_url)
        headers = {**target.headers, **outbound.headers} if outbound.headers else target.headers
        encoding = "identity" if stream else "gzip, deflate"
        seconds, _ = window(until)
        try:
            response = pool.urlopen(
                outbound.method,
                prefix + outbound.path,
                body=content(outbound),
                headers={**headers, "Accept-Encoding": encoding},
                retries=NO_RETRIES,
                redirect=False,
                preload_content=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(
                    total=seconds,
                    connect=self._connect_s if seconds is None else min(self._connect_s, seconds),
                    read=None,
                ),
            )
        except ReadTimeoutError:
            raise Expired(time.monotonic()) from None
        except ConnectTimeoutError as error:
            if time.monotonic() >= until:
                raise Expired(time.monotonic()) from None
            raise not_sent(target, error) from error
        except (NewConnectionError, SSLError, ProxyError) as error:
            raise not_sent(target, error) from error
        except (HTTPError, OSError, ValueError) as error:
            raise lost(target, error) from error
        return Urllib3Exchange(target, response)

    def close(self) -> None:
        """Close all connections, also those that threads wait for."""
        self.lines.close()
        with self._lock:
            self._pools.clear()
            for manager in self._managers:
                manager.clear()
            self._managers.clear()


class Urllib3Exchange:
    """The answer to one request."""

    __slots__ = ("_chunks", "_ended", "_response", "_sock", "_target", "headers", "status")

    def __init__(self, target: Target, response: Any) -> None:
        self._target = target
        self._response = response
        self._ended = False
        self._sock: Any = getattr(response.connection, "line", None)
        # What the server sent as one chunk is read as one piece, at half the price of looking for what is there.
        self._chunks = response.read_chunked(decode_content=True) if response.chunked else None
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
            if self._sock is not None:
                self._sock.until = until
                if not _near(seconds, self._sock.gettimeout()):
                    self._sock.settimeout(seconds)
            data: bytes = self._response.read1(CHUNK_BYTES) if self._chunks is None else next(self._chunks, b"")
        except ReadTimeoutError:
            now = time.monotonic()
            raise Expired(now, idle=idle and now < until) from None
        except (HTTPError, OSError, ValueError, ArithmeticError, MemoryError) as error:
            # http.client and urllib3 let a nonsensical chunk size through to int() and read().
            raise lost(self._target, error) from error
        # Once all that was announced is read, the connection is back in its pool and belongs to somebody else. A full
        # piece may leave more behind in the decoder.
        self._ended = not data or (self._response.length_remaining == 0 and len(data) < CHUNK_BYTES)
        return data

    def read_all(self, until: float) -> bytes:
        """Wait for the whole body.

        Raises: OutcomeUnknown, Expired.
        """
        pieces = []
        while data := self.read(until, None):
            pieces.append(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        if self._ended:
            self._response.release_conn()
        else:
            self._response.close()


def _near(seconds: float | None, set_s: float | None) -> bool:
    """Whether a socket's timeout is right or at most 2 % too long, which is not worth a system call."""
    if seconds is None or set_s is None:
        return seconds is set_s
    return seconds <= set_s <= seconds * 1.02
