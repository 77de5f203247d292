"""The one place where time and chance come from."""

from __future__ import annotations

import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Time and chance as the gate sees them; a test may bring its own."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def chance(self) -> float:
        """A number drawn evenly from [0, 1)."""
        ...


class SystemClock:
    """The machine's own time, and seeded chance when a seed is given."""

    def __init__(self, seed: int | None = None) -> None:
        self.now = time.monotonic
        self.wall = time.time
        self.chance = random.Random(seed).random  # noqa: S311 - jitter is no secret


def unique(clock: Clock) -> str:
    """Return a key that no other call has: chance alone would come twice after a fork, which copies it."""
    return f"{os.getpid():x}-{int(clock.wall() * 1e6):x}-{int(clock.chance() * 2**52):013x}"
