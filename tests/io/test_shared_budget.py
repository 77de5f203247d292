"""The book in a file: shared, safe against crashes, and closed to everybody when it cannot be trusted."""

from __future__ import annotations

import os
import resource
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from penstock._io.stores import book_of, budget_sqlite
from penstock._io.stores.budget_sqlite import SharedBook
from penstock._io.stores.owner import Owner
from penstock._policy.budget import Budget, BudgetBook, BudgetState, Hold, ScopeState
from penstock.errors import BudgetExceeded, BudgetUnavailable, ConfigError

NOON = 1_795_176_000.0  # 2026-11-20 12:00 UTC
NOBODY = 65534
Open = Callable[..., SharedBook]
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the budget is kept."""
    return tmp_path / "spend.db"


@pytest.fixture
def share(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open books on the file, and close them in the end; nobody waits long here, and it is noon."""
    monkeypatch.setattr(budget_sqlite, "time", Noon())
    monkeypatch.setattr(budget_sqlite, "OPEN_S", 0.002)
    monkeypatch.setattr(budget_sqlite, "CLOSE_S", 0.002)
    monkeypatch.setattr(budget_sqlite, "SETTLE_S", 0.002)
    books: list[SharedBook] = []

    def share(budget: Budget | None = None, **more: Any) -> SharedBook:
        books.append(SharedBook(budget or Budget(total="0.000000100", file=file), **more))
        return books[-1]

    yield share
    for book in books:
        book.close()


