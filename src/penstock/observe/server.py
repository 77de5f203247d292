"""A small server that Prometheus scrapes."""

from __future__ import annotations

import socket
import threading
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ..errors import ConfigError

LOOK_S: Final = 0.05
"""How often it looks whether it is to end."""


class Silent(WSGIRequestHandler):
    """Writes no log line for each scrape; a client that says nothing is let go."""

    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False


class _Server6(_Server):
    address_family = socket.AF_INET6


class MetricsServer:
    """Serves one WSGI application from threads of its own until it is closed.

    Raises: ConfigError when the port is taken or the address is none of this machine.
    """

    def __init__(self, app: Any, port: int, host: str) -> None:
        kind = _Server6 if ":" in host else _Server
        try:
            self._server = make_server(host, port, app, kind, Silent)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"metrics cannot be served at {host or '*'}:{port}: {why}; choose another port, or 0 for any free one"
            ) from error
        self.host = host
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(LOOK_S,), name="penstock-metrics", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host = self.host if self.host not in ("", "0.0.0.0", "::") else "localhost"  # noqa: S104 - compared only
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"

    def close(self) -> None:
        """Stop serving. Again changes nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
