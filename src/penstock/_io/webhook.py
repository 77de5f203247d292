"""Posts JSON to an address of the user's, from a thread of its own: nothing here can hold up or break a call.

What cannot be delivered is said by the log. The address may hold a secret in its path or query, so only its host is
ever shown.
"""

from __future__ import annotations

import http.client
import logging
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

from ..types import Secret
from .mailbox import Mailbox
from .transports.proxies import proxy_for

LOG: Final = logging.getLogger("penstock")

TRIES: Final = 3
PAUSE_S: Final = 1.0
"""Before the second try; each further pause is twice as long."""

TIMEOUT_S: Final = 5.0
"""How long one try may wait for the connection, and again for the answer."""

WAITING_MOST: Final = 100
"""Messages that wait; what comes beyond them is lost, and said so."""

INTERVAL_S: Final = 0.05


class Webhook:
    """One address, and what waits to be posted to it. The end of the program waits some seconds for it, a client never.

    `lost` counts what could not be delivered.
    """

    def __init__(self, url: Secret, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._url = url
        self._pause = pause
        self._undelivered = 0
        self._box = Mailbox("budget-webhook", self._read, most=WAITING_MOST, interval_s=INTERVAL_S)

    def __repr__(self) -> str:
        return f"<Webhook of {self._host}, {len(self._box)} waiting, {self.lost} lost>"

    @property
    def lost(self) -> int:
        """How many messages did not arrive."""
        return self._undelivered + self._box.lost

    @property
    def _host(self) -> str:
        return urlsplit(self._url.reveal()).hostname or "?"

    def send(self, body: bytes, what: str) -> None:
        """Have a message posted; `what` says in the log what was lost. Never waits and never raises."""
        self._box.post((body, what))

    def close(self, patience_s: float) -> bool:
        """Wait for what is under way, at most so long; whether all of it is done."""
        return self._box.close(patience_s)

    def _read(self, letters: list[tuple[bytes, str]]) -> None:
        for body, what in letters:
            wrong = self._deliver(body)
            if wrong:
                self._undelivered += 1
                LOG.warning("the webhook at %s was not told (%s): %s", self._host, wrong, what, extra=_EXTRA)

    def _deliver(self, body: bytes) -> str:
        """Post a message, a few times where that may help; returns what was wrong, empty when it arrived."""
        wrong = ""
        for number in range(TRIES):
            if number:
                self._pause(PAUSE_S * 2 ** (number - 1))
            wrong, again = _post(self._url.reveal(), body)
            if not again:
                break
        return wrong


_EXTRA: Final = {"kind": "webhook_lost"}


def _post(url: str, body: bytes) -> tuple[str, bool]:
    """Post once; returns what was wrong, empty when nothing was, and whether another try may help.

    By http.client: urllib3 writes every path into its debug log, and this one may be a secret.
    """
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json", "User-Agent": "penstock"}
    try:
        with closing(_connection(url)) as connection:
            connection.request("POST", path, body, headers)
            # The body of the answer is not read: a receiver that never ends it holds up nobody.
            status = connection.getresponse().status
    except (http.client.HTTPException, OSError) as error:
        return type(error).__name__, True
    if 200 <= status < 300:
        return "", False
    if 300 <= status < 400:
        return f"HTTP {status}, a redirect, which is not followed", False
    return f"HTTP {status}", status >= 500 or status in (408, 429)


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":  # this machine, which no proxy reaches
        return http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    proxy = proxy_for(url)
    if proxy is None:
        return http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_S)
    before = urlsplit(proxy.url)
    connection = http.client.HTTPSConnection(before.hostname or "", before.port or 80, timeout=TIMEOUT_S)
    login = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
    connection.set_tunnel(host, parts.port or 443, login)
    return connection
