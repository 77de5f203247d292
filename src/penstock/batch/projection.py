"""What a job may cost, told before its first call from a sample of its rows."""

from __future__ import annotations

from typing import Final

import msgspec

from .._policy.prices import Prices
from .._text import tokens
from ..client import Preview
from ..types import Usage

SAMPLE_ROWS: Final = 512
"""At most so many rows are looked at; their sum is scaled to all."""


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows still to be asked may cost, in nano-dollars: `low_nano` for their prompts alone, `high_nano` with
    answers as long as max_tokens lets them be. None where a price is unknown; `high_nano` also without max_tokens.
    """  # noqa: D205

    rows: int
    low_nano: int | None
    high_nano: int | None


class Sample:
    """Every row, then every second, every fourth …: an even sample of a stream of unknown length."""

    def __init__(self) -> None:
        self._seen = 0
        self._stride = 1
        self._kept: list[tuple[str, int, int | None, int]] = []

    def see(self, preview: Preview) -> None:
        """Look at a row, if it is its turn."""
        self._seen += 1
        if self._seen % self._stride:
            return
        asked = preview.request
        self._kept.append((preview.lanes[0][0], tokens.estimate_request(asked), asked.max_tokens, asked.n or 1))
        if len(self._kept) >= SAMPLE_ROWS:
            self._kept = self._kept[1::2]
            self._stride *= 2

    def project(self, rows: int, prices: Prices) -> Projection:
        """Scale the sample to so many rows."""
        low: int | None = 0
        high: int | None = 0
        for lane, prompt, max_tokens, n in self._kept:
            provider, _, model = lane.partition(":")
            least = prices.cost(provider, model, Usage(input=prompt))
            most = (
                None if max_tokens is None else prices.cost(provider, model, Usage(input=prompt, output=max_tokens * n))
            )
            low = None if low is None or least is None else low + least
            high = None if high is None or most is None else high + most
        of = max(1, len(self._kept))
        return Projection(
            rows=rows,
            low_nano=None if low is None else low * rows // of,
            high_nano=None if high is None else high * rows // of,
        )
