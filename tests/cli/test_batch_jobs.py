"""`penstock batch status`, `resume` and `cancel` from another process, on live, dead and finished jobs."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from penstock.sim import Latency, SimConfig, SimServer
from tests.cli.terminal import WAIT_S, command, environment, penstock, results, start, wait_for_lines, write_rows
from tests.cli.test_batch_run import JOB, ROWS, SLOW


def job_of(sim: SimServer, folder: Path, *more: str, lines: int = 20) -> subprocess.Popen[str]:
    """A run that is under way."""
    write_rows(folder / "in.jsonl", ROWS)
    program = start(*JOB, *more, sim=sim, folder=folder)
    wait_for_lines(program, folder / "out.jsonl", lines)
    return program


@pytest.mark.prove(21)
@pytest.mark.slow
def test_a_killed_job_is_seen_as_such_and_resumed_by_its_output_alone(tmp_path: Path) -> None:
    """From any folder, with nothing but the name of the output; what was answered is not paid again."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with SimServer(SLOW) as sim:
        program = job_of(sim, tmp_path, "--concurrency", "2")  # it goes on while it is looked at twice
        live = json.loads(penstock("batch", "status", "out.jsonl", "--json", folder=tmp_path).stdout)
        assert (live["state"], live["rows"], live["run"]["pid"]) == ("running", ROWS, program.pid)
        said = penstock("batch", "status", "out.jsonl", folder=tmp_path).stdout
        assert f"(process {program.pid})" in said
        program.kill()
        program.communicate()
        dead = penstock("batch", "status", "../out.jsonl", folder=elsewhere)
        assert "its process ended without a word" in dead.stdout
        assert "penstock batch resume ../out.jsonl" in dead.stdout
        done = len(results(tmp_path / "out.jsonl"))
        again = penstock("batch", "resume", "../out.jsonl", "--concurrency", "20", sim=sim, folder=elsewhere)
        assert again.returncode == 0, again.stderr
        assert f"{done} answered before" in again.stderr
    assert [row["id"] for row in results(tmp_path / "out.jsonl")] == [f"r{n}" for n in range(ROWS)]
    over = penstock("batch", "status", "out.jsonl", folder=tmp_path)
    assert "out.jsonl: done" in over.stdout
    assert "nothing to resume" in penstock("batch", "resume", "out.jsonl", folder=tmp_path).stderr


