"""A bulk run that finds by itself how many calls at once a server takes, and goes on when run again. Needs no key."""

import asyncio
import tempfile
from pathlib import Path

from penstock import AsyncClient, Limits
from penstock.batch import RowFile, run_batch
from penstock.sim import Latency, SimConfig, SimServer
from penstock.sim import Limits as ProviderLimits

ROWS = Path(__file__).with_name("incidents.jsonl")
PROMPT = "Classify this log as P1, P2, P3 or P4. Answer with the class only.\n\n{log}"
SERVER = SimConfig(
    limits={"openai": ProviderLimits(concurrency=12, headers=False)}, latency=Latency(first_token_s=0.02)
)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, SimServer(SERVER) as sim:
        out = str(Path(folder) / "classes.jsonl")
        for run in ("first", "second"):
            async with AsyncClient(
                base_urls={"openai": f"{sim.url}/v1"},
                keys={"openai": "any"},
                limits=Limits(concurrency="auto"),
            ) as client:
                report = await run_batch(
                    RowFile(ROWS, template=PROMPT, limit=100), out, client=client, models=["openai:gpt-4o-mini"],
                    params={"max_tokens": 8},
                )  # fmt: skip
            print(f"{run} run: {report.before} answered before, {report.answered} now, {report.failed} failed, "
                  f"{report.rate_limited} × 429, {report.elapsed_s:.1f} s, ${report.cost}")  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
