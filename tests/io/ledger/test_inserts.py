"""Rows that go into a table many at a time."""

import sqlite3

import pytest

from penstock._io.ledger.content import CONTENTS
from penstock._io.ledger.inserts import TOGETHER, Insert
from penstock._io.ledger.rows import ATTEMPTS, CALLS


@pytest.mark.parametrize("count", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 3 * TOGETHER + 2])
def test_every_row_is_put_in_once_and_in_its_order(count: int) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE call (number, name, shared)")
    rows = [(number, f"call {number}") for number in range(count)]
    Insert("INSERT INTO call (number, name, shared)", "?, ?, 7").put(db, rows)
    assert db.execute("SELECT * FROM call ORDER BY rowid").fetchall() == [(*row, 7) for row in rows]
    db.close()


def test_no_run_has_more_values_than_the_oldest_sqlite_takes() -> None:
    assert max(each._many.count("?") for each in (ATTEMPTS, CALLS, CONTENTS)) <= 999
