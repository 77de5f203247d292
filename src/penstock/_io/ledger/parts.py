"""A period as parts that the ledger has sums of, and edges where it has to add up single calls."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

from .schema import SPANS


class Part(NamedTuple):
    """From `start` up to and without `end`: by sums of `span` seconds, or by single calls where that is 0."""

    span: int
    start: float
    end: float


def parts(start_s: float, end_s: float, step: int | None, *, raw: bool) -> list[Part]:
    """Return what a period is made of: the longest spans that fit, none longer than a `step`; rows alone when `raw`."""
    if end_s <= start_s:
        return []
    spans = [] if raw else [span for span in SPANS if step is None or span <= step]
    return [part for part in _split(start_s, end_s, 0, spans) if part.start < part.end]


def _split(start_s: float, end_s: float, edge: int, spans: Sequence[int]) -> list[Part]:
    """Split into whole spans, as long as they get, and edges by the span before."""
    if not spans:
        return [Part(edge, start_s, end_s)]
    span, *longer = spans
    first, last = ceil(start_s / span) * span, floor(end_s / span) * span
    if first >= last:
        return [Part(edge, start_s, end_s)]
    return [Part(edge, start_s, first), *_split(first, last, span, longer), Part(edge, last, end_s)]