@pytest.mark.slow
@pytest.mark.prove(21)
def test_a_job_is_cancelled_from_another_process(tmp_path: Path) -> None:
    """What is under way is finished, the run exits as interrupted, and goes on later."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0.2))) as sim:
        program = job_of(sim, tmp_path)
        ended = penstock("batch", "cancel", "out.jsonl", folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "penstock batch resume out.jsonl" in ended.stderr
        program.communicate(timeout=WAIT_S)
        assert program.returncode == 130
        assert sim.bill()["attempts"] == len(results(tmp_path / "out.jsonl")) < ROWS
        assert "stopped on request" in penstock("batch", "status", "out.jsonl", folder=tmp_path).stdout
        again = penstock("batch", "cancel", "out.jsonl", folder=tmp_path)
        assert (again.returncode, "no run is writing out.jsonl" in again.stderr) == (65, True)
        assert penstock("batch", "resume", "out.jsonl", sim=sim, folder=tmp_path).returncode == 0
        assert sim.bill()["attempts"] == ROWS


@pytest.mark.slow
def test_a_stopped_job_is_resumed_with_more_options(tmp_path: Path) -> None:
    """A budget that is spent is raised so."""
    write_rows(tmp_path / "in.jsonl", 50)
    with SimServer() as sim:
        job = (*JOB, "--budget", "$0.0002", "--max-tokens", "20")
        assert penstock(*job, sim=sim, folder=tmp_path).returncode == 75
        said = penstock("batch", "status", "out.jsonl", folder=tmp_path).stdout
        assert "stopped (budget)" in said
        assert "cause     This call may cost" in said
        more = penstock("batch", "resume", "out.jsonl", "--budget", "1", sim=sim, folder=tmp_path)
        assert more.returncode == 0, more.stderr
    assert len(results(tmp_path / "out.jsonl")) == 50


@pytest.mark.slow
def test_errors_are_told_by_class_with_a_sample_and_asked_again_alone(tmp_path: Path) -> None:
    """Also from the file of failed rows, and by their code."""
    write_rows(tmp_path / "in.jsonl", 6)
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 3" }\nfault = { kind = "status", status = 400 }')
        assert penstock(*JOB, sim=sim, folder=tmp_path).returncode == 1
        said = penstock("batch", "status", "out.jsonl", folder=tmp_path).stdout
        assert "1 row invalid_request, as 'r3': " in said
        told = json.loads(penstock("batch", "status", "out.jsonl", "--json", folder=tmp_path).stdout)
        assert (told["errors"]["invalid_request"]["count"], told["state"]) == (1, "ended")
        sim.play("")
        none = penstock(*JOB, "--retry-failed", "--only", "rate_limited", sim=sim, folder=tmp_path)
        assert "1 failed before" in none.stderr
        assert "nothing was asked again" in none.stderr
        assert "to ask:" not in none.stderr
        other = penstock(*JOB, "--max-tokens", "9", "--retry-failed", sim=sim, folder=tmp_path)
        assert (other.returncode, "nothing was asked again" in other.stderr) == (0, True), other.stderr
        fed = ["out.failed.jsonl" if word == "in.jsonl" else word for word in JOB]
        assert penstock(*fed, "--retry-failed", sim=sim, folder=tmp_path).returncode == 0
        assert sim.bill()["attempts"] == 7
    assert [row["error"] for row in results(tmp_path / "out.jsonl")] == [None] * 6
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["in.jsonl", "out.jsonl"]
    assert not list(tmp_path.glob(".out*"))


def test_a_job_whose_rows_were_piped_says_how_it_goes_on(tmp_path: Path) -> None:
    """The whole command, since nobody but the user can pipe the rows in again; a name with a space is quoted."""
    options = ("-o", "my out.jsonl", "-m", "openai:gpt-4o-mini", "--max-tokens", "8", "--budget", "0.00005")
    rows = "".join(f'{{"prompt": "question {n}"}}\n' for n in range(20))
    called = "penstock batch run - -o 'my out.jsonl' -m openai:gpt-4o-mini --max-tokens 8 --budget 0.00005"
    with SimServer() as sim:
        assert penstock("batch", "run", "-", *options, sim=sim, folder=tmp_path, stdin=rows).returncode == 75
        resumed = penstock("batch", "resume", "my out.jsonl", sim=sim, folder=tmp_path)
        assert (resumed.returncode, called in resumed.stderr) == (65, True), resumed.stderr
        said = penstock("batch", "status", "my out.jsonl", folder=tmp_path).stdout
        assert f"resume    {called} (with the same rows piped in)" in said
        (tmp_path / "in.jsonl").write_text(rows)
        assert penstock("batch", "run", "in.jsonl", *options, sim=sim, folder=tmp_path).returncode == 75
        assert (
            "resume    penstock batch resume 'my out.jsonl'\n"
            in penstock("batch", "status", "my out.jsonl", folder=tmp_path).stdout
        )


WRONG = [
    (("batch", "status", "nothing"), 65, "there is no job of nothing"),
    (("batch", "resume", "nothing"), 65, "there is no job of nothing"),
    (("batch", "cancel", "nothing"), 65, "there is no job of nothing"),
    (("batch", "status", "noise"), 65, "line 1 is no result of a run"),
    ((*JOB, "--only", "rate_limited"), 64, "--retry-failed --only CODES"),
    ((*JOB, "--retry-failed", "--only", "rate_limit"), 78, "did you mean 'rate_limited'?"),
    ((*JOB, "--format", "xml"), 64, "'xml' is not one of"),
    ((*JOB, "--system", "{", "-m", "openai:gpt-4o-mini"), 78, "the system template has '{'"),
    ((*JOB, "--system", "{role}"), 65, "column 'role' of the system is missing"),
    ((*JOB, "--schema", "nothing.json"), 78, "cannot read the schema nothing.json"),
    ((*JOB, "--schema", "noise"), 78, "the schema noise is not JSON"),
    ((*JOB, "--schema", "list.json"), 78, "is no JSON object"),
    ((*JOB, "--schema", "odd.json"), 78, "'unheard' at $.a"),
    ((*JOB, "--reparse"), 64, "write --schema too"),
    ((*JOB, "--schema", "model.py:Nobody"), 78, "has no Nobody"),
    ((*JOB, "--schema", "broken.py:Thing"), 78, "ZeroDivisionError"),
    ((*JOB, "-o", "out.csv", "--keep-columns", "id"), 78, "column 'id'"),
]


@pytest.mark.parametrize(("args", "code", "words"), WRONG, ids=[" ".join(args[-3:]) for args, _, _ in WRONG])
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, args: tuple[str, ...], code: int, words: str) -> None:
    """With an exit code, and nothing sent."""
    write_rows(tmp_path / "in.jsonl", 3)
    (tmp_path / "noise").write_text("noise\n")
    (tmp_path / "list.json").write_text('[{"type": "array"}]')
    (tmp_path / "odd.json").write_text('{"type": "object", "properties": {"a": {"unheard": 1}}}')
    (tmp_path / "model.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("x = 1 / 0\n")
    with SimServer() as sim:
        ended = penstock(*args, sim=sim, folder=tmp_path)
        assert sim.bill()["attempts"] == 0
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert words in ended.stderr


MODEL = """
from enum import Enum
from typing import Literal, Optional
from dataclasses import dataclass
from pydantic import BaseModel

