"""The server's own limits: token buckets per lane, their headers, and proof by exact sliding windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from typing import Literal, NamedTuple

from penstock.sim.config import Limits, Protocol

WINDOW_S = 60.0
Dimension = Literal["requests", "tokens", "input-tokens", "output-tokens"]

# Refill is floating point: a level this close below the price counts as reaching it.
_SLACK = 1e-6


class Bucket:
    """A token bucket: `limit` per minute, refilled continuously, holding at most `burst`.

    What costs more than `burst` passes at a full bucket and leaves a debt, so no cost up to `limit` is stuck for ever.
    """

    def __init__(self, limit: int, burst: int, now: float) -> None:
        self.limit = limit
        self.burst = burst
        self.rate_per_s = self._usual_per_s = limit / WINDOW_S
        self._usual = limit
        self._level = float(burst)
        self._at = now

    def change(self, factor: float, now: float, *, announced: bool) -> None:
        """Refill at `factor` times the configured rate from `now` on; `limit` says so when it is announced."""
        self.level(now)
        self.rate_per_s = factor * self._usual_per_s
        if announced:
            self.limit = max(1, round(factor * self._usual))

    def level(self, now: float) -> float:
        """How much is in the bucket now; negative when it is in debt."""
        if now > self._at:
            self._level = min(float(self.burst), self._level + (now - self._at) * self.rate_per_s)
            self._at = now
        return self._level

    def wait_s(self, cost: float, now: float) -> float:
        """Seconds until `cost` may be taken, 0 for now."""
        missing = min(cost, float(self.burst)) - self.level(now)
        return 0.0 if missing <= _SLACK else missing / self.rate_per_s

    def take(self, cost: float, now: float) -> None:
        """Take `cost`, whether or not it is there."""
        self.level(now)
        self._level -= cost

    def remaining(self, now: float) -> int:
        """What could be taken at once, whole and not below 0."""
        return max(0, int(self.level(now) + _SLACK))

    def full_in_s(self, now: float) -> float:
        """Seconds until the bucket is full."""
        return max(0.0, (self.burst - self.level(now)) / self.rate_per_s)


class Window:
    """The exact largest sum ever seen in any sliding window of 60 s, half open at its old end."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, int]] = deque()
        self._sum = 0
        self.most = 0
        self.total = 0

    def add(self, amount: int, now: float) -> None:
        """Count `amount` at `now`; times must not go back."""
        if amount == 0:
            return
        self._forget(now)
        self._events.append((now, amount))
        self._sum += amount
        self.total += amount
        self.most = max(self.most, self._sum)

    def used(self, now: float) -> int:
        """The sum of the last 60 s."""
        self._forget(now)
        return self._sum

    def _forget(self, now: float) -> None:
        while self._events and self._events[0][0] <= now - WINDOW_S:
            self._sum -= self._events.popleft()[1]


class Admit(NamedTuple):
    """The request is let in."""


class Refuse(NamedTuple):
    """The request is turned away: which limit, its size, what is used, what was asked, seconds until it fits."""

    dimension: Dimension | Literal["concurrency"]
    limit: int
    used: int
    asked: int
    wait_s: float
    never: bool = False


