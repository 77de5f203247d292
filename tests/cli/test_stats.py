"""`penstock stats`, `penstock stats reconcile` and `penstock log tail`, and that commands keep a ledger."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from penstock import cli
from penstock.sim import SimServer
from tests.cli.terminal import command, environment, penstock
from tests.io.ledger.events import NOON_S, call, written

TRIED = ("2026-12-01", "--ledger")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small ledger of one day."""
    path = str(tmp_path_factory.mktemp("stats") / "ledger.db")
    pairs = [call(NOON_S + number, tags={"team": "ab"[number % 2], "task": f"t{number % 3}"}) for number in range(12)]
    pairs.append(call(NOON_S + 20, outcome="server_fault", status=500, usage=None, cost_nano=None, model="gpt-4o"))
    written(path, *(event for pair in pairs for event in pair))
    return path


def run(*args: str) -> Result:
    """Run a command inside this process."""
    return CliRunner().invoke(cli.root, args)


def test_stats_say_what_it_cost(ledger: str) -> None:
    """For people: the sums, and a line for each model."""
    said = run("stats", *TRIED, ledger).output
    assert "calls       13, 1 failed (7.7%)" in said
    assert "1 attempt of unknown cost" in said
    assert "openai:gpt-4o-mini  12     0       $0.000324" in said


def test_stats_for_programs(ledger: str) -> None:
    """JSON and CSV have every figure."""
    tree = json.loads(run("stats", *TRIED, ledger, "--by", "tag:team", "--json").output)
    assert tree["total"]["cost"] == pytest.approx(12 * 27_000e-9)
    assert tree["groups"]["a"]["calls"] == 6
    assert tree["total"]["latency_s"]["p95"] == pytest.approx(0.5, rel=0.02)
    rows = list(csv.DictReader(io.StringIO(run("stats", *TRIED, ledger, "--by", "hour", "--csv").output)))
    assert [(row["hour"], row["calls"], row["input_tokens"]) for row in rows] == [("2026-12-01T12:00", "13", "1200")]


