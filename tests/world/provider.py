"""The provider behind a virtual network: the simulator's own core, with its limits and its bill, and the transports.

The server's side of an exchange performs the simulator's plan, step by step on the timeline; the client's side reads
what has come. A `Witness` sees what reaches the server and what is billed.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from math import inf
from typing import Final, Protocol

from penstock._flow.effects import Expired
from penstock._io.http import Target, lost, not_sent
from penstock._wire.protocol import Outbound
from penstock.sim.bill import Attempt
from penstock.sim.config import SimConfig
from penstock.sim.exchange import Plan
from penstock.sim.faults import Facts, FaultBook, Reset, Rule, Scenario
from penstock.sim.plan import End, Head, Send, SimRequest, Step, Wait
from penstock.sim.plan import Reset as Break
from penstock.sim.simulator import Simulator

from .mishaps import UNREACHABLE, Mishap
from .schedule import CALL, Schedule
from .scheduler import Fibers, TaskLoop, Timeline, Timer

EPOCH_S: Final = 1_790_000_000.0  # the server's wall time when virtual time is 0


class Witness(Protocol):
    """Who watches the server."""

    def opened(self, number: int) -> None:
        """A client asks for a connection."""

    def closed(self, number: int) -> None:
        """A client gave a connection back, or dropped it."""

    def arrived(self, number: int, plan: Plan, mishap: Mishap | None, *, since: float, left: bool) -> None:
        """A request of `since` reached the server, which decided what to do; the client may have left already."""

    def charged(self, number: int, attempt: Attempt, mishap: Mishap | None) -> None:
        """An exchange is over and stands on the bill."""


class _Dealt(FaultBook):
    """A fault book that deals out what it was given for the next request."""

    def __init__(self) -> None:
        super().__init__(Scenario(rule=(Rule(fault=Reset()),)))
        self.next: Rule | None = None

    def pick(self, facts: Facts, rng: object) -> Rule | None:
        return self.next

    def take_back(self, rule: Rule) -> None:
        """What was not delivered is not made up for."""


class Provider:
    """One server that all clients of a world share."""

    def __init__(self, timeline: Timeline, config: SimConfig, schedule: Schedule, witness: Witness) -> None:
        self.timeline = timeline
        self.schedule = schedule
        self.witness = witness
        self.simulator = Simulator(config)
        self.faults = _Dealt()
        self.simulator.book = self.faults
        self.knee = schedule.scenario.knee
        self.crowding: list[float] = []  # calls in flight as a multiple of the knee, at each arrival

    def slowness(self) -> float:
        """How many times longer everything takes, since there is too much to do."""
        return 1.0 if self.knee is None else max(1.0, self.simulator.open / self.knee)

    def set_limit(self, factor: float) -> None:
        """Multiply every limit, as an operator of the provider would."""
        if self.knee is not None:
            self.knee = max(1, int(self.knee * factor))
        for lane in self.simulator.lanes.values():
            for bucket in lane.buckets.values():
                bucket.level(EPOCH_S + self.timeline.now)
                bucket.limit = max(1, int(bucket.limit * factor))
                bucket.burst = max(1, int(bucket.burst * factor))
                bucket.rate_per_s = bucket.limit / 60


class Exchange:
    """One request and its answer: performed by the server on the timeline, read by the client when it likes."""

    def __init__(self, net: Net, target: Target, outbound: Outbound) -> None:
        provider = net.provider
        self._net = net
        self._target = target
        self._outbound = outbound
        self._number = CALL.get()
        self._opened_at = provider.timeline.now
        self._timeline = provider.timeline
        self._provider = provider
        self._plan: Plan | None = None
        self._at = 0
        self._due = 0.0
        self._begun = 0.0
        self._wait_s = 0.0
        self._timer: Timer | None = None
        self._waiting: list[Callable[[], None]] = []
        self._pieces: list[bytes] = []
        self._received = 0
        self._length: int | None = None
        self._ended = False
        self._broken = False
        self._closed = False
        self._cut_off = False
        self.status = 0
        self.headers: dict[str, str] = {}
        net.exchanges[self] = None
        provider.witness.opened(self._number)
        self._mishap = provider.schedule.mishap(self._number, self._timeline.now)
        self._nobody = self._mishap is UNREACHABLE
        arrive = self._refuse if self._nobody else self._arrive
        self._timeline.at(self._timeline.now + provider.schedule.travel_s(), arrive)

    # --- the server's side ---------------------------------------------------------------------------------------

    def _refuse(self) -> None:
        self._broken = True
        self._wake()

    def _arrive(self) -> None:
        outbound, now = self._outbound, self._timeline.now
        path, _, _ = outbound.path.partition("?")
        headers = {**self._target.headers, **outbound.headers}
        asked = SimRequest(outbound.method, self._net.path(self._target, path), headers, outbound.body)
        self._provider.faults.next = self._mishap.rule if self._mishap else None
        self._plan = self._provider.simulator.begin(asked, EPOCH_S + now)
        if self._provider.knee is not None:
            self._provider.crowding.append(self._provider.simulator.open / self._provider.knee)
        self._provider.witness.arrived(self._number, self._plan, self._mishap, since=self._opened_at, left=self._closed)
        self._due = now
        if self._closed:
            self._finish(aborted=True)
        else:
            self._perform()

    def _perform(self) -> None:
        plan = self._plan
        assert plan is not None
        steps = plan.steps
        while self._at < len(steps):
            step = steps[self._at]
            if isinstance(step, Wait) and step.seconds > 0:
                self._wait_s = step.seconds * self._provider.slowness()
                self._begun, self._due = self._due, self._due + self._wait_s
                if self._due < inf:
                    self._timer = self._timeline.at(self._due, self._waited)
                self._wake()
                return
            self._at += 1
            if self._take(step):
                break
            self._provider.simulator.passed(plan, step, EPOCH_S + self._timeline.now)
        self._wake()

    def _waited(self) -> None:
        plan = self._plan
        assert plan is not None
        self._timer = None
        step = plan.steps[self._at]
        self._at += 1
        self._provider.simulator.passed(plan, step, EPOCH_S + self._timeline.now)
        self._perform()

    def _take(self, step: Step) -> bool:
        """Let the client see a step; True when it is the last."""
        if isinstance(step, Head):
            self.status = step.status
            self._length = step.length
            told = step.headers
            if self._provider.schedule.scenario.silent:
                told = tuple((name, value) for name, value in told if "ratelimit" not in name)
            self.headers = dict(told)
            if step.status >= 400:
                self.headers["date"] = formatdate(EPOCH_S + self._timeline.now, usegmt=True)
        elif isinstance(step, Send):
            self._pieces.append(step.data)
            self._received += len(step.data)
        elif isinstance(step, Break | End):
            self._broken = isinstance(step, Break)
            self._ended = True
            self._finish(aborted=self._broken)
            return True
        return False

    def _finish(self, *, aborted: bool) -> None:
        plan, now = self._plan, self._timeline.now
        assert plan is not None
        step = plan.steps[self._at] if self._at < len(plan.steps) else None
        share = 0.0
        if isinstance(step, Wait) and 0 < self._wait_s < inf:
            share = (now - self._begun) / self._wait_s
        attempt = self._provider.simulator.finish(plan, EPOCH_S + now, aborted=aborted, within=step, share=share)
        self._provider.witness.charged(self._number, attempt, self._mishap)

    def _wake(self) -> None:
        for wake in self._waiting[:]:
            wake()

    # --- the client's side ---------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        del self._net.exchanges[self]
        self._provider.witness.closed(self._number)
        if self._timer is not None:
            self._timer.cancel()
        if self._plan is not None and self._plan.open:
            self._finish(aborted=True)

    def cut_off(self) -> None:
        """End it from the client's side, where its transport is closed."""
        self._cut_off = True
        self._wake()

    @property
    def _has_head(self) -> bool:
        """Whether the wait for the head is over.

        Raises: ConnectionFailed, OutcomeUnknown.
        """
        if self._cut_off:
            raise lost(self._target, ConnectionResetError("closed"))
        if self._broken and not self.status:
            raise (not_sent if self._nobody else lost)(self._target, ConnectionResetError("broken"))
        return self.status > 0

    @property
    def _has_data(self) -> bool:
        if self._pieces:
            return True
        self._check_end()
        return self._ended

    @property
    def _has_all(self) -> bool:
        self._check_end()
        return self._ended

    def _check_end(self) -> None:
        cut = self._ended and self._length is not None and self._received < self._length
        if self._broken or cut or self._cut_off:
            raise lost(self._target, ConnectionResetError("broken"))

    def _all(self) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        return data

    def _ends(self, until: float, idle_s: float | None) -> tuple[float, bool]:
        """When the next wait ends, and whether that is for silence.

        Raises: Expired.
        """
        now = self._timeline.now
        if until <= now:
            raise Expired(now)
        idle = inf if idle_s is None else now + idle_s
        return (idle, True) if idle < until else (until, False)


