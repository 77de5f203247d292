"""`penstock budget`: what a person sees, sets and forgets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from penstock import cli
from penstock.sim import SimServer
from tests.cli.terminal import penstock


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has no budget yet, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def budget(*args: str, code: int = 0, typed: str | None = None) -> str:
    """Run the command in this process and return all that it says."""
    done = CliRunner().invoke(cli.root, ["budget", *args], input=typed)
    assert done.exit_code == code, done.output
    return done.output


def figures(*args: str) -> dict[str, Any]:
    """What it says as JSON."""
    found: dict[str, Any] = json.loads(budget(*args, "--json"))
    return found


def test_a_budget_is_set_shown_and_changed(home: Path) -> None:
    """In the state directory, where no other file is named; what is not named stays."""
    assert "budget in" in budget("set", "--daily", "$5", "--tag", "team=search=1.50")
    found = figures("set", "--monthly", "100", "--daily", "none")
    assert found["caps"] == {"monthly": 100, "tag team=search": 1.5}
    assert found["file"] == str(home / "state" / "budget.db")
    assert (home / "state").stat().st_mode & 0o77 == 0
    assert [scope["cap"] for scope in figures("show")["scopes"]] == [None, None, 100, 1.5]


def test_the_next_command_obeys_it(home: Path) -> None:
    """`ask` is refused once the day is used up, and `show` says by how much."""
    with SimServer() as sim:
        there = {"PENSTOCK_HOME": str(home / "state")}
        budget("set", "--daily", "0.0005")
        ended = penstock("ask", "hello", "--max-tokens", "9", sim=sim, folder=home, **there)
        assert ended.returncode == 0, ended.stderr
        spent = next(scope for scope in figures("show")["scopes"] if scope["scope"].startswith("day"))
        assert 0 < spent["spent"] <= 0.0005
        ended = penstock("ask", "hello", "--max-tokens", "2000", sim=sim, folder=home, **there)
        assert (ended.returncode, "budget 'day" in ended.stderr) == (75, True), ended.stderr
        assert "from 0 again" in budget("reset", "--yes")
        assert {scope["spent"] for scope in figures("show", "--all")["scopes"]} == {0}


def test_a_file_of_the_settings_is_meant_before_the_usual_one(home: Path) -> None:
    """And the caps of the settings hold beside those of the file."""
    (home / "penstock.toml").write_text('[budget]\ndaily = "3"\nfile = "spend.db"\n')
    found = figures("set", "--daily", "5", "--total", "9")
    assert found["file"] == str(home / "spend.db")
    assert [scope["cap"] for scope in found["scopes"]] == [9, 3, None]
    assert figures("set", "--file", "other.db", "--total", "1")["file"] == str(home / "other.db")


@pytest.mark.prove(25)
def test_doctor_shows_which_file_is_shared_and_no_webhook(home: Path) -> None:
    """The address may hold a secret."""
    (home / "penstock.toml").write_text('[budget]\ndaily = "3"\nwebhook = "https://h.example.com/CANARY"\n')
    budget("set", "--daily", "5")
    for options in ([], ["--json"]):
        said = CliRunner().invoke(cli.root, ["doctor", *options]).output
        assert str(home / "state" / "budget.db") in said
        assert "***" in said
        assert "CANARY" not in said


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["set"], 2, "there is no cap to set; write --daily 5.00"),
        (["set", "--daily", "-1"], 2, "'-1' is neither an amount of dollars, like 5.00, nor 'none'"),
        (["set", "--daily", "much"], 2, "'much' is neither an amount"),
        (["set", "--tag", "search=1"], 2, "'search=1' is no tag with its cap; write it like team=search=1.00"),
        (["set", "--tag", "team=search=x"], 2, "'x' is neither an amount"),
        (["set", "--file", "nowhere/spend.db", "--total", "1"], 78, "the folder of the file"),
        (["show"], 65, "there is no budget at"),
        (["reset", "--yes"], 65, "make one, as in: penstock budget set --daily 5.00"),
        (
            ["reset", "hourly", "--yes"],
            2,
            "'hourly' is no scope; expected total, daily, monthly or a tag like team=search",
        ),
    ],
)
def test_a_mistake_is_one_sentence(args: list[str], code: int, words: str) -> None:
    """What was wrong and what to write instead."""
    assert words in " ".join(budget(*args, code=code).split())


def test_a_reset_asks_on_a_terminal_and_refuses_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A no leaves everything as it is."""
    budget("set", "--daily", "5")
    assert "nobody can be asked here" in budget("reset", code=2)
    monkeypatch.setattr("penstock.cli.budget._is_asked", lambda: True)
    assert "Forget what was spent (everything) in" in budget("reset", typed="n\n", code=1)
    assert "nothing was counted for daily" in budget("reset", "daily", typed="y\n")
