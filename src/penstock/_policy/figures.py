"""What calls and attempts came to: the sums of many rows, and what people ask of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from ..types import to_usd
from .rollup import SUMS, USAGE
from .sketch import Counts, add, percentile


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls: None is all, `outcome` is 'ok', 'failed' or an error's code, `model` may lack a provider."""

    model: str | None = None
    provider: str | None = None
    operation: str | None = None
    outcome: str | None = None
    tags: dict[str, str] = {}
    task: str | None = None


class Figures(msgspec.Struct, kw_only=True):
    """Sums over calls and attempts; see `SUMS` for what each is. `failed` and `rate_limited` are by outcome.

    Of attempts: `attempts` were sent, `refused` were not, `rate_limited` were answered with 429.
    `faults` counts the attempts that failed by the code of their error.
    `latency` and `first` count the durations of calls (without those of a provider's batch) and of first tokens.
    """

    calls: int = 0
    failed: int = 0
    cached: int = 0
    saved_nano: int = 0
    batched: int = 0
    batch_saved_nano: int = 0
    routed: int = 0
    route_saved_nano: int = 0
    latency_us: int = 0
    attempts: int = 0
    refused: int = 0
    retries: int = 0
    rate_limited: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    estimated: int = 0
    estimated_nano: int = 0
    wait_us: int = 0
    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_30m: int = 0
    cache_write_1h: int = 0
    cache_write_12h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0
    latency: Counts = msgspec.field(default_factory=dict)
    first: Counts = msgspec.field(default_factory=dict)
    faults: dict[str, int] = msgspec.field(default_factory=dict)

    def take(self, outcome: str, sums: tuple[Any, ...], latency: bytes | None, first: bytes | None) -> None:
        """Add a row of sums, in the order of `SUMS`, of one outcome."""
        for name, value in zip(SUMS, sums, strict=True):
            if value:
                setattr(self, name, getattr(self, name) + value)
        if outcome != "ok":
            self.failed += sums[0] or 0
        if outcome == "rate_limited":
            self.rate_limited += sums[_ATTEMPTS] or 0
        if outcome != "ok" and sums[_ATTEMPTS]:
            self.faults[outcome] = self.faults.get(outcome, 0) + sums[_ATTEMPTS]
        add(self.latency, latency)
        add(self.first, first)

    @property
    def cost(self) -> Decimal:
        """Dollars of all attempts with a known price; look at `unpriced` before trusting it as a total."""
        return to_usd(self.cost_nano)

    @property
    def cost_per_call(self) -> Decimal | None:
        """Dollars for each call, the failed and the cached among them; None without calls."""
        return self.cost / self.calls if self.calls else None

    @property
    def error_rate(self) -> float | None:
        """The share of calls that failed; None without calls."""
        return self.failed / self.calls if self.calls else None

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(getattr(self, name) for name in USAGE)

    def latency_s(self, percent: float) -> float | None:
        """Return a percentile of the calls' latency in seconds, within 2 %; None without calls."""
        return percentile(self.latency, percent)

    def first_token_s(self, percent: float) -> float | None:
        """Return a percentile of the time to the first token in seconds, within 2 %; None without streams."""
        return percentile(self.first, percent)


_ATTEMPTS = SUMS.index("attempts")
