"""What a row costs the client: CPU and memory, as the slope between two sizes, so that starting up is not in it."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.bulk import judges
from bench.bulk.field import Contestant
from bench.bulk.given import Given
from bench.bulk.judges import Numbers
from bench.bulk.provider import Provider
from bench.bulk.scenarios import ANSWER_TOKENS, ATTEMPT_S, MAX_TOKENS, OPEN, prompts
from bench.bulk.turns import Cost, running, write_rows
from bench.processes import Failed

from penstock.sim import Latency, SimConfig

SIZES: Final = (2000, 10_000)
SIZES_QUICK: Final = (1000, 4000)
CONCURRENCY: Final = 64
LATENCY: Final = Latency(first_token_s=0.01)
WITHIN_S: Final = 240.0


@dataclass(frozen=True)
class Costs:
    """What came of one contestant: numbers, or why there are none."""

    contestant: Contestant
    numbers: Numbers = field(default_factory=dict)
    failure: str = ""


def measure(contestant: Contestant, sizes: tuple[int, int]) -> Costs:
    """Run both sizes, one after the other."""
    try:
        few, many = (_run(contestant, rows) for rows in sizes)
    except Failed as failure:
        return Costs(contestant, failure=str(failure))
    return Costs(contestant, slope(few, many, sizes[1] - sizes[0]))


def slope(few: Cost, many: Cost, rows: int) -> Numbers:
    """The difference of two runs by the rows between them."""
    user_s, system_s = many.user_s - few.user_s, many.system_s - few.system_s
    return {
        "cpu_ms_per_row": 1000 * (user_s + system_s) / rows,
        "user_ms_per_row": 1000 * user_s / rows,
        "peak_kb_per_row": (many.peak_bytes - few.peak_bytes) / rows / 1024,
        "peak_mb": many.peak_bytes / 2**20,
    }


def _run(contestant: Contestant, rows: int) -> Cost:
    """One run without limits.

    Raises: Failed when not every row was answered.
    """
    with tempfile.TemporaryDirectory(prefix="bench-bulk-") as name:
        folder = Path(name)
        ids = write_rows(folder, prompts(rows))
        config = SimConfig(seed=1, limits={"openai": OPEN}, latency=LATENCY, answer_tokens=ANSWER_TOKENS)
        with Provider(config, folder) as provider:
            told = Given(url=provider.url, concurrency=CONCURRENCY, max_tokens=MAX_TOKENS, timeout_s=ATTEMPT_S)
            told.write(folder)
            with running(contestant, folder) as process:
                cost = process.wait(WITHIN_S)
        missing = judges.lost(ids, contestant.answered(folder))
    if missing or not cost.ended:
        raise Failed(f"{missing} of {rows} rows without an answer: {cost.last_words}")
    return cost
