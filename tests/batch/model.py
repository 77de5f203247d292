"""A provider as a model in virtual time, rows for it, and the best time in which any schedule could answer them.

Buckets refill continuously; a rejection answers after 0.08 s and says `Retry-After: max(1, the true wait)` unless the
scenario has none. Each row has its own latency, so that the bound and the run see the same ones.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import math
import random
from typing import Any

import msgspec

from penstock._flow.effects import Expired
from penstock._io.http import Target
from penstock._wire.protocol import Outbound

from .virtual import Answer

REJECTED_AFTER_S = 0.08
MEDIAN_S, SIGMA = 2.0, 0.6
PROMPT_TOKENS = 8


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider allows: `rate` calls and `tokens` per second with their bursts, `most` calls at once.

    `charged`: rejections count against the requests. `halved`: between these instants only half is allowed, which the
    headers do not say. `split`: input and output tokens are limits of their own, as Anthropic has them.
    """

    name: str
    rows: int = 6000
    rate: float = math.inf
    burst: float = 0.0
    sized: bool = False
    share_s: float = 300.0
    token_burst_s: float = 6.0
    most: float = math.inf
    headers: bool = True
    retry_after: bool = True
    charged: bool = False
    halved: tuple[float, float] | None = None
    split: bool = False


SCENARIOS = {
    each.name: each
    for each in (
        Scenario(name="A", rate=20, burst=20),
        Scenario(name="B", rate=200, burst=200, sized=True),
        Scenario(name="C", rate=20, burst=20, headers=False, retry_after=False),
        Scenario(name="D", rate=20, burst=20, charged=True),
        Scenario(name="E", rate=20, burst=20, halved=(60.0, 180.0)),
        Scenario(name="F", rows=3000, most=32, headers=False, retry_after=False),
        Scenario(name="K", rate=25, burst=25, sized=True, split=True),
    )
}


class Case(msgspec.Struct, frozen=True):
    """One row: what it counts, and how long its answer takes."""

    tokens: int
    latency_s: float


def cases(scenario: Scenario, seed: int, rows: int | None = None) -> list[Case]:
    """Rows for a scenario."""
    chance = random.Random(seed)
    found = []
    for _ in range(rows or scenario.rows):
        tokens = min(20_000, int(300 * chance.lognormvariate(0, 1.1)) + PROMPT_TOKENS + 2) if scenario.sized else 500
        found.append(Case(tokens, MEDIAN_S * chance.lognormvariate(0, SIGMA)))
    return found


class Bucket:
    """A continuous token bucket."""

    def __init__(self, rate: float, burst: float, halved: tuple[float, float] | None = None) -> None:
        self.rate, self.burst, self.level, self.at = rate, burst, burst, 0.0
        self._halved = halved

    def given(self, until: float) -> float:
        """How much it was refilled from the beginning."""
        if self._halved is None:
            return until * self.rate
        begin, end = self._halved
        return self.rate * (until - (max(0.0, min(until, end) - begin)) / 2)

    def roll(self, now: float) -> None:
        """Bring the level to `now`."""
        self.level = min(self.burst, self.level + self.given(now) - self.given(self.at))
        self.at = now

    def reached(self, amount: float) -> float:
        """When so much will have been refilled from the beginning."""
        low, high = 0.0, max(1.0, 4 * amount / self.rate)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if self.given(middle) >= amount else (middle, high)
        return high


