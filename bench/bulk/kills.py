"""kill -9 in the middle of a run, and the same command again: what is lost, and what is paid a second time."""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.bulk import judges
from bench.bulk.field import Contestant
from bench.bulk.given import Given
from bench.bulk.judges import Numbers, Truth
from bench.bulk.provider import Provider
from bench.bulk.scenarios import ANSWER_TOKENS, ATTEMPT_S, MAX_TOKENS, OPEN, prompts
from bench.bulk.turns import POLL_S, running, write_rows
from bench.processes import Failed

from penstock.sim import Latency, SimConfig

ROWS: Final = 1000
ROWS_QUICK: Final = 400
CONCURRENCY: Final = 50
KILL_AT: Final = 0.5
TORN_BYTES: Final = 37
WITHIN_S: Final = 120.0
LATENCY: Final = Latency(first_token_s=1.0, first_token_sigma=0.3)


@dataclass(frozen=True)
class Killed:
    """What came of one contestant: numbers, or why there are none. `torn`: the last line of its journal was cut."""

    contestant: Contestant
    torn: bool
    numbers: Numbers = field(default_factory=dict)
    failure: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """As it stands in the figures."""
        return "torn" if self.torn else "kill"


def tear(folder: Path, journal: str) -> bool:
    """Cut the last line of what a run resumes from; False when there is no such file."""
    paths = sorted(folder.glob(journal))
    for path in paths:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(max(0, size - TORN_BYTES))
    return bool(paths)


def given(url: str) -> Given:
    return Given(url=url, concurrency=CONCURRENCY, max_tokens=MAX_TOKENS, timeout_s=ATTEMPT_S)


def config() -> SimConfig:
    return SimConfig(seed=1, limits={"openai": OPEN}, latency=LATENCY, answer_tokens=ANSWER_TOKENS)


def kill(contestant: Contestant, rows: int, *, torn: bool) -> Killed:
    """Run, kill at half of the rows, run again."""
    with tempfile.TemporaryDirectory(prefix="bench-bulk-") as name:
        folder = Path(name)
        ids = write_rows(folder, prompts(rows))
        try:
            with Provider(config(), folder) as provider:
                given(provider.url).write(folder)
                if not _until_half(contestant, folder, provider, rows):
                    return Killed(contestant, torn, failure="did not come to half of the rows")
                provider.settle()
                before = len(provider.log())
                if torn and not tear(folder, contestant.journal):
                    return Killed(contestant, torn, failure=f"left no {contestant.journal}")
                with running(contestant, folder) as process:
                    cost = process.wait(WITHIN_S)
                provider.settle()
                truth = Truth(provider.log(), {})
        except Failed as failure:
            return Killed(contestant, torn, failure=f"the provider: {failure}")
        found = contestant.answered(folder)
    log = judges.asked(truth.log)
    numbers = {
        "paid_again": judges.paid_again(log),
        "lost": judges.lost(ids, found),
        "unreadable": found.unreadable,
        "twice": found.twice,
        "in_flight": sum(row["aborted"] for row in truth.log[:before]),
        "exit": cost.status if cost.ended else -1,
    }
    note = f"the second run exits with {cost.status}: {cost.last_words}" if cost.status else ""
    return Killed(contestant, torn, numbers, note=note)


def _until_half(contestant: Contestant, folder: Path, provider: Provider, rows: int) -> bool:
    """Start a run and kill it when the provider has billed half of the rows."""
    until = time.monotonic() + WITHIN_S
    with running(contestant, folder) as process:
        while time.monotonic() < until and process.ended() is None and not process.stopping:
            if provider.billed() >= KILL_AT * rows:
                process.kill()
                return True
            time.sleep(POLL_S)
    return False
