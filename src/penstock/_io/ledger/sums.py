"""The sums of the ledger: what a batch of records adds to them, and the calls that stand out."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from ..._policy.rollup import SUMS, Key, Sums
from ..._policy.sketch import Counts, add, pack
from .schema import PEAKS, SPANS, SPELL
from .words import Words

TAGSETS: Final = 500
"""How many different sets of tags a spell of 16 days has sums for; further ones are added up as `OTHER`."""

OTHER: Final = '{"…":"…"}'
_FIGURES: Final = (*SUMS, "latency", "first")
_KEY: Final = ("span", "start", "provider", "model", "operation", "outcome")


class _Table:
    """A table of sums: the statements that find and put one row."""

    def __init__(self, name: str, key: tuple[str, ...]) -> None:
        columns = (*key, *_FIGURES)
        self.find = f"SELECT {', '.join(_FIGURES)} FROM {name} WHERE {' AND '.join(f'{each} = ?' for each in key)}"
        self.put = f"REPLACE INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


_TOTAL: Final = _Table("total", _KEY)
_ROLLUP: Final = _Table("rollup", (*_KEY, "tags"))


class SumsWriter:
    """Adds to the sums in one open file."""

    def __init__(self, db: sqlite3.Connection, words: Words) -> None:
        self._db = db
        self._words = words
        self._rolled: dict[int, set[int]] = {}

    def add(self, rows: dict[Key, Sums]) -> None:
        """Add sums to those in the file, by hour, by day and by spell; with tags and all tags together."""
        number = self._words.__getitem__
        merged: dict[_Table, dict[tuple[int, ...], list[Sums]]] = {_ROLLUP: {}, _TOTAL: {}}
        for (hour, *names, told), sums in rows.items():
            key, tags = tuple(map(number, names)), self._tagset(hour // SPELL, told)
            for span in SPANS:
                at = (span, hour // span * span, *key)
                merged[_TOTAL].setdefault(at, []).append(sums)
                merged[_ROLLUP].setdefault((*at, tags), []).append(sums)
        for table, found in merged.items():
            for at, parts in found.items():
                self._put(table, at, parts)

    def _put(self, table: _Table, at: tuple[int, ...], parts: list[Sums]) -> None:
        there = self._db.execute(table.find, at).fetchone()
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
        self._db.execute(table.put, (*at, *figures, pack(latency), pack(first)))

    def _tagset(self, spell: int, tags: str) -> int:
        """Return the number of tags in the sums of a spell: 0 for none, that of `OTHER` where it has too many."""
        if not tags:
            return 0
        number, db = self._words[tags], self._db
        known = self._rolled.get(spell)
        if known is None:
            rows = db.execute("SELECT tags FROM rolled WHERE spell = ?", (spell,))
            known = self._rolled[spell] = {row[0] for row in rows}
        if number in known:
            return number
        count = db.execute("SELECT count(*) FROM rolled WHERE spell = ?", (spell,)).fetchone()[0]
        if count >= TAGSETS:
            return self._words[OTHER]
        db.execute("INSERT OR IGNORE INTO rolled VALUES (?, ?)", (spell, number))
        known.add(number)
        return number


class Peaks:
    """The slowest and dearest calls of what is written now.

    `least` says what is too little to count, by day, provider and model, where that is known.
    """

    def __init__(self, least: dict[tuple[int, int, int], list[int]]) -> None:
        self._least = least
        self._found: dict[tuple[int, str, int, int], list[tuple[int, int]]] = {}

    def look(
        self, lane: tuple[int, int, int], rows: Sequence[int], took_us: Sequence[int], costs: Sequence[int | None]
    ) -> None:
        """Note which calls may be one of them, of one day, provider and model; `took_us` may be empty."""
        least = self._least.get(lane)
        if least is None:
            least = self._least[lane] = [-1, 0]
        for kind, values, bound in (("slowest", took_us, least[0]), ("dearest", costs, least[1])):
            found = [
                (value, row) for value, row in zip(values, rows, strict=False) if value is not None and value > bound
            ]
            if found:
                self._found.setdefault((lane[0], kind, *lane[1:]), []).extend(found)

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
