"""A contest: what a scenario asks, who takes part, and one entrant's turn in a process and a world of its own."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final

from bench.peers.given import Given
from bench.processes import PEERS_VENV, START_S, VENV, Failed, Process

from penstock.sim import SimConfig, SimServer

AT_ONCE: Final = 5
"""Turns of one scenario that run side by side: they mostly wait. Two cores carry that many of the slowest."""
GRACE_S: Final = 20.0
"""For what a turn does besides waiting: a heavy library needs ten seconds of CPU for some hundred calls."""
OURS: Final = "penstock"
OURS_VENV: Final = (OURS, "openai", "anthropic")

Numbers = dict[str, float]
Judge = Callable[[dict[str, Any], SimServer], Numbers]


@dataclass(frozen=True)
class Metric:
    """One column: `title` names it, `at_most` and `at_least` are what Penstock promises of it.

    `ceiling` is where the measurement stops: a number that reached it stands for "more than that".
    """

    name: str
    title: str
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True)
class Entrant:
    """One row: `name` as in the figures, the module of the contestant, the ability it plays with, what differs."""

    name: str
    module: str
    ability: str
    label: str
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """The same world and load for all entrants. `absent` says why somebody has no row of numbers.

    `alone`: its turns run one after the other, since CPU is what they measure.
    """

    name: str
    title: str
    load: str
    given: Given
    entrants: tuple[Entrant, ...]
    metrics: tuple[Metric, ...]
    judge: Judge
    sim: SimConfig = field(default_factory=SimConfig)
    faults: str = ""
    absent: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    within_s: float = 0.0

    @property
    def limit_s(self) -> float:
        """When a turn that has not answered is given up."""
        return self.within_s or self.given.patience_s * max(1, len(self.given.prompts)) + GRACE_S


@dataclass(frozen=True)
class Turn:
    """What came of one entrant in one scenario: numbers, or the reason why there are none."""

    scenario: Scenario
    entrant: Entrant
    numbers: Numbers
    version: str = ""
    failure: str = ""


def play(scenarios: list[Scenario], progress: Callable[[str], None]) -> Iterator[Turn]:
    """Run all scenarios, one after the other; a turn that fails is a row with its reason."""
    playing: set[Process] = set()
    for scenario in scenarios:
        progress(f"peers: {scenario.title}")
        with ThreadPoolExecutor(1 if scenario.alone else AT_ONCE) as turns:
            try:
                yield from turns.map(partial(turn, scenario, playing=playing), scenario.entrants)
            except BaseException:
                for player in tuple(playing):
                    player.end()
                raise


def turn(scenario: Scenario, entrant: Entrant, *, playing: set[Process]) -> Turn:
    """Let one entrant play a scenario against a simulator of its own; its process joins `playing`."""
    python = VENV if entrant.module in OURS_VENV else PEERS_VENV
    version = ""
    with SimServer(scenario.sim) as sim:
        if scenario.faults:
            sim.play(scenario.faults)
        given = replace(scenario.given, url=sim.url, **entrant.given)
        try:
            with Process(python, "bench.peers.player", entrant.module, entrant.ability, scenario.load) as player:
                playing.add(player)
                version = json.loads(player.line(START_S))["version"]
                player.say(json.dumps(asdict(given)))
                facts = json.loads(player.line(scenario.limit_s))
        except Failed as failure:
            return Turn(scenario, entrant, {}, version, str(failure))
        sim.settle()
        return Turn(scenario, entrant, scenario.judge(facts, sim), version)