class Noon:
    """The module `time` on a day that stands still; all else, also what a test puts in its place, is the real one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return NOON


def total(book: SharedBook) -> ScopeState:
    return book.snapshot(NOON).scopes[0]


def held(book: SharedBook, worst: int = 10, **more: Any) -> Hold:
    hold = book.reserve(NOON, worst, **more)
    assert hold is not None
    return hold


@pytest.fixture
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    """Another process inside the file, until it is rolled back."""
    other = sqlite3.connect(file, isolation_level=None, timeout=0)
    yield other
    other.close()


def test_a_budget_without_a_file_is_kept_in_memory(file: Path) -> None:
    """And one with a file in the file."""
    assert isinstance(book_of(None), BudgetBook)
    assert isinstance(book_of(Budget(total=1)), BudgetBook)
    book = book_of(Budget(total=1, file=file))
    assert isinstance(book, SharedBook)
    book.close()


@pytest.mark.prove(15)
def test_all_who_name_a_file_share_its_account(share: Open) -> None:
    """What one holds is not there for the other, before anything is sent."""
    one, two = share(), share()
    hold = held(one, 70)
    assert total(two) == ScopeState(name="total", cap_nano=100, spent_nano=0, held_nano=70, possible_nano=0)
    with pytest.raises(BudgetExceeded, match="held by calls under way"):
        two.reserve(NOON, 31)
    one.settle(NOON, hold, 50)
    assert (total(two).spent_nano, total(two).held_nano) == (50, 0)
    held(two, 50)


def test_what_was_spent_is_known_to_the_next_program(share: Open, file: Path) -> None:
    """The file is all that is left of a closed book, and it has day, month, tags, sums."""
    budget = Budget(daily=1, tags={"team=a": 1, "team=b": 1, "a=b=c": 1}, allow_unpriced=True, file=file)
    first = share(budget)
    for tags in ({"team": "a"}, {"team": "b", "a": "b=c", "other": "x"}):
        hold = first.reserve(NOON, 10, tags)
        assert hold is not None
        first.settle(NOON, hold, 12)
    hold = first.reserve(NOON, None)
    assert hold is not None
    first.settle(NOON, hold, None)
    first.close()
    assert [path.name for path in file.parent.iterdir()] == ["spend.db"]
    state = share(budget).snapshot(NOON)
    assert {scope.name: scope.spent_nano for scope in state.scopes} == {
        "total": 24,
        "day 2026-11-20": 24,
        "month 2026-11": 24,
        "tag team=a": 12,
        "tag team=b": 12,
        "tag a=b=c": 12,
    }
    assert (state.calls_under_way, state.unpriced_calls, state.overshoot_nano) == (0, 1, 4)


def test_a_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite would read in its own way is a file all the same, and ~ is the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (":memory:", "file:x?mode=memory", "~/b.db", "c.db"):
        SharedBook(Budget(total=1, file=name)).close()
    assert {path.name for path in tmp_path.iterdir()} == {":memory:", "file:x?mode=memory", "b.db", "c.db"}
    assert SharedBook(Budget(total=1, file="c.db")).path == str(tmp_path / "c.db")


def test_a_locked_file_gives_no_hold_and_takes_settlements_later(share: Open, locked: sqlite3.Connection) -> None:
    """Nothing waits for long, nothing passes, nothing is lost."""
    book = share()
    hold, other = held(book, 60), held(book, 10)
    locked.execute("BEGIN IMMEDIATE")
    assert book.reserve(NOON, 1) is None
    book.settle(NOON, hold, 20)
    book.release(other)
    assert (total(book).spent_nano, total(book).held_nano) == (0, 70), "who reads is not locked out"
    locked.execute("ROLLBACK")
    held(book, 80)
    assert (total(book).spent_nano, total(book).held_nano) == (20, 80)
    assert not book._late, "each is written once"


def test_a_file_that_stays_locked_holds_up_one_settlement_not_all(
    share: Open, locked: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one that waited in vain the next do not wait, until one came through."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    book = share()
    holds = [held(book) for _ in range(3)]
    locked.execute("BEGIN IMMEDIATE")
    book.settle(NOON, holds[0], 1)
    assert pauses
    pauses.clear()
    book.settle(NOON, holds[1], 1)
    assert not pauses
    locked.execute("ROLLBACK")
    book.settle(NOON, holds[2], 1)
    assert total(book).spent_nano == 3
    assert book._patience_s == budget_sqlite.SETTLE_S


def test_a_file_that_is_locked_from_the_start_is_told(share: Open, locked: sqlite3.Connection) -> None:
    """Also one that is locked whole, so that nobody can read it."""
    share().close()
    locked.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BudgetUnavailable, match=r"spend\.db is locked by another process") as caught:
        share()
    assert caught.value.busy


@pytest.mark.prove(15)
@pytest.mark.parametrize("ask", ["is opened", "is short"])
def test_a_dead_process_leaves_its_holds_as_possibly_spent(share: Open, ask: str) -> None:
    """At their worst, found when the file is opened next and when room is short; nothing is given away twice."""
    dead: set[int] = set()
    process = Owner(7, "", "", "")
    other = None if ask == "is opened" else share(is_dead=lambda owner: owner.pid in dead)
    lost = share(process=lambda: process)
    held(lost, 60)
    held(lost, 30)
    lost._disconnect()
    dead.add(7)
    other = other or share(is_dead=lambda owner: owner.pid in dead)
    with pytest.raises(BudgetExceeded, match=r"\$0.00000009 spent\)"):
        other.reserve(NOON, 11)
    assert total(other) == ScopeState(name="total", cap_nano=100, spent_nano=90, held_nano=0, possible_nano=90)
    assert other.snapshot(NOON).calls_under_way == 0
    held(other, 10)


def test_a_process_that_was_thought_dead_can_still_settle(share: Open) -> None:
    """What was counted for it is taken back, once."""
    lost = share()
    hold = held(lost, 60)
    share(is_dead=lambda owner: True)
    assert total(lost).possible_nano == 60
    lost.settle(NOON, hold, 5)
    lost.settle(NOON, hold, 60)
    assert total(lost) == ScopeState(name="total", cap_nano=100, spent_nano=5, held_nano=0, possible_nano=0)


def test_so_can_one_whose_price_is_unknown(share: Open, file: Path) -> None:
    """It counts as one unpriced call while it is lost, and no longer once its cost is known."""
    lost = share(Budget(file=file))
    hold = lost.reserve(NOON, None)
    assert hold is not None
    share(is_dead=lambda owner: True)
    assert lost.snapshot(NOON).unpriced_calls == 1
    lost.settle(NOON, hold, 5)
    assert (lost.snapshot(NOON).unpriced_calls, total(lost).spent_nano) == (0, 5)


def test_holds_of_the_dead_are_forgotten_after_a_week(share: Open) -> None:
    """What they counted stays counted, and no row is left of them or their owner."""
    lost = share()
    held(lost, 60)
    lost._disconnect()
    share(is_dead=lambda owner: True).close()
    last = share()
    assert last._db is not None
    assert last._db.execute("SELECT count(*) FROM hold").fetchone() == (1,)
    last._db.execute("UPDATE hold SET made_s = 0")
    last = share(is_dead=lambda owner: owner.pid != 0)
    assert last._db is not None
    assert last._db.execute("SELECT count(*) FROM hold").fetchone() == (0,)
    assert total(last).possible_nano == 60


class Interrupted(BaseException):
    """Ctrl-C, or the like."""


@pytest.mark.prove(15)
@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
def test_an_interrupt_loses_no_money(share: Open, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Whoever owns the hold releases it, whether its row was written or not."""
    book, hold = share(), Hold()
    step = "_save" if when == "before the commit" else "_reserve"
    whole = getattr(book, step)

    def interrupted(*arguments: Any) -> None:
        whole(*arguments)
        raise Interrupted

    monkeypatch.setattr(book, step, interrupted)
    with pytest.raises(Interrupted):
        book.reserve(NOON, 60, hold=hold)
    monkeypatch.undo()
    assert hold.is_open is (when == "after the commit")
    book.release(hold)
    assert total(book).held_nano == 0
    held(book, 100)


