"""`penstock batch run` as a process: killed, interrupted, doubled, and run again."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.batch import Batch, Row, Speed, live
from penstock.cli.progress import line, waits
from penstock.sim import Latency, SimConfig, SimServer
from tests.cli.terminal import (
    WAIT_S,
    environment,
    penstock,
    results,
    shell,
    start,
    wait_for_lines,
    wait_until,
    write_rows,
)

ROWS = 150
CONCURRENCY = 10
BARE = ("batch", "run", "in.jsonl", "-o", "out.jsonl", "--prompt", "Error or not? {log}")
JOB = (*BARE, "-m", "openai:gpt-4o-mini", "--concurrency", str(CONCURRENCY))
SLOW = SimConfig(latency=Latency(first_token_s=0.05))


@pytest.mark.prove(21)
@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(0, id="clean", marks=pytest.mark.slow),
        pytest.param(1, id="end of line missing", marks=pytest.mark.slow),
        pytest.param(57, id="torn line"),
    ],
)
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, torn: int) -> None:
    """After kill -9 the same command leaves every id once; only what was under way, or torn, is paid again."""
    write_rows(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out.jsonl"
    with SimServer(SLOW) as sim:
        program = start(*JOB, sim=sim, folder=tmp_path)
        wait_for_lines(program, out, 40)
        program.kill()
        program.communicate()
        out.write_bytes(out.read_bytes()[: -torn or None])
        again = penstock(*JOB, sim=sim, folder=tmp_path)
        assert again.returncode == 0, again.stderr
        paid = sim.bill()["attempts"]
    assert [row["id"] for row in results(out)] == [f"r{n}" for n in range(ROWS)]
    assert all(row["error"] is None for row in results(out))
    assert paid <= ROWS + CONCURRENCY + (torn > 1)
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["in.jsonl", "out.jsonl"]
    assert not list(tmp_path.glob(".out*"))
    assert ("cut off" in again.stderr) is (torn > 1)


@pytest.mark.prove(21)
def test_ctrl_c_finishes_what_is_under_way_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Exit code 130, whole lines, nothing paid for nothing, and the command to resume."""
    write_rows(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out.jsonl"
    with SimServer(SLOW) as sim:
        program = start(*JOB, sim=sim, folder=tmp_path)
        wait_for_lines(program, out, 20)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=WAIT_S)
        assert program.returncode == 130
        assert "penstock batch run in.jsonl -o out.jsonl --prompt 'Error or not? {log}'" in said
        assert "Traceback" not in said
        assert sim.bill()["attempts"] == len(results(out)) < ROWS
        assert penstock(*JOB, sim=sim, folder=tmp_path).returncode == 0
        assert sim.bill()["attempts"] == ROWS
    assert len(results(out)) == ROWS