class Severity(str, Enum):
    P1 = "P1"
    P2 = "P2"

class Incident(BaseModel):
    severity: Severity
    urgent: bool
    why: Optional[str] = None

@dataclass
class Plain:
    severity: Literal["P1", "P2"]
"""


@pytest.mark.parametrize("given", ["model.py:Incident", "model.py:Plain", "schema.json"])
def test_answers_follow_a_schema_and_are_counted_by_class(tmp_path: Path, given: str) -> None:
    """Each answer is read as the type, and the classes add up to the rows."""
    write_rows(tmp_path / "in.jsonl", 30)
    (tmp_path / "model.py").write_text(MODEL)
    schema = {"type": "object", "properties": {"severity": {"enum": ["P1", "P2"]}}}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    with SimServer() as sim:
        ended = penstock(*JOB, "--schema", given, sim=sim, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = Counter(row["parsed"]["severity"] for row in results(tmp_path / "out.jsonl"))
    assert found.keys() <= {"P1", "P2"}
    assert "severity: " + ", ".join(f"{found[name]} {name}" for name in sorted(found)) in ended.stderr


@pytest.mark.slow
def test_progress_and_summary_are_lines_for_machines(tmp_path: Path) -> None:
    """Each one object on a line, with the pace, what holds the run back and what it will cost."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0.4))) as sim:
        program = job_of(sim, tmp_path, "--json", lines=1)
        told, _ = program.communicate(timeout=WAIT_S)
    *progress, end = map(json.loads, told.splitlines())
    assert (end["event"], end["answered"], end["left"]) == ("end", ROWS, 0)
    assert progress, "150 rows, 10 at a time, 0.4 s each take 6 s"
    first = progress[0]
    assert (first["event"], first["binding"], first["in_flight"]) == ("progress", "concurrency", 10)
    assert first["rows_per_s"] > 0
    assert first["eta_s"] > 0
    assert first["cost_projected"] > first["cost"] > 0


def test_a_terminal_is_asked_before_much_is_spent(tmp_path: Path) -> None:
    """No sends nothing, Ctrl-C neither, and yes goes on."""
    write_rows(tmp_path / "in.jsonl", 300)
    with SimServer() as sim:
        for answer, code in ((b"n\n", 130), (None, 130), (b"y\n", 0)):
            here, there = os.openpty()
            program = subprocess.Popen(
                command(*JOB, "--max-tokens", "16000"),
                cwd=tmp_path,
                env=environment(sim, tmp_path, TERM="dumb"),
                stdin=there,
                stdout=there,
                stderr=there,
            )
            os.close(there)
            said = read_until(here, b"Go on?")
            assert b"if every answer is as long as it may be" in said
            assert sim.bill()["attempts"] == 0
            if answer is None:
                wait_until_asleep(program.pid)  # Python cannot see a signal in the instant before it blocks
                program.send_signal(signal.SIGINT)
            else:
                os.write(here, answer)
            read_until(here, None)
            os.close(here)
            assert program.wait(WAIT_S) == code
        assert sim.bill()["attempts"] == 300


def wait_until_asleep(pid: int) -> None:
    """Let a process come to rest where it waits for us."""
    seen, until = 0, time.monotonic() + WAIT_S
    while seen < 20:
        assert time.monotonic() < until
        seen = seen + 1 if psutil.Process(pid).status() == psutil.STATUS_SLEEPING else 0
        time.sleep(0.005)


def read_until(terminal: int, words: bytes | None) -> bytes:
    """Read what is shown on a terminal up to some words, or to its end."""
    said, until = b"", time.monotonic() + WAIT_S
    while words is None or words not in said:
        assert time.monotonic() < until, said
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            said += os.read(terminal, 1000)
        except OSError:  # nobody has it open any more
            break
    return said
