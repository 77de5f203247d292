"""The file of a budget that several clients share: who owns what in it, and what goes wrong when it is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from penstock import Budget
from penstock._io.stores.budget_sqlite import SharedBook
from penstock._io.stores.owner import Owner
from penstock._policy.budget import Caps

from .provider import EPOCH_S
from .scheduler import Timeline

LOCKED_S: Final = (0.005, 0.1, 1.0, 5.0)  # how long somebody else is inside
WRITES: Final = ("INSERT", "REPLACE", "DELETE", "UPDATE", "COMMIT")
BROKEN: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)
DEADLY: Final = 0.05  # of the faults: the process dies in the middle of the write


class Ledger:
    """A real file on a disk that fails. `die` is told which book's process a write killed."""

    def __init__(
        self, timeline: Timeline, budget: Budget, share: float, seed: int, die: Callable[[object], None]
    ) -> None:
        self.dealt = 0
        self.dead: set[int] = set()
        self._folder = TemporaryDirectory(prefix="penstock-world-")
        self._path = Path(self._folder.name) / "spend.db"
        self._budget = msgspec.structs.replace(budget, file=self._path)
        self._caps = Caps(budget)
        self._timeline = timeline
        self._share = share
        self._dice = Random(f"ledger/{seed}")
        self._die = die
        self._numbers = count(1)
        self._locked_until = 0.0
        self._opening: _Book | None = None
        self._own: sqlite3.Connection | None = None

    def book(self, budget: Budget | None) -> SharedBook:
        """Open the file for one more process; stands for `book_of`."""
        return _Book(self, self._budget, next(self._numbers))

    def bury(self, book: object) -> None:
        """The process of a book is dead from now on, and writes nothing any more."""
        assert isinstance(book, _Book)
        self.dead.add(book.number)

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self._share = 0.0
        self._locked_until = 0.0

    def close(self) -> None:
        """Take the file away."""
        if self._own is not None:
            self._own.close()
        self._folder.cleanup()

    def accounts(self) -> list[tuple[str, int, int, int | None]]:
        """Read what is spent, held and allowed by scope, as anybody could."""
        if self._own is None:
            self._own = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        caps = {"total": self._caps.total, "day": self._caps.daily, "month": self._caps.monthly}
        rows = self._own.execute("SELECT name, spent, held FROM account").fetchall()
        return [(name, spent, held, caps.get(name.partition(" ")[0])) for name, spent, held in rows]

    # --- what stands for sqlite3 in the book of a budget -----------------------------------------------------------

    def connect(self, path: str, **options: Any) -> sqlite3.Connection:
        db = sqlite3.connect(path, factory=_Connection, **options)
        assert self._opening is not None
        db.ledger, db.book = self, self._opening
        return db

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def opens(self, book: _Book) -> None:
        self._opening = book

    def meet(self, db: _Connection, statement: str) -> None:
        """What happens to one statement of one process.

        Raises: sqlite3.OperationalError.
        """
        book = db.book
        if book.number in self.dead:
            raise _error(sqlite3.SQLITE_IOERR)
        if not book.ready:
            return
        now, verb = self._timeline.now, statement.split(None, 1)[0]
        if verb == "BEGIN":
            if self._share and self._dice.random() < self._share:
                self.dealt += 1
                self._locked_until = now + self._dice.choice(LOCKED_S)
            if now < self._locked_until:
                raise _error(sqlite3.SQLITE_BUSY)
        elif verb in WRITES and self._share and self._dice.random() < self._share:
            self.dealt += 1
            if self._dice.random() < DEADLY:
                db.rollback()  # as the system does for a process that is gone
                self._die(book)
            raise _error(self._dice.choice(BROKEN))


class _Book(SharedBook):
    """The book of one simulated process."""

    ready = False

    def __init__(self, ledger: Ledger, budget: Budget, number: int) -> None:
        self.ledger = ledger
        self.number = number
        super().__init__(
            budget,
            process=lambda: Owner(number, "", "world", ""),
            is_dead=lambda owner: owner.pid in ledger.dead,
        )
        self.ready = True

    def _open(self, patience_s: float) -> sqlite3.Connection:
        self.ledger.opens(self)
        return super()._open(patience_s)


class _Connection(sqlite3.Connection):
    ledger: Ledger
    book: _Book

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self.ledger.meet(self, statement)
        return super().execute(statement, *values)

    def executemany(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self.ledger.meet(self, statement)
        return super().executemany(statement, *values)


class StillTime:
    """Stands for `time` where a wait stops the whole event loop."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def monotonic(self) -> float:
        return self._timeline.now

    def time(self) -> float:
        return EPOCH_S + self._timeline.now

    def sleep(self, seconds: float) -> None:
        self._timeline.now += seconds


def _error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("the disk of this world")
    error.sqlite_errorcode = code
    return error
