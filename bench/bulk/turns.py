"""One contestant in one world: a provider and a process of its own, ended when its time is over."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from bench.bulk.field import Answers, Contestant, row_id
from bench.bulk.given import Given
from bench.bulk.judges import Numbers, Truth, judged
from bench.bulk.provider import Provider
from bench.bulk.scenarios import MAX_TOKENS, START_UP_S, World
from bench.processes import ROOT, Failed, environment

POLL_S: Final = 0.02


@dataclass(frozen=True)
class Cost:
    """What a process took: user and system CPU seconds, peak resident bytes; `ended` False: it was stopped."""

    user_s: float
    system_s: float
    peak_bytes: int
    status: int
    ended: bool
    last_words: str = ""


@dataclass(frozen=True)
class Turn:
    """What came of one contestant in one world: numbers, or the reason why there are none."""

    world: World
    contestant: Contestant
    numbers: Numbers = field(default_factory=dict)
    failure: str = ""
    note: str = ""
    stopped: bool = False


class Running:
    """A contestant at work in `folder`. End it with `wait`, or at once with `kill`."""

    _stopping = threading.Event()

    def __init__(self, contestant: Contestant, folder: Path) -> None:
        if self._stopping.is_set():
            raise Failed("the run was stopped")
        self._errors = folder / "stderr.txt"
        variables = environment() | {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
        with self._errors.open("ab") as errors:
            self._child = subprocess.Popen(
                [contestant.python, "-m", contestant.module, str(folder)],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
        self._cost: Cost | None = None

    @property
    def stopping(self) -> bool:
        """Whether the whole run is to end."""
        return self._stopping.is_set()

    def ended(self) -> Cost | None:
        """What it took, when it has ended by itself."""
        return self._reap(os.WNOHANG, ended=True)

    def kill(self) -> Cost:
        """End it and what it started, at once and by force."""
        if self._cost is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        found = self._reap(0, ended=False)
        assert found is not None
        return found

    def wait(self, within_s: float) -> Cost:
        """Let it work, for so long at most."""
        until = time.monotonic() + within_s
        while time.monotonic() < until and not self._stopping.is_set():
            found = self.ended()
            if found is not None:
                return found
            time.sleep(POLL_S)
        return self.kill()

    @classmethod
    def end_all(cls) -> None:
        """Have every thread that waits for a contestant end it, and start no other."""
        cls._stopping.set()

    def _reap(self, flags: int, *, ended: bool) -> Cost | None:
        if self._cost is None:
            pid, status, used = os.wait4(self._child.pid, flags)
            if not pid:
                return None
            code = os.waitstatus_to_exitcode(status)
            self._child.returncode = code
            peak = used.ru_maxrss * 1024
            self._cost = Cost(used.ru_utime, used.ru_stime, peak, code, ended, self._last_words())
        return self._cost

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._errors.read_text(errors="replace").splitlines()]
        return next((line[:160] for line in reversed(lines) if line), "no words")


@contextmanager
def running(contestant: Contestant, folder: Path) -> Iterator[Running]:
    """A contestant that is certainly gone afterwards."""
    found = Running(contestant, folder)
    try:
        yield found
    finally:
        found.kill()


def write_rows(folder: Path, prompts: list[str]) -> list[str]:
    """Write rows.jsonl; return the ids."""
    ids = [row_id(number) for number in range(len(prompts))]
    with (folder / "rows.jsonl").open("wb") as file:
        for row, text in zip(ids, prompts, strict=True):
            file.write(msgspec.json.encode({"id": row, "prompt": text}) + b"\n")
    return ids


def given(world: World, url: str) -> Given:
    """What a contestant is told of a world."""
    limits, told = world.limits, world.told == "told"
    return Given(
        url=url,
        concurrency=world.concurrency,
        max_tokens=MAX_TOKENS,
        timeout_s=world.timeout_s,
        rpm=limits.rpm if told else None,
        tpm=limits.tpm if told else None,
        itpm=limits.itpm if told else None,
        otpm=limits.otpm if told else None,
        anthropic=world.anthropic,
    )


def turn(world: World, contestant: Contestant, keep: Path | None = None) -> Turn:
    """Let one contestant play a world once; the provider's log is kept in that folder."""
    with tempfile.TemporaryDirectory(prefix="bench-bulk-") as name:
        folder = Path(name)
        ids = write_rows(folder, world.prompts())
        try:
            with Provider(world.config, folder) as provider:
                given(world, provider.url).write(folder)
                with running(contestant, folder) as process:
                    cost = process.wait(world.patience_s)
                provider.settle()
                truth = Truth(provider.log(), provider.charged())
                if keep is not None:
                    (keep / f"{world.name}.{contestant.name}.jsonl").write_bytes(provider.page("log"))
        except Failed as failure:
            return Turn(world, contestant, failure=f"the provider: {failure}")
        return outcome(world, contestant, cost, truth, ids, contestant.answered(folder))


def outcome(world: World, contestant: Contestant, cost: Cost, truth: Truth, ids: list[str], found: Answers) -> Turn:
    """Judge a turn; of one that was stopped only a bound of the time is known."""
    numbers = judged(truth, ids, found, world.limits)
    if not numbers:
        return Turn(world, contestant, failure=f"sent nothing: {cost.last_words}")
    if cost.ended:
        return Turn(world, contestant, numbers, note=f"exit {cost.status}: {cost.last_words}" if cost.status else "")
    bound = dict.fromkeys(("over_best", "over_best_less_2_p99"), (world.patience_s - START_UP_S) / numbers["best_s"])
    note = f"stopped with {len(found.answered)} of {len(ids)} rows"
    return Turn(world, contestant, numbers | bound, note=note, stopped=True)
