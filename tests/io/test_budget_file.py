"""Caps that are kept in the file of a budget, and counting from 0 again while programs use it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock import Client
from penstock._io.home import state_dir
from penstock._io.settings import load
from penstock._io.stores import default_file
from penstock._io.stores.budget_file import BudgetFile
from penstock._io.stores.budget_sqlite import _TABLES, APPLICATION, SharedBook
from penstock._policy.budget import Budget, Hold
from penstock.errors import BudgetExceeded, BudgetUnavailable, ConfigError
from penstock.types import Secret

NOON = 1_795_176_000.0  # 2026-11-20 12:00 UTC
PATIENCE_S = 0.5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the budget is kept."""
    return tmp_path / "spend.db"


@pytest.fixture
def keeper(file: Path) -> Iterator[BudgetFile]:
    """Who looks after the file."""
    keeper = BudgetFile(Budget(file=file))
    yield keeper
    keeper.close()


@pytest.fixture
def book(file: Path, keeper: BudgetFile) -> Iterator[SharedBook]:
    """A client's book on the file, with a daily cap of its own."""
    book = SharedBook(Budget(file=file, daily="0.000000100"))
    yield book
    book.close()


def spend(book: SharedBook, nano: int, **tags: str) -> Hold:
    hold = book.reserve(NOON, nano, tags)
    assert hold is not None
    book.settle(NOON, hold, nano)
    return hold


def caps(book: SharedBook) -> dict[str, int | None]:
    return {scope.name: scope.cap_nano for scope in book.snapshot(NOON).scopes}


@pytest.mark.prove(15)
def test_a_cap_in_the_file_holds_for_a_client_that_runs(book: SharedBook, keeper: BudgetFile) -> None:
    """From its next attempt on; its own cap holds beside it, so the lower one counts."""
    spend(book, 30)
    keeper.allow({"daily": 40, "total": 1000}, PATIENCE_S)
    assert caps(book) == {"total": 1000, "day 2026-11-20": 40, "month 2026-11": None}
    with pytest.raises(BudgetExceeded, match="'day 2026-11-20'"):
        book.reserve(NOON, 11)
    keeper.allow({"daily": 500}, PATIENCE_S)
    assert caps(book)["day 2026-11-20"] == 100
    spend(book, 11)
    keeper.allow({"daily": None, "total": 50}, PATIENCE_S)
    with pytest.raises(BudgetExceeded, match="'total'"):
        book.reserve(NOON, 10)
    assert keeper.caps() == {"total": 50}


@pytest.mark.prove(15)
def test_a_tag_that_only_the_file_caps_is_capped(book: SharedBook, keeper: BudgetFile) -> None:
    """For calls that carry it, and no others; its account begins with the cap."""
    keeper.allow({"tag team=search": 10}, PATIENCE_S)
    spend(book, 10, team="search")
    with pytest.raises(BudgetExceeded, match="'tag team=search'"):
        book.reserve(NOON, 1, {"team": "search"})
    spend(book, 1, team="other")
    assert {scope.name: scope.left_nano for scope in book.snapshot(NOON).scopes}["tag team=search"] == 0


def test_what_was_spent_is_forgotten_and_calls_under_way_are_not(book: SharedBook, keeper: BudgetFile) -> None:
    """They keep their holds and count when they settle."""
    spend(book, 30)
    open_hold = book.reserve(NOON, 20)
    assert open_hold is not None
    before = keeper.forget((), NOON, PATIENCE_S)
    assert {(scope.name, scope.spent_nano, scope.held_nano) for scope in before} >= {("total", 30, 20)}
    assert {(scope.spent_nano, scope.held_nano) for scope in book.snapshot(NOON).scopes} == {(0, 20)}
    book.settle(NOON, open_hold, 15)
    assert {(scope.spent_nano, scope.held_nano) for scope in book.snapshot(NOON).scopes} == {(15, 0)}


def test_one_scope_can_be_forgotten_alone(book: SharedBook, keeper: BudgetFile) -> None:
    """By the word for it; thresholds are told anew."""
    spend(book, 30)
    assert [scope.name for scope in keeper.forget(["daily"], NOON, PATIENCE_S)] == ["day 2026-11-20"]
    assert {scope.name: scope.spent_nano for scope in keeper.accounts()} == {
        "total": 30,
        "day 2026-11-20": 0,
        "month 2026-11": 30,
    }
    assert keeper.forget(["tag team=search"], NOON, PATIENCE_S) == ()


