"""A ledger as a small company would have it, made by chance that is the same for the same seed.

For the pictures of the documentation and the tests of the cost page: .venv/bin/python tools/seeded_ledger.py FILE
"""

import argparse
import json
import math
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from penstock._io.ledger.settings import Ledger
from penstock._io.ledger.writer import LedgerWriter
from penstock.events import AttemptEnded, CallEnded, Operation
from penstock.types import Usage

DAY_S = 86_400
DAYS = 30
CALLS_PER_DAY = 900
POSTED_AT_ONCE = 10_000
TEAMS = ("search", "support", "ingest", "research")
OPERATIONS: tuple[Operation, ...] = ("complete", "stream", "extract")


class Model(NamedTuple):
    """A model, its share of the calls, nano-dollars for a token in and out, and how fast it is."""

    provider: str
    name: str
    share: int
    price_in: int
    price_out: int
    first_s: float
    tokens_per_s: int


class Fault(NamedTuple):
    """What an attempt may end in, how often, and the status of its answer."""

    outcome: str
    status: int | None
    share: float


MODELS = (
    Model("openai", "gpt-5-mini", 34, 250, 2_000, 0.55, 140),
    Model("anthropic", "claude-sonnet-4-5", 14, 3_000, 15_000, 0.9, 75),
    Model("anthropic", "claude-haiku-4-5", 24, 1_000, 5_000, 0.4, 170),
    Model("openai", "gpt-4o-mini", 20, 150, 600, 0.45, 95),
    Model("mistral", "mistral-large-latest", 6, 2_000, 6_000, 0.6, 60),
    Model("groq", "llama-3.3-70b-versatile", 2, 590, 790, 0.2, 280),
)
FAULTS = (
    Fault("rate_limited", 429, 0.45),
    Fault("overloaded", 503, 0.25),
    Fault("idle_timeout", 200, 0.12),
    Fault("connection_failed", None, 0.1),
    Fault("server_fault", 500, 0.08),
)


def rush(at_s: float) -> float:
    """How busy the hour is, 0 to 1: working days are, nights are not."""
    hour = (at_s % DAY_S) / 3600
    busy = math.sin((hour - 5) / 12 * math.pi) ** 2 if 5 <= hour <= 17 else 0.0
    return max(0.08, busy) * (0.3 if time.gmtime(at_s).tm_wday >= 5 else 1.0)


def times(dice: random.Random, until_s: float, days: float, per_day: int) -> list[float]:
    """When calls ended, the oldest first."""
    found: list[float] = []
    while len(found) < days * per_day:
        at_s = until_s - dice.random() * days * DAY_S
        if dice.random() < rush(at_s):
            found.append(at_s)
    return sorted(found)


class Story:
    """How one call went; the dice decide."""

    def __init__(self, dice: random.Random, number: int, at_s: float) -> None:
        self.model = dice.choices(MODELS, [each.share for each in MODELS])[0]
        self.at_s = at_s
        self.routed = number % 5 == 0
        tags = {"team": dice.choices(TEAMS, (4, 3, 2, 1))[0]}
        if number % 7 == 0:
            tags["task"] = f"t-{number // 7}"
        operation = dice.choices(OPERATIONS, (5, 3, 2))[0]
        self.same: dict[str, Any] = {
            "call_id": f"{number:06x}-{dice.getrandbits(32):08x}",
            "operation": operation,
            "provider": self.model.provider,
            "model": self.model.name,
            "tags": tags,
            "wait_s": dice.expovariate(8) if dice.random() < 0.2 else 0.0,
        }
        self.usage = self._used(dice)
        self.took_s = (self.model.first_s + self.usage.completion / self.model.tokens_per_s) * dice.lognormvariate(
            0, 0.35
        )
        self.first_s = self.model.first_s * dice.lognormvariate(0, 0.4) if operation == "stream" else None
        tries = 0
        while tries < 3 and dice.random() < (0.03 if tries == 0 else 0.3):
            tries += 1
        self.faults = [dice.choices(FAULTS, [each.share for each in FAULTS])[0] for _ in range(tries)]
        self.failed = tries == 3 or (tries > 0 and dice.random() < 0.12)
        self.cached = not tries and dice.random() < 0.08

    def _used(self, dice: random.Random) -> Usage:
        prompt, output = int(dice.lognormvariate(6.8, 0.9)), int(dice.lognormvariate(5.2, 0.9))
        read = int(prompt * dice.choice((0, 0, 0.5, 0.8)))
        return Usage(
            input=prompt - read,
            cache_read=read,
            cache_write_5m=prompt // 10 if self.model.provider == "anthropic" else 0,
            output=output,
            reasoning=output // 2 if self.model.name == "gpt-5-mini" else 0,
            estimated=dice.random() < 0.01,
        )

    @property
    def cost_nano(self) -> int:
        """What the answer costs."""
        used, model = self.usage, self.model
        sent = (used.input + used.cache_write_5m) * model.price_in + used.cache_read * model.price_in // 10
        return sent + used.completion * model.price_out

    def events(self) -> Iterator[AttemptEnded | CallEnded]:
        """What happened, in order."""
        lane = f"{self.model.provider}:{self.model.name}"
        same = {"wire": "chat", "lane": lane, "sent": True, **self.same}
        begun_s = self.at_s - self.took_s - len(self.faults) * 1.5
        for number, fault in enumerate(self.faults, 1):
            at_s = begun_s + number * 1.5 - 0.7
            request_id = f"req_{self.same['call_id'][-8:]}{number}"
            yield AttemptEnded(
                number=number, outcome=fault.outcome, at_s=at_s, latency_s=0.6, status=fault.status, cost_nano=0,
                request_id=request_id, **same,
            )  # fmt: skip
        if not self.failed and not self.cached:
            yield AttemptEnded(
                number=len(self.faults) + 1, outcome="ok", at_s=self.at_s, latency_s=self.took_s, status=200,
                first_token_s=self.first_s, usage=self.usage, cost_nano=self.cost_nano,
                request_id=f"req_{self.same['call_id'][-8:]}", **same,
            )  # fmt: skip
        yield self._end(lane)

    def _end(self, lane: str) -> CallEnded:
        tries = len(self.faults)
        same = {"asked": lane, "at_s": self.at_s, **self.same}
        if self.failed:
            last = self.faults[-1]
            return CallEnded(
                outcome=last.outcome,
                latency_s=tries * 1.5,
                attempts=tries,
                retries=tries - 1,
                status=last.status,
                **same,
            )
        if self.cached:
            return CallEnded(
                outcome="ok", latency_s=0.001, cached=True, saved_nano=self.cost_nano, stop_reason="end", **same
            )
        return CallEnded(
            outcome="ok",
            latency_s=self.took_s + tries * 1.5,
            first_token_s=self.first_s,
            attempts=tries + 1,
            retries=tries,
            usage=self.usage,
            cost_nano=self.cost_nano,
            status=200,
            stop_reason="end",
            prices="2026-11-20",
            tier="simple" if self.routed else None,
            strongest_nano=self.cost_nano * 3 if self.routed else None,
            **same,
        )


