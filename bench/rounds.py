"""Contestants taking turns: each scenario is run by one after the other, round after round, in changing order.

A ratio is always of two contestants in the same round, so that a machine that slows down slows both.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench import answers
from bench.processes import PEERS_VENV, VENV, Failed, Worker

COLOURS: Final = ("async", "sync")
BARE: Final = {"async": "aiohttp", "sync": "urllib3"}
OURS: Final = "penstock"
OURS_ANTHROPIC: Final = "penstock_anthropic"
BEHIND: Final = {"openai_gate": "openai", "anthropic_gate": "anthropic"}
"""Official SDKs with Penstock as their transport, and what they are compared with: themselves without it."""
PEERS: Final = ("openai", "openai_gate", "anthropic", "anthropic_gate", "any_llm", "litellm")
PEERS_EVERY: Final = 3
"""Peers take part in every third round: they are slow, and what they are compared for is a factor, not a share."""
WARM_UP: Final = 20
"""Calls before the measured ones: connections are open then, and the interpreter has adapted to the code."""
APART: Final = ("any_llm", "litellm")


@dataclass(frozen=True)
class Scenario:
    """One kind of work in one colour at one concurrency, and how much of it is a turn.

    `count_peers` 0 leaves the peers out: 256 streams of LiteLLM take half a minute.
    """

    kind: str
    colour: str
    concurrency: int
    count: int
    count_peers: int

    @property
    def name(self) -> str:
        """As it stands in build/bench.json."""
        return f"{self.kind}_{self.colour}_c{self.concurrency}"

    @property
    def contestants(self) -> tuple[str, ...]:
        """Who takes part."""
        few = (BARE[self.colour], OURS)
        if not self.count_peers:
            return few
        return (*few, OURS_ANTHROPIC, *PEERS)


def scenarios(*, quick: bool) -> list[Scenario]:
    """Everything that is measured per call and per chunk."""
    calls = {1: (800, 60), 32: (1280, 160), 256: (1536, 384)}
    streams = {1: (40, 8), 32: (128, 32), 256: (256, 0)}
    if quick:
        calls = {1: (200, 40), 32: (480, 96), 256: (768, 0)}
        streams = {1: (15, 4), 32: (64, 0), 256: (256, 0)}
    return [
        Scenario(kind, colour, concurrency, *counts)
        for kind, sizes in (("call", calls), ("stream", streams))
        for colour in COLOURS
        for concurrency, counts in sizes.items()
    ]


@dataclass
class Samples:
    """CPU microseconds per call, or per chunk of a stream, by scenario and contestant and round."""

    taken: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)

    def add(self, scenario: Scenario, family: str, number: int, microseconds: float) -> None:
        """Keep one turn."""
        self.taken.setdefault((scenario.name, family), {})[number] = microseconds

    def of(self, scenario: Scenario, family: str) -> list[float]:
        """All turns of a contestant in a scenario."""
        return list(self.taken.get((scenario.name, family), {}).values())

    def ratios(self, scenario: Scenario, over: str, under: str) -> list[float]:
        """The first contestant's cost over the second's, in each round that has both."""
        above, below = (self.taken.get((scenario.name, family), {}) for family in (over, under))
        return [above[number] / below[number] for number in above if number in below]


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, between their lowest and highest."""

    middle: float
    low: float
    high: float


def spread(numbers: Iterable[float]) -> Spread | None:
    """The spread of some numbers, None when there are none."""
    values = list(numbers)
    return Spread(median(values), min(values), max(values)) if values else None


class Field:
    """All contestants of a run, each in its own process; those that fail are out, with their reason.

    Every round has processes of its own: where the system happens to put a program in memory makes it up to a third
    slower or faster for as long as it lives.
    """

    def __init__(self, url: str) -> None:
        self.out: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self._url = url
        self._workers: dict[tuple[str, str], Worker] = {}

    def enter(self, stack: ExitStack, family: str, colour: str) -> None:
        """Start a contestant, to be stopped with the stack, or note why it cannot take part."""
        if f"{family} {colour}" in self.out:
            return
        try:
            worker = stack.enter_context(Worker(python_of(family), family, colour, self._url))
        except Failed as failure:
            self.out[f"{family} {colour}"] = str(failure)
        else:
            self._workers[family, colour] = worker
            self.versions[family] = worker.version

    def turn(self, scenario: Scenario, family: str) -> float | None:
        """Let a contestant do a scenario once: CPU microseconds per call or chunk, None when it is out."""
        worker = self._workers.get((family, scenario.colour))
        if worker is None:
            return None
        count = scenario.count if family in (*BARE.values(), OURS) else scenario.count_peers
        try:
            warm_up = max(scenario.concurrency, WARM_UP)
            figures = worker.turn(scenario.kind, count, scenario.concurrency, warm_up=warm_up)
        except Failed as failure:
            self.out[f"{family} {scenario.colour}"] = f"in {scenario.name}: {failure}"
            del self._workers[family, scenario.colour]
            return None
        units = count * (answers.EVENTS if scenario.kind == "stream" else 1)
        return figures["cpu_s"] * 1e6 / units


def python_of(family: str) -> Path:
    """The interpreter of the environment in which a contestant is installed."""
    return PEERS_VENV if family in APART else VENV


def order(scenario: Scenario, number: int, chosen: frozenset[str]) -> Iterator[str]:
    """Who goes in a round: forwards in even ones and backwards in odd ones, so that being first favours nobody."""
    core = (BARE[scenario.colour], OURS)
    going = [
        family for family in scenario.contestants if family in core or (family in chosen and number % PEERS_EVERY == 0)
    ]
    return iter(going) if number % 2 == 0 else reversed(going)


def play(
    url: str, todo: list[Scenario], rounds: int, chosen: frozenset[str], progress: Callable[[str], None]
) -> tuple[Samples, Field]:
    """Run all scenarios in rounds."""
    samples, field_ = Samples(), Field(url)
    for number in range(rounds):
        with ExitStack() as stack:
            plan = [(scenario, family) for scenario in todo for family in order(scenario, number, chosen)]
            for colour, family in dict.fromkeys((scenario.colour, family) for scenario, family in plan):
                progress(f"round {number + 1} of {rounds}: starting {family}, {colour}")
                field_.enter(stack, family, colour)
            for scenario, family in plan:
                progress(f"round {number + 1} of {rounds}: {scenario.name}")
                cost = field_.turn(scenario, family)
                if cost is not None:
                    samples.add(scenario, family, number, cost)
    return samples, field_
