"""What a job may cost, told before its first call from a sample of its rows."""

from __future__ import annotations

from typing import Final

import msgspec

from .._policy.prices import Prices
from ..types import Request, Usage

SAMPLE_ROWS: Final = 512
"""At most so many rows are looked at; their sum is scaled to all."""


LIKELY_TOKENS: Final = 1024
"""What an answer without max_tokens is taken to have: more than most."""


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows still to be asked may cost, in nano-dollars; None where a price is unknown.

    `low_nano` is that of their prompts alone, `high_nano` with answers as long as max_tokens lets them be (None without
    max_tokens), `likely_nano` the same with answers of `LIKELY_TOKENS` where there is no max_tokens.
    """

    rows: int
    low_nano: int | None
    likely_nano: int | None
    high_nano: int | None


SampleState = tuple[int, int, int, list[tuple[str, int, int | None, int]]]


def likely_output(asked: Request) -> int:
    """Tokens that the answers to a request may have."""
    return (LIKELY_TOKENS if asked.max_tokens is None else asked.max_tokens) * (asked.n or 1)


class Sample:
    """Every row, then every second, every fourth …: an even sample of a stream of unknown length."""

    def __init__(self) -> None:
        self._seen = 0
        self._stride = 1
        self._kept: list[tuple[str, int, int | None, int]] = []
        self._output = 0

    def is_due(self) -> bool:
        """Count a row, and tell whether it is its turn to be looked at by `see`."""
        self._seen += 1
        return not self._seen % self._stride

    def expect(self, output: int) -> None:
        """Add the tokens that a row's answers may have."""
        self._output += output

    def see(self, lane: str, prompt: int, asked: Request) -> None:
        """Look at a row: the lane that it goes to first, the tokens of its prompt, and what else it asks."""
        self._kept.append((lane, prompt, asked.max_tokens, asked.n or 1))
        if len(self._kept) >= SAMPLE_ROWS:
            self._kept = self._kept[1::2]
            self._stride *= 2

    @property
    def mean_counted(self) -> float | None:
        """Tokens of a row on the average: prompts by the sample, the answers that they may have by every row."""
        if not self._kept:
            return None
        return sum(prompt for _, prompt, _, _ in self._kept) / len(self._kept) + self._output / self._seen

    def state(self) -> SampleState:
        """What it knows, for `restored`."""
        return self._seen, self._stride, self._output, self._kept

    @classmethod
    def restored(cls, state: SampleState) -> Sample:
        """Make the sample again that told its state."""
        made = cls()
        made._seen, made._stride, made._output, made._kept = state
        return made

    def project(self, rows: int, prices: Prices, *, batch: bool = False) -> Projection:
        """Scale the sample to so many rows, at the price of calls or of a batch."""
        low: list[int | None] = []
        likely: list[int | None] = []
        high: list[int | None] = []
        for lane, prompt, max_tokens, n in self._kept:
            provider, _, model = lane.partition(":")
            output = (LIKELY_TOKENS if max_tokens is None else max_tokens) * n
            low.append(prices.cost(provider, model, Usage(input=prompt), batch=batch))
            likely.append(prices.cost(provider, model, Usage(input=prompt, output=output), batch=batch))
            high.append(None if max_tokens is None else likely[-1])
        sums = [_scaled(costs, rows) for costs in (low, likely, high)]
        return Projection(rows=rows, low_nano=sums[0], likely_nano=sums[1], high_nano=sums[2])


def _scaled(costs: list[int | None], rows: int) -> int | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) * rows // len(known) if known and len(known) == len(costs) else None
