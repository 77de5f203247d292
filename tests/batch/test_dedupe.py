"""Rows that ask the same are asked once, where the user wants it so."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.batch import Row, RowFile
from penstock.sim import SimServer
from tests.test_batch import OPENAI, client, go, lines

ROWS = [Row(id=number, prompt=f"case {number % 4}") for number in range(20)]


def test_every_row_has_its_line_and_only_one_of_each_kind_is_paid(tmp_path: Path) -> None:
    """A copy costs nothing and names the row that was asked."""
    with SimServer() as sim:
        report = go(sim, ROWS, tmp_path / "out", dedupe=True)
        assert sim.bill()["attempts"] == 4
        assert report.cost_nano == sim.bill()["total_nano"]
    found = lines(tmp_path / "out")
    assert [line["id"] for line in found] == list(range(20))
    assert (report.answered, report.copied, report.left) == (20, 16, 0)
    for line in found[4:]:
        origin = found[line["id"] % 4]
        assert (line["copy_of"], line["cost"], line["attempts"]) == (origin["id"], 0, 0)
        assert (line["text"], line["usage"]) == (origin["text"], {"input": 0, "output": 0})
    assert all("copy_of" not in line for line in found[:4])


def test_what_an_earlier_run_asked_is_copied_too(tmp_path: Path) -> None:
    """A copy is an answer: the next run, with or without, asks nothing."""
    with SimServer() as sim:
        go(sim, ROWS[:4], tmp_path / "out")
        report = go(sim, ROWS, tmp_path / "out", dedupe=True)
        assert (report.before, report.copied, report.attempts) == (4, 16, 0)
        assert go(sim, ROWS, tmp_path / "out").before == 20
        assert sim.bill()["attempts"] == 4


def test_another_model_or_parameter_is_another_question(tmp_path: Path) -> None:
    """Only what is the same in all that decides the answer is copied."""
    rows = [Row(id=1, prompt="a"), Row(id=2, prompt="a", params={"max_tokens": 5}), Row(id=3, prompt="a", model=OPENAI)]
    with SimServer() as sim:
        go(sim, rows, tmp_path / "out", dedupe=True, models=["openai:gpt-4o"])
        assert sim.bill()["attempts"] == 3


def test_a_row_that_failed_fails_its_copies_and_the_next_run_asks_it_once(tmp_path: Path) -> None:
    """One line per row, whatever happened."""
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 3" }\nfault = { kind = "status", status = 400 }\ntimes = 1')
        report = go(sim, ROWS, tmp_path / "out", dedupe=True)
        assert (report.answered, report.failed) == (15, 5)
        report = go(sim, ROWS, tmp_path / "out", dedupe=True)
        assert (report.before, report.answered, report.failed) == (15, 5, 0)
        assert sim.bill()["attempts"] == 5
    assert all(line["error"] is None for line in lines(tmp_path / "out"))


def test_columns_of_a_copy_are_its_own(tmp_path: Path) -> None:
    """They come from its own row of the input."""
    path = tmp_path / "in.csv"
    path.write_text("id,log,team\na,x,red\nb,x,blue\n")
    with SimServer() as sim:
        rows = RowFile(path, template="{log}")
        go(sim, rows, tmp_path / "out", dedupe=True, keep_columns=["team"])
    assert [line["columns"]["team"] for line in lines(tmp_path / "out")] == ["red", "blue"]


def test_a_pool_has_weights(tmp_path: Path) -> None:
    """Three rows of four go to the one that counts three times, while both are as quick."""
    rows = [Row(id=number, prompt=f"row {number}") for number in range(400)]
    with SimServer() as sim:
        go(sim, rows, tmp_path / "out", models={OPENAI: 3, "openai:gpt-4o": 1}, concurrency=16)
    share = sum(line["model"] == OPENAI for line in lines(tmp_path / "out")) / 400
    assert 0.65 < share < 0.85


def test_two_keys_of_one_provider_are_two_rows_of_the_provider_table(tmp_path: Path) -> None:
    """Each has its own limit and its own name in the output."""
    import asyncio

    from penstock import AsyncClient
    from penstock.batch import BatchReport, run_batch

    async def main(sim: SimServer) -> BatchReport:
        settings = tmp_path / "penstock.toml"
        settings.write_text(
            f'[providers.second]\nwire = "openai_chat"\nbase_url = "{sim.url}/v1"\nkey_env = ["SECOND_KEY"]\n'
        )
        env = {"OPENAI_API_KEY": "one", "OPENAI_BASE_URL": f"{sim.url}/v1", "SECOND_KEY": "two"}
        async with AsyncClient(config=settings, env=env) as made:
            pool = [OPENAI, "second:gpt-4o-mini"]
            return await run_batch(ROWS, tmp_path / "out", client=made, models=pool, concurrency=4)

    with SimServer() as sim:
        report = asyncio.run(main(sim))
    assert report.answered == 20
    assert {lane.model: lane.answered > 0 for lane in report.lanes} == {OPENAI: True, "second:gpt-4o-mini": True}


@pytest.mark.parametrize("weights", [{OPENAI: 0}, {OPENAI: -1.0}])
def test_a_weight_that_is_none_is_refused(tmp_path: Path, weights: dict[str, float]) -> None:
    """Before anything is read."""
    from penstock.batch import Batch
    from penstock.errors import ConfigError

    with SimServer() as sim, pytest.raises(ConfigError, match="weights above 0"):
        Batch(ROWS, tmp_path / "out", client=client(sim), models=weights)
