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
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from ..._policy.rollup import SUMS, Key, Rollup, Sums
from ..._policy.sketch import Counts, add, pack
from ...errors import PenstockError
from ...events import AttemptEnded, CallEnded
from ..mailbox import Mailbox
from . import retention
from .content import CONTENT_SQL, content_row
from .rows import ATTEMPT_SQL, CALL_SQL, attempt_row, call_row, is_whole
from .schema import DAY, HOUR, PEAKS, meant, open_to_write
from .settings import Ledger
from .words import Words

QUEUE: Final = 100_000
"""How many records may wait: some seconds of more calls than one process makes."""

TAGSETS: Final = 500
"""How many different sets of tags a UTC day has sums for; further ones are added up as `OTHER`."""

OTHER: Final = '{"…":"…"}'
TASK: Final = "task"
"""The tag that holds the id of a task: each has a value of its own, so it is kept beside the others, not in sums."""

RETRY_S: Final = 1.0
"""How long after a failure it is tried again."""

STATE_S: Final = 1.0
"""How often the state of lanes and budgets is written, while there are calls."""

_ROLLUP_COLUMNS: Final = (
    "span",
    "start",
    "provider",
    "model",
    "operation",
    "outcome",
    "tags",
    *SUMS,
    "latency",
    "first",
)
_KEY_COLUMNS: Final = _ROLLUP_COLUMNS[:7]
_FIND: Final = f"SELECT {', '.join((*SUMS, 'latency', 'first'))} FROM rollup WHERE " + " AND ".join(
    f"{name} = ?" for name in _KEY_COLUMNS
)
_PUT: Final = f"REPLACE INTO rollup ({', '.join(_ROLLUP_COLUMNS)}) VALUES ({', '.join('?' * len(_ROLLUP_COLUMNS))})"

Live = Callable[[], Iterable[tuple[str, str, str]]]
"""Gives what is shown of a client while it works: kind, name, and the state as JSON."""


class _Tagged(msgspec.Struct, frozen=True, gc=False):
    """Tags as they are kept: all but the task as JSON, and the task."""

    text: str
    task: str | None


_UNTAGGED: Final = _Tagged("", None)


