"""Posts JSON to an address of the user's, from a thread of its own: nothing here can hold up or break a call.

The thread lives while there is something to send. What cannot be delivered is said once by the log. The address may
hold a secret in its path or query, so only its host is ever shown.
"""

from __future__ import annotations

import atexit
import http.client
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

from ..types import Secret
from .transports.proxies import proxy_for

LOG: Final = logging.getLogger("penstock")

TRIES: Final = 3
PAUSE_S: Final = 1.0
"""Before the second try; each further pause is twice as long."""

TIMEOUT_S: Final = 5.0
"""How long one try may wait for the connection, and again for the answer."""

WAITING_MOST: Final = 100
"""Messages that wait; what comes beyond them is lost, and said so."""

EXIT_S: Final = 5.0
"""How long the end of the program waits for messages under way."""


class Webhook:
    """One address, and what waits to be posted to it."""

    def __init__(self, url: Secret, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._url = url
        self._pause = pause
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[bytes, str]] = deque()
        self._worker: threading.Thread | None = None
        self._is_flushed = False
        self.lost = 0

    def __repr__(self) -> str:
        return f"<Webhook of {self._host}, {len(self._waiting)} waiting, {self.lost} lost>"

    @property
    def _host(self) -> str:
        return urlsplit(self._url.reveal()).hostname or "?"

    def send(self, body: bytes, what: str) -> None:
        """Have a message posted; `what` says in the log what was lost. Never waits and never raises."""
        if os.getpid() != self._pid:
            self._begin()  # after a fork there is no thread here, and what waited is the parent's
        with self._lock:
            if len(self._waiting) >= WAITING_MOST:
                self._lose(what, f"{WAITING_MOST} others wait")
                return
            self._waiting.append((body, what))
            if self._worker is not None:
                return
            self._worker = threading.Thread(target=self._work, name="penstock-webhook", daemon=True)
            try:
                self._worker.start()
            except RuntimeError as error:  # no thread can begin any more: the program ends
                self._worker = None
                self._waiting.clear()
                self._lose(what, str(error))
                return
            if not self._is_flushed:
                self._is_flushed = True
                atexit.register(_flush, weakref.ref(self))

    def wait(self, seconds: float) -> bool:
        """Wait for what is under way, at most so long; whether all of it is done."""
        worker = self._worker
        if worker is not None:
            worker.join(seconds)
        return self._worker is None

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._worker = None
                    return
                body, what = self._waiting.popleft()
            try:
                wrong = self._deliver(body)
            except Exception as error:  # noqa: BLE001 - a bug here must not end the thread with messages waiting
                wrong = type(error).__name__
            if wrong:
                self._lose(what, wrong)

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

    def _lose(self, what: str, wrong: str) -> None:
        self.lost += 1
        LOG.warning("the webhook at %s was not told (%s): %s", self._host, wrong, what, extra={"event": "webhook_lost"})


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


def _flush(living: weakref.ref[Webhook]) -> None:
    webhook = living()
    if webhook is not None:
        webhook.wait(EXIT_S)
