"""What a run tells of itself while it goes: its end, its cost, and what binds it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock import AsyncClient
from penstock.batch import Batch, Forecast, JobFile, journal_of
from tests.batch.model import SCENARIOS, Model, Scenario, cases
from tests.batch.test_makespan import play


@pytest.mark.prove(22)
@pytest.mark.parametrize("name", ["A", pytest.param("D", marks=pytest.mark.slow)])
def test_the_time_left_is_right_within_a_tenth_from_a_twentieth_of_the_rows_on(tmp_path: Path, name: str) -> None:
    """At every look until nearly all is done."""
    scenario = SCENARIOS[name]
    rows = cases(scenario, 7, 4000)
    told: list[tuple[float, float]] = []

    async def watch(batch: Batch, client: AsyncClient, model: Model) -> None:
        loop = asyncio.get_running_loop()
        while batch.report.left > 0:
            await asyncio.sleep(1)
            figures = batch.figures()
            if batch.report.done >= len(rows) / 20 and batch.report.left > len(rows) / 10:
                told.append((loop.time(), figures["eta_s"]))

    played = play(tmp_path, scenario, rows, 7, watch=watch)
    ended = played.report.elapsed_s
    assert len(told) > 40
    wrong = [abs(at + left_s - ended) / ended for at, left_s in told]
    assert max(wrong) <= 0.10


def test_another_process_is_told_the_same_figures(tmp_path: Path) -> None:
    """The record of the job has pace, end, cost and what binds the run."""
    scenario = Scenario(name="told", rate=20, burst=20)
    rows = cases(scenario, 8, 600)
    seen: list[dict[str, object]] = []

    async def watch(batch: Batch, client: AsyncClient, model: Model) -> None:
        await asyncio.sleep(20)
        state = JobFile(journal_of(tmp_path / "out.jsonl")).read()
        assert state is not None
        seen.append(state.figures)
        assert not state.ended

    play(tmp_path, scenario, rows, watch=watch)
    (figures,) = seen
    assert figures["binding"] == "requests"
    assert 18 <= float(str(figures["rows_per_s"])) <= 22
    assert 5 < float(str(figures["eta_s"])) < 15
    assert figures["cost_projected"] is not None
    (limits,) = figures["limits"].values()  # type: ignore[attr-defined]
    assert 0.2 < limits["requests"] <= 1


@pytest.mark.prove(22)
@pytest.mark.parametrize("name", ["A", pytest.param("B", marks=pytest.mark.slow)])
def test_a_sample_tells_what_the_rest_costs_and_how_long_it_takes(tmp_path: Path, name: str) -> None:
    """Within fifteen hundredths; the rows of the sample are not asked again."""
    scenario = SCENARIOS[name]
    rows = cases(scenario, 9, 1500)
    told: list[Forecast] = []

    async def watch(batch: Batch, client: AsyncClient, model: Model) -> None:
        await asyncio.sleep(300)  # of virtual time, in which the sample is long done
        found = batch.forecast()
        assert found is not None
        told.append(found)

    first = play(tmp_path, scenario, rows, watch=watch, sample=300)
    assert (first.report.answered, first.report.left) == (300, 1200)
    second = play(tmp_path, scenario, rows)
    assert (second.report.before, second.report.answered) == (300, 1200)
    (found,) = told
    assert found.bound == ("requests" if name == "A" else "tokens")
    assert found.cost_nano == pytest.approx(second.report.cost_nano, rel=0.15)
    assert found.seconds == pytest.approx(second.report.elapsed_s, rel=0.15)
