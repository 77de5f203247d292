"""Writes what happens into the ledger, in transactions of what gathered, on a thread of its own.

post ─▶ bounded queue ─▶ every `interval_s`: rows, sums and peaks in one transaction
What cannot be written waits in memory and is tried again; what does not fit there, or cannot be written at the end, is
lost: that is counted, said once, and noted in the file as soon as it can be written again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from ...errors import PenstockError
from ...events import AttemptEnded, CallEnded
from ..mailbox import Mailbox
from . import retention
from .batch import Batch
from .schema import meant, open_to_write
from .settings import Ledger
from .sums import Peaks, SumsWriter
from .words import Words

QUEUE: Final = 100_000
"""How many records may wait: some seconds of more calls than one process makes."""

FORK_S: Final = 2.0
"""How long a fork waits for a transaction under way."""

RETRY_S: Final = 1.0
"""How long after a failure it is tried again."""

STATE_S: Final = 1.0
"""How often the state of lanes and budgets is written, while there are calls."""

Live = Callable[[], Iterable[tuple[str, str, str]]]
"""Gives what is shown of a client while it works: kind, name, and the state as JSON."""


class LedgerWriter:
    """The writing end of a ledger, for one client; `live` gives its state for those who watch."""

    def __init__(self, settings: Ledger, path: str, *, lost: Callable[[int, str], None] | None = None) -> None:
        self.settings = settings
        self.path = path
        self.kinds = (AttemptEnded, CallEnded)
        self.content = settings.content
        self.live: Live | None = None
        self._box = Mailbox(
            "ledger", self._read, most=QUEUE, interval_s=settings.interval_s, lost=lost, closed=self._closed
        )
        self.post = self._box.post
        self._start()
        _follow_forks(self)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._process = f"{socket.gethostname()}:{self._pid}"
        self._db: sqlite3.Connection | None = None
        self._early: dict[str, None] = {}
        self._backlog: list[Any] = []
        self._failing = False
        self._retry_s = -1e9
        self._why = ""
        self._unsaid: list[tuple[int, str]] = []
        self._state_s = self._tidied_s = -1e9
        self._stale = False
        self._held = False

    @property
    def lost(self) -> int:
        """How many records were lost."""
        return self._box.lost

    def flush(self) -> bool:
        """Write what is waiting; False when that is not done in time."""
        return self._box.flush()

    def settle(self) -> None:
        """Write what is waiting and close the file; records that come later open it again."""
        self._box.close()

    def _closed(self) -> None:
        """Write at the end what could not be written before, or lose it, and how lanes and budgets stand now."""
        if self._pid != os.getpid():
            self._start()
        if self._backlog or self._stale:
            self._retry_s = self._state_s = -1e9
            self._read([])
        if self._backlog:
            count, self._backlog = len(self._backlog), []
            self._lose(count, self._why)
        self._disconnect()

    def _before_fork(self) -> None:
        self._held = self._box.hold(FORK_S)
        if self._held:
            self._disconnect()

    def _after_fork(self) -> None:
        held, self._held = self._held, False
        if held:
            self._box.go_on()

    def _read(self, events: list[Any]) -> None:
        if self._pid != os.getpid():
            self._start()  # in a forked child, what was begun and the open file are the parent's
        if self._backlog:
            events = self._backlog + events
        now = time.monotonic()
        if now < self._retry_s:
            self._keep(events)
            return
        try:
            self._commit(events, now)
        except (sqlite3.Error, PenstockError, OSError) as error:
            self._fail(events, error)
        else:
            self._backlog = []
            self._failing = False
            self._unsaid = []

    def _fail(self, events: list[Any], error: Exception) -> None:
        said = error if isinstance(error, PenstockError) else meant(self.path, error)
        if not self._failing:
            logging.getLogger("penstock").warning(
                "%s. Calls go on; their records wait in memory and are lost unless this is mended in time", said.message
            )
        self._why = said.message
        self._disconnect()
        self._failing, self._retry_s = True, time.monotonic() + RETRY_S
        self._keep(events)

    def _keep(self, events: list[Any]) -> None:
        if len(events) > QUEUE:
            self._lose(len(events) - QUEUE, self._why)
            events = events[-QUEUE:]
        self._backlog = events

    def _lose(self, count: int, why: str) -> None:
        self._unsaid.append((count, why))
        self._box.lose(count, why)

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _connect(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = open_to_write(self.path)
            self._words = Words(self._db)
            self._sums = SumsWriter(self._db, self._words)
            self._least: dict[tuple[int, int, int], list[int]] = {}
        return self._db

    def _commit(self, events: list[Any], now: float) -> None:
        db = self._connect()
        db.execute("BEGIN IMMEDIATE")
        try:
            batch = Batch(db, self.settings, self._words, self._early, Peaks(self._least))
            batch.take(events)
            batch.write(self._sums)
            self._stale = self.live is not None and now < self._state_s + STATE_S
            if self.live is not None and not self._stale:
                self._state_s = now
                self._show(db, self.live())
            self._note_losses(db)
            if now >= self._tidied_s + retention.LOOK_S and not retention.prune(
                db, time.time(), self.settings.keep_days
            ):
                self._tidied_s = now
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.rollback()
            raise
        self._early = batch.early

    def _show(self, db: sqlite3.Connection, states: Iterable[tuple[str, str, str]]) -> None:
        at_ms = int(time.time() * 1e3)
        db.executemany(
            "REPLACE INTO state VALUES (?, ?, ?, ?, ?)",
            [(self._process, kind, name, at_ms, data) for kind, name, data in states],
        )

    def _note_losses(self, db: sqlite3.Connection) -> None:
        at_ms = int(time.time() * 1e3)
        db.executemany("INSERT INTO loss VALUES (?, ?, ?, ?)", [(at_ms, self._process, *one) for one in self._unsaid])


def _follow_forks(writer: LedgerWriter) -> None:
    """See that no thread is inside SQLite, and no file open, while the process forks: a child could use neither."""
    if not hasattr(os, "register_at_fork"):
        return
    living = weakref.ref(writer)

    def before() -> None:
        found = living()
        if found is not None:
            found._before_fork()

    def after() -> None:
        found = living()
        if found is not None:
            found._after_fork()

    os.register_at_fork(before=before, after_in_parent=after)