def test_a_client_has_a_cap_of_its_own_which_earlier_runs_count_against(share: Open, file: Path) -> None:
    """The total of the file knows what earlier runs spent; the cap of the client is told."""
    budget = Budget(total=1, per_client="0.000000100", file=file, on_alert=print)
    one, two = share(budget), share(budget)
    one.carry(40)
    hold = held(one, 60)
    with pytest.raises(BudgetExceeded) as caught:
        one.reserve(NOON, 1)
    assert (caught.value.scope, caught.value.spent_nano, caught.value.held_nano) == ("client", 40, 60)
    held(two, 100)
    one.settle(NOON, hold, 50)
    assert [(alert.scope, alert.share, alert.spent_nano) for alert in one.due] == [
        ("client", 0.5, 90),
        ("client", 0.8, 90),
    ]
    assert total(one).spent_nano == 50


def test_an_alert_is_told_once_to_all_who_share_the_file(share: Open, file: Path) -> None:
    """Whoever reaches the share is told; a client without a listener leaves it to the next."""
    budget = Budget(total="0.000000100", file=file, on_alert=print)
    deaf, one, two = share(), share(budget), share(budget)
    deaf.settle(NOON, held(deaf, 60), 60)
    for book in (one, two, one):
        book.settle(NOON, held(book, 1), 1)
    later = share(budget)
    later.settle(NOON, held(later, 20), 20)
    assert [(alert.share, alert.spent_nano) for alert in one.due] == [(0.5, 61)]
    assert two.due == deaf.due == []
    assert [(alert.share, alert.spent_nano) for alert in later.due] == [(0.8, 83)]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("CREATE TABLE notes (text)", "is a database of something else; name another file"),
        ("PRAGMA user_version = 3", r"was written by a newer Penstock \(layout 3, this one reads 2\)"),
        ("PRAGMA user_version = 0", "was written by an older Penstock"),
    ],
)
def test_a_file_of_another_kind_or_age_is_left_alone(share: Open, file: Path, spoil: str, words: str) -> None:
    """Before anything is written to it."""
    if "user_version" in spoil:
        share().close()
    db = sqlite3.connect(file)
    db.execute(spoil)
    db.close()
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=words):
        share()
    assert file.read_bytes() == before


