"""Limits that were configured wrong: what the limiter finds out by itself from rejections, against servers of all kinds."""

from __future__ import annotations

import random
import sys
from collections import deque
from typing import Any

import pytest

from penstock._policy.limiter import Limiter, Limits, Ticket
from penstock.types import Usage

from . import test_limiter_load as load


class Truth:
    """A server with one limit per minute, changed by a factor at some time; it logs what it let in and turned away."""

    def __init__(self, what: str, limit: float, turn: float = 1.0, turns_at: float = 0.0) -> None:
        self.what = what
        self.limit = limit
        self.turn = turn
        self.turns_at = turns_at
        self.level: Any = {what: 0}
        self.let_in: list[tuple[float, float]] = []
        self.turned_away: list[float] = []
        self.start()

    def start(self) -> None:
        """Set up what counts."""

    def changed(self) -> None:
        """Follow a limit that changed."""

    def fits(self, now: float, cost: float) -> bool:
        """Book the cost, or say no."""
        raise NotImplementedError

    def arrive(self, now: float, costs: dict[str, float]) -> bool:
        if self.turns_at and now >= self.turns_at:
            self.turns_at, self.limit = 0.0, self.limit * self.turn
            self.changed()
        if self.fits(now, costs[self.what]):
            self.let_in.append((now, costs[self.what]))
            return True
        self.turned_away.append(now)
        return False

    def used(self, since: float, until: float) -> float:
        """What was let in per minute."""
        return sum(cost for at, cost in self.let_in if since <= at < until) * 60 / (until - since)

    def share_429(self, since: float, until: float) -> float:
        """Rejections of all that arrived."""
        no = sum(1 for at in self.turned_away if since <= at < until)
        return no / max(1, no + sum(1 for at, _ in self.let_in if since <= at < until))


class Bucket(Truth):
    """A token bucket with continuous refill, a tenth of the limit large."""

    def start(self) -> None:
        self.left = self.burst()
        self.at = 0.0

    def burst(self) -> float:
        return max(1.0, self.limit / 10)

    def fits(self, now: float, cost: float) -> bool:
        self.left = min(self.burst(), self.left + (now - self.at) * self.limit / 60)
        self.at = now
        if self.left + 1e-6 < min(cost, self.burst()):
            return False
        self.left -= cost
        return True


class Window(Truth):
    """A counter that starts again with each period."""

    period_s = 60.0

    def start(self) -> None:
        self.number = -1
        self.count = 0.0

    def fits(self, now: float, cost: float) -> bool:
        if now // self.period_s != self.number:
            self.number, self.count = int(now // self.period_s), 0.0
        if self.count + cost > max(1.0, self.limit * self.period_s / 60) + 1e-6:
            return False
        self.count += cost
        return True


class Slices(Window):
    """A counter that starts again each second."""

    period_s = 1.0


SERVERS = {"bucket": Bucket, "window": Window, "slices": Slices}


def tokens(rng: random.Random) -> tuple[Ticket, Usage, dict[str, float]]:
    """Prompts of 300 tokens or so, now and then twenty times that: at most a fiftieth of the limit."""
    prompt = min(6_000, int(300 * rng.lognormvariate(0, 1)) + 1)
    return Ticket(prompt, 16), Usage(input=prompt, output=16), {"tokens": prompt + 16}


MINUTES = 20


def play(kind: str, limit: int, seed: int, turn: float = 1.0, *, what: str = "requests", told: float = 2.0) -> Truth:
    """Twenty minutes at full load, configured with twice the truth, no header, no Retry-After."""
    server = SERVERS[kind](what, limit, turn, 600.0)
    burst_s = 0.01 if kind == "slices" else None
    top = int(limit * told)
    limits = Limits(rpm=top, burst_s=burst_s) if what == "requests" else Limits(tpm=top, burst_s=burst_s)
    work = load.small if what == "requests" else tokens
    load.run(Limiter(limits), server, work, seconds=60 * MINUTES, seed=seed, retry_after=False)  # type: ignore[arg-type]  # it arrives alike
    return server
