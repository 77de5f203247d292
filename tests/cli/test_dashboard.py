"""`penstock dashboard` as a user runs it: the address, the end, and what is wrong with what was asked."""

from __future__ import annotations

import signal
import socket
import sqlite3
import sys
import urllib.request
import webbrowser
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock import cli
from tests.cli.terminal import WAIT_S, start
from tests.dashboard.writing import events, write


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with one call."""
    path = tmp_path / "ledger.db"
    write(path, events("a"))
    return path


def refused(*args: str | Path) -> tuple[int, str]:
    """Run it to its error: the exit code and the sentence."""
    ended = CliRunner().invoke(cli.root, ["dashboard", "--port", "0", *map(str, args)])
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_ends_cleanly(ledger: Path, tmp_path: Path, how: signal.Signals) -> None:
    """With pages open, too; the exit code says that nothing went wrong."""
    program = start("dashboard", "--ledger", ledger, "--port", "0", "--no-open", sim=None, folder=tmp_path)
    assert program.stdout is not None
    url = program.stdout.readline().strip()
    with urllib.request.urlopen(f"{url}api/live", timeout=WAIT_S) as stream:
        assert stream.readline() == b"event: view\n"
        program.send_signal(how)
        _, said = program.communicate(timeout=WAIT_S)
    assert program.returncode == 0, said
    assert str(ledger) in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_for_others_it_prints_the_token_once(ledger: Path, tmp_path: Path) -> None:
    """In the address; nowhere else."""
    program = start("dashboard", "--ledger", ledger, "--port", "0", "--host", "0.0.0.0", sim=None, folder=tmp_path)
    assert program.stdout is not None
    url, _, token = program.stdout.readline().strip().partition("?token=")
    assert len(token) >= 43
    program.send_signal(signal.SIGINT)
    rest, said = program.communicate(timeout=WAIT_S)
    assert token not in rest + said
    assert url.startswith(f"http://{socket.gethostname()}:")


@pytest.mark.slow
def test_the_users_own_ledger_is_shown_where_none_is_named(tmp_path: Path) -> None:
    """That of PENSTOCK_HOME."""
    write(tmp_path / "home" / "ledger.db", events("a"))
    program = start("dashboard", "--port", "0", sim=None, folder=tmp_path, PENSTOCK_HOME=str(tmp_path / "home"))
    assert program.stdout is not None
    assert program.stdout.readline().startswith("http://127.0.0.1:")
    program.send_signal(signal.SIGINT)
    assert str(tmp_path / "home" / "ledger.db") in program.communicate(timeout=WAIT_S)[1]


def test_without_a_ledger_it_says_how_one_is_made(tmp_path: Path) -> None:
    """And where it looked."""
    code, said = refused("--ledger", tmp_path / "none.db")
    assert code == 78
    assert f"there is no ledger at {tmp_path / 'none.db'}" in said


def test_a_damaged_or_newer_ledger_is_a_sentence(ledger: Path, tmp_path: Path) -> None:
    """And no page of nothing."""
    (tmp_path / "text.db").write_text("no database " * 1000, encoding="utf-8")
    code, said = refused("--ledger", tmp_path / "text.db")
    assert (code, "is damaged or no ledger" in said) == (74, True)
    db = sqlite3.connect(ledger)
    db.execute("PRAGMA user_version = 99")
    db.close()
    code, said = refused("--ledger", ledger)
    assert (code, "newer Penstock" in said) == (74, True)


def test_a_taken_port_and_a_foreign_host_are_sentences(ledger: Path) -> None:
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused("--ledger", ledger, "--port", str(taken.getsockname()[1]))
    assert (code, "choose another --port" in said) == (78, True)
    code, said = refused("--ledger", ledger, "--host", "192.0.2.1")
    assert (code, "no address of this machine" in said) == (78, True)


def test_without_its_extra_it_says_how_to_install_it(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, said = refused("--ledger", ledger)
    assert code == 78
    assert "pip install 'penstock[dashboard]'" in said


def test_no_browser_is_opened_without_a_screen_and_one_is_where_it_is_wanted(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--open` opens the address that is printed."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    async def ends(self: object) -> None:
        """Serve nothing, so that the command ends."""

    monkeypatch.setattr("penstock.dashboard.serve.Page.serve", ends)
    assert CliRunner().invoke(cli.root, ["dashboard", "--ledger", str(ledger), "--port", "0"]).exit_code == 0
    assert opened == []
    ended = CliRunner().invoke(cli.root, ["dashboard", "--ledger", str(ledger), "--port", "0", "--open"])
    assert opened == [ended.stdout.strip()]