class Model:
    """The provider: an async transport that answers as the scenario says, and counts what it saw."""

    def __init__(self, scenario: Scenario, rows: list[Case], loop: asyncio.AbstractEventLoop) -> None:
        self.scenario, self.rows, self._loop = scenario, rows, loop
        self.calls = self.rejected = self.too_early = self.in_flight = self.busiest = 0
        self.answered: list[int] = [0] * len(rows)
        self._not_before = -math.inf
        limits = capacity(scenario, rows)
        self.requests = Bucket(*limits["requests"], scenario.halved) if "requests" in limits else None
        self.tokens = {name: Bucket(*limits[name]) for name in ("tokens", "input", "output") if name in limits}

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> Answer:
        """Admit or reject, and answer."""
        number, case = self._case(outbound)
        now = self._loop.time()
        self.calls += 1
        self.too_early += now < self._not_before - 1e-6
        wait_s = self._wait_s(now, case)
        if wait_s is not None:
            return await self._reject(now, wait_s)
        self.in_flight += 1
        self.busiest = max(self.busiest, self.in_flight)
        try:
            await asyncio.sleep(min(case.latency_s, until - now))
            if case.latency_s > until - now:
                raise Expired(self._loop.time())
        finally:
            self.in_flight -= 1
        if "output" in self.tokens:
            self.tokens["output"].roll(self._loop.time())
            self.tokens["output"].level -= case.tokens - PROMPT_TOKENS
        self.answered[number] += 1
        return Answer(200, self._headers(), self._body(case))

    async def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _text(outbound: Outbound) -> str:
        text: str = json.loads(outbound.body)["messages"][-1]["content"]
        return text

    def _case(self, outbound: Outbound) -> tuple[int, Case]:
        number = int(self._text(outbound).rpartition(" ")[2])
        return number, self.rows[number]

    def _charges(self, case: Case) -> dict[str, float]:
        return {"tokens": case.tokens, "input": PROMPT_TOKENS, "output": 0.0}

    def _wait_s(self, now: float, case: Case) -> float | None:
        """Take the call's share of every bucket; how long until it could be had where there is too little."""
        charges = self._charges(case)
        waits = [0.05] if self.in_flight >= self.scenario.most else []
        for name, bucket in self.tokens.items():
            bucket.roll(now)
            need = min(charges[name], bucket.burst) if name != "output" else 1.0
            if bucket.level < need:
                waits.append((need - bucket.level) / bucket.rate)
        if self.requests is not None:
            self.requests.roll(now)
            if self.requests.level < 1:
                waits.append((1 - self.requests.level) / self.requests.rate)
        if waits:
            if self.requests is not None and self.scenario.charged:
                self.requests.level = max(-self.requests.burst, self.requests.level - 1)
            return max(waits)
        for name, bucket in self.tokens.items():
            bucket.level -= charges[name]
        if self.requests is not None:
            self.requests.level -= 1
        return None

    async def _reject(self, now: float, wait_s: float) -> Answer:
        self.rejected += 1
        after_s = max(1, math.ceil(wait_s))
        headers = self._headers()
        await asyncio.sleep(REJECTED_AFTER_S)
        if self.scenario.retry_after:
            headers["retry-after"] = str(after_s)
            self._not_before = max(self._not_before, self._loop.time() + after_s)
        kind = "rate_limit_error" if self.scenario.split else "rate_limit_exceeded"
        return Answer(429, headers, json.dumps({"error": {"message": "slow down", "type": kind}}).encode())

    def _headers(self) -> dict[str, str]:
        if not self.scenario.headers:
            return {}
        now = self._loop.time()
        told: dict[str, str] = {}
        requests = {} if self.requests is None else {"requests": self.requests}
        for name, bucket in (*requests.items(), *self.tokens.items()):
            bucket.roll(now)
            limit, remaining = str(round(bucket.rate * 60)), str(max(0, int(bucket.level)))
            if self.scenario.split:
                field = f"anthropic-ratelimit-{name}{'-tokens' if name in ('input', 'output') else ''}"
                told |= {f"{field}-limit": limit, f"{field}-remaining": remaining}
            else:
                told |= {f"x-ratelimit-limit-{name}": limit, f"x-ratelimit-remaining-{name}": remaining}
        return told

    def _body(self, case: Case) -> bytes:
        output = case.tokens - PROMPT_TOKENS
        if self.scenario.split:
            usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": output}
            content = [{"type": "text", "text": "P1"}]
            return json.dumps(
                {"id": "m", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": content,
                 "stop_reason": "end_turn", "usage": usage}
            ).encode()  # fmt: skip
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": output, "total_tokens": case.tokens}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "P1"}}
        return json.dumps({"id": "c", "object": "chat.completion", "model": "gpt-4o-mini", "choices": [choice],
                           "usage": usage}).encode()  # fmt: skip


def capacity(scenario: Scenario, rows: list[Case]) -> dict[str, tuple[float, float]]:
    """Rate and burst of each limit."""
    found: dict[str, tuple[float, float]] = {}
    if scenario.rate < math.inf:
        found["requests"] = (scenario.rate, scenario.burst)
    if scenario.sized:
        share_s = scenario.share_s * len(rows) / scenario.rows
        sums: dict[str, float] = {"tokens": sum(case.tokens for case in rows)}
        if scenario.split:
            output = sum(case.tokens - PROMPT_TOKENS for case in rows)
            sums = {"input": PROMPT_TOKENS * len(rows) * 1.02, "output": output}
        for name, total in sums.items():
            rate = total / share_s
            # What the headers say is whole, and so is what is allowed.
            rate = math.ceil(rate * 60) / 60
            found[name] = (rate, max(scenario.token_burst_s * rate, 20_000.0 if name == "tokens" else 0.0))
    return found


def best_s(scenario: Scenario, rows: list[Case]) -> float:
    """The fluid optimum: each row admitted as soon as all limits could have given it, and the last answer's end."""
    limits = capacity(scenario, rows)
    requests = Bucket(*limits["requests"], scenario.halved) if "requests" in limits else None
    used = dict.fromkeys(limits, 0.0)
    ends, slots = 0.0, [0.0] * int(min(scenario.most, len(rows)))
    for number, case in enumerate(rows, 1):
        at = heapq.heappop(slots) if scenario.most < math.inf else 0.0
        amounts = {"tokens": case.tokens, "input": PROMPT_TOKENS, "output": case.tokens - PROMPT_TOKENS}
        for name, (rate, burst) in limits.items():
            if name == "requests":
                assert requests is not None
                at = max(at, requests.reached(number - burst) if number > burst else 0.0)
                continue
            used[name] += amounts[name]
            at = max(at, (used[name] - burst) / rate)
        if scenario.most < math.inf:
            heapq.heappush(slots, at + case.latency_s)
        ends = max(ends, at + case.latency_s)
    return ends


def asked(rows: list[Case], number: int) -> dict[str, Any]:
    """The fields of a row of a job."""
    return {"id": number, "prompt": f"Is this urgent? row {number}", "max_tokens": rows[number].tokens - PROMPT_TOKENS}
