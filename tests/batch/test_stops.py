"""When a run stops, what still goes out, and what its record tells other processes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from penstock import Budget, Limits, RetryPolicy
from penstock.batch import Batch, BatchReport, JobFile, Projection, Row, journal_of, standing
from penstock.errors import InputError
from penstock.sim import Latency, SimConfig, SimServer
from tests.test_batch import ANTHROPIC, OPENAI, client, go, lines, some, some_answers


def watched(sim: SimServer, output: Path, then: Any, **options: Any) -> BatchReport:
    """Run a job and do something to it while it goes."""
    made_with = {name: options.pop(name) for name in ("limits", "retry", "budget") if name in options}

    async def main() -> BatchReport:
        async with client(sim, **made_with) as made:
            batch = Batch(options.pop("rows", some(200)), output, client=made, models=[OPENAI], **options)
            running = asyncio.create_task(batch.run())
            await then(batch)
            return await running

    return asyncio.run(main())


@pytest.mark.prove(21)
def test_after_a_stop_nothing_more_goes_out(tmp_path: Path) -> None:
    """Calls that wait for their turn end at once and cost nothing; those under way come home."""
    seen: list[int] = []

    async def stop(batch: Batch) -> None:
        await some_answers(batch, 20)
        batch.stop()
        seen.append(batch.report.attempts + sum(run.under_way for run in batch._crew._calls))

    with SimServer(SimConfig(latency=Latency(first_token_s=0.02))) as sim:
        report = watched(sim, tmp_path / "out", stop, limits=Limits(rpm=3000), concurrency=64)
        assert sim.bill()["attempts"] == seen[0], "those that had ended, and those that had left"
        assert sim.bill()["attempts"] == report.attempts == report.answered == len(lines(tmp_path / "out"))
    assert (report.stopped, report.unpriced, report.cut) == ("interrupted", 0, 0)
    assert report.elapsed_s < 5


@pytest.mark.prove(21)
def test_after_a_stop_no_retry_goes_out(tmp_path: Path) -> None:
    """A call between two attempts ends there, and what it sent is counted."""

    async def stop(batch: Batch) -> None:
        while len(sim.log()) < 4:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
        batch.stop()

    with SimServer() as sim:
        sim.play('[[rule]]\nfault = { kind = "status", status = 503 }')
        report = watched(
            sim, tmp_path / "out", stop, retry=RetryPolicy(attempts=5, base_s=60, cap_s=60), rows=some(4), concurrency=4
        )
        assert len(sim.log()) == report.attempts == 4
    assert (report.left, report.stopped) == (4, "interrupted")
    assert report.elapsed_s < 8


def test_a_row_above_the_cap_of_a_call_is_a_failed_row(tmp_path: Path) -> None:
    """The others are answered."""
    rows = [*some(5), Row(id="dear", prompt="x" * 200_000), *[Row(id=f"s{n}", prompt="y") for n in range(5)]]
    with SimServer() as sim:
        report = go(sim, rows, tmp_path / "out", budget=Budget(per_call="0.001"), params={"max_tokens": 20})
    assert (report.answered, report.failed, report.stopped) == (10, 1, None)
    assert report.failures == {"budget_exceeded": 1}
    assert lines(tmp_path / "out")[5]["error"]["code"] == "budget_exceeded"


@pytest.mark.parametrize("kind", ["key", "quota"])
def test_rows_with_a_model_of_their_own_stop_the_run_too(tmp_path: Path, kind: str) -> None:
    """Twenty in a row that are refused for their key or account are enough, also beside rows that are answered."""
    rows = [Row(id=n, prompt="x", model=ANTHROPIC if n % 2 else OPENAI) for n in range(1000)]
    with SimServer() as sim:
        keys = {"anthropic": "bad"} if kind == "key" else {}
        if kind == "quota":
            sim.play('[[rule]]\nmatch = { protocol = "anthropic" }\nfault = { kind = "quota" }')
        report = go(sim, rows, tmp_path / "out", keys=keys, concurrency=4)
    assert report.stopped == "failed"
    assert report.cause is not None
    assert report.cause.code == ("authentication" if kind == "key" else "quota_exhausted")
    assert 20 <= report.failed <= 20 + 4
    assert report.answered >= 10


def test_the_record_of_a_run_says_how_far_it_is_and_goes_away(tmp_path: Path) -> None:
    """While it goes any process can read it; once all is answered there is nothing to say."""
    out, told = tmp_path / "out", []

    async def look(batch: Batch) -> None:
        await some_answers(batch, 10)
        job = JobFile(journal_of(out))
        told.append((job.is_running(), job.read()))

    with SimServer(SimConfig(latency=Latency(first_token_s=0.01))) as sim:
        report = watched(sim, out, look, concurrency=8, command=["in", "-o", "out"])
    ((running, state),) = told
    assert running
    assert state is not None
    assert (state.rows, state.ended, state.command) == (200, False, ["in", "-o", "out"])
    assert report.answered == 200
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("now", [False, True])
def test_a_run_stops_when_another_process_asks(tmp_path: Path, now: bool) -> None:
    """Gently, or at once; the request is taken away, and a stale one stops nobody."""
    out = tmp_path / "out"
    job = JobFile(out)

    async def ask(batch: Batch) -> None:
        await batch.begun.wait()
        await asyncio.sleep(0.05)
        job.ask_stop(now=now)

    with SimServer(SimConfig(latency=Latency(first_token_s=30 if now else 0.05))) as sim:
        job.ask_stop(now=True)
        report = watched(sim, out, ask, concurrency=4, rows=some(400))
    assert report.stopped == "interrupted"
    assert report.cut == (4 if now else 0)
    assert job.asked() is None
    state = job.read()
    assert state is not None
    assert (state.ended, state.stopped, state.figures["left"]) == (True, "interrupted", report.left)


def test_whoever_is_shown_the_cost_may_say_no(tmp_path: Path) -> None:
    """Before the first call; the projection holds what the run costs, for the rows still to be asked."""
    shown: list[Projection] = []

    def no(projection: Projection) -> bool:
        shown.append(projection)
        return False

    async def main(sim: SimServer, **options: Any) -> BatchReport:
        async with client(sim) as made:
            params = {"max_tokens": 40}
            batch = Batch(some(3000), tmp_path / "out", client=made, models=[OPENAI], params=params, **options)
            return await batch.run()

    with SimServer() as sim:
        report = asyncio.run(main(sim, approve=no))
        assert (sim.bill()["attempts"], report.stopped, report.left) == (0, "interrupted", 3000)
        go(sim, some(1000), tmp_path / "out", params={"max_tokens": 40})
        spent = sim.bill()["total_nano"]
        asyncio.run(main(sim, approve=no))
    assert [each.rows for each in shown] == [3000, 2000]
    low, high = shown[1].low_nano, shown[1].high_nano
    assert low is not None
    assert high is not None
    assert low < 2 * spent < high * 1.2


def test_a_journal_is_counted_without_touching_it(tmp_path: Path) -> None:
    """By the newest line of each row, and without a line that is being written."""
    path = tmp_path / "out"

    def line(name: str, **more: Any) -> str:
        return json.dumps({"id": name, "key": "k", "model": "m", "error": None, "cost": 0.5, **more}) + "\n"

    failed = {"error": {"code": "overloaded", "message": "busy"}, "cost": None}
    text = line("a", **failed) + line("b", parsed={"p": "P1"}) + line("c", **failed) + line("a", parsed={"p": "P2"})
    path.write_text(text + '{"id": "d", "ke')
    found = standing(path, ["p"])
    assert (found.answered, found.failed, found.cost_nano) == (2, 1, 10**9)
    assert {code: (each.count, each.id, each.message) for code, each in found.errors.items()} == {
        "overloaded": (1, "c", "busy")
    }
    assert {value: number for value, number in found.classes["p"].items() if number} == {"P1": 1, "P2": 1}
    path.write_text("nonsense\n")
    with pytest.raises(InputError, match="line 1 is no result"):
        standing(path)
