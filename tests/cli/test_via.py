"""Batches on the command line: submit and leave, look, collect, cancel."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import click
import pytest

from penstock.batch import read_shards
from penstock.cli.via import Duration
from penstock.sim import BatchSettings, SimConfig, SimServer
from tests.cli.terminal import WAIT_S, penstock, results, start, wait_until, write_rows

JOB = ("batch", "run", "in.jsonl", "-o", "out.jsonl", "--prompt", "Error or not? {log}", "-m", "openai:gpt-4o-mini")
VIA = (*JOB, "--max-tokens", "9", "--via", "batch-api")


def sim_of(rows_per_s: float = 5000.0) -> SimServer:
    return SimServer(SimConfig(batches=BatchSettings(rows_per_s=rows_per_s)))


def wait_for_a_row(sim: SimServer) -> None:
    """Let the simulator's clock come to where the first row of its only batch is done."""
    store = sim.simulator.desk.store
    (batch,), settings = store.batches.values(), store.settings
    while sim.now < batch.created + settings.validate_s + 1 / settings.rows_per_s:
        time.sleep(0.002)


@pytest.mark.slow
def test_a_job_is_submitted_left_looked_at_and_collected(tmp_path: Path) -> None:
    """By four processes; calls for the same output are refused meanwhile."""
    write_rows(tmp_path / "in.jsonl", 20)
    with sim_of(rows_per_s=15) as sim:
        left = penstock(*VIA, "--no-wait", sim=sim, folder=tmp_path)
        assert left.returncode == 0, left.stderr
        assert "20 of them in batches at the provider" in left.stderr
        assert "To collect them:\n  penstock" in left.stderr
        status = penstock("batch", "status", "out.jsonl", folder=tmp_path)
        assert "submitted; its batches go on at the provider" in status.stdout
        assert "shard     0001 20 rows for openai:gpt-4o-mini batch_" in status.stdout
        told = json.loads(penstock("batch", "status", "out.jsonl", "--json", folder=tmp_path).stdout)
        assert [(shard["phase"], shard["rows"]) for shard in told["shards"]] == [("created", 20)]
        calls = penstock(*JOB, "--max-tokens", "9", sim=sim, folder=tmp_path)
        assert calls.returncode == 65
        assert "collect them with --via batch-api" in calls.stderr
        done = penstock("batch", "resume", "out.jsonl", "--wait", "--json", sim=sim, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert events[-1]["answered"] == 20
        assert "completed" in {event["what"] for event in events if event["event"] == "shard"}
        assert len(sim.simulator.desk.store.batches) == 1
    assert [row["id"] for row in results(tmp_path / "out.jsonl")] == [f"r{number}" for number in range(20)]


@pytest.mark.slow
def test_cancel_ends_the_batches_at_the_provider_and_keeps_what_they_have(tmp_path: Path) -> None:
    """The rest was not executed, and the same command asks it."""
    write_rows(tmp_path / "in.jsonl", 40)
    with sim_of(rows_per_s=15) as sim:
        penstock(*VIA, "--no-wait", sim=sim, folder=tmp_path)
        wait_for_a_row(sim)
        cancelled = penstock("batch", "cancel", "out.jsonl", sim=sim, folder=tmp_path)
        assert cancelled.returncode == 0, cancelled.stderr
        assert [batch.state for batch in sim.simulator.desk.store.batches.values()] == ["cancelled"]
        rows = results(tmp_path / "out.jsonl")
        done = sum(row["error"] is None for row in rows)
        assert f"{40 - done} not executed" in cancelled.stderr
        assert len(rows) == 40
        assert 0 < done == sim.bill()["attempts"] < 40


@pytest.mark.slow
def test_ctrl_c_leaves_the_batches_and_says_how_to_go_on(tmp_path: Path) -> None:
    """They go on and are paid; the exit code is that of an interrupt."""
    write_rows(tmp_path / "in.jsonl", 20)
    with sim_of(rows_per_s=1) as sim:
        program = start(*VIA, sim=sim, folder=tmp_path)
        wait_until(program, lambda: any(each.phase == "created" for each in read_shards(tmp_path / "out.jsonl")))
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=WAIT_S)
        assert program.returncode == 130
        assert "20 of them are in batches at the provider, which go on and are paid" in said
        (batch,) = sim.simulator.desk.store.batches.values()
        assert batch.ended is None


@pytest.mark.parametrize("more", [("--deadline", "6h"), ("--no-wait",), ("--then", "online"), ("--queue-tokens", "5")])
def test_options_for_batches_need_batches(more: tuple[str, ...], tmp_path: Path) -> None:
    """Where rows go online they would say nothing."""
    write_rows(tmp_path / "in.jsonl", 1)
    found = penstock(*JOB, *more, folder=tmp_path)
    assert found.returncode == 64
    assert "--via batch-api" in found.stderr


def test_auto_says_what_it_chose_and_why(tmp_path: Path) -> None:
    """A part of a cent is not worth a day."""
    write_rows(tmp_path / "in.jsonl", 2)
    with sim_of() as sim:
        found = penstock(*JOB, "--max-tokens", "9", "--via", "auto", "--deadline", "6h", sim=sim, folder=tmp_path)
        assert found.returncode == 0, found.stderr
        assert "online: a batch would save $0.0000" in found.stderr
        assert not sim.simulator.desk.store.batches


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800)])
def test_a_time_has_its_unit(text: str, seconds: float) -> None:
    """Seconds, minutes, hours or days."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "6", "h", "-1h", "0s", "6 h", "1w", "1e3s", "٣h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """The error shows how to write it."""
    with pytest.raises(click.BadParameter, match="6h"):
        Duration().convert(text, None, None)


def test_a_hedge_for_batches_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """What is wrong, why, and how to have it."""
    write_rows(tmp_path / "in.jsonl", 1)
    found = penstock(*VIA, "--hedge", folder=tmp_path)
    assert found.returncode == 64
    assert "a row of a batch is no call; leave it out, or write --via online" in found.stderr


@pytest.mark.slow
def test_a_sample_with_a_schema_goes_through_a_batch(tmp_path: Path) -> None:
    """The end says how often each value came, and what the rest costs."""
    write_rows(tmp_path / "in.jsonl", 12)
    schema = {
        "type": "object",
        "properties": {"severity": {"enum": ["P1", "P2"]}},
        "required": ["severity"],
        "additionalProperties": False,
    }
    (tmp_path / "severity.json").write_text(json.dumps(schema))
    with sim_of() as sim:
        more = ("--max-tokens", "60", "--schema", "severity.json", "--sample", "4", "--via", "batch-api")
        found = penstock(*JOB, *more, sim=sim, folder=tmp_path)
        assert found.returncode == 0, found.stderr
        assert len(sim.simulator.desk.store.batches) == 1
        assert sim.bill()["attempts"] == 4
    assert "the other 8 rows: about $" in found.stderr
    assert "as long as their batches take, which may be a day" in found.stderr
    assert "severity: " in found.stderr
    assert {row["parsed"]["severity"] for row in results(tmp_path / "out.jsonl")} <= {"P1", "P2"}
