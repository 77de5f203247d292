"""A run through batches that is killed where it hurts: no batch twice, no row lost, none paid twice."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.batch import Shard, read_shards
from penstock.sim import BatchSettings, SimConfig, SimServer
from tests.cli.terminal import penstock, results, start, wait_until, write_rows

ROWS = 30
MODELS = {"openai": "openai:gpt-4o-mini", "anthropic": "anthropic:claude-haiku-4-5"}
SLOW = BatchSettings(rows_per_s=25)


def rule(path: str, fault: str) -> str:
    return f'[[rule]]\nmatch = {{ path = "{path}" }}\ntimes = 1\nfault = {{ {fault} }}\n'


def shard(out: Path) -> Shard | None:
    return next(iter(read_shards(out)), None)


def is_in(phase: str) -> Callable[[SimServer, Path], bool]:
    def look(sim: SimServer, out: Path) -> bool:
        found = shard(out)
        return found is not None and found.phase == phase

    return look


def made(sim: SimServer, out: Path) -> bool:
    return is_in("creating")(sim, out) and bool(sim.simulator.desk.store.batches)


def polled(sim: SimServer, out: Path) -> bool:
    found = shard(out)
    return found is not None and found.word == "in_progress"


def half_read(sim: SimServer, out: Path) -> bool:
    parts = list(out.parent.glob(".out.jsonl.shards/*.part"))
    return bool(parts) and any(rule["delivered"] for rule in sim.simulator.book.snapshot())


def uploaded(sim: SimServer, out: Path) -> bool:
    return is_in("written")(sim, out) and bool(sim.simulator.desk.store.files)


POINTS: dict[str, tuple[str, str, Callable[[SimServer, Path], bool]]] = {
    "before the upload": (
        "openai",
        rule("*/files", 'kind = "status", status = 503, retry_after = "60"'),
        is_in("written"),
    ),
    "after the upload, its id unsaved": ("openai", rule("*/files", 'kind = "stall"'), uploaded),
    "after the upload": ("openai", rule("*/batches", 'kind = "rate_limit", retry_after = "60"'), is_in("uploaded")),
    "after the create, its id unsaved": ("openai", rule("*/batches", 'kind = "stall"'), made),
    "polling": ("openai", "", polled),
    "mid-download": ("openai", rule("*/content", 'kind = "slow_bytes", piece = 200, every_s = 0.05'), half_read),
    "after an untagged create, its id unsaved": ("anthropic", rule("*/batches", 'kind = "stall"'), made),
    "mid-download of messages": (
        "anthropic",
        rule("*/results", 'kind = "slow_bytes", piece = 200, every_s = 0.05'),
        half_read,
    ),
}


@pytest.mark.prove(21)
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(name, marks=[] if name == "after the create, its id unsaved" else pytest.mark.slow)
        for name in POINTS
    ],
)
def test_a_killed_run_creates_no_batch_twice(point: str, tmp_path: Path, record_property: Any) -> None:
    """The next run adopts or collects what is there: one batch, each row once, and the bill is what the rows cost."""
    provider, faults, reached = POINTS[point]
    out = tmp_path / "out.jsonl"
    write_rows(tmp_path / "in.jsonl", ROWS)
    asked = ("--prompt", "Error or not? {log}", "-m", MODELS[provider], "--max-tokens", "9", "--via", "batch-api")
    job = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *asked)
    with SimServer(SimConfig(batches=SLOW)) as sim:
        sim.play(faults)
        program = start(*job, sim=sim, folder=tmp_path)
        wait_until(program, lambda: reached(sim, out))
        program.kill()
        program.communicate()
        sim.play("")
        ended = penstock(*job, sim=sim, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        batches = len(sim.simulator.desk.store.batches)
        bill = sim.bill()
    rows = results(out)
    assert batches == 1
    assert [row["id"] for row in rows] == [f"r{number}" for number in range(ROWS)]
    assert all(row["error"] is None for row in rows)
    assert sum(Decimal(str(row["cost"])) for row in rows) * 10**9 == bill["total_nano"] > 0
    assert bill["attempts"] == ROWS
    assert not list(tmp_path.glob(".out.jsonl.*"))
    record_property("duplicate_batches", batches - 1)
