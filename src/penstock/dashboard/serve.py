"""The page on a socket: it listens before it says so, and ends at once when it is told to."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Final

import uvicorn

from ..errors import ConfigError
from ..ledger import file_of
from .app import Server
from .guard import is_loopback, new_token
from .reading import Reading

EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not chosen
GRACE_S: Final = 2
"""How long answers that are under way may take at the end."""


class _Served(uvicorn.Server):
    """Leaves the signals of the process to the command."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()


class Page:
    """A page that listens already; `url` opens it. `token` is None where only this machine can reach it.

    Raises: ConfigError when nobody can listen there or there is no ledger, LedgerUnavailable when it cannot be read.
    """

    def __init__(self, ledger: str | os.PathLike[str] | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.ledger = file_of(ledger)
        Reading(self.ledger).close()
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.token = None if is_loopback(host) else new_token()
        self._server = Server(self.ledger, host=host, port=self.port, token=self.token)
        name = socket.gethostname() if host in EVERYWHERE else f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self.port}/"
        config = uvicorn.Config(
            self._server.app,
            access_log=False,
            date_header=False,
            http="h11",
            lifespan="on",
            log_config=None,
            loop="none",
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            ws="none",
        )
        self._uvicorn = _Served(config)

    @property
    def door(self) -> str:
        """The address with the token in it, where one is needed."""
        return self.url if self.token is None else f"{self.url}?token={self.token}"

    def stop(self) -> None:
        """End the server: open streams first, as each of them would go on for ever."""
        self._server.feed.close()
        self._uvicorn.should_exit = True

    async def serve(self) -> None:
        """Serve until `stop`."""
        await self._uvicorn.serve([self._socket])

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        ((family, kind, proto, _, address), *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        heard = socket.socket(family, kind, proto)
    except (OSError, UnicodeError) as error:
        raise ConfigError(_deaf(host, port, error)) from error
    try:
        if os.name == "posix":  # elsewhere the option would let two programs have one port
            heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        heard.bind(address)
        heard.listen()
    except OSError as error:
        heard.close()
        raise ConfigError(_deaf(host, port, error)) from error
    return heard


def _deaf(host: str, port: int, error: OSError | UnicodeError) -> str:
    """Say why nobody can be heard there, and what to do."""
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, socket.gaierror | UnicodeError) or error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host!r} is no address of this machine ({why}); 127.0.0.1 is, and 0.0.0.0 stands for all"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken, perhaps by another penstock dashboard: "
            f"open http://{host}:{port}/, or choose another --port (0 takes a free one)"
        )
    return f"cannot listen on {host}:{port}: {why}; choose another --port"
