"""Answer many rows from Python: at the limit, inside a budget, resumable. Run `penstock sim` first to try it free."""

import asyncio
from pathlib import Path

from penstock import AsyncClient, Budget
from penstock.batch import RowFile, run_batch

ROWS = Path(__file__).with_name("incidents.jsonl")


async def main() -> None:
    rows = RowFile(ROWS, template="Classify this log as P1, P2, P3 or P4. Answer with the class only.\n\n{log}")
    async with AsyncClient(budget=Budget(total="0.25")) as client:
        report = await run_batch(
            rows, "classes.jsonl", client=client, models=["openai:gpt-4o-mini"], params={"max_tokens": 8}
        )
    print(f"{report.answered} answered, {report.failed} failed, {report.left} left, ${report.cost}")


asyncio.run(main())