@pytest.mark.parametrize(
    "called",
    [JOB, ("embed", "-f", "in.jsonl", "--column", "log", "-m", "openai:text-embedding-3-small", "-o", "out.jsonl")],
)
@pytest.mark.parametrize("at", ["before", "after"])
def test_ctrl_c_while_rows_are_checked_ends_the_run_before_its_first_call(
    tmp_path: Path, called: tuple[str, ...], at: str
) -> None:
    """A file of a million rows is looked at for a while, and who stops it there pays nothing."""
    write_rows(tmp_path / "in.jsonl", ROWS)
    strike = "os.kill(os.getpid(), signal.SIGINT)"
    before, after = (strike, "None") if at == "before" else ("None", strike)
    program = (
        "import os, signal\n"
        "from penstock._io.rowfile import RowFile\n"
        "real = RowFile.check\n"
        f"RowFile.check = lambda *args: ({before}, real(*args), {after})[1]\n"
        "from penstock.cli import main\n"
        "main()"
    )
    with SimServer(SLOW) as sim:
        ended = subprocess.run(
            [sys.executable, "-c", program, *called],
            cwd=tmp_path,
            env=environment(sim, tmp_path),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert sim.bill()["attempts"] == 0
    assert ended.returncode == 130
    assert ended.stderr == "penstock: interrupted\n"


@pytest.mark.prove(21)
def test_a_second_ctrl_c_cuts_calls_at_once(tmp_path: Path) -> None:
    """A provider that never answers cannot hold the user; the output stays whole."""
    write_rows(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 4" }\nfault = { kind = "stall" }')
        program = start(*JOB, sim=sim, folder=tmp_path)
        wait_for_lines(program, out, 20)
        program.send_signal(signal.SIGINT)
        assert program.stderr is not None
        while "Ctrl-C again" not in program.stderr.readline():
            assert program.poll() is None
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=WAIT_S)
    assert program.returncode == 130
    assert "Traceback" not in said
    assert len({row["id"] for row in results(out)}) == len(results(out)) >= 20


@pytest.mark.prove(21)
def test_two_runs_cannot_write_one_output(tmp_path: Path) -> None:
    """The second is refused at once and the first goes on."""
    write_rows(tmp_path / "in.jsonl", ROWS)
    with SimServer(SLOW) as sim:
        program = start(*JOB, "--concurrency", "8", sim=sim, folder=tmp_path)
        wait_for_lines(program, tmp_path / "out.jsonl", 1)
        program.send_signal(signal.SIGSTOP)  # so that it does not end before the second begins
        second = penstock(*JOB, sim=sim, folder=tmp_path)
        program.send_signal(signal.SIGCONT)
        assert second.returncode == 75
        assert "another run is writing" in second.stderr
        program.communicate(timeout=WAIT_S)
        assert program.returncode == 0
    assert len(results(tmp_path / "out.jsonl")) == ROWS


def test_bad_rows_are_all_said_before_anything_is_paid(tmp_path: Path) -> None:
    """Each with its line, in one go; exit code 65 and no output."""
    (tmp_path / "in.jsonl").write_text('{"id": 1, "log": "x"}\nnonsense\n[]\n{"id": 2}\n{"id": 1, "log": "y"}\n')
    with SimServer() as sim:
        ended = penstock(*JOB, sim=sim, folder=tmp_path)
        assert sim.bill()["attempts"] == 0
    assert ended.returncode == 65
    for words in ("line 2: is not JSON", "line 3", "line 4: column 'log'", "line 5: repeats the id 1"):
        assert words in ended.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_rows_that_failed_give_exit_code_1(tmp_path: Path) -> None:
    """A script sees that not all is well, and the summary says what."""
    write_rows(tmp_path / "in.jsonl", 5)
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 3" }\nfault = { kind = "status", status = 400 }')
        ended = penstock(*JOB, "--json", sim=sim, folder=tmp_path)
    assert ended.returncode == 1
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert (figures["answered"], figures["failed"], figures["failures"]) == (4, 1, {"invalid_request": 1})


@pytest.mark.prove(15)
def test_a_spent_budget_gives_exit_code_75_and_says_what_is_left(tmp_path: Path) -> None:
    """And the bill is not above it."""
    write_rows(tmp_path / "in.jsonl", 50)
    with SimServer() as sim:
        ended = penstock(*JOB, "--budget", "$0.0002", "--max-tokens", "20", sim=sim, folder=tmp_path)
        assert sim.bill()["total_nano"] <= 200_000
    assert ended.returncode == 75
    assert "left; raise the budget" in ended.stderr
    assert 0 < len(results(tmp_path / "out.jsonl")) < 50


def test_rows_come_from_stdin_too(tmp_path: Path) -> None:
    """A dash stands for it."""
    with SimServer() as sim:
        ended = penstock("batch", "run", "-", "-o", "out.jsonl", sim=sim, folder=tmp_path, stdin='{"prompt": "a"}\n')
    assert ended.returncode == 0, ended.stderr
    assert [row["id"] for row in results(tmp_path / "out.jsonl")] == [1]


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("--prompt", "{log"), 78, "names no column"),
    (("-m", "nosuch:model"), 78, "nosuch"),
    (("-m", "opnai:gpt-4o"), 78, "did you mean 'openai'"),
    (("-m", ""), 78, "No model"),
    (("-m", "openai:"), 78, "no model"),
    (("-m", "openai:gpt-4o-minii"), 65, "did you mean openai:gpt-4o-mini?"),
    (("-m", "openai:gpt-4o-mini", "-m", "nosuch:model"), 78, "nosuch"),
    (("-m", "groq:llama"), 78, "GROQ_API_KEY"),
    (("-m", "openai:gpt-unheard-of"), 65, "gpt-unheard-of"),
    (("-o", "nowhere/out.jsonl"), 73, "does not exist"),
    (("-o", "."), 73, "folder"),
    (("-o", "in.jsonl"), 65, "is also the input"),
    *(
        (("--budget", value), 64, f"'--budget': {value!r} is no amount of dollars above 0")
        for value in ("lots", "-1", "0", "nan", "inf", "1e999", "1e999999999", "", "$", "0.0000000001")
    ),
    *((("--temperature", value), 64, f"'--temperature': {value!r} is no finite number") for value in ("nan", "hot")),
    *(
        ((option, "0"), 64, f"'{option}': 0 is not in the range x>=1")
        for option in ("--rpm", "--tpm", "--limit", "--max-tokens")
    ),
    (("--concurrency", "0"), 64, "'--concurrency': '0' is neither 'auto' nor a whole number of at least 1"),
    (("-m", "openai:gpt-4o-mini=0"), 78, "has the weight '0'; expected a number above 0"),
    (("--prompt", ""), 78, "template is empty"),
    (("--frobnicate",), 64, "--frobnicate"),
]


