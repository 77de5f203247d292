"""Several processes on one budget: killed in the middle of a call, forked, interrupted; the simulator's bill judges."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from penstock import Budget, Client
from penstock.sim import Latency, SimConfig, SimServer
from penstock.types import to_usd

from ..cli import terminal
from ..cli.terminal import penstock, results, write_rows

MODEL = "openai:gpt-4o-mini"
CAP = 3_000_000  # nano-dollars
LEAST, WORST = 60_000, 110_000  # what is held for a call here: 100 tokens of output, and the prompt at its longest
WAIT_S = 30.0

PROGRAM = """
import os, sys
from decimal import Decimal
from penstock import AsyncClient, Budget, Client
from penstock.errors import BudgetExceeded, BudgetUnavailable

url, file, cap, mode = sys.argv[1:]
budget = Budget(total=Decimal(cap).scaleb(-9), file=file)
client = Client(base_urls={"openai": url + "/v1"}, keys={"openai": "k"}, config=False, budget=budget)

def ask(prompt):
    return client.complete(prompt, model="openai:gpt-4o-mini", max_tokens=100)

def spend(most):
    for turn in range(most):
        try:
            ask(f"Explain outage {turn}.")
        except BudgetExceeded:
            return
        print("answered", flush=True)

if mode == "spend":
    spend(1000)
elif mode == "stall":
    spend(3)
    ask("stall")
elif mode == "interrupt":
    try:
        ask("stall")
    except KeyboardInterrupt:
        print("held", client.budget().scopes[0].held_nano, flush=True)
elif mode == "fork":
    ask("Before the fork.")
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            spend(1000)
            os._exit(0)
        children.append(child)
    client.close()
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    print("ended", flush=True)
"""

STALL = '[[rule]]\nmatch = { contains = "stall" }\nfault = { kind = "stall" }\n'


def start(sim: SimServer, file: Path, mode: str) -> subprocess.Popen[str]:
    """Run the program as a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, sim.url, str(file), str(CAP), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_calls(sim: SimServer, count: int) -> None:
    """Wait until so many calls hang in the simulator."""
    until = time.monotonic() + WAIT_S
    while sim.simulator.open < count:
        assert time.monotonic() < until
        time.sleep(0.005)


def account(file: Path) -> Any:
    """The total as a new client finds it."""
    with Client(budget=Budget(total=to_usd(CAP), file=file), config=False, env={}) as client:
        return client.budget().scopes[0]


@pytest.mark.prove(15)
def test_processes_killed_in_the_middle_of_their_calls_never_overspend(tmp_path: Path, record_property: Any) -> None:
    """Two hang in a call and two are answered when kill -9 comes; two more then spend what is left, and not more."""
    file = tmp_path / "spend.db"
    with SimServer(SimConfig(latency=Latency(first_token_s=0.01))) as sim:
        sim.play(STALL)
        hanging = [start(sim, file, "stall") for _ in range(2)]
        wait_for_calls(sim, 2)
        busy = [start(sim, file, "spend") for _ in range(2)]
        for program in busy:
            assert program.stdout is not None
            assert program.stdout.readline() == "answered\n"
        for program in (*hanging, *busy):
            program.kill()
            program.communicate()
        left = account(file)
        assert left.possible_nano >= 2 * LEAST, "what hung may have been paid"
        heirs = [start(sim, file, "spend") for _ in range(2)]
        answered = 0
        for program in heirs:
            out, err = program.communicate(timeout=WAIT_S)
            assert program.returncode == 0, err
            answered += out.count("answered")
        assert sim.settle()
        billed = sim.bill()["total_nano"]
    ended = account(file)
    record_property("overshoot_nano", max(0, billed - CAP))
    assert answered > 10
    assert billed <= ended.spent_nano <= CAP
    assert ended.held_nano == 0
    assert ended.spent_nano > CAP - WORST, "the cap is used up"
    assert ended.possible_nano <= 4 * WORST, "each of the killed had one call under way"


