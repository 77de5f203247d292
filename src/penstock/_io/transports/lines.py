"""The lines of a sync transport: its open sockets, kept to their deadlines, and what ends the wait of another thread.

A socket's own timeout begins anew with every byte; a line has an instant at which it ends, however it trickles.

A thread that is blocked on a socket comes back when the socket is shut down, be it connecting, shaking hands, waiting
for an answer or reading one. Only the look-up of a name cannot be ended.
"""

from __future__ import annotations

import contextlib
import errno
import math
import socket
import ssl
import threading
import time
import weakref
from typing import Any, Final

from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

_ENDED: Final = object()


class _Timely:
    """A socket that waits for bytes until an instant of the monotonic clock, and no longer than its timeout.

    While it is `dry` it gives nothing: what has been read from it already can then be looked at without a wait.
    """

    until = math.inf
    dry = False

    def recv_into(self: Any, *args: Any) -> int:
        if self.dry:
            raise BlockingIOError(errno.EAGAIN, "nothing is asked of the socket now")
        left_s = self.until - time.monotonic()
        waits_s = self.gettimeout()
        if waits_s is None or left_s < waits_s * 0.98:
            if left_s <= 0:
                raise TimeoutError("timed out")
            self.settimeout(None if math.isinf(left_s) else left_s)
        received: int = super().recv_into(*args)  # type: ignore[misc]
        return received


class _Line(_Timely, socket.socket):
    pass


class _TLSLine(_Timely, ssl.SSLSocket):
    pass


class Lines:
    """Knows the connections of a transport, and by which thread one is used where that thread is watched."""

    def __init__(self) -> None:
        self.closed = False
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._watched: dict[threading.Thread, Any] = {}

    def tracked(self, connection: Any) -> Any:
        """Return a connection class of urllib3 that tells these lines what it does."""
        lines = self

        class Tracked(connection):  # type: ignore[misc]
            line: socket.socket | None = None
            user: threading.Thread | None = None

            def _new_conn(self) -> socket.socket:
                return _dial(self, lines)

            def connect(self) -> None:
                try:
                    super().connect()
                    if type(self.sock) is ssl.SSLSocket:
                        self.sock.__class__ = _TLSLine  # made by the context, which knows of no other class
                finally:
                    dialled, self.line = self.line, None
                    if dialled is not None:
                        dialled.close()

            def getresponse(self) -> Any:
                self.line = self.sock  # a connection that ends with its answer forgets its socket
                self.sock.until = math.inf if self.timeout is None else time.monotonic() + self.timeout
                if lines._watched:
                    lines.used(self)
                return super().getresponse()

        return Tracked

    def used(self, connection: Any) -> None:
        """Note which connection the calling thread is about to wait for.

        Raises: OSError when the thread was told to end its wait, or the lines are closed.
        """
        thread = threading.current_thread()
        with self._lock:
            self._open.add(connection)
            connection.user = thread
            if self.closed or self._watched.get(thread) is _ENDED:
                raise ConnectionAbortedError("ended from another thread")
            if thread in self._watched:
                self._watched[thread] = connection

    def watch(self, thread: threading.Thread) -> None:
        """From now on `interrupt` can end what this thread waits for."""
        with self._lock:
            self._watched.setdefault(thread, None)

    def forget(self, thread: threading.Thread) -> None:
        """Watch a thread no longer."""
        with self._lock:
            self._watched.pop(thread, None)

    def interrupt(self, thread: threading.Thread) -> None:
        """End what a watched thread waits for, and whatever it would wait for next."""
        with self._lock:
            connection = self._watched.get(thread)
            self._watched[thread] = _ENDED
            if connection is not None and connection is not _ENDED and connection.user == thread:
                _hang_up(connection)

    def close(self) -> None:
        """End what all threads wait for."""
        with self._lock:
            self.closed = True
            for connection in tuple(self._open):
                _hang_up(connection)


def _hang_up(connection: Any) -> None:
    for sock in (connection.line, connection.sock):
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # an SSLSocket's own would break the reading thread


def _dial(connection: Any, lines: Lines) -> socket.socket:
    """Connect to the first address that answers, as urllib3 does, with the socket in sight from the beginning."""
    try:
        host = connection._dns_host.strip("[]")
        name = host.encode() if host.isascii() else host  # a str loads the tables of foreign letters first
        found = socket.getaddrinfo(name, connection.port, allowed_gai_family(), socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    failed: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in found:
        sock = _Line(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(connection.timeout)
            if connection.line is not None:
                connection.line.close()
            connection.line = sock.dup()  # TLS takes the socket itself away until hands are shaken
            lines.used(connection)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    if isinstance(failed, TimeoutError):
        words = f"connecting to {connection.host} timed out after {connection.timeout} s"
        raise ConnectTimeoutError(connection, words) from failed
    raise NewConnectionError(connection, f"cannot connect: {failed}") from failed