class TaskExchange(Exchange):
    """An exchange that a task reads."""

    _timeline: TaskLoop

    async def head(self, until: float) -> None:
        while not self._has_head:
            await self._wait(until, None)

    async def read(self, until: float, idle_s: float | None) -> bytes:
        while not self._has_data:
            await self._wait(until, idle_s)
        return self._all()

    async def read_all(self, until: float) -> bytes:
        while not self._has_all:
            await self._wait(until, None)
        return self._all()

    async def _wait(self, until: float, idle_s: float | None) -> None:
        end, idle = self._ends(until, idle_s)
        if not await self._timeline.wait(self._waiting, end):
            raise Expired(self._timeline.now, idle=idle)


class FiberExchange(Exchange):
    """An exchange that a thread reads."""

    _timeline: Fibers

    def head(self, until: float) -> None:
        while not self._has_head:
            self._wait(until, None)

    def read(self, until: float, idle_s: float | None) -> bytes:
        while not self._has_data:
            self._wait(until, idle_s)
        return self._all()

    def read_all(self, until: float) -> bytes:
        while not self._has_all:
            self._wait(until, None)
        return self._all()

    def _wait(self, until: float, idle_s: float | None) -> None:
        end, idle = self._ends(until, idle_s)
        if not self._timeline.wait(self._waiting, end):
            raise Expired(self._timeline.now, idle=idle)


class Net:
    """A client's way to the provider, and the exchanges that were not closed, in the order of their begin."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.exchanges: dict[Exchange, None] = {}

    def cut_off(self) -> None:
        """End all exchanges."""
        for exchange in list(self.exchanges):
            exchange.cut_off()

    @staticmethod
    def path(target: Target, path: str) -> str:
        """The path as the server sees it."""
        return target.base_url.partition("://")[2].partition("/")[2] + path


class TaskNet(Net):
    """The transport of an AsyncClient."""

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> TaskExchange:
        exchange = TaskExchange(self, target, outbound)
        try:
            await exchange.head(until)
        except BaseException:
            exchange.close()
            raise
        return exchange

    async def close(self) -> None:
        """End all exchanges."""
        self.cut_off()


class FiberNet(Net):
    """The transport of a Client."""

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> FiberExchange:
        exchange = FiberExchange(self, target, outbound)
        try:
            exchange.head(until)
        except BaseException:
            exchange.close()
            raise
        return exchange

    def close(self) -> None:
        """End all exchanges."""
        self.cut_off()