@pytest.mark.prove(15, 23)
def test_forked_children_share_the_cap_also_after_their_parent_closed(tmp_path: Path) -> None:
    """Three children spend what their parent left; the bill is in the file to the nano-dollar."""
    file = tmp_path / "spend.db"
    with SimServer() as sim:
        program = start(sim, file, "fork")
        out, err = program.communicate(timeout=WAIT_S)
        assert out.endswith("ended\n"), err
        billed = sim.bill()["total_nano"]
    ended = account(file)
    assert (ended.spent_nano, ended.held_nano, ended.possible_nano) == (billed, 0, 0)
    assert CAP - WORST < billed <= CAP
    assert [path.name for path in tmp_path.iterdir()] == ["spend.db"]


@pytest.mark.prove(15, 23)
def test_ctrl_c_settles_what_the_file_holds(tmp_path: Path) -> None:
    """A call that hung may have been paid: it is counted at its worst, and held no longer."""
    file = tmp_path / "spend.db"
    with SimServer() as sim:
        sim.play(STALL)
        program = start(sim, file, "interrupt")
        wait_for_calls(sim, 1)
        assert account(file).held_nano > LEAST
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=WAIT_S)
    assert out == "held 0\n"
    ended = account(file)
    assert ended.possible_nano == ended.spent_nano > LEAST


def test_bulk_runs_share_a_file_and_have_a_budget_of_their_own(tmp_path: Path) -> None:
    """`file` in penstock.toml: the total of all runs holds, --budget caps one and its reruns, nothing counts twice."""
    write_rows(tmp_path / "in.jsonl", 30)
    (tmp_path / "penstock.toml").write_text('[budget]\ntotal = "0.0003"\nfile = "spend.db"\n')
    job = ("batch", "run", "in.jsonl", "--prompt", "Error or not? {log}", "-m", MODEL, "--max-tokens", "40")
    with SimServer() as sim:
        first = penstock(*job, "-o", "one.jsonl", "--budget", "0.0001", sim=sim, folder=tmp_path)
        assert first.returncode == 75, first.stderr
        assert "of the budget 'client' is left ($0.0001:" in first.stderr
        again = penstock(*job, "-o", "one.jsonl", "--budget", "0.0001", sim=sim, folder=tmp_path)
        assert again.returncode == 75, again.stderr
        assert sim.bill()["total_nano"] <= 100_000
        assert len(results(tmp_path / "one.jsonl")) < 30
        assert penstock(*job, "-o", "one.jsonl", sim=sim, folder=tmp_path).returncode == 0
        ended = [penstock(*job, "-o", f"{name}.jsonl", sim=sim, folder=tmp_path) for name in ("two", "three")]
        assert ended[-1].returncode == 75
        assert "of the budget 'total' is left ($0.0003:" in ended[-1].stderr
        billed = sim.bill()["total_nano"]
    spent = account(tmp_path / "spend.db").spent_nano
    assert billed == spent <= 300_000


def test_two_bulk_runs_at_once_wait_for_what_the_other_only_holds(tmp_path: Path) -> None:
    """The cap pays for all rows but not for all their worst cases at once: both runs come to their end."""
    write_rows(tmp_path / "in.jsonl", 30)
    (tmp_path / "penstock.toml").write_text('[budget]\ntotal = "0.0006"\nfile = "spend.db"\n')
    job = ("batch", "run", "in.jsonl", "--prompt", "Error or not? {log}", "-m", MODEL, "--max-tokens", "40")
    with SimServer(SimConfig(latency=Latency(first_token_s=0.02))) as sim:
        runs = [terminal.start(*job, "-o", f"{name}.jsonl", sim=sim, folder=tmp_path) for name in ("one", "two")]
        for run in runs:
            _, said = run.communicate(timeout=WAIT_S)
            assert run.returncode == 0, said
        billed = sim.bill()["total_nano"]
    assert account(tmp_path / "spend.db").spent_nano == billed <= 600_000
    assert len(results(tmp_path / "one.jsonl")) == len(results(tmp_path / "two.jsonl")) == 30
