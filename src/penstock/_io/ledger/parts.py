"""A period as parts that the ledger has sums of, and edges where it has to add up single calls."""

from __future__ import annotations

from math import ceil, floor
from typing import NamedTuple

from .schema import DAY, HOUR


class Part(NamedTuple):
    """From `start` up to and without `end`: by sums of `span` seconds, or by single calls where that is 0."""

    span: int
    start: float
    end: float


def parts(start_s: float, end_s: float, step: int | None, *, raw: bool) -> list[Part]:
    """Return what a period is made of; days are used where no `step` asks for hours, nothing but rows when `raw`."""
    if end_s <= start_s:
        return []
    first, last = ceil(start_s / HOUR) * HOUR, floor(end_s / HOUR) * HOUR
    if raw or first >= last:
        return [Part(0, start_s, end_s)]
    found = [Part(0, start_s, first), *_whole_hours(first, last, step), Part(0, last, end_s)]
    return [part for part in found if part.start < part.end]


def _whole_hours(first: int, last: int, step: int | None) -> list[Part]:
    day, end = ceil(first / DAY) * DAY, floor(last / DAY) * DAY
    if step == HOUR or day >= end:
        return [Part(HOUR, first, last)]
    return [Part(HOUR, first, day), Part(DAY, day, end), Part(HOUR, end, last)]
