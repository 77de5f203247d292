"""The time of a run against the best that its limits allow, with the real runner and client in virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import AsyncClient, Hedge
from penstock.batch import Batch, BatchReport
from tests.batch.model import SCENARIOS, Case, Model, Scenario, asked, best_s, cases
from tests.batch.virtual import VirtualClock, run

BARS = {"A": 1.05, "B": 1.06, "C": 1.1, "D": 1.05, "E": 1.05, "F": 1.05, "K": 1.05}
"""How much longer than the best a run may take; where sizes differ the burst of the provider is part of that best."""

REJECTED = {"C": 0.02, "E": 0.02, "F": 0.02}
"""Rejections for each row; elsewhere a two-hundredth."""

ALL = [(name, seed) for name in BARS for seed in range(1, 6)]


class Played(msgspec.Struct):
    """A run of a scenario: its report, what the provider saw, and how much longer than the best it took."""

    report: BatchReport
    model: Model
    ratio: float


def play(
    folder: Path,
    scenario: Scenario,
    rows: list[Case],
    seed: int = 1,
    watch: Callable[..., Any] | None = None,
    **options: Any,
) -> Played:
    """Run a job of these rows to its end."""

    async def main(loop: asyncio.AbstractEventLoop) -> Played:
        model = Model(scenario, rows, loop)
        name = "anthropic:claude-haiku-4-5" if scenario.split else "openai:gpt-4.1-mini"
        keys = {"openai": "k", "anthropic": "k"}
        clock = VirtualClock(loop, seed)
        async with AsyncClient(transport=model, keys=keys, config=False, env={}, clock=clock) as client:
            given = [asked(rows, number) for number in range(len(rows))]
            batch = Batch(given, folder / "out.jsonl", client=client, models=[name], **options)
            watching = None if watch is None else asyncio.create_task(watch(batch, client, model))
            report = await batch.run()
            if watching is not None:
                await watching
        return Played(report, model, report.elapsed_s / best_s(scenario, rows))

    return run(main)


def hold(played: Played, scenario: Scenario) -> None:
    """Nothing is lost, asked twice or sent too early, and rejections are few."""
    rows = len(played.model.rows)
    assert (played.report.answered, played.report.failed, played.report.stopped) == (rows, 0, None)
    assert set(played.model.answered) == {1}
    assert played.model.too_early == 0
    assert played.model.rejected <= max(1, rows * REJECTED.get(scenario.name, 0.005))


@pytest.mark.slow
@pytest.mark.prove(22)
@pytest.mark.parametrize(("name", "seed"), ALL)
def test_a_run_takes_little_longer_than_the_best(
    tmp_path: Path, name: str, seed: int, record_property: Callable[[str, object], None]
) -> None:
    """Six thousand rows; limits unknown at the beginning, told or found out on the way."""
    scenario = SCENARIOS[name]
    played = play(tmp_path, scenario, cases(scenario, seed), seed)
    hold(played, scenario)
    record_property(f"makespan.{name}.{seed}", round(played.ratio, 4))
    record_property(f"rejected.{name}.{seed}", round(played.model.rejected / scenario.rows, 5))
    assert played.ratio <= BARS[name]


@pytest.mark.prove(22)
@pytest.mark.parametrize("name", ["A", pytest.param("F", marks=pytest.mark.slow)])
def test_a_shorter_run_takes_little_longer_than_the_best(tmp_path: Path, name: str) -> None:
    """The same for one that is over before what it began with is forgotten."""
    scenario = SCENARIOS[name]
    played = play(tmp_path, scenario, cases(scenario, 1, 1500))
    hold(played, scenario)
    assert played.ratio <= BARS[name]


@pytest.mark.prove(22)
@pytest.mark.parametrize("concurrency", [64, pytest.param(2000, marks=pytest.mark.slow)])
def test_rejections_that_are_charged_starve_nobody(tmp_path: Path, concurrency: int) -> None:
    """Whatever number of calls at once the user allows."""
    scenario = SCENARIOS["D"]
    played = play(tmp_path, scenario, cases(scenario, 2, 1500), 2, concurrency=concurrency)
    hold(played, scenario)
    assert played.ratio <= BARS["D"]


@pytest.mark.slow
def test_a_wide_limit_is_filled_without_being_told_how_many_calls_that_takes(tmp_path: Path) -> None:
    """300 calls a second of 2.4 s each are 720 at once, where a fixed 64 would take eleven times as long."""
    scenario = Scenario(name="wide", rate=300, burst=300)
    played = play(tmp_path, scenario, cases(scenario, 3, 6000), 3)
    hold(played, scenario)
    assert played.model.busiest > 500
    best = best_s(scenario, played.model.rows)
    assert played.report.elapsed_s < best + 8, "the ramp of a client that knows nothing takes some seconds"


def test_a_number_of_calls_at_once_is_never_exceeded(tmp_path: Path) -> None:
    """It is a cap."""
    scenario = Scenario(name="wide", rate=300, burst=300)
    played = play(tmp_path, scenario, cases(scenario, 3, 300), 3, concurrency=20)
    assert played.model.busiest == 20


@pytest.mark.slow
def test_long_and_short_rows_are_mixed_so_that_no_limit_is_idle(tmp_path: Path) -> None:
    """Blocks of rows that each fill only one of two limits take as long as both together, not one after the other."""
    scenario = Scenario(name="mixed", rows=3000, rate=40, burst=40, sized=True, share_s=75, token_burst_s=2)
    rows = [Case(2000 if number // 100 % 2 else 20, 2.0) for number in range(3000)]
    played = play(tmp_path, scenario, rows)
    hold(played, scenario)
    one_after_the_other_s = 1500 / 40 + 75
    assert played.report.elapsed_s < 0.85 * one_after_the_other_s


def test_the_longest_rows_do_not_come_last(tmp_path: Path) -> None:
    """With few calls at once, a long answer that was started last would be waited for alone."""
    scenario = Scenario(name="tail", most=8, headers=False, retry_after=False)
    rows = [Case(40, 1.0)] * 56 + [Case(2000, 8.0)] * 4
    played = play(tmp_path, scenario, rows, concurrency=8)
    assert played.report.elapsed_s <= 1.05 * (56 * 1.0 + 4 * 8.0) / 8 + 1.0


def test_a_hung_call_holds_one_row_until_its_time_is_over_and_stalls_nobody(tmp_path: Path) -> None:
    """How long that is follows what answers took, where the user said nothing."""
    scenario = Scenario(name="hang", rate=20, burst=20)
    rows = cases(scenario, 4, 1200)
    for number in (400, 401, 800):
        rows[number] = Case(500, math.inf)
    seen: list[float] = []

    async def watch(batch: Batch, client: AsyncClient, model: Model) -> None:
        last, at = 0, 0.0
        while batch.report.left > 3:
            await asyncio.sleep(0.1)
            at += 0.1
            if batch.report.answered > last:
                seen.append(at)
                last = batch.report.answered
        for number in (400, 401, 800):  # the second attempt is answered
            rows[number] = Case(500, 2.0)

    played = play(tmp_path, scenario, rows, watch=watch)
    assert played.report.answered == 1200
    assert max(after - before for before, after in pairwise(seen)) < 5
    assert played.report.elapsed_s < 1200 / 20 + 70, "an attempt has 60 s, not the ten minutes of a single call"


@pytest.mark.prove(22)
def test_a_call_of_the_same_program_that_a_person_waits_for_goes_before_the_rows(tmp_path: Path) -> None:
    """Rows have the priority 'batch': they fill the limit, and make room at once."""
    scenario = Scenario(name="shared", rate=10, burst=10)
    rows = cases(scenario, 5, 400)
    waited: list[float] = []

    async def watch(batch: Batch, client: AsyncClient, model: Model) -> None:
        await asyncio.sleep(10)
        for _ in range(10):
            answer = await client.complete(
                "Is this urgent? row 0", model="openai:gpt-4.1-mini", max_tokens=5, priority="interactive"
            )
            waited.append(sum(attempt.wait_s for attempt in answer.attempts))
            assert batch.report.left > 0

    played = play(tmp_path, scenario, rows, watch=watch)
    assert played.report.answered == 400
    assert max(waited) < 1.0, "with some dozens of rows in the queue before it"


@pytest.mark.parametrize("hedged", [True, False])
def test_the_last_calls_may_have_a_second_attempt_beside_them(tmp_path: Path, hedged: bool) -> None:
    """Only those, only where the user wants it, and each once."""
    scenario = Scenario(name="late", rate=50, burst=50)
    rows = [Case(500, 1.0)] * 200 + [Case(500, 40.0)] * 2

    async def watch(batch: Batch, client: AsyncClient, model: Model) -> None:
        while batch.report.left > 2 or not batch.report.answered:  # noqa: ASYNC110 - a run tells nobody
            await asyncio.sleep(0.01)
        rows[200] = rows[201] = Case(500, 1.0)  # a second attempt is as quick as others

    hedge = Hedge(after_percentile=95) if hedged else None
    played = play(tmp_path, scenario, rows, watch=watch, hedge=hedge, concurrency=8)
    assert played.report.answered == 202
    assert played.model.calls == (204 if hedged else 202)
    assert (played.report.elapsed_s < 35) is hedged
