"""Texts by number, as the ledger keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

KNOWN_MOST: Final = 50_000
"""How many numbers are remembered; tags may have no end."""


class Words:
    """The numbers of texts in one open file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text, which gets one if it has none; inside a transaction."""
        found = self._numbers.get(text)
        return self._look(text) if found is None else found

    def maybe(self, text: str | None) -> int | None:
        """Return the number of a text, None for none."""
        return None if text is None else self._numbers.get(text) or self._look(text)

    def _look(self, text: str) -> int:
        row = self._db.execute("SELECT id FROM word WHERE text = ?", (text,)).fetchone()
        if row is None:
            number = self._db.execute("INSERT INTO word (text) VALUES (?)", (text,)).lastrowid
            assert number is not None
        else:
            number = row[0]
        if len(self._numbers) >= KNOWN_MOST:
            self._numbers.clear()
        self._numbers[text] = number
        return number

    def forget(self) -> None:
        """Trust no number any more: a transaction that gave some was undone."""
        self._numbers.clear()


def texts(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, str]:
    """Return the texts of numbers."""
    found: dict[int, str] = {}
    wanted = sorted({number for number in numbers if number})
    for at in range(0, len(wanted), 500):
        part = wanted[at : at + 500]
        marks = ",".join("?" * len(part))
        found.update(db.execute(f"SELECT id, text FROM word WHERE id IN ({marks})", part))
    return found
