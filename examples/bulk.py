"""Answer many rows from Python: at the limit, inside a budget, resumable. Run `penstock sim` first to try it free."""

import asyncio
import sys
from pathlib import Path

from penstock import AsyncClient, Budget, PenstockError
from penstock.batch import BatchReport, RowFile, run_batch

ROWS = Path(__file__).with_name("incidents.jsonl")
PROMPT = "Classify this log as P1, P2, P3 or P4. Answer with the class only.\n\n{log}"


async def classify() -> BatchReport:
    rows = RowFile(ROWS, template=PROMPT)
    async with AsyncClient(budget=Budget(total="0.25")) as client:
        return await run_batch(
            rows, "classes.jsonl", client=client, models=["openai:gpt-4o-mini"], params={"max_tokens": 8}
        )


def main() -> None:
    try:
        report = asyncio.run(classify())
    except PenstockError as error:  # nothing was sent: a setting, a row or the output is wrong
        sys.exit(f"{error}")
    print(f"{report.before} answered before, {report.answered} now, {report.failed} failed, {report.left} left")
    print(f"${report.cost} for {report.attempts} attempts; the answers are in classes.jsonl")
    if report.stopped:
        sys.exit(f"stopped early ({report.stopped}): {report.cause}; run it again to go on")


if __name__ == "__main__":
    main()
