"""One world: real clients, the simulated provider, a schedule, a referee, and a scheduler that plays it all out."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from random import Random
from time import process_time
from typing import Any, Final, NamedTuple

from penstock import AsyncClient, Cache, Client
from penstock._flow import continuation as continuation_module
from penstock._flow.call import call as real_flow
from penstock._io import base_client
from penstock._io import run as run_module
from penstock._io.stores import budget_sqlite
from penstock._policy import breaker, budget, fairqueue, limiter, retry, window
from penstock.sim.config import Latency, Model, SimConfig
from penstock.sim.config import Limits as SimLimits
from penstock.types import Chunk

from .invariants import TIMEOUTS, Referee, Side, Violation
from .ledger import Ledger, StillTime
from .provider import EPOCH_S, FiberNet, Provider, TaskNet
from .schedule import CALL, UNPRICED, Call, Happening, Scenario, Schedule
from .scheduler import START_S, Fibers, FiberThreading, FiberTime, Stuck, TaskLoop

SMALL_SWITCH: Final = 0.05  # chance that a thread loses its turn before a line, in a torn world
KEYS: Final = {"openai": "sk-world", "anthropic": "sk-world"}
URLS: Final = {"openai": "http://world/v1", "anthropic": "http://world"}
PROSE: Final = (
    "the payment service restarted twice last night because its memory limit was reached while the queue of the mail "
    "worker grew; nobody was paged, since the alert looks at the mean and not at the worst of the pods. "
)


class WorldClock:
    """Time and chance as a client sees them; its wall clock may jump."""

    def __init__(self, timeline: TaskLoop | Fibers, seed: int) -> None:
        self._timeline = timeline
        self.skew_s = 0.0
        self.chance = Random(seed).random

    def now(self) -> float:
        return self._timeline.now

    def wall(self) -> float:
        return EPOCH_S + self._timeline.now + self.skew_s


class Outcome(NamedTuple):
    """What became of a world."""

    violations: list[Violation]
    hours: float
    calls: int
    answered: int
    attempts: int
    faults: int
    own_429s: int
    cpu_s: float
    used: float
    cut_nano: int
    cut_billed_nano: int


class World:
    """Everything of one seed. `run` plays it once."""

    def __init__(self, schedule: Schedule) -> None:
        scenario = schedule.scenario
        self.schedule = schedule
        self.scenario = scenario
        torn = _torn_files() if scenario.torn else ()
        self.timeline: TaskLoop | Fibers = (
            TaskLoop(schedule.seed)
            if scenario.colour == "tasks"
            else Fibers(schedule.seed, torn=torn, tear=SMALL_SWITCH)
        )
        self.ledger: Ledger | None = None
        if scenario.file_faults is not None:
            assert scenario.budget is not None
            share = scenario.file_faults if schedule.lets_fail else 0.0
            self.ledger = Ledger(self.timeline, scenario.budget, share, schedule.seed, self._died)
        self.referee = Referee(self.timeline, schedule, real_flow, self.ledger)
        self.provider = Provider(self.timeline, self._server(), schedule, self.referee)
        self.clock = WorldClock(self.timeline, schedule.seed)
        self.answered = 0
        self._under_way: dict[int, Any] = {}

    def _server(self) -> SimConfig:
        scenario = self.scenario
        openai = SimLimits(rpm=scenario.rpm, tpm=scenario.tpm, concurrency=scenario.concurrency)
        anthropic = SimLimits(rpm=scenario.rpm, concurrency=scenario.concurrency)
        slow = Latency(
            first_token_s=scenario.latency_s,
            first_token_sigma=0.5 * scenario.spread,
            tokens_per_s=scenario.tokens_per_s,
            speed_sigma=0.3 * scenario.spread,
            chunk_tokens=scenario.chunk_tokens,
        )
        return SimConfig(
            seed=self.schedule.seed,
            limits={"openai": openai, "anthropic": anthropic},
            latency=slow,
            models={UNPRICED.partition(":")[2]: Model(protocol="openai")},
        )

    def run(self) -> Outcome:
        """Play the world out and say what became of it."""
        began = process_time()
        with self._in_virtual_time():
            self.referee.sides = [self._side() for _ in range(self.scenario.processes)]
            for call in self.schedule.calls:
                self.timeline.at(call.at, self._start, call)
            for happening in self.schedule.happenings:
                self.timeline.at(happening.at, self._happen, happening)
            try:
                self.timeline.run()
            except Stuck as stuck:
                self.referee.say("nothing spins", str(stuck))
            if self.ledger is not None:
                self.ledger.calm()
            self.referee.close(getattr(self.timeline, "stray", []), self.provider.crowding)
            if self.ledger is not None:
                self.ledger.close()
        return self._outcome(process_time() - began)

    def _outcome(self, cpu_s: float) -> Outcome:
        referee, scenario = self.referee, self.scenario
        lanes = [lane for lane in self.provider.simulator.lanes.values() if lane.protocol == "openai"]
        spans = [lane.last_at - lane.first_at for lane in lanes if lane.first_at is not None]
        used = 0.0
        if scenario.rpm and spans and max(spans) > 60:
            used = sum(lane.windows["requests"].total for lane in lanes) / (scenario.rpm * max(spans) / 60)
        return Outcome(
            violations=referee.violations,
            hours=(self.timeline.now - START_S) / 3600,
            calls=len(self.schedule.calls),
            answered=self.answered,
            attempts=referee.reached,
            faults=self.schedule.dealt + (self.ledger.dealt if self.ledger else 0),
            own_429s=referee.own_429s,
            cpu_s=cpu_s,
            used=used,
            cut_nano=referee.cut_nano,
            cut_billed_nano=referee.cut_billed_nano,
        )

    @contextmanager
    def _in_virtual_time(self) -> Iterator[None]:
        """Put the referee before the flow, and fibers where the gate of threads asks for threads and time."""
        referee = self.referee
        swaps: list[tuple[Any, str, Any]] = [
            (run_module, "call", referee.watch),
            (run_module, "Trail", referee.trail),
            (continuation_module, "call", referee.watch),
        ]
        if self.ledger is not None:
            swaps += [
                (base_client, "book_of", self.ledger.book),
                (budget_sqlite, "sqlite3", self.ledger),
                (budget_sqlite, "time", StillTime(self.timeline)),
            ]
        if isinstance(self.timeline, Fibers):
            stands = {"threading": FiberThreading(self.timeline), "time": FiberTime(self.timeline)}
            for name, module in list(sys.modules.items()):
                if name.startswith("penstock._io.") and not name.startswith("penstock._io.transports"):
                    swaps += [(module, what, stand) for what, stand in stands.items() if what in vars(module)]
        kept = [(module, name, getattr(module, name)) for module, name, _ in swaps]
        collecting = gc.isenabled()
        gc.disable()  # so that no finalizer runs at a time that the seed did not choose
        try:
            for module, name, value in swaps:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in kept:
                setattr(module, name, value)
            if collecting:
                gc.enable()

    def _side(self, carried_nano: int = 0) -> Side:
        net: Any
        made: type[Client] | type[AsyncClient]
        if isinstance(self.timeline, TaskLoop):
            net, made = TaskNet(self.provider), AsyncClient
        else:
            net, made = FiberNet(self.provider), Client
        client = made(
            transport=net,
            clock=self.clock,
            keys=KEYS,
            base_urls=URLS,
            config=False,
            env={},
            limits=self.scenario.limits(),
            budget=self.scenario.budget,
            breaker=self.scenario.breaker,
            timeouts=TIMEOUTS,
            hedge=self.scenario.hedge,
            cache=Cache() if self.scenario.questions else None,
        )
        client.carry_spent(carried_nano)
        return Side(client, net, self.referee.say)

    # --- what happens --------------------------------------------------------------------------------------------

    def _happen(self, happening: Happening) -> None:
        if happening.kind == "turn":
            self.provider.set_limit(happening.size)
        elif happening.kind == "jump":
            self.clock.skew_s += happening.size
        elif happening.kind == "close":
            self._close(self.referee.sides[int(happening.size)])
        else:
            self._crash(int(happening.size))

    def _close(self, side: Side) -> None:
        side.closed_at = self.timeline.now
        client = side.client
        if isinstance(client, AsyncClient):
            assert isinstance(self.timeline, TaskLoop)
            self.timeline.start(client.close())
        else:
            assert isinstance(self.timeline, Fibers)
            self.timeline.start(client.close)

    def _died(self, book: object) -> None:
        found = [number for number, side in enumerate(self.referee.sides) if side.client._gate.budget is book]
        self._crash(found[0])

    def _crash(self, number: int) -> None:
        """Drop a client with all it knows but its books, and start another in its place."""
        old = self.referee.sides[number]
        old.dead = True
        if self.ledger is None:
            total = old.client.budget().scopes[0]
            fresh = self._side(total.spent_nano + total.held_nano)
        else:
            self.ledger.bury(old.client._gate.budget)
            fresh = self._side()
        fresh.billed_nano = old.billed_nano
        old.heir = fresh
        self.referee.sides[number] = fresh
        for story_number, running in list(self._under_way.items()):
            if self.referee.stories[story_number].side is old:
                running.cancel()

    def _start(self, call: Call) -> None:
        side = self.referee.sides[call.process]
        self.referee.begin(call, side)
        if isinstance(self.timeline, TaskLoop):
            running: Any = self.timeline.start(self._task(call, side))
        else:
            running = self.timeline.start(lambda: self._fiber(call, side))
        self._under_way[call.number] = running
        if call.cancel_at is not None:
            self.timeline.at(call.cancel_at, running.cancel)

    async def _task(self, call: Call, side: Side) -> None:
        client, error, response, cancelled = side.client, None, None, False
        assert isinstance(client, AsyncClient)
        CALL.set(call.number)
        shown: list[Chunk] = []
        try:
            if call.stream:
                stream = client.stream(_prompt(call), **_options(call, self.scenario))
                async for chunk in stream:
                    shown.append(chunk)
                    if call.leave_after is not None and len(shown) > call.leave_after:
                        cancelled = True
                        break
                else:
                    response = stream.response
                del stream  # a stream that is dropped settles by itself
            else:
                response = await client.complete(_prompt(call), **_options(call, self.scenario))
        except asyncio.CancelledError:
            cancelled = True
        except BaseException as caught:  # noqa: BLE001 - the referee judges it
            error = caught.with_traceback(None)
        if response is not None:
            self.referee.answered(call, response, shown if call.stream else None)
        self._end(call, error, cancelled=cancelled)

    def _fiber(self, call: Call, side: Side) -> None:
        client, error, response, cancelled = side.client, None, None, False
        assert isinstance(client, Client)
        CALL.set(call.number)
        shown: list[Chunk] = []
        try:
            if call.stream:
                stream = client.stream(_prompt(call), **_options(call, self.scenario))
                for chunk in stream:
                    shown.append(chunk)
                    if call.leave_after is not None and len(shown) > call.leave_after:
                        cancelled = True
                        break
                else:
                    response = stream.response
                stream.close()
            else:
                response = client.complete(_prompt(call), **_options(call, self.scenario))
        except KeyboardInterrupt:
            cancelled = True
        except Exception as caught:  # noqa: BLE001 - the referee judges it
            error = caught.with_traceback(None)
        if response is not None:
            self.referee.answered(call, response, shown if call.stream else None)
        self._end(call, error, cancelled=cancelled)

    def _end(self, call: Call, error: BaseException | None, *, cancelled: bool) -> None:
        self._under_way.pop(call.number, None)
        self.answered += error is None and not cancelled
        self.referee.ended(call, error, cancelled=cancelled)


def _prompt(call: Call) -> str:
    return f"call {call.question}: " + " ".join(islice(cycle(PROSE.split()), call.words))


def _options(call: Call, scenario: Scenario) -> Any:
    options: dict[str, Any] = {"model": call.model, "priority": call.priority}
    if scenario.questions:
        options["temperature"] = 0
    if scenario.continuations and call.stream:
        options["continuations"] = scenario.continuations
    if call.max_tokens is not None:
        options["max_tokens"] = call.max_tokens
    if call.deadline_s is not None:
        options["deadline_s"] = call.deadline_s
    if call.fallbacks:
        options["fallbacks"] = call.fallbacks
    return options


def _torn_files() -> tuple[str, ...]:
    from penstock._io import gate, parking

    modules = (gate, parking, breaker, budget, fairqueue, limiter, retry, window)
    return tuple(module.__file__ for module in modules if module.__file__)
