"""Many worlds over several processes: what they amount to, what broke, and the smallest world that still breaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

from .invariants import Violation
from .scenarios import SCENARIOS
from .schedule import Cut, Schedule
from .world import Outcome, World

SEEDS: Final = Path(__file__).parent / "seeds.txt"
PROCESSES: Final = 2
FEWER: Final = (0, 1, 2, 4, 8, 16)
TRIES: Final = 60  # worlds that are played to make a failing one smaller
ROUND: Final[dict[str, int]] = {  # how often a scenario is played per round
    "storm": 6,
    "sick": 6,
    "throttled": 3,
    "storm-threads": 2,
    "jumps": 2,
    "budget": 2,
    "budget-threads": 2,
    "unknown-money": 1,
    "crash": 2,
    "pressed": 1,
    "pressed-threads": 1,
    "sparse-threads": 1,
    "file": 2,
    "file-threads": 1,
    "file-crash": 2,
    "cache": 2,
    "cache-threads": 1,
    "cache-crash": 1,
    "hedge": 2,
    "seams": 2,
    "close": 1,
    "close-threads": 1,
    "shut": 2,
    "key": 1,
    "torn": 15,
    "torn-budget": 2,
    "torn-limit": 2,
}
ROUNDS: Final = 8  # the other scenarios, in which little goes wrong, are played once in so many rounds


class Case(NamedTuple):
    """One world by its coordinates."""

    scenario: str
    seed: int
    cut: Cut = Cut()

    def command(self) -> str:
        """What plays exactly this world again."""
        cut = self.cut
        words = ["python -m tests.world", f"--scenario {self.scenario}", f"--seed {self.seed}"]
        if cut.calls is not None:
            words.append(f"--calls {','.join(map(str, cut.calls))}")
        if cut.faults is not None:
            words.append(f"--faults {cut.faults}")
        if cut.happenings is not None:
            words.append(f"--happenings {cut.happenings}")
        return " ".join(words)

    def line(self) -> str:
        """The case as the file of regression seeds keeps it."""
        cut = self.cut
        calls = "all" if cut.calls is None else ",".join(map(str, cut.calls))
        rest = ["all" if number is None else str(number) for number in (cut.faults, cut.happenings)]
        return " ".join([self.scenario, str(self.seed), calls, *rest])


def read_line(line: str) -> Case:
    """A case from the file of regression seeds."""
    scenario, seed, calls, faults, happenings = line.split("#")[0].split()
    kept = None if calls == "all" else tuple(map(int, calls.split(",")))
    rest = [None if word == "all" else int(word) for word in (faults, happenings)]
    return Case(scenario, int(seed), Cut(kept, *rest))


def kept_seeds() -> list[Case]:
    """The worlds that broke something once."""
    lines = SEEDS.read_text(encoding="utf-8").splitlines()
    return [read_line(line) for line in lines if line.strip() and not line.startswith("#")]


def keep(case: Case, violation: Violation) -> None:
    """Write a failing world into the file of regression seeds, once."""
    if case not in kept_seeds():
        with SEEDS.open("a", encoding="utf-8") as file:
            file.write(f"{case.line()}  # {violation.rule}\n")


def play(case: Case) -> Outcome:
    """Play one world."""
    return World(Schedule(SCENARIOS[case.scenario], case.seed, case.cut)).run()


class Sums:
    """What many worlds amount to."""

    def __init__(self) -> None:
        self.worlds = self.calls = self.answered = self.attempts = self.faults = self.violations = 0
        self.hours = self.cpu_s = 0.0
        self.cut_nano = self.cut_billed_nano = 0
        self.failed: list[tuple[Case, Violation]] = []
        self.used: dict[str, float] = {}
        self.share_429: dict[str, float] = {}
        self.per_call: dict[str, float] = {}

    def add(self, case: Case, outcome: Outcome) -> None:
        """Take in one world."""
        self.worlds += 1
        self.calls += outcome.calls
        self.answered += outcome.answered
        self.attempts += outcome.attempts
        self.faults += outcome.faults
        self.hours += outcome.hours
        self.cpu_s += outcome.cpu_s
        self.cut_nano += outcome.cut_nano
        self.cut_billed_nano += outcome.cut_billed_nano
        if outcome.violations:
            self.violations += len(outcome.violations)
            self.failed.append((case, outcome.violations[0]))
        name = case.scenario
        self.used[name] = min(self.used.get(name, math.inf), outcome.used)
        share = outcome.own_429s / max(1, outcome.attempts)
        self.share_429[name] = max(self.share_429.get(name, 0.0), share)
        self.per_call[name] = max(self.per_call.get(name, 0.0), outcome.attempts / max(1, outcome.calls))

    def figures(self) -> dict[str, object]:
        """The sums by the names under which they are published."""
        return {
            "world.hours": round(self.hours, 1),
            "world.calls": self.calls,
            "world.attempts": self.attempts,
            "world.faults": self.faults,
            "world.violations": self.violations,
            "world.seeds": self.worlds,
            "world.calls_per_cpu_s": round(self.calls / max(0.001, self.cpu_s)),
            "world.limit_used": round(min(self.used["calm"], self.used["calm-threads"]), 4),
            "world.own_429_share_known": max(self.share_429[name] for name in ("calm", "calm-threads", "shared")),
            "world.own_429_share_twice": round(max(self.share_429["twice"], self.share_429["silent"]), 5),
            "world.attempts_per_call_outage": round(max(self.per_call["outage"], self.per_call["outage-unseen"]), 3),
            "world.cut_streams_booked_of_billed": round(self.cut_nano / max(1, self.cut_billed_nano), 4),
        }


def _cases(first_seed: int) -> Iterator[list[Case]]:
    """Rounds of worlds, no seed twice."""
    for turn in count():
        times = {name: ROUND.get(name, int(turn % ROUNDS == 0)) for name in SCENARIOS}
        yield [Case(name, first_seed + turn * most + number) for name, most in times.items() for number in range(most)]


def run(hours: float, faults: int, first_seed: int = 0, processes: int = PROCESSES) -> Sums:
    """Play rounds of worlds until they amount to so many simulated hours and faults."""
    sums = Sums()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for cases in _cases(first_seed):
            for case, outcome in zip(cases, pool.map(play, cases), strict=True):
                sums.add(case, outcome)
            if sums.failed or (sums.hours >= hours and sums.faults >= faults):
                return sums
    raise AssertionError("rounds do not end")


# --- the smallest world that still breaks the rule ---------------------------------------------------------------


def minimise(case: Case, rule: str) -> Case:
    """Cut away calls, faults and happenings as long as the same rule is broken."""
    left = iter(range(TRIES))

    def breaks(cut: Cut) -> bool:
        if next(left, None) is None:
            return False
        return any(violation.rule == rule for violation in play(case._replace(cut=cut)).violations)

    cut = case.cut
    numbers: Sequence[int] = cut.calls or range(SCENARIOS[case.scenario].calls)
    cut = cut._replace(calls=fewer(tuple(numbers), lambda kept: breaks(cut._replace(calls=kept))))
    for shrunk in (_with_happenings, _with_faults):
        cut = next((smaller for smaller in map(partial(shrunk, cut), FEWER) if breaks(smaller)), cut)
    return case._replace(cut=cut)


def _with_happenings(cut: Cut, most: int) -> Cut:
    return cut._replace(happenings=most)


def _with_faults(cut: Cut, most: int) -> Cut:
    return cut._replace(faults=most)


def fewer(numbers: tuple[int, ...], breaks: Callable[[tuple[int, ...]], bool]) -> tuple[int, ...]:
    """Delta debugging: leave out ever smaller parts as long as it still breaks.

    Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002.
    """
    parts = 2
    while len(numbers) > 1:
        size = math.ceil(len(numbers) / parts)
        for start in range(0, len(numbers), size):
            rest = numbers[:start] + numbers[start + size :]
            if rest and breaks(rest):
                numbers, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(numbers), parts * 2)
    return numbers
