"""The prices of one model at one time, as integers: what a usage costs, and what it can cost at most.

A row of the price table holds dollars; here they are yocto-dollars per token (10^-24 $), so that every price is exact.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal
from operator import attrgetter
from typing import Final, NamedTuple

from ..types import Usage

PLACES_MAX: Final = 18
_YOCTO_PER_NANO: Final = 10**15

# Each bucket, in the order of `Rates`, and the one whose price it takes when it has none of its own.
PARENT: Final = {"i": "", "r": "i", "w": "i", "h": "w", "a": "i", "o": "", "t": "o", "s": "o"}

Bands = Decimal | list[Decimal] | None
Row = dict[str, Bands]


class Rates(NamedTuple):
    """Yocto-dollars per token in one band of prompt length, inheritance resolved; None is unknown."""

    input: int | None
    cache_read: int | None
    cache_write: int | None
    cache_write_1h: int | None
    audio_in: int | None
    output: int | None
    reasoning: int | None
    audio_out: int | None


_SAME_NAME: Final = ("input", "output", "cache_read", "reasoning", "cache_write_1h", "audio_in", "audio_out")
_BUCKETS: Final = attrgetter(*_SAME_NAME)
"""The buckets of a usage and the rates of a tariff that go by the same names."""


class Tariff:
    """One row, ready for arithmetic: `rates[k]` holds when exactly k of `above` are less than the prompt."""

    __slots__ = ("above", "columns", "other_in", "other_out", "per_request", "rates")

    def __init__(self, row: Row) -> None:
        starts = {int(start) for bands in row.values() if isinstance(bands, list) for start in bands[1::2]}
        self.above = sorted(starts)
        self.rates = [_rates_at(row, prompt) for prompt in (0, *(start + 1 for start in self.above))]
        self.columns = [(*_BUCKETS(rates), rates.cache_write) for rates in self.rates]
        self.per_request = _yocto(row.get("q"), 0, per=1_000) or 0
        self.other_in = _yocto(row.get("x"), 0) or 0
        self.other_out = _yocto(row.get("y"), 0) or 0

    def cost(self, usage: Usage) -> int | None:
        """Bill a usage in nano-dollars; None when it has tokens in a bucket without a price."""
        rates = self.columns[bisect_left(self.above, usage.prompt) if self.above else 0]
        total = self.per_request
        used = (*_BUCKETS(usage), usage.cache_write_5m + usage.cache_write_30m + usage.cache_write_12h)
        into, out = rates[:2]
        if into is not None and out is not None and not any(used[2:]):
            return _nano(total + used[0] * into + used[1] * out)  # most answers have nothing else
        for tokens, rate in zip(used, rates, strict=True):
            if tokens:
                if rate is None:
                    return None
                total += tokens * rate
        return _nano(total)

    def worst(self, prompt_tokens: int, output_tokens: int, *, cache_writes: bool) -> int | None:
        """Bill each token at the dearest price that it can get, rounding up to whole nano-dollars."""
        highest = 0
        for rates in self.rates[: bisect_left(self.above, prompt_tokens) + 1]:
            into = [rates.input, rates.cache_read, rates.audio_in, self.other_in]
            if cache_writes:
                into += [rates.cache_write, rates.cache_write_1h]
            in_rate = dearest(into)
            out_rate = dearest([rates.output, rates.reasoning, rates.audio_out, self.other_out])
            if (in_rate is None and prompt_tokens) or (out_rate is None and output_tokens):
                return None
            highest = max(highest, prompt_tokens * (in_rate or 0) + output_tokens * (out_rate or 0))
        return -(-(highest + self.per_request) // _YOCTO_PER_NANO)


def _rates_at(row: Row, prompt: int) -> Rates:
    rates: dict[str, int | None] = {"": None}
    for bucket, parent in PARENT.items():
        rates[bucket] = _yocto(row[bucket], prompt) if bucket in row else rates[parent]
    return Rates(*(rates[bucket] for bucket in PARENT))


def _yocto(bands: Bands, prompt: int, *, per: int = 1_000_000) -> int | None:
    """Take the price of the last band below the prompt, in yocto-dollars per token (or per request)."""
    if bands is None:
        return None
    price = bands if isinstance(bands, Decimal) else bands[0]
    if isinstance(bands, list):
        for start, dearer in zip(bands[1::2], bands[2::2], strict=True):
            if prompt > start:
                price = dearer
    numerator, denominator = price.as_integer_ratio()  # exact whatever the decimal context of the caller is
    return numerator * 10**24 // (denominator * per)


def _nano(yocto: int) -> int:
    """Round yocto-dollars to nano-dollars, half to even."""
    nano, rest = divmod(yocto, _YOCTO_PER_NANO)
    return nano + (2 * rest > _YOCTO_PER_NANO or (2 * rest == _YOCTO_PER_NANO and nano % 2 == 1))


def dearest(rates: Iterable[int | None]) -> int | None:
    """Take the highest of some amounts, None when there is none or one of them is unknown."""
    highest: int | None = None
    for rate in rates:
        if rate is None:
            return None
        highest = rate if highest is None else max(highest, rate)
    return highest


def dollars(rate: int | None) -> Decimal | None:
    return None if rate is None else Decimal(rate) / 10**PLACES_MAX
