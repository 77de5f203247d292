"""Texts by number, as the ledger keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

KNOWN_MOST: Final = 50_000
"""How many numbers are remembered; tags may have no end."""


class Words(dict[str, int]):
    """The numbers of texts in one open file; one that has none yet gets one, inside a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        super().__init__()
        self._db = db

    def __missing__(self, text: str) -> int:
        row = self._db.execute("SELECT id FROM word WHERE text = ?", (text,)).fetchone()
        if row is None:
            number = self._db.execute("INSERT INTO word (text) VALUES (?)", (text,)).lastrowid
            assert number is not None
        else:
            number = row[0]
        if len(self) >= KNOWN_MOST:
            self.clear()
        self[text] = number
        return number


def texts(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, str]:
    """Return the texts of numbers."""
    found: dict[int, str] = {}
    wanted = sorted({number for number in numbers if number})
    for at in range(0, len(wanted), 500):
        part = wanted[at : at + 500]
        marks = ",".join("?" * len(part))
        found.update(db.execute(f"SELECT id, text FROM word WHERE id IN ({marks})", part))
    return found
