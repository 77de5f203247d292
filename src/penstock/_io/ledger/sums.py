"""The sums of the ledger: what a batch of records adds to them, and the calls that stand out."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from ..._policy.rollup import SUMS, Key, Sums
from ..._policy.sketch import Counts, add, pack
from ...events import CallEnded
from .schema import DAY, HOUR, PEAKS
from .words import Words

TAGSETS: Final = 500
"""How many different sets of tags a UTC day has sums for; further ones are added up as `OTHER`."""

OTHER: Final = '{"…":"…"}'
_KEY_COLUMNS: Final = ("span", "start", "provider", "model", "operation", "outcome", "tags")
_ROLLUP_COLUMNS: Final = (*_KEY_COLUMNS, *SUMS, "latency", "first")
_FIND: Final = f"SELECT {', '.join((*SUMS, 'latency', 'first'))} FROM rollup WHERE " + " AND ".join(
    f"{name} = ?" for name in _KEY_COLUMNS
)
_PUT: Final = f"REPLACE INTO rollup ({', '.join(_ROLLUP_COLUMNS)}) VALUES ({', '.join('?' * len(_ROLLUP_COLUMNS))})"


class SumsWriter:
    """Adds to the sums in one open file."""

    def __init__(self, db: sqlite3.Connection, words: Words) -> None:
        self._db = db
        self._words = words
        self._rolled: dict[int, set[int]] = {}

    def add(self, rows: dict[Key, Sums]) -> None:
        """Add sums to those in the file, by hour and by day."""
        for span in (HOUR, DAY):
            self._add(span, rows)

    def _add(self, span: int, rows: dict[Key, Sums]) -> None:
        """Add sums to those in the file."""
        number, db = self._words.__getitem__, self._db
        merged: dict[tuple[int, ...], list[Sums]] = {}
        for key, sums in rows.items():
            hour, *names, told = key
            start = hour // span * span
            tags = self._tagset(start // DAY, told)
            merged.setdefault((span, start, *map(number, names), tags), []).append(sums)
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

    def _tagset(self, day: int, tags: str) -> int:
        """Return the number of tags in the sums of a day: 0 for none, that of `OTHER` where the day has too many."""
        if not tags:
            return 0
        number, db = self._words[tags], self._db
        known = self._rolled.get(day)
        if known is None:
            known = self._rolled[day] = {row[0] for row in db.execute("SELECT tags FROM rolled WHERE day = ?", (day,))}
        if number in known:
            return number
        count = db.execute("SELECT count(*) FROM rolled WHERE day = ?", (day,)).fetchone()[0]
        if count >= TAGSETS:
            return self._words[OTHER]
        db.execute("INSERT OR IGNORE INTO rolled VALUES (?, ?)", (day, number))
        known.add(number)
        return number


class Peaks:
    """The slowest and dearest calls of what is written now.

    `least` says what is too little to count, by day, provider and model, where that is known.
    """

    def __init__(self, least: dict[tuple[int, int, int], list[int]]) -> None:
        self._least = least
        self._found: dict[tuple[int, str, int, int], list[tuple[int, int]]] = {}

    def look(self, row: tuple[Any, ...], event: CallEnded) -> None:
        """Note a call that may be one of them."""
        key = (int(event.at_s) // DAY * DAY, row[5], row[6])
        least = self._least.get(key)
        if least is None:
            least = self._least[key] = [-1, 0]
        us, cost = int(event.latency_s * 1e6), event.cost_nano or 0
        if us > least[0] and not event.batch:
            self._found.setdefault((key[0], "slowest", *key[1:]), []).append((us, row[0]))
        if cost > least[1]:
            self._found.setdefault((key[0], "dearest", *key[1:]), []).append((cost, row[0]))

    def write(self, db: sqlite3.Connection) -> None:
        """Write those that count, and forget those that no longer do."""
        for key, found in self._found.items():
            found.sort(reverse=True)
            db.executemany("INSERT INTO peak VALUES (?, ?, ?, ?, ?, ?)", [(*key, *one) for one in found[:PEAKS]])
            of_key = "FROM peak WHERE day = ? AND kind = ? AND provider = ? AND model = ?"
            rows = db.execute(f"SELECT value, call {of_key} ORDER BY value DESC, call DESC", key).fetchall()
            db.executemany(f"DELETE {of_key} AND value = ? AND call = ?", [(*key, *one) for one in rows[PEAKS:]])
            if len(rows) >= PEAKS:
                self._least[key[0], key[2], key[3]][key[1] == "dearest"] = rows[PEAKS - 1][0]
