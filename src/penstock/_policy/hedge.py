"""When a second attempt is sent beside the first: after a fixed time, or once most answers would have begun."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import msgspec

from ..errors import ConfigError

KEPT: Final = 200
"""Latencies remembered per lane: the newest, so that a lane that became slow is known as slow."""

ENOUGH: Final = 20
"""Latencies that must be known before a percentile says anything."""


class Hedge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second attempt beside one that has shown no output after `after_s` seconds; the first to answer stays.

    `after_percentile` (50 to below 100) takes the time from the lane's own answers: 95 hedges the slowest twentieth. It
    waits for the first 20 of them. Both attempts are paid where the provider bills both.

    Raises: ConfigError when not exactly one is given, or it is out of its range.
    """

    after_s: float | None = None
    after_percentile: float | None = None

    def __post_init__(self) -> None:
        if (self.after_s is None) == (self.after_percentile is None):
            raise ConfigError("a Hedge takes either after_s or after_percentile")
        for name, least, most in (("after_s", 0.0, math.inf), ("after_percentile", 50.0, 100.0)):
            value: object = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < most or value == 0:
                expected = "a number of seconds above 0" if name == "after_s" else "a number from 50 to below 100"
                raise ConfigError(f"hedge.{name} is {value!r}; expected {expected}")


class Latencies:
    """The newest latencies of one lane."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """Note how long an answer took."""
        self._seen.append(seconds)

    def percentile(self, percent: float) -> float | None:
        """Return the time within which that share of answers came, None while too few are known."""
        if len(self._seen) < ENOUGH:
            return None
        ordered = sorted(self._seen)
        return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]
