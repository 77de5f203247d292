"""Percentiles of durations from counts in buckets that grow by a factor: small, and two of them add up.

Source: Masson, Rim, Lee: DDSketch (VLDB 2019). Bucket i holds (GAMMA^(i-1), GAMMA^i] µs and stands for a value that is
within `ERROR` of each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log
from typing import Final

import msgspec

ERROR: Final = 0.02
"""The relative error of a percentile, at most."""

GAMMA: Final = (1 + ERROR) / (1 - ERROR)
_SCALE: Final = 1 / log(GAMMA)

Counts = dict[int, int]
"""How many durations fell into each bucket."""

_decode: Final = msgspec.msgpack.Decoder(Counts).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def bucket(us: float) -> int:
    """Return the bucket of a duration in µs; all up to one share the first."""
    return ceil(log(us) * _SCALE) if us > 1 else 0


def percentile(counts: Mapping[int, int], percent: float) -> float | None:
    """Return the duration in seconds that so many percent of those counted do not exceed; None where there is none."""
    total = sum(counts.values())
    if not total:
        return None
    rank = max(1, ceil(total * percent / 100))
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        if seen >= rank:
            return _middle_s(index)
    return None


def _middle_s(index: int) -> float:
    return 2 * GAMMA**index / (GAMMA + 1) / 1e6


def pack(counts: Counts) -> bytes | None:
    """Return counts as bytes; None for no counts."""
    return _encode(counts) if counts else None


def add(counts: Counts, packed: bytes | None) -> None:
    """Add packed counts to some.

    Raises: ValueError for bytes that are none.
    """
    if packed is not None:
        get = counts.get
        for index, number in _decode(packed).items():
            counts[index] = get(index, 0) + number
