"""Rows put into a table many at a time, so that the calls under way notice little of it.

Each run of a statement gives the interpreter's lock to them and has to win it back. Done row by row, both sides wake
each other up for every row, which takes the calls more CPU than SQLite takes for the row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

TOGETHER: Final = 20
"""Rows of one run: of 43 columns, these are fewer values than any SQLite takes (999)."""


class Insert:
    """A statement that puts rows into a table: `into` is its beginning up to VALUES, `row` what stands for one row."""

    __slots__ = ("_many", "_one")

    def __init__(self, into: str, row: str) -> None:
        self._one = f"{into} VALUES ({row})"
        self._many = f"{into} VALUES {', '.join([f'({row})'] * TOGETHER)}"

    def put(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Put rows in, in their order."""
        whole = len(rows) // TOGETHER * TOGETHER
        parts = (rows[at : at + TOGETHER] for at in range(0, whole, TOGETHER))
        db.executemany(self._many, [tuple(chain.from_iterable(part)) for part in parts])
        db.executemany(self._one, rows[whole:])