def test_the_cost_of_a_task_and_of_a_filter(ledger: str) -> None:
    """By the id of the task, of all time; by model, tag and outcome."""
    assert json.loads(run("stats", "--task", "t1", "--ledger", ledger, "--json").output)["total"]["calls"] == 4
    for more, calls in ((["-m", "gpt-4o"], 1), (["--tag", "team=b"], 6), (["--outcome", "failed"], 1)):
        assert json.loads(run("stats", *TRIED, ledger, "--json", *more).output)["total"]["calls"] == calls
    assert "no such call" in run("stats", "2020-01", "--ledger", ledger).output


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["stats", "todya"], 78, "did you mean 'today'"),
        (["stats", "7d", "--since", "3h"], 64, "not both"),
        (["stats", "--by", "moon"], 78, "no group 'moon'"),
        (["stats", "--by", "tag:"], 78, "no group 'tag:'"),
        (["stats", "--tag", "x"], 64, "--tag team=sre"),
        (["stats", "today", "tomorrow"], 64, "unexpected extra argument"),
        (["stats", "--json", "--csv"], 64, "not both"),
        (["stats", "--outcome", "rate_limit"], 64, "did you mean rate_limited?"),
        (["stats", "--operation", "compleat"], 64, "'complete', 'stream'"),
        (["stats", "--since", "2100-01-01"], 78, "until now is empty"),
        (["stats", "reconcile", "nothing.csv", "--json", "--csv"], 64, "not both"),
        (["stats", "reconcile", "nothing.csv"], 65, "cannot be read"),
        (["log", "tail", "-n", "-1"], 64, "-n"),
    ],
)
def test_bad_input_is_a_sentence(args: list[str], code: int, said: str, ledger: str, tmp_path: Path) -> None:
    """With what was expected, and the exit code of its kind."""
    ended = penstock(*args, "--ledger", ledger, folder=tmp_path)
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_log_without_such_calls_says_so(ledger: str, tmp_path: Path) -> None:
    """On stderr, so that a program that reads lines gets none."""
    ended = penstock("log", "tail", "--model", "nothing", "--ledger", ledger, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == f"no such call yet; the ledger is {ledger}\n"
    ended = penstock("log", "tail", "--ledger", str(tmp_path), folder=tmp_path)
    assert ended.returncode == 78
    assert "is a folder; name the file in it" in ended.stderr


def test_without_a_ledger_it_says_how_one_comes_to_be(tmp_path: Path) -> None:
    """Not an empty table."""
    ended = penstock("stats", folder=tmp_path)
    assert ended.returncode == 78
    assert "the commands write one as they work" in ended.stderr


BILLS = {
    "date,model,cost\n2026-12-01,gpt-4o-mini,0.000324\n": 0,
    "date,model,cost\n2026-12-01,gpt-4o-mini,0.5\n2026-12-02,gpt-4o-mini,0.5\n": 1,
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,line_item\n"
    "1796083200,1796169600,2026-12-01T00:00:00+00:00,,0.000324,usd,,gpt-4o-mini-2024-07-18, input\n": 0,
    '{"data": [{"start_time": 1796083200, "results": [{"object": "organization.costs.result", "line_item": '
    '"gpt-4o-mini-2024-07-18, input", "amount": {"value": 0.000324, "currency": "usd"}}]}]}': 0,
    '{"data": [{"start_time": 1796083200, "results": [{"object": "organization.usage.completions.result", "model": '
    '"gpt-4o-mini", "input_tokens": 1200, "output_tokens": 240, "num_model_requests": 12}]}]}': 0,
    '{"data": [{"starting_at": "2026-12-01T00:00:00Z", "results": [{"currency": "USD", "amount": "2.5", '
    '"model": "claude-haiku-4-5"}]}]}': 1,
    "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_output_tokens\n"
    "2026-12-01,claude-haiku-4-5,100,20\n": 1,
}


@pytest.mark.parametrize("bill", BILLS, ids=lambda bill: bill[:24])
def test_a_bill_is_compared_by_day_and_model(bill: str, ledger: str, tmp_path: Path) -> None:
    """Exports of the providers as they are; the exit code says whether they agree."""
    file = tmp_path / "bill"
    file.write_text(bill)
    ended = run("stats", "reconcile", str(file), "--ledger", ledger, "--json")
    assert ended.exit_code == BILLS[bill], ended.output
    tree = json.loads(ended.output)
    assert (tree["differing"] > 0) == bool(BILLS[bill])
    assert tree["lines"][0].keys() >= {"day", "model", "bill_cost", "ledger_cost", "apart_cost", "verdict"}
    table = run("stats", "reconcile", str(file), "--ledger", ledger, "--csv").output
    assert [row["day"] for row in csv.DictReader(io.StringIO(table))] == [line["day"] for line in tree["lines"]]
    assert run("stats", "reconcile", str(file), "--ledger", ledger).exit_code == BILLS[bill]


@pytest.mark.parametrize(
    ("bill", "said"),
    [
        ("a,b\n1,2\n", "its columns are a, b"),
        ("date,model,cost\n2026-12-01,m,much\n", "cost is 'much'"),
        ("date,model,cost\nsoon,m,1\n", "the date is 'soon'"),
        ("date,model,cost,currency\n2026-12-01,m,1,eur\n", "only dollars"),
        ("{", "is no JSON"),
        ("[1]", "entry 1 is a int"),
        ("", "its columns are none"),
        ("date,model,cost\n", "no line with money"),
    ],
)
def test_a_bill_that_is_none_says_where_it_is_wrong(bill: str, said: str, ledger: str, tmp_path: Path) -> None:
    """File, line and column."""
    file = tmp_path / "bill.csv"
    file.write_text(bill)
    ended = run("stats", "reconcile", str(file), "--ledger", ledger)
    assert ended.exit_code == 65, ended.output
    assert said in ended.output


def test_log_tail_shows_the_newest_calls(ledger: str) -> None:
    """Oldest first, and as JSON for programs."""
    lines = run("log", "tail", "-n", "2", "--ledger", ledger).output.splitlines()
    assert "openai:gpt-4o-mini" in lines[0]
    assert "server_fault" in lines[1]
    assert "unknown cost" in lines[1]
    rows = [
        json.loads(line)
        for line in run("log", "tail", "--task", "t2", "--ledger", ledger, "--json").output.splitlines()
    ]
    assert [row["tags"]["task"] for row in rows] == ["t2"] * 4


def test_log_tail_follows_until_it_is_interrupted(tmp_path: Path) -> None:
    """New calls are shown as they are written, each once."""
    path = str(tmp_path / "ledger.db")
    written(path, *call())
    process = subprocess.Popen(
        command("log", "tail", "-f", "--json", "--ledger", path),
        env=environment(None, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    _, later = call(outcome="cancelled")
    written(path, later)
    second = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.communicate()
    assert (first["outcome"], first["cost"]) == ("ok", 0.000027)
    assert second["call_id"] == later.call_id


def test_commands_keep_a_ledger_unless_told_not_to(tmp_path: Path) -> None:
    """`ask` is in it; PENSTOCK_LEDGER=0 leaves it out, PENSTOCK_HOME moves it."""
    with SimServer() as sim:
        home: dict[str, Any] = {"PENSTOCK_HOME": str(tmp_path / "state")}
        assert penstock("ask", "hi", "-m", "openai:gpt-4o-mini", sim=sim, folder=tmp_path, **home).returncode == 0
        off = {**home, "PENSTOCK_LEDGER": "0"}
        assert penstock("ask", "hi", "-m", "openai:gpt-4o-mini", sim=sim, folder=tmp_path, **off).returncode == 0
        billed = sim.bill()
    shown = json.loads(penstock("stats", "--json", folder=tmp_path, **home).stdout)
    assert shown["ledger"] == str(tmp_path / "state" / "ledger.db")
    assert shown["total"]["calls"] == 1
    assert round(2 * shown["total"]["cost"] * 1e9) == billed["total_nano"]
    assert os.listdir(tmp_path) == ["state"]
