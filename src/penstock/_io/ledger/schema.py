"""The file of the ledger: its tables, how it is opened, and how an older one is brought up to date.

    call      a row for each call; where it had one attempt that ended as the call did, its row has that one too
    attempt   a row for each other attempt
    rollup    sums by hour, by UTC day and by 16 days (`span` seconds), for questions over many rows
    total     the same sums, all tags together: what a question without tags costs does not grow with the tags
    peak      the slowest and the dearest calls of each day and model
    word      texts that come again and again, by number; NULL in the tables above is no text
    content   prompts and answers, where they are kept
    state     lanes and budgets of the processes that write now
    loss      how many records were lost, when and why
    calls, attempts    views of the above with words in place of their numbers: what people should query

SQLite in WAL mode: one process writes at a time, for some milliseconds, and nobody waits to read. A commit is not
forced to the disk each time (`synchronous=NORMAL`): a power cut leaves a sound file that may lack the last seconds.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any, Final
from urllib.parse import quote

from ..._policy.rollup import SUMS, USAGE
from ...errors import ConfigError, LedgerUnavailable
from .sql import SketchMerge

APPLICATION: Final = 0x50656E4C
SCHEMA: Final = 2
OPEN_S: Final = 5.0
"""How long a writer or reader waits for another process that has the file for itself."""

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
SPELL: Final = 16 * DAY
"""Of a year there are 23, so that a question over one adds up few rows."""

SPANS: Final = (HOUR, DAY, SPELL)
PEAKS: Final = 20
"""How many of the slowest and dearest calls are kept of a day and model."""

_TOKENS: Final = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in USAGE)
_SUMS: Final = ", ".join(f"{name} INTEGER NOT NULL" for name in SUMS)

_CALL: Final = f"""CREATE TABLE call (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    operation INTEGER NOT NULL, asked INTEGER NOT NULL, provider INTEGER NOT NULL, model INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    tags INTEGER, task TEXT,
    attempts INTEGER NOT NULL DEFAULT 1, retries INTEGER NOT NULL DEFAULT 0, status INTEGER, stop INTEGER,
    latency_us INTEGER NOT NULL, first_us INTEGER, wait_us INTEGER NOT NULL,
    {_TOKENS}, estimated INTEGER,
    cost_nano INTEGER, cached INTEGER NOT NULL DEFAULT 0, saved_nano INTEGER, batch INTEGER NOT NULL DEFAULT 0,
    full_nano INTEGER,
    tier INTEGER, reason INTEGER, strongest_nano INTEGER, prices INTEGER,
    wire INTEGER, lane INTEGER, request_id TEXT, scopes INTEGER, attempt_us INTEGER, retry_after_ms INTEGER
)"""

_ATTEMPT: Final = f"""CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    operation INTEGER NOT NULL, provider INTEGER NOT NULL, model INTEGER NOT NULL, outcome INTEGER NOT NULL,
    tags INTEGER, task TEXT,
    wire INTEGER NOT NULL, lane INTEGER NOT NULL, sent INTEGER NOT NULL, status INTEGER, request_id TEXT,
    wait_us INTEGER NOT NULL, latency_us INTEGER NOT NULL, first_us INTEGER, retry_after_ms INTEGER,
    {_TOKENS}, known INTEGER NOT NULL, estimated INTEGER NOT NULL,
    cost_nano INTEGER, batch INTEGER NOT NULL, scopes INTEGER
)"""

_ROLLUP: Final = f"""CREATE TABLE rollup (
    span INTEGER, start INTEGER, provider INTEGER, model INTEGER, operation INTEGER, outcome INTEGER, tags INTEGER,
    {_SUMS}, latency BLOB, first BLOB,
    PRIMARY KEY (span, start, provider, model, operation, outcome, tags)
) WITHOUT ROWID"""


def _word(column: str, name: str = "") -> str:
    return f"(SELECT text FROM word WHERE word.id = {column}) AS {name or column}"


_TOKEN_NAMES: Final = ", ".join(USAGE)
_CALLS: Final = f"""CREATE VIEW calls AS SELECT
    id, at_ms, strftime('%Y-%m-%d %H:%M:%f', at_ms / 1000.0, 'unixepoch') AS at, call_id, {_word("operation")},
    {_word("asked")}, {_word("provider")}, {_word("model")}, {_word("outcome")}, {_word("tags")}, task, attempts,
    retries, status, {_word("stop", "stop_reason")}, latency_us / 1e6 AS latency_s, first_us / 1e6 AS first_token_s,
    wait_us / 1e6 AS wait_s, {_TOKEN_NAMES}, estimated, cost_nano, cached, saved_nano, batch, full_nano,
    {_word("tier")}, {_word("reason")}, strongest_nano, {_word("prices")}