@pytest.mark.parametrize(("options", "code", "words"), WRONG, ids=[" ".join(options) for options, _, _ in WRONG])
def test_a_wrong_option_is_one_sentence(tmp_path: Path, options: tuple[str, ...], code: int, words: str) -> None:
    """With its remedy and an exit code, and never a traceback."""
    write_rows(tmp_path / "in.jsonl", 3)
    with SimServer() as sim:
        ended = penstock(*BARE, *options, sim=sim, folder=tmp_path)
        assert sim.bill()["total_nano"] == 0
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert words in ended.stderr
    assert "Usage:" not in ended.stderr
    assert (tmp_path / "in.jsonl").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "cannot read missing: No such file"),
        ("folder", "cannot read folder: Is a directory"),
        ("noise", "noise has"),
        ("empty", "empty has no rows"),
        ("-", "stdin has no rows"),
    ],
)
def test_an_input_that_cannot_be_read_is_exit_code_65(tmp_path: Path, name: str, words: str) -> None:
    """A missing file, a folder, noise, nothing: no output is made."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    (tmp_path / "empty").touch()
    with SimServer() as sim:
        ended = penstock("batch", "run", name, "-o", "out.jsonl", sim=sim, folder=tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (65, False), ended.stderr
    assert words in ended.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_bad_option_of_one_row_is_said_before_anything_is_paid(tmp_path: Path) -> None:
    """With its file, line, field and reason."""
    rows = [{"log": "x"}, {"log": "y", "params": {"deadline_s": -1}}, {"log": "z", "params": {"model": "opnai:x"}}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with SimServer() as sim:
        ended = penstock(*JOB, sim=sim, folder=tmp_path)
        assert (ended.returncode, sim.bill()["attempts"]) == (65, 0)
        assert "in.jsonl has 2 bad rows" in ended.stderr
        assert "line 2: parameter 'deadline_s' is -1" in ended.stderr
        assert "line 3: no provider is called 'opnai'; did you mean 'openai'?" in ended.stderr
        ended = penstock(*JOB, "--on-bad-row", "skip", sim=sim, folder=tmp_path)
        assert (ended.returncode, sim.bill()["attempts"]) == (1, 1)


@pytest.mark.prove(15)
def test_a_rerun_with_the_same_budget_does_not_spend_it_again(tmp_path: Path) -> None:
    """What the output records counts against it, and the summary says so."""
    write_rows(tmp_path / "in.jsonl", 50)
    job = (*JOB, "--budget", "$0.0002", "--max-tokens", "20")
    with SimServer() as sim:
        assert penstock(*job, sim=sim, folder=tmp_path).returncode == 75
        spent = sim.bill()["total_nano"]
        for _ in range(3):
            again = penstock(*job, sim=sim, folder=tmp_path)
            assert again.returncode == 75
            assert sim.bill()["total_nano"] <= 200_000
        assert f"(+ ${sim.bill()['total_nano'] / 1e9:.6f} by earlier runs) of the budget of $0.0002" in again.stderr
        assert "$0.0002:" in again.stderr
        told = json.loads(penstock(*job, "--json", sim=sim, folder=tmp_path).stdout)
        assert told["cost_before"] == pytest.approx(sim.bill()["total_nano"] / 1e9)
        assert spent <= sim.bill()["total_nano"]
        assert penstock(*JOB, "--max-tokens", "20", "--budget", "1", sim=sim, folder=tmp_path).returncode == 0
    assert len(results(tmp_path / "out.jsonl")) == 50


def test_calls_that_a_second_ctrl_c_cut_are_in_the_figures(tmp_path: Path) -> None:
    """They went out, and nobody told what they cost."""
    write_rows(tmp_path / "in.jsonl", ROWS)
    for form in ((), ("--json",)):
        with SimServer() as sim:
            sim.play('[[rule]]\nfault = { kind = "stall" }')
            program = start(*JOB, *form, sim=sim, folder=tmp_path)
            wait_until(program, lambda: sim.simulator.open >= 8)
            program.send_signal(signal.SIGHUP)
            assert program.stderr is not None
            while "Ctrl-C again" not in program.stderr.readline():
                assert program.poll() is None
            program.send_signal(signal.SIGINT)
            told, said = program.communicate(timeout=WAIT_S)
        assert program.returncode == 130
        if form:
            figures = json.loads(told)
            assert (figures["attempts"], figures["unpriced"], figures["cut"], figures["cost"]) == (8, 8, 8, 0)
        else:
            assert "cost unknown" in said
            assert "8 calls under way were cut: paid perhaps" in said


def test_stdout_is_no_output_and_a_pipe_may_be_the_input(tmp_path: Path) -> None:
    """An output is read again to resume; rows from a pipe are copied first, since they are read more than once."""
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')
    with SimServer() as sim:
        ended = penstock("batch", "run", "in.jsonl", "-o", "-", sim=sim, folder=tmp_path)
        assert (ended.returncode, "write -o OUT.jsonl" in ended.stderr) == (64, True)
        ended = shell("penstock batch run <(cat in.jsonl) -o out.jsonl", sim, tmp_path)
        assert ended.returncode == 0, ended.stderr
    assert [row["id"] for row in results(tmp_path / "out.jsonl")] == [1]


def test_a_model_without_a_price_is_not_mended_by_a_higher_budget(tmp_path: Path) -> None:
    """Cause and remedy agree."""
    write_rows(tmp_path / "in.jsonl", 3)
    with SimServer() as sim:
        ended = penstock(*BARE, "-m", "openai:gpt-unheard-of", "--budget", "1", sim=sim, folder=tmp_path)
    assert ended.returncode == 75
    assert "allow_unpriced" in ended.stderr
    assert "raise the budget" not in ended.stderr
    assert "to go on once that is mended" in ended.stderr


def test_a_throttled_run_says_what_it_waits_for(tmp_path: Path) -> None:
    """Attempts and 429s are counted as they happen, and the wait is named."""
    said: list[str] = []

    async def main(sim: SimServer) -> None:
        from penstock import AsyncClient

        base_urls = {"openai": f"{sim.url}/v1"}
        async with AsyncClient(base_urls=base_urls, keys={"openai": "k"}, config=False, env={}) as client:
            rows = [Row(id=n, prompt="x") for n in range(20)]
            batch = Batch(rows, str(tmp_path / "out"), client=client, models=["openai:gpt-4o-mini"])
            running = asyncio.create_task(batch.run())
            while not waits(client, time.monotonic()):  # noqa: ASYNC110 - a limiter tells nobody
                await asyncio.sleep(0.01)
            seen, speed = live(batch.report, client), Speed()
            speed.see(time.monotonic(), seen)
            said.extend((waits(client, time.monotonic()), line(seen, speed, None)))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    with SimServer() as sim:
        sim.play('[[rule]]\nfault = { kind = "rate_limit", retry_after = "30" }')
        asyncio.run(asyncio.wait_for(main(sim), WAIT_S))
    assert said[0].startswith("waiting for the provider's limit (")
    assert re.search(r"0 answered .* [1-8]×429", said[1])


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "xterm"}], ids=str)
def test_a_terminal_without_colours_gets_no_escapes(
    tmp_path: Path, setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No picture that moves either."""
    import io

    from penstock.cli import shown, streams

    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    shown.note("x", dim=True)
    plain = "xterm" not in setting.values()
    assert streams.is_plain(terminal) is plain
    assert ("\x1b" in terminal.getvalue()) is not plain
