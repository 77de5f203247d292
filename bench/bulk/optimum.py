"""The least time in which a provider's limits let a list of rows through: T*, the best any client could do.

A greedy oracle that knows the limits and every latency beforehand sends each row at the first instant at which the
provider lets it in. Its end includes the latency of the last rows, which the bare bound (N − burst) / rate leaves out.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

SLACK: Final = 1e-9
TURNS_MAX: Final = 10_000
"""Instants looked at for one row; a world that lets nothing in any more is a mistake of its scenario."""


@dataclass(frozen=True)
class Work:
    """One admitted attempt: what it takes of each limit, and how long it lasts. `answers` False: it hung or broke."""

    latency_s: float
    costs: dict[str, float] = field(default_factory=dict)
    output_tokens: int = 0
    answers: bool = True


@dataclass(frozen=True)
class Rate:
    """One limit: `per_s` units refill a bucket of `burst`; `late` ones are charged when an answer is there."""

    per_s: float
    burst: float
    late: bool = False


@dataclass(frozen=True)
class World:
    """What the provider allows. `changes` are (seconds since the first request, factor of every rate), in order.

    `shut` are the periods in which the provider has told everybody to wait.
    """

    rates: dict[str, Rate] = field(default_factory=dict)
    concurrency: int | None = None
    changes: tuple[tuple[float, float], ...] = ()
    shut: tuple[tuple[float, float], ...] = ()


class _Bucket:
    def __init__(self, rate: Rate, changes: tuple[tuple[float, float], ...]) -> None:
        self.late = rate.late
        self._burst = rate.burst
        self._steps = [(0.0, rate.per_s), *((at, rate.per_s * factor) for at, factor in changes), (math.inf, 0.0)]
        self._level = rate.burst
        self._at = 0.0

    def _pieces(self, since: float) -> Iterable[tuple[float, float, float]]:
        for (begin, per_s), (end, _) in zip(self._steps, self._steps[1:], strict=False):
            if end > since:
                yield max(begin, since), end, per_s

    def advance(self, now: float) -> None:
        for begin, end, per_s in self._pieces(self._at):
            if begin >= now:
                break
            self._level = min(self._burst, self._level + (min(end, now) - begin) * per_s)
        self._at = max(self._at, now)

    def when(self, cost: float) -> float:
        """The instant from which `cost` is there; what costs more than the bucket holds passes at a full one."""
        missing = min(cost, self._burst) - self._level
        if missing <= SLACK:
            return self._at
        for begin, end, per_s in self._pieces(self._at):
            if missing <= (end - begin) * per_s:
                return begin + missing / per_s
            missing -= (end - begin) * per_s
        raise AssertionError("the last rate holds for ever")

    def take(self, cost: float) -> None:
        self._level -= cost


def optimum_s(work: Sequence[Work], world: World) -> float:
    """Seconds from the first request to the last answer of the oracle that sends `work` in this order."""
    buckets = {name: _Bucket(rate, world.changes) for name, rate in world.rates.items()}
    running: list[tuple[float, int]] = []
    now = last = 0.0
    for each in work:
        now = _admission(now, each, buckets, running, world)
        for name, bucket in buckets.items():
            if not bucket.late:
                bucket.take(each.costs.get(name, 0.0))
        heappush(running, (now + each.latency_s, each.output_tokens))
        last = max(last, now + each.latency_s) if each.answers else last
    return last


def _admission(
    now: float, each: Work, buckets: dict[str, _Bucket], running: list[tuple[float, int]], world: World
) -> float:
    """The first instant from `now` on at which every limit has room; settles what ends until then."""
    for _ in range(TURNS_MAX):
        while running and running[0][0] <= now + SLACK:
            ended, tokens = heappop(running)
            for bucket in buckets.values():
                if bucket.late:
                    bucket.advance(ended)
                    bucket.take(tokens)
        then = max((end for begin, end in world.shut if begin <= now < end), default=now)
        for name, bucket in buckets.items():
            bucket.advance(now)
            then = max(then, bucket.when(1.0 if bucket.late else each.costs.get(name, 0.0)))
        if world.concurrency is not None and len(running) >= world.concurrency:
            then = max(then, running[0][0])
        if then <= now + SLACK:
            return now
        now = min(then, running[0][0]) if running else then
    raise ValueError("this world lets no more work in")
