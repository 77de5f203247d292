"""Values and samples through batches: what online rows have as well."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest
from pydantic import BaseModel, field_validator

from penstock import Hedge
from penstock.batch import withdraw_batches
from penstock.errors import ConfigError
from tests.batch.batching import ANTHROPIC, OPENAI, QUICK, batches, client, go, lines, paid, sim_of, some

TAKEN_BACK: set[str] = set()


class Assessed(BaseModel):
    """What a provider can be held to, and one thing that it cannot."""

    severity: Literal["P1", "P2", "P3", "P4"]
    urgent: bool

    @field_validator("severity")
    @classmethod
    def stands(cls, value: str) -> str:
        """Refuse what was taken back."""
        if value in TAKEN_BACK:
            raise ValueError(f"{value} was taken back")
        return value


class Ranked(TypedDict):
    """The same, for whoever has no validators."""

    severity: Literal["P1", "P2", "P3", "P4"]
    urgent: bool


ROOM: dict[str, Any] = {"params": {"max_tokens": 60}}


@pytest.mark.parametrize("mode", ["auto", pytest.param("tool", marks=pytest.mark.slow),
                                  pytest.param("prompted", marks=pytest.mark.slow)])  # fmt: skip
def test_rows_of_a_batch_become_values_as_those_of_calls_do(mode: str, tmp_path: Path) -> None:
    """However the model is asked; a run online finds the same rows answered."""
    options: dict[str, Any] = {"models": [OPENAI, ANTHROPIC], "params": {"max_tokens": 60, "mode": mode}}
    with sim_of() as sim:
        report = go(sim, some(8), tmp_path / "out", schema=Ranked, **options)
        bill = sim.bill()
        again = go(sim, some(8), tmp_path / "out", schema=Ranked, via="online", **options)
        assert sim.bill()["attempts"] == bill["attempts"] == 8
        assert batches(sim) == 2
    assert (report.answered, report.failed, again.before) == (8, 0, 8)
    assert report.cost_nano == bill["total_nano"] == paid(tmp_path / "out")
    for row in lines(tmp_path / "out"):
        assert row["parsed"].keys() == {"severity", "urgent"}
        assert row["mode"] == ("native" if mode == "auto" else mode)


@pytest.mark.slow
def test_what_does_not_fit_is_a_failed_row_that_can_be_asked_again(tmp_path: Path) -> None:
    """It was paid, its text is there, and --retry-failed asks nothing else."""
    rows = some(12)
    with sim_of() as sim:
        go(sim, rows, tmp_path / "sound", schema=Assessed, **ROOM)
        first = lines(tmp_path / "sound")[0]["parsed"]["severity"]
        wrong = sum(row["parsed"]["severity"] == first for row in lines(tmp_path / "sound"))
        TAKEN_BACK.add(first)
        try:
            report = go(sim, rows, tmp_path / "out", schema=Assessed, **ROOM)
        finally:
            TAKEN_BACK.clear()
        failed = [row for row in lines(tmp_path / "out") if row["error"]]
        assert (report.answered, report.failures) == (12 - wrong, {"extraction_failed": wrong})
        assert all(first in row["text"] and "taken back" in row["error"]["message"] for row in failed)
        assert sim.bill()["attempts"] == 24
        mended = go(sim, rows, tmp_path / "out", schema=Assessed, retry_failed=True, **ROOM)
        assert (mended.answered, mended.failed) == (wrong, 0)
        assert sim.bill()["attempts"] == 24 + wrong
        assert paid(tmp_path / "sound") + paid(tmp_path / "out") == sim.bill()["total_nano"]


@pytest.mark.slow
def test_an_answer_that_was_cut_is_no_value(tmp_path: Path) -> None:
    """The row says so, and what it cost."""
    with sim_of() as sim:
        report = go(sim, some(2), tmp_path / "out", schema=Ranked, params={"max_tokens": 2})
        assert report.failures == {"truncated_output": 2}
        assert report.cost_nano == sim.bill()["total_nano"] == paid(tmp_path / "out")


@pytest.mark.slow
def test_batches_that_are_withdrawn_are_read_by_the_schema_they_were_asked_with(tmp_path: Path) -> None:
    """By a process that has not the type; a run with it finds those rows answered."""
    with sim_of(rows_per_s=15) as sim:
        go(sim, some(40), tmp_path / "out", schema=Assessed, wait=False, **ROOM)

        async def main() -> None:
            await asyncio.sleep(1)
            async with client(sim) as made:
                await withdraw_batches(tmp_path / "out", client=made, told=lambda shard, what: None, pace=QUICK)

        asyncio.run(main())
        known = [row for row in lines(tmp_path / "out") if row["error"] is None]
        assert 0 < len(known) < 40
        assert all(row["parsed"].keys() == {"severity", "urgent"} and row["mode"] == "native" for row in known)
        report = go(sim, some(40), tmp_path / "out", schema=Assessed, via="online", **ROOM)
        assert (report.before, report.answered) == (len(known), 40 - len(known))
        assert sim.bill()["attempts"] == 40


def test_a_sample_goes_through_a_batch_and_tells_what_the_rest_costs(tmp_path: Path) -> None:
    """It is taken from all over the rows; how long batches take is not told."""
    with sim_of() as sim:
        report = go(sim, some(40), tmp_path / "out", sample=8)
        assert (report.answered, report.left, sim.bill()["attempts"]) == (8, 32, 8)
        assert {row["id"] for row in lines(tmp_path / "out")} == {f"r{number}" for number in range(0, 40, 5)}
        rest = go(sim, some(40), tmp_path / "out")
        assert (rest.before, rest.answered, sim.bill()["attempts"]) == (8, 32, 40)


@pytest.mark.slow
def test_a_sample_that_is_under_way_is_collected_and_no_other_begun(tmp_path: Path) -> None:
    """Also where its batch expired: then the rest of the same rows goes into another one."""
    with sim_of(rows_per_s=60, expire_s=0.1) as sim:
        left = go(sim, some(40), tmp_path / "out", sample=8, wait=False)
        assert (left.in_batches, left.stopped) == (8, "submitted")
        report = go(sim, some(40), tmp_path / "out", sample=8)
        assert (report.answered, report.left, sim.bill()["attempts"]) == (8, 32, 8)


@pytest.mark.slow
def test_rows_of_a_sample_that_its_batch_left_go_online_alone(tmp_path: Path) -> None:
    """Rows that were not in the sample stay where they are."""
    with sim_of(rows_per_s=30, expire_s=0.1) as sim:
        report = go(sim, some(40), tmp_path / "out", sample=8, then="online")
        assert batches(sim) == 1
        assert (report.answered, report.left, sim.bill()["attempts"]) == (8, 32, 8)


def test_a_hedge_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """A row of a batch is no call."""
    with sim_of() as sim, pytest.raises(ConfigError, match=r"leave it out, or have the rows go online"):
        go(sim, some(1), tmp_path / "out", hedge=Hedge(after_percentile=95))