@dataclass(slots=True)
class Lane:
    """One lane's buckets and counters; the caller passes a `now` that never goes back."""

    protocol: Protocol
    limits: Limits
    buckets: dict[Dimension, Bucket] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0
    refused: int = 0
    refused_by: dict[str, int] = field(default_factory=dict)
    first_at: float | None = None
    last_at: float = 0.0
    changed: int = 0

    def ask(self, costs: Mapping[Dimension, int], now: float) -> Admit | Refuse:
        """Admit and charge a request, or refuse it; an admitted one must be given back with `leave`."""
        self.first_at = now if self.first_at is None else self.first_at
        self.last_at = now
        self._change(now)
        self._count("arrivals", 1, now)
        refusal = self._refusal(costs, now)
        if refusal is None or self.limits.charge_rejections:
            for dimension, cost in costs.items():
                bucket = self.buckets.get(dimension)
                if bucket is not None and dimension != "output-tokens":
                    bucket.take(cost if refusal is None else min(cost, self._chargeable(bucket, now)), now)
        if refusal is not None:
            self.refused += 1
            self.refused_by[refusal.dimension] = self.refused_by.get(refusal.dimension, 0) + 1
            return refusal
        for dimension, cost in costs.items():
            if dimension != "output-tokens":
                self._count(dimension, cost, now)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return Admit()

    def produced(self, tokens: int, now: float) -> None:
        """Charge output tokens as they are produced."""
        self._count("output-tokens", tokens, now)
        bucket = self.buckets.get("output-tokens")
        if bucket is not None:
            bucket.take(tokens, now)

    def rejected(self, now: float) -> None:
        """A request failed before its admission; it counts against `requests` when rejections are charged."""
        self._count("arrivals", 1, now)
        bucket = self.buckets.get("requests")
        self._change(now)
        if self.limits.charge_rejections and bucket is not None and self._chargeable(bucket, now) >= 1:
            bucket.take(1, now)

    def leave(self) -> None:
        """One admitted request is over."""
        self.in_flight -= 1

    def _chargeable(self, bucket: Bucket, now: float) -> float:
        """What a refused request may take: not so much that the debt keeps a patient client out for ever."""
        return max(0.0, bucket.level(now) + self.limits.rejection_debt)

    def _change(self, now: float) -> None:
        for change in self.limits.changes[self.changed :]:
            if self.first_at is None or self.first_at + change.after_s > now:
                return
            at = self.first_at + change.after_s
            self.changed += 1
            for bucket in self.buckets.values():
                bucket.change(change.factor, at, announced=change.announced)

    def _count(self, name: str, amount: int, now: float) -> None:
        window = self.windows.get(name)
        if window is None:
            window = self.windows[name] = Window()
        window.add(amount, now)

    def _refusal(self, costs: Mapping[Dimension, int], now: float) -> Refuse | None:
        worst: Refuse | None = None
        cap = self.limits.concurrency
        if cap is not None and self.in_flight >= cap:
            worst = Refuse("concurrency", cap, self.in_flight, 1, 1.0)
        for dimension, bucket in self.buckets.items():
            asked = costs.get(dimension, 0)
            wait_s = bucket.wait_s(asked, now)
            never = dimension != "output-tokens" and asked > bucket.limit
            if (never or wait_s > 0) and (worst is None or never or wait_s > worst.wait_s):
                used = min(bucket.limit, bucket.limit - bucket.remaining(now))
                worst = Refuse(dimension, bucket.limit, used, asked, wait_s, never)
        return worst

    def snapshot(self, now: float) -> dict[str, object]:
        """The lane as plain data: limits, levels, 429s and the largest sums of any 60 s."""
        self._change(now)
        return {
            "limits": {d: b.limit for d, b in self.buckets.items()},
            "burst": {d: b.burst for d, b in self.buckets.items()},
            "remaining": {d: b.remaining(now) for d, b in self.buckets.items()},
            "concurrency": self.limits.concurrency,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "rejected_429": self.refused,
            "rejected_by": dict(self.refused_by),
            "used_60s": {name: window.used(now) for name, window in self.windows.items()},
            "most_60s": {name: window.most for name, window in self.windows.items()},
            "total": {name: window.total for name, window in self.windows.items()},
            "first_at": self.first_at,
            "last_at": self.last_at,
        }