@pytest.mark.prove(15)
def test_what_was_counted_for_a_dead_process_cannot_be_taken_back_after_a_reset(file: Path, keeper: BudgetFile) -> None:
    """Else a late settlement would make a spending below nothing."""
    dead = SharedBook(Budget(file=file))
    hold = dead.reserve(NOON, 20)
    assert hold is not None
    heir = BudgetFile(Budget(file=file), is_dead=lambda owner: True)
    assert heir.accounts()[-1].possible_nano == 20
    heir.forget((), NOON, PATIENCE_S)
    dead.settle(NOON, hold, 5)
    assert {scope.spent_nano for scope in keeper.accounts()} == {0}
    dead.close()
    heir.close()


def test_a_file_of_the_first_layout_is_carried_over(file: Path) -> None:
    """With what was spent in it."""
    db = sqlite3.connect(file)
    for table in _TABLES:
        if "TABLE cap" not in table:
            db.execute(table)
    db.execute("PRAGMA user_version = 1")
    db.execute("INSERT INTO account VALUES ('total', 7, 0, 0, 0)")
    db.commit()
    db.close()
    keeper = BudgetFile(Budget(file=file))
    keeper.allow({"total": 9}, PATIENCE_S)
    assert (keeper.accounts()[0].spent_nano, keeper.caps()) == (7, {"total": 9})
    keeper.close()
    db = sqlite3.connect(file)
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    db.close()


def test_a_file_that_is_in_use_is_waited_for_and_then_said_to_be(file: Path, keeper: BudgetFile) -> None:
    """Nothing is changed then."""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BudgetUnavailable, match="locked by another process"):
        keeper.allow({"total": 9}, 0.01)
    other.rollback()
    other.close()
    assert keeper.caps() == {}


def test_the_usual_file_is_obeyed_by_clients_that_name_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is there; not with a budget of their own, nor without settings."""
    monkeypatch.chdir(tmp_path)
    env = {"PENSTOCK_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    assert state_dir(env) == tmp_path
    assert load(env=env).budget is None
    keeper = BudgetFile(Budget(file=default_file(tmp_path)))
    keeper.allow({"daily": 5}, PATIENCE_S)
    keeper.close()
    with Client(env=env, keys={"openai": "k"}) as client:
        assert [scope.cap_nano for scope in client.budget().scopes] == [None, 5, None]
    assert load(env=env, config=False).budget is None
    (tmp_path / "penstock.toml").write_text('[budget]\ndaily = "1"\nfile = "own.db"\n')
    own = load(env=env).budget
    assert own is not None
    assert own.file == "own.db"


def test_the_state_directory_is_where_systems_expect_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless PENSTOCK_HOME moves it."""
    monkeypatch.setattr("sys.platform", "linux")
    assert state_dir({"XDG_STATE_HOME": "/state"}) == Path("/state/penstock")
    assert state_dir({}) == Path.home() / ".local" / "state" / "penstock"
    monkeypatch.setattr("sys.platform", "darwin")
    assert state_dir({}) == Path.home() / "Library" / "Application Support" / "penstock"
    monkeypatch.setattr("sys.platform", "win32")
    assert state_dir({"LOCALAPPDATA": "/local"}) == Path("/local/penstock")
    assert state_dir({"PENSTOCK_HOME": "~/here"}) == Path.home() / "here"


@pytest.mark.prove(25)
def test_a_webhook_comes_from_the_environment_and_is_a_secret_in_all_settings(tmp_path: Path) -> None:
    """And a wrong one is named by its variable, without its value."""
    file = tmp_path / "penstock.toml"
    file.write_text('[budget]\ndaily = "1"\nwebhook = "https://hooks.example.com/CANARY"\n')
    found = load(config=file, env={})
    assert found.budget is not None
    assert found.budget.webhook == Secret("https://hooks.example.com/CANARY")
    assert "CANARY" not in repr(found.file) + repr(found.budget)
    over = load(config=file, env={"PENSTOCK_BUDGET_WEBHOOK": "https://hooks.example.com/OTHER"})
    assert over.budget is not None
    assert over.budget.webhook == Secret("https://hooks.example.com/OTHER")
    with pytest.raises(
        ConfigError, match="environment PENSTOCK_BUDGET_WEBHOOK: budget: webhook is plain http"
    ) as caught:
        load(config=file, env={"PENSTOCK_BUDGET_WEBHOOK": "http://hooks.example.com/CANARY"})
    assert "CANARY" not in str(caught.value)