def lane_state(name: str, used: float, rpm: int, *, flying: int = 0, queued: int = 0, why_shut: str = "") -> str:
    """What a client tells of a lane, at 1000 s of its own clock."""
    closed: dict[str, Any] = {"state": "closed", "open_until": None, "reason": ""}
    requests = {"name": "requests", "period_s": 60.0, "limit": rpm, "used_in_window": used * rpm}
    tokens = {"name": "tokens", "period_s": 60.0, "limit": rpm * 400, "used_in_window": used * rpm * 310}
    limiter = {
        "queued": queued,
        "in_flight": flying,
        "in_flight_cap": None,
        "paused_until": None,
        "dimensions": [requests, tokens],
    }
    breaker = {"state": "open", "open_until": 1017.0, "reason": why_shut} if why_shut else closed
    return json.dumps({"now": 1000.0, "name": name, "limiter": limiter, "breaker": breaker, "account": closed})


def states(now_s: float, spent: Counter[str]) -> Iterator[tuple[str, str, str]]:
    """What a process that works now tells of its lanes and budgets."""
    for name, state in (
        ("openai:gpt-5-mini", lane_state("openai:gpt-5-mini", 0.97, 500, flying=41, queued=112)),
        ("anthropic:claude-haiku-4-5", lane_state("anthropic:claude-haiku-4-5", 0.61, 400, flying=12)),
        (
            "anthropic:claude-sonnet-4-5",
            lane_state("anthropic:claude-sonnet-4-5", 0.1, 50, queued=9, why_shut="12 of 20 calls failed: overloaded"),
        ),
    ):
        yield "lane", name, state
    day, month = (time.strftime(form, time.gmtime(now_s)) for form in ("day %Y-%m-%d", "month %Y-%m"))
    for name, share in ((day, 0.67), (month, 0.88), ("tag team=search", 1.0), ("tag team=support", 0.31)):
        scope = {"cap_nano": int(spent[name] / share), "spent_nano": spent[name], "held_nano": spent[name] // 50}
        yield "budget", name, json.dumps({"file": None, "name": name, "possible_nano": 0, **scope})


def seed(
    path: str | os.PathLike[str], *, now_s: float, days: float = DAYS, per_day: int = CALLS_PER_DAY, chance: int = 7
) -> int:
    """Write the ledger and return how many calls it has."""
    dice = random.Random(chance)
    writer = LedgerWriter(Ledger(path=os.fspath(path), interval_s=0.01, keep_days=None), os.fspath(path))
    spent: Counter[str] = Counter()
    count = 0
    for at_s in times(dice, now_s, days, per_day):
        for event in Story(dice, count, at_s).events():
            writer.post(event)
            if isinstance(event, CallEnded):
                for form in ("day %Y-%m-%d", "month %Y-%m"):
                    spent[time.strftime(form, time.gmtime(at_s))] += event.cost_nano or 0
                spent[f"tag team={event.tags['team']}"] += event.cost_nano or 0
        count += 1
        if count % POSTED_AT_ONCE == 0:
            writer.flush()  # more than its queue holds would be lost
    writer.settle()
    writer.live = lambda: states(now_s, spent)
    last = Story(dice, count, now_s)  # the state is written with the last call, so it is fresh
    last.faults, last.failed, last.cached = [FAULTS[0], FAULTS[1]], False, False
    for event in last.events():
        writer.post(event)
    writer.settle()
    return count + 1


def main(args: list[str] | None = None) -> int:
    """Write one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--days", type=float, default=DAYS)
    parser.add_argument("--per-day", type=int, default=CALLS_PER_DAY)
    chosen = parser.parse_args(args)
    print(f"{seed(chosen.file, now_s=time.time(), days=chosen.days, per_day=chosen.per_day):,} calls in {chosen.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