FROM call"""

_TRIES: Final = f"""CREATE VIEW try AS SELECT
    id AS place, at_ms, call_id, 1 AS number, operation, provider, model, outcome, tags, task, wire, lane, 1 AS sent,
    status, request_id, wait_us, attempt_us AS latency_us, first_us - latency_us + attempt_us AS first_us,
    retry_after_ms, {_TOKEN_NAMES}, estimated IS NOT NULL AS known, coalesce(estimated, 0) AS estimated, cost_nano,
    batch, scopes
FROM call WHERE wire IS NOT NULL
UNION ALL SELECT
    id, at_ms, call_id, number, operation, provider, model, outcome, tags, task, wire, lane, sent, status, request_id,
    wait_us, latency_us, first_us, retry_after_ms, {_TOKEN_NAMES}, known, estimated, cost_nano, batch, scopes
FROM attempt"""

_ATTEMPTS: Final = f"""CREATE VIEW attempts AS SELECT
    at_ms, strftime('%Y-%m-%d %H:%M:%f', at_ms / 1000.0, 'unixepoch') AS at, call_id, number, {_word("operation")},
    {_word("provider")}, {_word("model")}, {_word("outcome")}, {_word("tags")}, task, {_word("wire")}, {_word("lane")},
    sent, status, request_id, wait_us / 1e6 AS wait_s, latency_us / 1e6 AS latency_s, first_us / 1e6 AS first_token_s,
    retry_after_ms / 1e3 AS retry_after_s, {_TOKEN_NAMES}, known, estimated, cost_nano, batch, {_word("scopes")}
FROM try"""

_FIRST: Final = (
    "CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    _CALL,
    "CREATE INDEX call_at ON call (at_ms)",
    "CREATE INDEX call_call ON call (call_id)",
    "CREATE INDEX call_task ON call (task) WHERE task IS NOT NULL",
    _ATTEMPT,
    "CREATE INDEX attempt_at ON attempt (at_ms)",
    "CREATE INDEX attempt_call ON attempt (call_id)",
    "CREATE INDEX attempt_task ON attempt (task) WHERE task IS NOT NULL",
    _ROLLUP,
    """CREATE TABLE peak (
        day INTEGER, kind TEXT CHECK (kind IN ('slowest', 'dearest')), provider INTEGER, model INTEGER, value INTEGER,
        call INTEGER, PRIMARY KEY (day, kind, provider, model, value, call)
    ) WITHOUT ROWID""",
    "CREATE TABLE rolled (spell INTEGER, tags INTEGER, PRIMARY KEY (spell, tags)) WITHOUT ROWID",
    "CREATE TABLE content (call_id TEXT PRIMARY KEY, prompt TEXT, answer TEXT, message TEXT) WITHOUT ROWID",
    """CREATE TABLE state (
        process TEXT, kind TEXT, name TEXT, at_ms INTEGER NOT NULL, data TEXT NOT NULL,
        PRIMARY KEY (process, kind, name)
    ) WITHOUT ROWID""",
    "CREATE TABLE loss (at_ms INTEGER, process TEXT, count INTEGER, why TEXT)",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    _CALLS,
    _TRIES,
    _ATTEMPTS,
)

_KEY: Final = "span, start, provider, model, operation, outcome"
TOTALS: Final = (
    f"INSERT INTO total SELECT {_KEY}, {', '.join(f'sum({name})' for name in SUMS)}, merged(latency), merged(first)"
    f" FROM rollup GROUP BY {_KEY}"
)
"""Fills `total` from `rollup`."""

_SECOND: Final = (
    f"""CREATE TABLE total (
        span INTEGER, start INTEGER, provider INTEGER, model INTEGER, operation INTEGER, outcome INTEGER,
        {_SUMS}, latency BLOB, first BLOB, PRIMARY KEY ({_KEY})
    ) WITHOUT ROWID""",
    TOTALS,
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _SECOND)
"""What brings a file from layout i to i + 1; the first makes it."""

_DAMAGED: Final = "is damaged or no ledger at all; move it away (a new one begins), or name another file"
_RIGHTS: Final = "give this user the right to write the file and its folder, or set PENSTOCK_HOME to another folder"
_WRONG: Final = {
    sqlite3.SQLITE_READONLY: f"cannot be written; {_RIGHTS}",
    sqlite3.SQLITE_PERM: f"cannot be used; {_RIGHTS}",
    sqlite3.SQLITE_CANTOPEN: f"cannot be opened; {_RIGHTS}",
    sqlite3.SQLITE_FULL: "cannot grow; make room on the disk",
    sqlite3.SQLITE_IOERR: "cannot be read or written; look whether the disk is full or broken",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: "was kept locked by another process for too long",
    sqlite3.SQLITE_LOCKED: "was kept locked by another process for too long",
}


def meant(path: str, error: Exception) -> LedgerUnavailable:
    """Say in a sentence what is wrong with the file."""
    wrong = _WRONG.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "cannot be used")
    return LedgerUnavailable(f"the ledger {path} {wrong} (SQLite says: {error})")


def open_to_write(
    path: str, *, layout: int = SCHEMA, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS
) -> sqlite3.Connection:
    """Open the file, made or brought up to date as needed.

    Raises: LedgerUnavailable.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))  # who asked what, and when, is the user's own
    except (FileExistsError, NotADirectoryError) as error:
        where = "a file stands where its folder should be; set PENSTOCK_HOME to a folder"
        raise LedgerUnavailable(f"the ledger {path} cannot be made: {where}") from error
    except OSError as error:
        raise LedgerUnavailable(f"the ledger {path} cannot be made: {error.strerror}; {_RIGHTS}") from error
    try:
        db = sqlite3.connect(path, timeout=OPEN_S, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise meant(path, error) from error
    try:
        _set_up(db, path, layout, migrations)
    except sqlite3.Error as error:
        db.close()
        raise meant(path, error) from error
    except BaseException:
        db.close()
        raise
    return db


def _set_up(db: sqlite3.Connection, path: str, layout: int, migrations: tuple[tuple[str, ...], ...]) -> None:
    db.execute("PRAGMA synchronous = NORMAL")
    db.create_aggregate("merged", 1, SketchMerge)  # type: ignore[arg-type]
    _check(db, path, layout)
    if _one(db, "PRAGMA journal_mode = WAL") != "wal":
        raise LedgerUnavailable(f"the ledger {path} is on a file system that processes cannot share; use a local disk")
    if _one(db, "PRAGMA user_version") == layout:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_check(db, path, layout), layout):
            for statement in migrations[number]:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {layout}")
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.rollback()
        raise


