"""What is old leaves the ledger, a little at a time; its sums stay."""

from __future__ import annotations

import sqlite3
from typing import Final

from .schema import DAY, HOUR
from .settings import HOURS_DAYS

SLICE: Final = 5_000
"""Rows deleted at once: some 20 ms, in which nobody else can write."""

LOOK_S: Final = 3600.0
"""How often a writer looks for what is old."""

STATE_MS: Final = 86_400_000


def prune(db: sqlite3.Connection, now_s: float, keep_days: int | None) -> bool:
    """Delete a slice of what is older than it is kept, in a transaction of the caller; True: there may be more.

    A clock that went ahead once cannot be told from time that passed, so what a day's sums have is never deleted.
    """
    hours = (HOUR, int(now_s) - HOURS_DAYS * DAY)
    deleted = db.execute("DELETE FROM rollup WHERE span = ? AND start < ?", hours).rowcount
    db.execute("DELETE FROM total WHERE span = ? AND start < ?", hours)
    db.execute("DELETE FROM state WHERE at_ms < ?", (int(now_s * 1e3) - STATE_MS,))
    if keep_days is None:
        return False
    before_ms = int((now_s - keep_days * DAY) * 1e3)
    old = "(SELECT id FROM {} WHERE at_ms < ? ORDER BY at_ms LIMIT ?)"
    db.execute(
        "DELETE FROM content WHERE call_id IN (SELECT call_id FROM call WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
        (before_ms, SLICE),
    )
    for table in ("call", "attempt"):
        statement = f"DELETE FROM {table} WHERE id IN {old.format(table)}"
        deleted += db.execute(statement, (before_ms, SLICE)).rowcount
    db.execute("DELETE FROM peak WHERE day < ?", (before_ms // 1000 // DAY * DAY,))
    return deleted >= SLICE
