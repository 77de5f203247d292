"""The page of bulk runs names every field that a user meets."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import get_args

from penstock import AsyncClient
from penstock._policy.schedule import StopReason
from penstock.batch import BatchReport, Row, run_batch
from penstock.sim import SimServer

TEXT = (Path(__file__).parent.parent.parent / "docs" / "reference" / "batch.md").read_text(encoding="utf-8")
FIRST_CELLS = re.findall(r"^\| ([^|]+) \|", TEXT, re.MULTILINE)
NAMED = {name for cell in FIRST_CELLS for name in re.findall(r"`(\w+)`", cell)}


def test_every_field_of_a_report_and_every_reason_to_stop_is_listed() -> None:
    """A field that is added is explained."""
    assert set(BatchReport.__struct_fields__) | {"left", "done", "cost"} <= NAMED
    assert set(get_args(StopReason)) <= NAMED


def test_every_field_of_an_output_line_is_listed(tmp_path: Path) -> None:
    """Of an answer as well as of a failure."""

    async def main(sim: SimServer) -> None:
        settings = {"base_urls": {"openai": f"{sim.url}/v1"}, "keys": {"openai": "k"}}
        async with AsyncClient(config=False, env={}, **settings) as client:  # type: ignore[arg-type]
            rows = [Row(id="a", prompt="hello", model="openai:gpt-4o-mini"), Row(id="b", prompt="x", model="no:model")]
            await run_batch(rows, str(tmp_path / "out"), client=client)

    with SimServer() as sim:
        asyncio.run(main(sim))
    answer, failure = (json.loads(line) for line in (tmp_path / "out").read_text(encoding="utf-8").splitlines())
    assert answer.keys() | failure.keys() <= NAMED
    assert all(f"`{name}`" in TEXT for name in failure["error"])