def test_a_file_system_that_cannot_be_shared_is_told(share: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says so by staying in another mode."""
    real = budget_sqlite._one
    monkeypatch.setattr(budget_sqlite, "_one", lambda db, query: "delete" if "WAL" in query else real(db, query))
    with pytest.raises(ConfigError, match="is on a file system that processes cannot share; use a local disk"):
        share()


@pytest.mark.parametrize("where", ["a folder", "no folder"])
def test_a_place_that_cannot_be_is_told(tmp_path: Path, where: str) -> None:
    """A folder is no file, and folders are not made for it."""
    place = tmp_path if where == "a folder" else tmp_path / "none" / "spend.db"
    words = "is no file; name one" if where == "a folder" else "the folder of the file .* does not exist"
    with pytest.raises(ConfigError, match=words):
        SharedBook(Budget(total=1, file=place))


def test_a_damaged_file_is_no_empty_account(share: Open, file: Path) -> None:
    """Neither one that is something else, nor one with a hole."""
    file.write_text("my notes\n" * 100)
    with pytest.raises(BudgetUnavailable, match="is damaged or no budget at all; move it away"):
        share()
    file.unlink()
    book = share()
    held(book)
    book.close()
    with open(file, "r+b") as spoiled:
        spoiled.seek(4096)
        spoiled.write(b"\xff" * (file.stat().st_size - 4096))
    with pytest.raises(BudgetUnavailable, match="is damaged"):
        held(share())


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process may not write to; root may write anywhere, so it becomes nobody meanwhile."""
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        SharedBook(Budget(total=1, file=Path(folder) / "spend.db")).close()
        os.chmod(folder, 0o555)
        os.chmod(Path(folder) / "spend.db", 0o444)
        if me == 0:
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(me)
            os.chmod(folder, 0o700)


@pytest.mark.parametrize("name", ["spend.db", "new.db"])
def test_a_file_that_may_not_be_written_is_told(read_only: Path, name: str) -> None:
    """Before anything is sent."""
    with pytest.raises(BudgetUnavailable, match="give this user the right to write the file and its folder"):
        SharedBook(Budget(total=1, file=read_only / name))


def test_a_full_disk_lets_nothing_pass(share: Open) -> None:
    """What settles meanwhile is kept and written when there is room."""
    book = share()
    first = held(book, 20)
    assert book._db is not None
    size = os.stat(book.path + "-wal").st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        hold = Hold()
        with pytest.raises(BudgetUnavailable, match="look whether the disk is full"):
            book.reserve(NOON, 30, hold=hold)
        book.release(hold)
        book.settle(NOON, first, 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (total(book).spent_nano, total(book).held_nano) == (5, 0)


def test_a_file_that_cannot_grow_is_told(share: Open) -> None:
    """SQLite's own word for it."""
    book = share(Budget(tags={f"row={n}": 1 for n in range(2000)}, total=1, file=share().path))
    pages = book._db.execute("PRAGMA page_count").fetchone()[0] if book._db else 0
    assert book._db is not None
    book._db.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for n in range(2000):
            book.reserve(NOON, 1, {"row": str(n)})

    with pytest.raises(BudgetUnavailable, match="cannot grow; make room on the disk"):
        fill()


def test_a_file_that_was_taken_away_is_not_written_any_more(share: Open, file: Path) -> None:
    """Others would count in another one."""
    book = share()
    hold = held(book, 10)
    file.rename(file.with_name("moved.db"))
    with pytest.raises(BudgetUnavailable, match="was moved or removed while in use"):
        book.reserve(NOON, 1)
    file.write_bytes(b"")
    with pytest.raises(BudgetUnavailable, match="was moved or removed while in use"):
        book.reserve(NOON, 1)
    book.settle(NOON, hold, 5)
    file.with_name("moved.db").rename(file)
    assert total(book).spent_nano == 5


def test_accounts_that_were_tampered_with_do_not_add_up(share: Open, file: Path) -> None:
    """The file itself refuses a balance below nothing; the settlement that met it breaks no call."""
    book = share()
    hold = held(book, 60)
    assert book._db is not None
    book._db.execute("UPDATE account SET held = 0")
    book.settle(NOON, hold, 10)
    assert total(book).spent_nano == 0
    book._db.execute("UPDATE account SET held = 60")
    assert total(book).spent_nano == 10


def test_more_money_than_there_is_cannot_be_counted(share: Open, file: Path) -> None:
    """An amount beyond 64 bits is refused in words."""
    book = share(Budget(total=10**11, file=file))
    with pytest.raises(BudgetUnavailable, match=r"counts up to 9\.2 billion dollars"):
        book.reserve(NOON, 2**63)
    held(book, 2**62)


def test_negative_money_is_our_bug(share: Open) -> None:
    """As in memory."""
    book = share()
    hold = held(book)
    with pytest.raises(ValueError, match="bug in Penstock"):
        book.settle(NOON, hold, -1)
    with pytest.raises(ValueError, match="cannot have been spent"):
        book.carry(-1)
    assert hold.is_open


def test_a_commit_that_fails_holds_nothing(share: Open, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the file nor for the client itself."""
    book = share(Budget(total=1, per_client="0.000000100", file=file))
    assert book._db is not None
    book._db.execute("CREATE TEMP TRIGGER full AFTER INSERT ON hold BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(BudgetUnavailable):
        book.reserve(NOON, 100)
    book._db.execute("DROP TRIGGER full")
    held(book, 100)


def test_a_settlement_meets_no_error_where_the_file_became_another(share: Open, file: Path) -> None:
    """The call has its answer; what it cost is written when the file is itself again."""
    book = share()
    hold = held(book, 60)
    book.close()
    file.rename(file.with_name("moved.db"))
    file.mkdir()
    book.settle(NOON, hold, 5)
    book.close()
    file.rmdir()
    file.with_name("moved.db").rename(file)
    assert (total(book).spent_nano, total(book).held_nano) == (5, 0)


def test_a_closed_book_still_takes_settlements(share: Open, file: Path) -> None:
    """Calls under way end by themselves, and leave the file closed."""
    book = share()
    hold = held(book, 60)
    book.close()
    book.close()
    assert book._db is None
    book.settle(NOON, hold, 5)
    assert [path.name for path in file.parent.iterdir()] == ["spend.db"]
    assert total(share()) == ScopeState(name="total", cap_nano=100, spent_nano=5, held_nano=0, possible_nano=0)


@pytest.mark.prove(15)
def test_threads_and_books_together_never_pass_the_cap(share: Open, file: Path) -> None:
    """Four books on one file, each asked by four threads, until there is nothing left."""
    budget = Budget(total="0.000001", file=file)
    books = [share(budget) for _ in range(4)]

    def spend(turn: int) -> int:
        while (hold := books[turn % 4].reserve(NOON, 7)) is None:
            pass
        books[turn % 4].settle(NOON, hold, 5)
        return 5

    def ask(turn: int) -> int:
        try:
            return spend(turn)
        except BudgetExceeded:
            return 0

    with ThreadPoolExecutor(16) as pool:
        spent = sum(pool.map(ask, range(250)))
    for book in books:
        book.close()
    state: BudgetState = share(budget).snapshot(NOON)
    assert (state.scopes[0].spent_nano, state.scopes[0].held_nano) == (spent, 0)
    assert 1000 - 7 < spent <= 1000


def in_child(work: Callable[[], object]) -> Callable[[], None]:
    """Fork, and return what lets the child do its work and waits for its end."""
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        failed = True
        try:
            os.read(ready, 1)
            failed = not work()
        finally:
            os._exit(failed)

    def finish() -> None:
        os.write(go, b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.close(ready)
        os.close(go)

    return finish


@forks
@pytest.mark.prove(15, 23)
def test_a_forked_child_is_an_owner_of_its_own(share: Open, file: Path) -> None:
    """What it holds counts after its parent closed the file, and it cannot settle what its parent holds."""
    book = share(Budget(total="0.000000100", per_client="0.000000060", file=file))
    hold = held(book, 30)

    def release() -> bool:
        book.release(hold)
        return True

    def spend() -> bool:
        book.settle(NOON, held(book, 60), 15)
        return True

    in_child(release)()
    assert total(book).held_nano == 30, "only its maker can give it back"
    finish = in_child(spend)
    book.settle(NOON, hold, 20)
    book.close()
    finish()
    assert (total(share()).spent_nano, total(share()).held_nano) == (35, 0)


@forks
@pytest.mark.prove(15, 23)
def test_a_fork_in_the_middle_of_a_visit_waits_for_its_end(share: Open) -> None:
    """Another thread is inside the file: the child gets a book that is whole, and the parent goes on."""
    book = share()
    inside, leave = threading.Event(), threading.Event()

    def visit() -> None:
        with book._transaction() as db:
            inside.set()
            leave.wait(5)
            db.execute("UPDATE sums SET overshoot = 1")

    with ThreadPoolExecutor(1) as pool:
        visitor = pool.submit(visit)
        inside.wait(5)
        os.register_at_fork(before=leave.set)  # the newest is called first: the visit ends while the fork waits for it
        finish = in_child(lambda: held(book, 10))
        visitor.result()
    finish()
    assert book.snapshot(NOON).overshoot_nano == 1
    assert total(book).possible_nano == 10


@forks
def test_a_book_that_is_gone_is_not_followed_into_a_fork(file: Path) -> None:
    """The process forks as ever."""
    book = SharedBook(Budget(total=1, file=file))
    book.close()
    del book
    in_child(lambda: True)()
