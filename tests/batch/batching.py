"""Jobs through batches of the simulator, attended to without patience."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from penstock import AsyncClient
from penstock.batch import BatchReport, Pace, Row, Rows, ViaBatch
from penstock.sim import BatchSettings, SimConfig, SimServer

QUICK = Pace(poll_s=0.02, poll_max_s=0.05, look_s=0.1, queue_s=0.05, queue_max_s=0.2)
OPENAI, ANTHROPIC = "openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"
PROVIDERS = ("openai", "anthropic", "groq", "mistral", "together")


def sim_of(**settings: Any) -> SimServer:
    """A simulator with quick batches."""
    quick: dict[str, Any] = {"validate_s": 0.02, "finalize_s": 0.0, "cancel_s": 0.02}
    return SimServer(SimConfig(batches=BatchSettings(**quick | settings)))


def client(sim: SimServer, **options: Any) -> AsyncClient:
    """A client of a simulator that reads no settings."""
    urls = dict.fromkeys(PROVIDERS, sim.url) | {"openai": f"{sim.url}/v1", "mistral": f"{sim.url}/v1"}
    keys = dict.fromkeys(PROVIDERS, "k")
    return AsyncClient(
        base_urls=urls | {"together": f"{sim.url}/together/v1"}, keys=keys, config=False, env={}, **options
    )


def some(count: int, **options: Any) -> list[Row]:
    """Rows with a question each."""
    return [Row(id=f"r{number}", prompt=f"Error or not? case {number}", **options) for number in range(count)]


def go(
    sim: SimServer,
    rows: Rows,
    output: Path,
    *,
    model: str = OPENAI,
    settings: dict[str, Any] | None = None,
    watch: Callable[[ViaBatch, Any, str], None] | None = None,
    **options: Any,
) -> BatchReport:
    """Run a job to its end; `watch` sees each step of a shard, with the run that it belongs to."""
    options = {"models": [model], "params": {"max_tokens": 9}, "pace": QUICK, **options}

    async def main() -> BatchReport:
        async with client(sim, **(settings or {})) as made:
            run: list[ViaBatch] = []

            def told(shard: Any, what: str) -> None:
                if watch is not None:
                    watch(run[0], shard, what)

            run.append(ViaBatch(rows, output, client=made, told=told, **options))
            return await run[0].run()

    return asyncio.run(main())


def lines(path: Path) -> list[dict[str, Any]]:
    """The results in a file."""
    return [json.loads(row) for row in path.read_bytes().splitlines()]


def paid(path: Path) -> int:
    """What the results say that they cost in all, in nano-dollars."""
    names = ("cost", "cost_known", "cost_before")
    return sum(int(Decimal(str(row[name])) * 10**9) for row in lines(path) for name in names if row.get(name))


def batches(sim: SimServer) -> int:
    """How many batches were created."""
    return len(sim.simulator.desk.store.batches)
