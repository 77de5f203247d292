"""A ledger with as many rows as a year of a busy service, made by SQL: half a minute for a million rows.

Its calls are spread evenly over a year, six models, five teams and two outcomes, with varied latencies. Its sums are
those that the writer would have made of them: they are added up from its rows by the reader's own statements.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock._io.ledger.schema import DAY, HOUR, PEAKS, SPELL, TOTALS, open_to_write
from penstock._io.ledger.sql import RAW_ATTEMPTS, RAW_CALLS, SketchMerge, SketchOf
from penstock._io.ledger.words import Words
from penstock._policy.rollup import SUMS
from penstock._policy.sketch import Counts, add, pack

DAYS: Final = 365
MODELS: Final = (
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o"),
    ("openai", "gpt-4.1-mini"),
    ("anthropic", "claude-haiku-4-5"),
    ("anthropic", "claude-sonnet-4-5"),
    ("groq", "llama-3.3-70b-versatile"),
)
TEAMS: Final = ("search", "sre", "support", "sales", "data")
INDEXES: Final = ("call_at", "call_call", "call_task")
KEY: Final = "provider, model, operation, outcome, coalesce(tags, 0)"


def build(path: Path, rows: int, progress: Callable[[str], None]) -> None:
    """Write the ledger, ending today."""
    db = open_to_write(str(path))
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -200000")
    db.create_aggregate("sketch", 1, SketchOf)  # type: ignore[arg-type]
    db.create_aggregate("merged", 1, SketchMerge)  # type: ignore[arg-type]
    again = [
        (name, db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]) for name in INDEXES
    ]
    for name, _ in again:
        db.execute(f"DROP INDEX {name}")
    start_s = (int(time.time()) // DAY - DAYS + 1) * DAY
    progress(f"{rows:,} rows")
    db.execute("BEGIN")
    _calls(db, rows, start_s)
    for name, sql in again:
        progress(name)
        db.execute(sql)
    db.execute("COMMIT")
    for day in range(DAYS):
        progress(f"sums of day {day + 1}")
        _hours(db, start_s + day * DAY)
    _spans(db)
    progress("peaks")
    _peaks(db)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _calls(db: sqlite3.Connection, rows: int, start_s: int) -> None:
    words = Words(db)
    db.execute("CREATE TEMP TABLE lane_of (number INTEGER PRIMARY KEY, provider, model, asked)")
    for number, (provider, model) in enumerate(MODELS):
        lane = (number, words[provider], words[model], words[f"{provider}:{model}"])
        db.execute("INSERT INTO lane_of VALUES (?, ?, ?, ?)", lane)
    db.execute("CREATE TEMP TABLE team_of (number INTEGER PRIMARY KEY, tags)")
    for number, team in enumerate(TEAMS):
        db.execute("INSERT INTO team_of VALUES (?, ?)", (number, words[f'{{"team":"{team}"}}']))
    known = [words[text] for text in ("complete", "ok", "server_fault", "stop", "2026-11-09", "openai_chat")]
    complete, ok, fault, stop, prices, wire = known
    db.execute(
        f"""
        WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows}),
        h (i, x, y) AS (SELECT i, (i * 2654435761) % 4294967291, (i * 40503 + 12345) % 65521 FROM n)
        INSERT INTO call (id, at_ms, call_id, operation, asked, provider, model, outcome, tags, status, stop,
            latency_us, first_us, wait_us, input, output, estimated, cost_nano, prices, wire, lane, request_id,
            attempt_us)
        SELECT i + 1, {start_s * 1000} + i * {DAYS * DAY * 1000} / {rows}, printf('bench-%x', i), {complete},
            lane.asked, lane.provider, lane.model, CASE WHEN x % 40 = 0 THEN {fault} ELSE {ok} END, team.tags,
            CASE WHEN x % 40 = 0 THEN 500 ELSE 200 END, {stop}, 200000 + x % 9973 * 211 + (x % 97 = 0) * 20000000,
            CASE WHEN y % 2 THEN 100000 + x % 4999 * 100 END, y % 7 * 1000, 200 + x % 3001, 10 + y % 500, 0,
            (200 + x % 3001) * 150 + (10 + y % 500) * 600, {prices}, {wire}, lane.asked, printf('req_%020x', x), 190000
        FROM h JOIN lane_of lane ON lane.number = x % {len(MODELS)} JOIN team_of team ON team.number = y % {len(TEAMS)}
        """
    )


def _hours(db: sqlite3.Connection, day: int) -> None:
    """Add the calls of a day up by hour, as the writer does."""
    hours: dict[tuple[int, ...], tuple[list[int], Counts, Counts]] = {}
    for table, sums in (("call", RAW_CALLS), ("try", RAW_ATTEMPTS)):
        what = f"at_ms / 3600000 * 3600, {KEY}, {sums}"
        query = f"SELECT {what} FROM {table} WHERE at_ms >= ? AND at_ms < ? GROUP BY 1, {KEY}"
        for row in db.execute(query, (day * 1000, (day + DAY) * 1000)):
            figures, latency, first = hours.setdefault(row[:6], ([0] * len(SUMS), {}, {}))
            for place, value in enumerate(row[6:-2]):
                figures[place] += value or 0
            add(latency, row[-2])
            add(first, row[-1])
    db.execute("BEGIN")
    db.executemany(
        f"INSERT INTO rollup VALUES ({', '.join('?' * (9 + len(SUMS)))})",
        [(HOUR, *key, *figures, pack(latency), pack(first)) for key, (figures, latency, first) in hours.items()],
    )
    db.execute("COMMIT")


def _spans(db: sqlite3.Connection) -> None:
    """Add hours up to days, and days to spells."""
    key = "provider, model, operation, outcome, tags"
    sums = ", ".join(f"sum({name})" for name in SUMS)
    db.execute("BEGIN")
    for shorter, span in ((HOUR, DAY), (DAY, SPELL)):
        db.execute(
            f"""INSERT INTO rollup SELECT {span}, start / {span} * {span}, {key}, {sums}, merged(latency), merged(first)
            FROM rollup WHERE span = {shorter} GROUP BY start / {span}, {key}"""
        )
    db.execute(TOTALS)
    db.execute("COMMIT")


def _peaks(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    for kind, column in (("slowest", "latency_us"), ("dearest", "cost_nano")):
        db.execute(
            f"""
            INSERT INTO peak SELECT day, '{kind}', provider, model, {column}, id FROM (
                SELECT at_ms / 86400000 * 86400 AS day, provider, model, {column}, id, row_number() OVER (
                    PARTITION BY at_ms / 86400000, provider, model ORDER BY {column} DESC, id DESC) AS place FROM call
            ) WHERE place <= {PEAKS}
            """
        )
    db.execute("COMMIT")
