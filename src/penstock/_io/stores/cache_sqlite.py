"""The store in a file: SQLite in WAL mode, shared by several processes.

A cache must never be worse than none. Whatever is wrong with the file, the call goes on without it; it is said once.

    locked by another process       tried for BUSY_S, then a miss; tried again at the next call
    read-only, or the disk is full  what is there is read, nothing is added
    not ours, corrupt, no folder …  not touched again by this client
    power cut                       an answer that does not match its digest is a miss
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import warnings
from hashlib import blake2b
from typing import Final

from ..._policy.cache import Cache

BUSY_S: Final = 0.005
"""How long to wait for another process; an event loop waits along."""

APPLICATION_ID: Final = 0x50454E53  # "PENS"
VERSION: Final = 1
DIGEST_BYTES: Final = 8
EVICTED_AT_ONCE: Final = 32
EVICTIONS_MAX: Final = 16
"""Rounds of evictions for one new answer, so that it takes a bounded time; the next one goes on."""

CACHED_PAGES_KIB: Final = 2048

_LAYOUT: Final = (
    "CREATE TABLE answers (key BLOB PRIMARY KEY, stored REAL NOT NULL, digest BLOB NOT NULL, kept BLOB NOT NULL)",
    "CREATE INDEX answers_by_age ON answers (stored)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
_USED_BYTES: Final = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
_OLDEST: Final = "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers ORDER BY stored LIMIT ?)"
_EXPIRED: Final = "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE stored <= ? LIMIT ?)"


class _Unusable(Exception):
    """The file cannot serve, and trying again would not help."""


class SqliteStore:
    """Keeps answers in one file; `trouble` says what was last wrong with it. Not for several threads at once."""

    def __init__(self, path: str, settings: Cache) -> None:
        self.trouble: str | None = None
        self._path = os.path.abspath(os.path.expanduser(path))
        self._ttl_s = settings.ttl_s
        self._max_bytes = settings.max_bytes
        self._db: sqlite3.Connection | None = None
        self._process = 0
        self._inherited: list[sqlite3.Connection] = []
        self._given_up = False

    def get(self, wall_s: float, key: bytes) -> bytes | None:
        """Return what is kept, None when there is nothing, it is too old, or the file does not work."""
        try:
            row = self._open().execute("SELECT stored, digest, kept FROM answers WHERE key = ?", (key,)).fetchone()
        except (sqlite3.Error, OSError, _Unusable) as error:
            self._failed(error)
            return None
        if row is None:
            return None
        stored, digest, kept = row
        if not isinstance(stored, float) or not 0 <= wall_s - stored < self._ttl_s:
            return None
        return kept if isinstance(kept, bytes) and _digest(kept) == digest else None

    def put(self, wall_s: float, key: bytes, kept: bytes) -> None:
        """Keep it and let the oldest go until the file has the size it may have; nothing, where it does not work."""
        if len(kept) > self._max_bytes // 2:
            return
        try:
            db = self._open()
            with db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (key, wall_s, _digest(kept), kept))
                db.execute(_EXPIRED, (wall_s - self._ttl_s, EVICTED_AT_ONCE))
                for _ in range(EVICTIONS_MAX):
                    if db.execute(_USED_BYTES).fetchone()[0] <= self._max_bytes:
                        break
                    db.execute(_OLDEST, (EVICTED_AT_ONCE,))
        except (sqlite3.Error, OSError, _Unusable) as error:
            self._failed(error)

    def size(self) -> tuple[int, int]:
        """Return how many entries there are, and the bytes of the file in use; (0, 0) where it does not work."""
        try:
            db = self._open()
            (entries,) = db.execute("SELECT count(*) FROM answers").fetchone()
            return entries, db.execute(_USED_BYTES).fetchone()[0]
        except (sqlite3.Error, OSError, _Unusable) as error:
            self._failed(error)
            return 0, 0

    def close(self) -> None:
        """Close the file for good."""
        self._given_up = True
        db, self._db = self._db, None
        if db is not None and self._process == os.getpid():
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _open(self) -> sqlite3.Connection:
        if self._given_up:
            raise _Unusable
        if self._db is not None and self._process != os.getpid():
            # A connection must not be used, or even closed, on the other side of a fork.
            self._inherited.append(self._db)
            self._db = None
        if self._db is None:
            self._process = os.getpid()
            self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        # The answers are for nobody else; SQLite gives its other files the mode of this one.
        with contextlib.suppress(PermissionError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600))
        db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA synchronous = OFF")  # what a power cut takes is asked again
            db.execute(f"PRAGMA cache_size = -{CACHED_PAGES_KIB}")
            if not self._is_ours(db):
                self._lay_out(db)
        except BaseException:
            db.close()
            raise
        return db

    def _lay_out(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode = WAL")
        with db:
            db.execute("BEGIN IMMEDIATE")
            if not self._is_ours(db):  # another process may have been here first
                for line in _LAYOUT:
                    db.execute(line)

    @staticmethod
    def _is_ours(db: sqlite3.Connection) -> bool:
        """Say whether the file has our layout; False for an empty one.

        Raises: _Unusable for somebody else's.
        """
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version) == (APPLICATION_ID, VERSION):
            return True
        if tables or application or version:
            raise _Unusable("it is the database of another program or version")
        return False

    def _failed(self, error: Exception) -> None:
        if self._given_up:
            return
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        passes = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL)
        if not passes:
            self.close()
        first = self.trouble is None
        self.trouble = f"the cache {self._path} cannot be used: {error}"
        if first:
            # Never as an exception, also where warnings are made ones: the call goes on without the cache.
            with contextlib.suppress(Warning):
                warnings.warn(f"{self.trouble}; calls go on without it", RuntimeWarning, stacklevel=2)


def _digest(kept: bytes) -> bytes:
    return blake2b(kept, digest_size=DIGEST_BYTES).digest()