def open_lane(protocol: Protocol, limits: Limits, now: float) -> Lane:
    """A fresh lane with full buckets."""
    wanted: list[tuple[Dimension, int | None, int | None]] = [("requests", limits.rpm, limits.burst_requests)]
    if protocol in ("openai", "gemini"):
        wanted.append(("tokens", limits.tpm, limits.burst_tokens))
    elif protocol == "anthropic":
        wanted.append(("input-tokens", limits.itpm, limits.burst_tokens))
        wanted.append(("output-tokens", limits.otpm, limits.burst_tokens))
    lane = Lane(protocol, limits)
    for dimension, limit, burst in wanted:
        if limit is not None:
            lane.buckets[dimension] = Bucket(limit, burst or max(1, limit // 10), now)
    return lane


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, in milliseconds: `0s`, `2ms`, `8.64s`, `1m0.198s`, `1h8m25.745s`."""
    ms = max(0, ceil(seconds * 1000 - 1e-6))
    if ms == 0:
        return "0s"
    if ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if minutes or hours else ""
    whole, rest = divmod(ms, 1000)
    return f"{text}{whole}{f'.{rest:03d}'.rstrip('0') if rest else ''}s"


def rfc3339(epoch_s: float) -> str:
    """An instant as Anthropic writes it: whole seconds, Z."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def openai_headers(lane: Lane, now: float) -> list[tuple[str, str]]:
    """OpenAI's x-ratelimit headers; `reset` is the time to a full bucket."""
    headers: list[tuple[str, str]] = []
    for dimension, bucket in lane.buckets.items():
        headers += [
            (f"x-ratelimit-limit-{dimension}", str(bucket.limit)),
            (f"x-ratelimit-remaining-{dimension}", str(bucket.remaining(now))),
            (f"x-ratelimit-reset-{dimension}", go_duration(bucket.full_in_s(now))),
        ]
    return headers


def azure_headers(lane: Lane, now: float) -> list[tuple[str, str]]:
    """Azure's: OpenAI's names, but whole seconds that tell nothing, and how long the period is.

    Source: recorded 2026-06: `x-ratelimit-reset-requests: 1`, `x-ratelimit-renewalperiod-requests: 60`.
    """
    headers = [
        (name, "1" if name.startswith("x-ratelimit-reset-") else value) for name, value in openai_headers(lane, now)
    ]
    return headers + [(f"x-ratelimit-renewalperiod-{dimension}", "60") for dimension in lane.buckets]


def anthropic_headers(lane: Lane, now: float) -> list[tuple[str, str]]:
    """Anthropic's anthropic-ratelimit headers; tokens are rounded to 1000, `reset` is when the bucket is full."""
    headers: list[tuple[str, str]] = []
    tokens: list[Bucket] = []

    def write(name: str, limit: int, remaining: int, reset_s: float) -> None:
        headers.extend(
            [
                (f"anthropic-ratelimit-{name}-limit", str(limit)),
                (f"anthropic-ratelimit-{name}-remaining", str(remaining)),
                (f"anthropic-ratelimit-{name}-reset", rfc3339(now + reset_s)),
            ]
        )

    for dimension, bucket in lane.buckets.items():
        remaining = bucket.remaining(now)
        if dimension != "requests":
            tokens.append(bucket)
            remaining = round(remaining / 1000) * 1000
        write(dimension, bucket.limit, remaining, bucket.full_in_s(now))
    if tokens:
        both = round(sum(b.remaining(now) for b in tokens) / 1000) * 1000
        write("tokens", sum(b.limit for b in tokens), both, max(b.full_in_s(now) for b in tokens))
    return headers


def cohere_headers(lane: Lane, now: float) -> list[tuple[str, str]]:
    """What Cohere tells trial keys: calls per minute, and no reset."""
    bucket = lane.buckets.get("requests")
    if bucket is None:
        return []
    left = max(0, bucket.remaining(now))
    return [("x-trial-endpoint-call-limit", str(bucket.limit)), ("x-trial-endpoint-call-remaining", str(left))]


def no_headers(lane: Lane, now: float) -> list[tuple[str, str]]:
    """Gemini tells nothing in headers."""
    return []


HEADERS: dict[Protocol, Callable[[Lane, float], list[tuple[str, str]]]] = {
    "openai": openai_headers,
    "anthropic": anthropic_headers,
    "cohere": cohere_headers,
    "gemini": no_headers,
}
