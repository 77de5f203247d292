"""Limits that were configured wrong: what rejections teach by themselves, against servers that count differently."""

from __future__ import annotations

import random
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
TURN_S = 600.0


def play(kind: str, limit: int, seed: int, turn: float = 1.0, *, what: str = "requests") -> Truth:
    """Twenty minutes at full load, configured with twice the truth at the start; no header and no Retry-After."""
    server = SERVERS[kind](what, limit, turn, TURN_S if turn != 1.0 else 0.0)
    burst_s = 0.01 if kind == "slices" else None
    top = 2 * limit
    limits = Limits(rpm=top, burst_s=burst_s) if what == "requests" else Limits(tpm=top, burst_s=burst_s)
    work = load.small if what == "requests" else tokens
    load.run(Limiter(limits), server, work, seconds=60 * MINUTES, seed=seed, retry_after=False)  # type: ignore[arg-type]  # it arrives alike
    return server


CASES = [
    *[("requests", kind, rpm) for rpm in (60, 300, 600) for kind in SERVERS],
    ("tokens", "bucket", 300_000),
    ("tokens", "window", 300_000),
]
# Of the truth: a second's slice has no room for the network's jitter, a minute is long to find out that it is over.
LEAST_USED = {"bucket": 0.93, "window": 0.9, "slices": 0.8}


def check(what: str, kind: str, limit: int, seeds: range, record_property: Any) -> None:
    """Few rejections and most of the limit, on the mean of the seeds."""
    played = [play(kind, limit, seed, what=what) for seed in seeds]
    share = sum(server.share_429(0, 1200) for server in played) / len(played)
    early = sum(server.share_429(0, 300) for server in played) / len(played)
    used = sum(server.used(0, 1200) for server in played) / limit / len(played)
    name = f"twice.{what}.{kind}.{limit}"
    record_property(f"{name}.429_share", round(share, 5))
    record_property(f"{name}.429_share_of_5_minutes", round(early, 5))
    record_property(f"{name}.used", round(used, 4))
    assert share <= 0.01
    assert used >= LEAST_USED[kind] - (0.05 if what == "tokens" else 0)


def test_a_low_limit_is_found_without_many_429s(record_property: Any) -> None:
    """One seed of each of the kinds, at one request a second."""
    for kind in SERVERS:
        check("requests", kind, 60, range(1), record_property)


@pytest.mark.prove(1, 3)
@pytest.mark.slow
@pytest.mark.parametrize(("what", "kind", "limit"), CASES)
def test_twice_the_truth_ends_with_at_most_one_percent_of_429s(
    what: str, kind: str, limit: int, record_property: Any
) -> None:
    """Of all of twenty minutes, the search for the limit included, at servers that count in different ways."""
    check(what, kind, limit, range(5), record_property)


@pytest.mark.slow
@pytest.mark.prove(3)
@pytest.mark.parametrize(("what", "kind", "limit"), CASES)
def test_a_limit_that_doubles_is_found_again(what: str, kind: str, limit: int, record_property: Any) -> None:
    """After the calls that pay for the rejections before, at most a quarter of an hour, and a hundred seconds."""
    for seed in range(3):
        server = play(kind, limit, seed, 2.0, what=what)
        least = 0.8 if kind == "slices" else 0.9
        starts = range(int(TURN_S), 60 * MINUTES - 30, 10)
        found = [start - TURN_S for start in starts if server.used(start, start + 30) >= least * 2 * limit]
        assert found
        record_property(f"doubled.{what}.{kind}.{limit}.found_after_s", found[0])
        assert found[0] <= (600 if limit == 60 else 180)
        assert server.share_429(0, 1200) <= 0.01


@pytest.mark.slow
@pytest.mark.prove(3)
@pytest.mark.parametrize(("what", "kind", "limit"), [case for case in CASES if case[1:] != ("slices", 60)])
def test_a_limit_that_is_halved_is_obeyed_after_two_windows(
    what: str, kind: str, limit: int, record_property: Any
) -> None:
    """From the third minute on few are turned away, though the configured limit is four times the truth then."""
    for seed in range(3):
        server = play(kind, limit, seed, 0.5, what=what)
        record_property(f"halved.{what}.{kind}.{limit}.429_share", round(server.share_429(0, 1200), 5))
        record_property(f"halved.{what}.{kind}.{limit}.429_share_later", round(server.share_429(720, 1200), 5))
        assert server.share_429(720, 1200) <= 0.02
        assert server.share_429(0, 1200) <= (0.016 if limit == 60 else 0.01)


def test_a_limit_that_nobody_was_up_against_is_not_blamed() -> None:
    """Requests were sent as fast as they may, of tokens there were plenty."""
    limiter = Limiter(Limits(rpm=6000, tpm=6_000_000))
    burst = [Ticket(1, 1) for _ in range(30)]
    for ticket in burst:
        limiter.ask(0.0, ticket)
    limiter.rejected(0.01, burst[0], 1.0, 0.0)
    trims = {dimension.name: dimension.trim for dimension in limiter.snapshot().dimensions}
    assert trims == {"requests": pytest.approx(0.93), "tokens": 1.0}