def _check(db: sqlite3.Connection, path: str, layout: int) -> int:
    """Return the layout of the file, 0 for an empty one.

    Raises: LedgerUnavailable when it is none of ours, or newer than this Penstock.
    """
    if not _one(db, "SELECT count(*) FROM sqlite_master"):
        return 0
    if _one(db, "PRAGMA application_id") != APPLICATION:
        raise LedgerUnavailable(f"the ledger {path} is a database of something else; name another file")
    found = int(_one(db, "PRAGMA user_version"))
    if found > layout:
        raise LedgerUnavailable(
            f"the ledger {path} was written by a newer Penstock (layout {found}, this one knows {layout}); update this "
            "one, or name another file"
        )
    return found


def open_to_read(path: str) -> sqlite3.Connection:
    """Open the file for questions only.

    Raises: ConfigError when there is none yet, LedgerUnavailable when it cannot be read.
    """
    if os.path.isdir(path):
        raise ConfigError(f"the ledger {path} is a folder; name the file in it, as {os.path.join(path, 'ledger.db')}")
    if not os.path.isfile(path):
        raise ConfigError(
            f"there is no ledger at {path} yet: the commands write one as they work, a Client with ledger=True; or "
            "name another with --ledger or PENSTOCK_HOME"
        )
    try:
        return _open_to_read(path, "mode=ro")
    except LedgerUnavailable as error:
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        # In a folder that nobody may write to, nobody writes now, and SQLite must be told so.
        return _open_to_read(path, "immutable=1")


def _open_to_read(path: str, how: str) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(
            f"file:{quote(path)}?{how}", uri=True, timeout=OPEN_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise meant(path, error) from error
    try:
        found = _check(db, path, SCHEMA)
    except sqlite3.Error as error:
        db.close()
        raise meant(path, error) from error
    except BaseException:
        db.close()
        raise
    if found < SCHEMA:
        db.close()
        if found:
            open_to_write(path).close()
            return _open_to_read(path, how)
        raise ConfigError(f"the ledger at {path} is empty; no call was written to it yet")
    return db


def _one(db: sqlite3.Connection, query: str) -> Any:
    return db.execute(query).fetchone()[0]