def tagged(tags: dict[str, str]) -> _Tagged:
    """Read tags, in an order that equal ones share."""
    if not tags:
        return _UNTAGGED
    task = tags.get(TASK)
    if task is not None:
        tags = {name: value for name, value in tags.items() if name != TASK}
    return _Tagged(msgspec.json.encode(tags, order="sorted").decode() if tags else "", task)


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

    def _start(self) -> None:
        self._pid = os.getpid()
        self._process = f"{socket.gethostname()}:{self._pid}"
        self._db: sqlite3.Connection | None = None
        self._early: dict[str, None] = {}
        self._backlog: list[Any] = []
        self._failed_s: float | None = None
        self._unsaid: list[tuple[int, str]] = []
        self._state_s = self._tidied_s = -1e9

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
        """Write at the end what could not be written before, or lose it."""
        if self._pid != os.getpid():
            self._start()
        if self._backlog:
            self._failed_s = None
            self._read([])
        if self._backlog:
            count, self._backlog = len(self._backlog), []
            self._lose(count, self._why)
        self._disconnect()

    def _read(self, events: list[Any]) -> None:
        if self._pid != os.getpid():
            self._start()  # in a forked child, what was begun and the open file are the parent's
        if self._backlog:
            events = self._backlog + events
        now = time.monotonic()
        if self._failed_s is not None and now < self._failed_s + RETRY_S:
            self._keep(events)
            return
        try:
            self._commit(events, now)
        except (sqlite3.Error, PenstockError, OSError) as error:
            self._fail(events, error)
        else:
            self._backlog = []
            self._failed_s = None
            self._unsaid = []

    def _fail(self, events: list[Any], error: Exception) -> None:
        said = error if isinstance(error, PenstockError) else meant(self.path, error)
        if self._failed_s is None:
            logging.getLogger("penstock").warning(
                "%s. Calls go on; their records wait in memory and are lost unless this is mended in time", said.message
            )
        self._why = said.message
        self._disconnect()
        self._failed_s = time.monotonic()
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
            self._rolled: dict[int, set[int]] = {}
            self._least: dict[tuple[int, str, int, int], int] = {}
        return self._db

    def _commit(self, events: list[Any], now: float) -> None:
        db = self._connect()
        db.execute("BEGIN IMMEDIATE")
        try:
            early = self._write(db, events)
            if now >= self._state_s + STATE_S and self.live is not None:
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
        self._early = early

    def _write(self, db: sqlite3.Connection, events: list[Any]) -> dict[str, None]:
        """Write events, and return the calls under way that have attempts in the file."""
        words, rollup, early = self._words, Rollup(), dict(self._early)
        pending: dict[str, list[tuple[AttemptEnded, _Tagged]]] = {}
        calls, attempts, contents = [], [], []
        row = db.execute("SELECT coalesce(max(id), 0) FROM call").fetchone()[0]
        peaks = _Peaks(self._least)
        for event in events:
            tags = tagged(event.tags)
            if type(event) is AttemptEnded:
                rollup.attempt(event, tags.text)
                pending.setdefault(event.call_id, []).append((event, tags))
                continue
            rollup.call(event, tags.text)
            row += 1
            own = pending.pop(event.call_id, [])
            only = None
            if event.call_id in early:
                del early[event.call_id]
            elif len(own) == 1 and is_whole(event, own[0][0]):
                only = own.pop()[0]
            attempts += own
            number = words.maybe(tags.text or None)
            made = call_row(row, event, number, tags.task, words, only)
            calls.append(made)
            peaks.look(made, event)
            if self.settings.content and (kept := content_row(event, self.settings.redact)) is not None:
                contents.append(kept)
        for call_id, own in pending.items():
            early[call_id] = None
            attempts += own
        if len(early) > QUEUE:
            early = dict.fromkeys(list(early)[-QUEUE:])
        db.executemany(CALL_SQL, calls)
        db.executemany(
            ATTEMPT_SQL, [attempt_row(one, words.maybe(tags.text or None), tags.task, words) for one, tags in attempts]
        )
        if contents:
            db.executemany(CONTENT_SQL, contents)
        peaks.write(db)
        for span in (HOUR, DAY):
            self._add(db, span, rollup.rows)
        return early

    def _add(self, db: sqlite3.Connection, span: int, rows: dict[Key, Sums]) -> None:
        """Add sums to those in the file."""
        number = self._words.number
        merged: dict[tuple[int, ...], list[Sums]] = {}
        for key, sums in rows.items():
            start = key.hour // span * span
            tags = self._tagset(db, start // DAY, key.tags)
            found = (
                span,
                start,
                number(key.provider),
                number(key.model),
                number(key.operation),
                number(key.outcome),
                tags,
            )
            merged.setdefault(found, []).append(sums)
        for at, parts in merged.items():
            there = db.execute(_FIND, at).fetchone()
            figures = [0] * len(SUMS)
            latency: Counts = {}
            first: Counts = {}
            if there is not None:
                figures = list(there[:-2])
                add(latency, there[-2])
                add(first, there[-1])
            for part in parts:
                figures = [left + right for left, right in zip(figures, part.figures, strict=True)]
                for into, counts in ((latency, part.latency), (first, part.first)):
                    for index, count in counts.items():
                        into[index] = into.get(index, 0) + count
            db.execute(_PUT, (*at, *figures, pack(latency), pack(first)))

    def _tagset(self, db: sqlite3.Connection, day: int, tags: str) -> int:
        """Return the number of tags in the sums of a day: 0 for none, that of `OTHER` where the day has too many."""
        if not tags:
            return 0
        number = self._words.number(tags)
        known = self._rolled.get(day)
        if known is None:
            known = self._rolled[day] = {row[0] for row in db.execute("SELECT tags FROM rolled WHERE day = ?", (day,))}
        if number in known:
            return number
        count = db.execute("SELECT count(*) FROM rolled WHERE day = ?", (day,)).fetchone()[0]
        if count >= TAGSETS:
            return self._words.number(OTHER)
        db.execute("INSERT OR IGNORE INTO rolled VALUES (?, ?)", (day, number))
        known.add(number)
        return number

    def _show(self, db: sqlite3.Connection, states: Iterable[tuple[str, str, str]]) -> None:
        at_ms = int(time.time() * 1e3)
        db.executemany(
            "REPLACE INTO state VALUES (?, ?, ?, ?, ?)",
            [(self._process, kind, name, at_ms, data) for kind, name, data in states],
        )

    def _note_losses(self, db: sqlite3.Connection) -> None:
        at_ms = int(time.time() * 1e3)
        db.executemany("INSERT INTO loss VALUES (?, ?, ?, ?)", [(at_ms, self._process, *one) for one in self._unsaid])


class _Peaks:
    """The slowest and dearest calls of what is written now; `least` says what is too little to count, where known."""

    def __init__(self, least: dict[tuple[int, str, int, int], int]) -> None:
        self._least = least
        self._found: dict[tuple[int, str, int, int], list[tuple[int, int]]] = {}

    def look(self, row: tuple[Any, ...], event: CallEnded) -> None:
        """Note a call that may be one of them."""
        day = int(event.at_s) // DAY * DAY
        provider, model = row[5], row[6]
        if not event.batch:
            self._offer((day, "slowest", provider, model), row[14], row[0])
        if event.cost_nano:
            self._offer((day, "dearest", provider, model), event.cost_nano, row[0])

    def _offer(self, key: tuple[int, str, int, int], value: int, call: int) -> None:
        if value > self._least.get(key, -1):
            self._found.setdefault(key, []).append((value, call))

    def write(self, db: sqlite3.Connection) -> None:
        """Write those that count, and forget those that no longer do."""
        for key, found in self._found.items():
            found.sort(reverse=True)
            db.executemany("INSERT INTO peak VALUES (?, ?, ?, ?, ?, ?)", [(*key, *one) for one in found[:PEAKS]])
            of_key = "FROM peak WHERE day = ? AND kind = ? AND provider = ? AND model = ?"
            rows = db.execute(f"SELECT value, call {of_key} ORDER BY value DESC, call DESC", key).fetchall()
            db.executemany(f"DELETE {of_key} AND value = ? AND call = ?", [(*key, *one) for one in rows[PEAKS:]])
            if len(rows) >= PEAKS:
                self._least[key] = rows[PEAKS - 1][0]
