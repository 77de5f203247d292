"""The book of a budget in a file: every process of the machine that names the file shares its accounts.

    account   what each scope spent and holds, in nano-dollars
    hold      a row for each attempt under way, committed before it is sent; settling removes it
    owner     the processes that made them
    cap       what `penstock budget set` allows each scope, for all who share the file; a client's own caps hold as well

`_policy/budget.py` decides; here its accounts are loaded, and saved in the same transaction (`BEGIN IMMEDIATE`), so
that no two processes decide on the same figures. `reserve` never waits: it gives None while another process is inside.

A hold is a lease that its owner need not renew, because whether the owner lives can be looked up; renewals would be
writes that say nothing, and a stopped process would lose what it may yet spend. The holds of a dead process are counted
as spent at their worst, and as possible, by the next one that opens the file or is refused. Should a hold be settled
after all, what was counted is taken back first.

The file is safe against kill -9 at any instant: a commit is in the system's memory, and the write-ahead log makes it
whole or void. It is not forced to the disk each time (`synchronous=NORMAL`): a power cut leaves a sound file that may
lack the last seconds. Days, months and tags are kept for ever; they are a record of 100 bytes each.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

import msgspec

from ..._policy.alerts import BudgetAlert
from ..._policy.budget import (
    Account,
    Budget,
    BudgetState,
    Caps,
    Elastic,
    Hold,
    check_carried,
    check_cost,
    period_names,
)
from ...errors import BudgetExceeded, BudgetUnavailable, ConfigError
from .owner import Owner, is_dead, myself

APPLICATION: Final = 0x50656E73
SCHEMA: Final = 2
OPEN_S: Final = 2.0
"""How long opening waits for another process; a running client waits by the rules of its driver."""

CLOSE_S: Final = 0.1
"""How long closing waits for it; what is late then counts at its worst, as if the process had died."""

SETTLE_S: Final = 0.02
"""How long a settlement waits; then it is kept and comes with the next visit. Until then its hold stands."""

STEP_S: Final = 0.001
LOOK_S: Final = 1.0
"""At most this often a refusal looks for dead processes."""

LOST_KEPT_S: Final = 7 * 86_400.0
"""A hold of a dead process can be settled after all for this long; its worst case is counted for ever."""

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_CAP: Final = "CREATE TABLE cap (name TEXT PRIMARY KEY, nano INTEGER NOT NULL CHECK (nano >= 0)) WITHOUT ROWID"
_TABLES: Final = (
    """CREATE TABLE account (
        name TEXT PRIMARY KEY,
        spent INTEGER NOT NULL CHECK (typeof(spent) = 'integer' AND spent >= 0),
        held INTEGER NOT NULL CHECK (typeof(held) = 'integer' AND held >= 0),
        possible INTEGER NOT NULL CHECK (typeof(possible) = 'integer' AND possible BETWEEN 0 AND spent),
        told_ppm INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE hold (
        owner INTEGER, serial INTEGER, worst INTEGER CHECK (worst >= 0), made_s REAL NOT NULL, scopes BLOB NOT NULL,
        lost INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (owner, serial)
    ) WITHOUT ROWID""",
    "CREATE TABLE owner (id INTEGER PRIMARY KEY, pid INTEGER, started TEXT, boot TEXT, container TEXT)",
    "CREATE TABLE sums (unpriced INTEGER NOT NULL, overshoot INTEGER NOT NULL)",
    "INSERT INTO sums VALUES (0, 0)",
    _CAP,
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {SCHEMA}",
)
_DAMAGED: Final = "is damaged or no budget at all; move it away (spending then counts from 0), or name another file"
_WRONG: Final = {
    sqlite3.SQLITE_READONLY: "cannot be written; give this user the right to write the file and its folder",
    sqlite3.SQLITE_PERM: "cannot be used; give this user the right to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; give this user the right to write the file and its folder",
    sqlite3.SQLITE_FULL: "cannot grow; make room on the disk",
    sqlite3.SQLITE_IOERR: "cannot be read or written; look whether the disk is full or broken",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CONSTRAINT: "holds accounts that do not add up; move it away (spending then counts from 0)",
}

_Key = tuple[int, int]
_Scopes = list[tuple[str, int | None]]


class SharedBook:
    """A budget whose accounts are in a file; safe to use from many threads and across a fork.

    Raises: ConfigError when the file is none of ours, BudgetUnavailable when it cannot be used.
    """

    def __init__(
        self, budget: Budget, *, process: Callable[[], Owner] = myself, is_dead: Callable[[Owner], bool] = is_dead
    ) -> None:
        self.budget = budget
        self.due: list[BudgetAlert] = []
        self.path = os.path.realpath(os.path.expanduser(str(budget.file)))
        self._caps = Caps(budget)
        self._client = self._caps.client()
        self._process = process
        self._is_dead = is_dead
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._owner = _new_owner()
        self._serials = count(1)
        self._late: dict[_Key, tuple[Hold, int | None]] = {}
        self._period = (-1, ("", ""))
        self._patience_s = SETTLE_S
        self._looked_s = 0.0
        self._closed = False
        self._forking = False
        with self._transaction(OPEN_S):
            pass
        _follow_forks(self)

    def reserve(
        self,
        wall_s: float,
        worst_nano: int | None,
        tags: Mapping[str, str] | None = None,
        *,
        elastic: Elastic | None = None,
        hold: Hold | None = None,
    ) -> Hold | None:
        """Hold the worst case of an attempt in every scope that covers it, or in none; see `Book`."""
        hold = hold or Hold()
        self._write_late()
        try:
            try:
                return self._reserve(wall_s, worst_nano, tags, elastic, hold)
            except BudgetExceeded:
                if 0 <= wall_s - self._looked_s < LOOK_S:
                    raise
                self._looked_s = wall_s
                with self._transaction() as db:
                    if not self._bury(db):
                        raise
            return self._reserve(wall_s, worst_nano, tags, elastic, hold)
        except BudgetUnavailable as error:
            self.release(hold)  # where it was the commit that failed
            if error.busy:
                return None
            raise

    def _reserve(
        self, wall_s: float, worst_nano: int | None, tags: Mapping[str, str] | None, elastic: Elastic | None, hold: Hold
    ) -> Hold:
        with self._transaction() as db:
            shared = self._load(db, self._scopes(db, wall_s, tags or {}))
            hold.worst_nano, hold.max_tokens = self._caps.fit(self._client + shared, worst_nano, elastic)
            worst = hold.worst_nano or 0
            for account in shared:
                account.held += worst
            self._save(db, shared)
            hold.key = (self._owner, next(self._serials))
            hold.made_s = wall_s
            hold.accounts = shared
            names = msgspec.json.encode([account.name for account in shared])
            db.execute(
                "INSERT INTO hold (owner, serial, worst, made_s, scopes) VALUES (?, ?, ?, ?, ?)",
                (*hold.key, hold.worst_nano, wall_s, names),
            )
            for account in self._client:
                account.held += worst
            hold.is_open = True  # before the commit: whatever interrupts it, the hold can be released
        return hold

    def settle(self, wall_s: float, hold: Hold, actual_nano: int | None) -> None:
        """Replace a hold by what the attempt cost; see `Book`. What cannot be written now comes with the next visit."""
        check_cost(actual_nano)
        if hold.is_open:
            hold.settled_s = wall_s
            self._close_hold(hold, actual_nano)

    def release(self, hold: Hold) -> None:
        """Give a hold back whole: nothing was sent. Again changes nothing."""
        if hold.is_open:
            self._close_hold(hold, 0)

    def _close_hold(self, hold: Hold, actual_nano: int | None) -> None:
        hold.is_open = False
        if hold.key is None or hold.key[0] != self._owner:
            return  # made by another process, before the fork that made this one; it settles it
        self._late[hold.key] = (hold, actual_nano)
        spent, possible, _ = hold.cost(actual_nano)
        for account in self._client:
            account.settle(hold.worst_nano or 0, spent, possible)
        self.due += self._caps.alerts(self._client)
        self._write_late(self._patience_s)
        if self._closed:
            with self._lock:
                self._disconnect()

    def carry(self, nano: int) -> None:
        """Count what an earlier run spent against the cap of this client alone: the file knows what is in it."""
        check_carried(nano)
        for account in self._client:
            account.spent += nano
        self.due += self._caps.alerts(self._client)

    def snapshot(self, wall_s: float) -> BudgetState:
        """Show all budgets as they stand, those of other processes included.

        Raises: BudgetUnavailable.
        """
        self._write_late()
        with self._connection(OPEN_S) as db:
            total, *others = self._load(db, self._scopes(db, wall_s, None))
            under_way = db.execute("SELECT count(*) FROM hold WHERE lost = 0").fetchone()[0]
            unpriced, overshoot = db.execute("SELECT unpriced, overshoot FROM sums").fetchone()
        return BudgetState(
            scopes=tuple(account.state() for account in (total, *self._client, *others)),
            calls_under_way=under_way,
            unpriced_calls=unpriced,
            overshoot_nano=overshoot,
        )

    def close(self) -> None:
        """Write what is late and close the file; it is opened again for calls that settle after this."""
        self._closed = True
        if self._db is None and not self._late:
            return
        self._write_late(CLOSE_S)
        with contextlib.suppress(BudgetUnavailable, ConfigError), self._transaction() as db:
            db.execute(
                "DELETE FROM owner WHERE id = ? AND NOT EXISTS (SELECT 1 FROM hold WHERE owner = ?)",
                (self._owner, self._owner),
            )
        with self._lock:
            self._disconnect()

    def _write_late(self, patience_s: float = 0.0) -> None:
        """Write what was settled; what the file does not take now stays, and its hold stands until then."""
        late = dict(self._late)
        if not late:
            return
        try:
            with self._transaction(patience_s) as db:
                alerts = [alert for key, entry in late.items() for alert in self._book(db, key, *entry)]
        except (BudgetUnavailable, ConfigError):
            self._patience_s = 0.0  # so that a file that stays locked does not hold up every call
            return
        self._patience_s = SETTLE_S
        self.due += alerts
        for key in late:
            self._late.pop(key, None)

    def _book(self, db: sqlite3.Connection, key: _Key, hold: Hold, actual_nano: int | None) -> list[BudgetAlert]:
        """Replace a hold's row by what it cost; none is there when its commit was void, or this was done already."""
        row = db.execute("SELECT lost FROM hold WHERE owner = ? AND serial = ?", key).fetchone()
        if row is None:
            return []
        accounts = self._load(db, [(account.name, account.cap) for account in hold.accounts])
        worst = hold.worst_nano or 0
        spent, possible, overshoot = hold.cost(actual_nano)
        unpriced = int(actual_nano is None and hold.worst_nano is None)
        if row[0]:
            unpriced -= hold.worst_nano is None
            for account in accounts:
                account.settle(-worst, -worst, -worst)
        for account in accounts:
            account.settle(worst, spent, possible)
        alerts = self._caps.alerts(accounts)
        self._save(db, accounts)
        db.execute("DELETE FROM hold WHERE owner = ? AND serial = ?", key)
        if unpriced or overshoot:
            db.execute("UPDATE sums SET unpriced = unpriced + ?, overshoot = overshoot + ?", (unpriced, overshoot))
        return alerts

    def _bury(self, db: sqlite3.Connection) -> int:
        """Count the holds of dead processes at their worst, and return how many there were."""
        found = 0
        for owner, *process in db.execute("SELECT * FROM owner WHERE id != ?", (self._owner,)).fetchall():
            if not self._is_dead(Owner(*process)):
                continue
            rows = db.execute("SELECT worst, scopes FROM hold WHERE owner = ? AND lost = 0", (owner,)).fetchall()
            for worst, scopes in rows:
                accounts = self._load(db, [(name, None) for name in msgspec.json.decode(scopes)])
                for account in accounts:
                    account.settle(worst or 0, worst or 0, worst or 0)
                self._save(db, accounts)
                db.execute("UPDATE sums SET unpriced = unpriced + ?", (worst is None,))
            db.execute("UPDATE hold SET lost = 1 WHERE owner = ?", (owner,))
            db.execute("DELETE FROM owner WHERE id = ? AND NOT EXISTS (SELECT 1 FROM hold WHERE owner = id)", (owner,))
            found += len(rows)
        db.execute("DELETE FROM hold WHERE lost = 1 AND made_s < ?", (time.time() - LOST_KEPT_S,))
        return found

    def _scopes(self, db: sqlite3.Connection, wall_s: float, tags: Mapping[str, str] | None) -> _Scopes:
        """Name the accounts that count a call with these tags, or all that have a cap (None), with their caps."""
        caps, day = self._caps, int(wall_s // 86_400)
        if self._period[0] != day:
            self._period = (day, period_names(wall_s))
        names = self._period[1]
        of_file = dict(db.execute("SELECT name, nano FROM cap"))
        scopes = [
            ("total", _lower(caps.total, of_file.get("total"))),
            (names[0], _lower(caps.daily, of_file.get("daily"))),
            (names[1], _lower(caps.monthly, of_file.get("monthly"))),
        ]
        of_tags = {name.removeprefix("tag "): nano for name, nano in of_file.items() if name.startswith("tag ")}
        if tags is None:
            known = [*caps.tags, *[tag for tag in of_tags if tag not in caps.tags]]
        elif tags and (caps.tags or of_tags):
            known = [tag for key, value in tags.items() if (tag := f"{key}={value}") in caps.tags or tag in of_tags]
        else:
            return scopes
        return scopes + [(f"tag {tag}", _lower(caps.tags.get(tag), of_tags.get(tag))) for tag in known]

    def _load(self, db: sqlite3.Connection, scopes: _Scopes) -> tuple[Account, ...]:
        marks = ",".join("?" * len(scopes))
        query = f"SELECT name, spent, held, possible, told_ppm FROM account WHERE name IN ({marks})"  # noqa: S608
        rows = {row[0]: row for row in db.execute(query, [name for name, _ in scopes])}
        accounts = []
        for name, cap in scopes:
            _, spent, held, possible, told_ppm = rows.get(name) or (name, 0, 0, 0, 0)
            accounts.append(Account(name, cap, spent=spent, held=held, possible=possible, told_ppm=told_ppm))
        return tuple(accounts)

    def _save(self, db: sqlite3.Connection, accounts: Iterable[Account]) -> None:
        rows = [(one.name, one.spent, one.held, one.possible, one.told_ppm) for one in accounts]
        db.executemany("REPLACE INTO account (name, spent, held, possible, told_ppm) VALUES (?, ?, ?, ?, ?)", rows)

    @contextlib.contextmanager
    def _transaction(self, patience_s: float = 0.0) -> Iterator[sqlite3.Connection]:
        """Be alone in the file: what is written in the block is written whole or not at all.

        Raises: BudgetUnavailable, `busy` when another process did not leave within `patience_s`.
        """
        with self._connection(patience_s) as db:
            try:
                _patiently(patience_s, lambda: db.execute("BEGIN IMMEDIATE"))
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.rollback()
                raise

    @contextlib.contextmanager
    def _connection(self, patience_s: float) -> Iterator[sqlite3.Connection]:
        """Use the open file, one thread at a time.

        Raises: BudgetUnavailable.
        """
        with self._lock:
            try:
                if self._db is None:
                    self._db = self._open(patience_s)
                if _inode(self.path) != self._inode:
                    raise BudgetUnavailable(
                        f"the budget's file {self.path} was moved or removed while in use; put it back, or make a new"
                        " client"
                    )
                yield self._db
            except (sqlite3.Error, OverflowError) as error:
                raise self._unavailable(error) from error

    def _open(self, patience_s: float) -> sqlite3.Connection:
        if not os.path.isdir(os.path.dirname(self.path)):
            raise ConfigError(f"budget: the folder of the file {self.path} does not exist; make it, or name another")
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise ConfigError(f"budget: {self.path} is no file; name one, like 'spend.db'")
        db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            _patiently(patience_s, lambda: self._set_up(db))
            self._inode = _inode(self.path)
        except BaseException:
            db.close()
            raise
        return db

    def _set_up(self, db: sqlite3.Connection) -> None:
        """See that the file is ours, make its tables if it is new, and enter this process."""
        if _one(db, "SELECT count(*) FROM sqlite_master"):
            version = _one(db, "PRAGMA user_version")
            if _one(db, "PRAGMA application_id") != APPLICATION:
                raise ConfigError(f"budget: {self.path} is a database of something else; name another file")
            if not 1 <= version <= SCHEMA:
                age = "a newer" if version > SCHEMA else "an older"
                raise ConfigError(
                    f"budget: {self.path} was written by {age} Penstock (layout {version}, this one reads {SCHEMA});"
                    " use that version, or name another file"
                )
        if _one(db, "PRAGMA journal_mode = WAL") != "wal":
            raise ConfigError(f"budget: {self.path} is on a file system that processes cannot share; use a local disk")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN IMMEDIATE")
        try:
            if not _one(db, "SELECT count(*) FROM sqlite_master"):
                for table in _TABLES:
                    db.execute(table)
            elif _one(db, "PRAGMA user_version") < SCHEMA:  # layout 1 had no caps of its own
                db.execute(_CAP)
                db.execute(f"PRAGMA user_version = {SCHEMA}")
            db.execute("REPLACE INTO owner VALUES (?, ?, ?, ?, ?)", (self._owner, *self._process()))
            self._bury(db)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.rollback()
            raise

    def _unavailable(self, error: Exception) -> BudgetUnavailable:
        """Say in a sentence what is wrong with the file."""
        if isinstance(error, OverflowError):
            return BudgetUnavailable(f"the budget's file {self.path} counts up to 9.2 billion dollars")
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            return BudgetUnavailable(f"the budget's file {self.path} is locked by another process", busy=True)
        wrong = _WRONG.get(code, "cannot be used")
        return BudgetUnavailable(f"the budget's file {self.path} {wrong} (SQLite says: {error})")

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _before_fork(self) -> None:
        """Leave no connection to the child: SQLite cannot carry its locks across a fork."""
        self._lock.acquire()
        self._forking = True
        self._disconnect()

    def _after_fork(self, *, child: bool) -> None:
        if not self._forking:
            return
        self._forking = False
        if child:
            self._owner = _new_owner()
            self._late.clear()
            for account in self._client:
                account.held = 0
        self._lock.release()


def _follow_forks(book: SharedBook) -> None:
    """Have a book look after itself when the process forks, for as long as it lives."""
    if not hasattr(os, "register_at_fork"):
        return
    living = weakref.ref(book)

    def before() -> None:
        found = living()
        if found is not None:
            found._before_fork()

    def after(*, child: bool) -> None:
        found = living()
        if found is not None:
            found._after_fork(child=child)

    os.register_at_fork(
        before=before, after_in_parent=lambda: after(child=False), after_in_child=lambda: after(child=True)
    )


def _patiently(patience_s: float, visit: Callable[[], object]) -> None:
    """Do something in the file as soon as no other process is inside."""
    until = time.monotonic() + patience_s
    while True:
        try:
            visit()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() >= until:
                raise
            time.sleep(STEP_S)
        else:
            return


def _lower(own: int | None, of_file: int | None) -> int | None:
    """Return the cap that counts: the lower one, None where there is none."""
    return of_file if own is None else own if of_file is None else min(own, of_file)


def _one(db: sqlite3.Connection, query: str) -> Any:
    return db.execute(query).fetchone()[0]


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _new_owner() -> int:
    """Draw a number that no other owner has, for as long as a hold of its may be there."""
    return int.from_bytes(os.urandom(6))
