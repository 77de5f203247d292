"""Which of the next rows goes first: a window of rows read ahead, mixed by size, and the longest first at the end.

In the middle of a run sizes are kept close to their mean, so that neither a limit of requests nor one of tokens is idle
while the other holds everything up. Of the last ones the longest go first: what is started last ends last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

LOOK_AHEAD: Final = 256
"""Rows read ahead at most."""

LOOK_AHEAD_TOKENS: Final = 2_000_000
"""And so many tokens at most: a window of long prompts holds few of them."""

LONGEST_FIRST: Final = 32
"""Of so many last rows the longest go first. Of more it would leave the short ones to a limit of requests alone."""

PASSED_MAX: Final = 2 * LOOK_AHEAD
"""So many later ones may go before a row, at most."""

NEAR: Final = 0.05
"""Of the mean: a row that brings the sum so near to it is as good as any."""

SURPLUS_MAX: Final = 30.0
"""What is remembered of sizes above or below the mean, in means: the rest the limit itself has made up by waiting.

A row of 20,000 tokens among such of 500 is 40 of them: what is forgotten of it leaves the limit of requests idle.
"""


class Sized(Protocol):
    """What must be known of a row: what its call counts, and how long it is at work, both in tokens."""

    @property
    def lane(self) -> str | None:
        """The only lane where it may go; None: any."""
        ...

    @property
    def counted(self) -> int:
        """Tokens of its prompt and of the answer that it may have."""
        ...

    @property
    def work(self) -> float:
        """How long its answer takes, in tokens written."""
        ...


T = TypeVar("T", bound=Sized)


class Lookahead(Generic[T]):
    """Takes rows from `source` and gives them out; see the module.

    `mean` is what its rows count on the average, where that is known beforehand; else it is that of the rows read.
    """

    def __init__(self, source: Iterator[T], mean: float | None = None) -> None:
        self._source = source
        self._is_known = mean is not None
        self._rows: list[tuple[int, T]] = []  # in their order, each with how many had been given out before it came
        self._back: list[T] = []
        self._tokens = 0
        self._given = 0
        self._read = 0
        self._mean = mean or 0.0
        self._surplus = 0.0
        self.ended = False

    def __len__(self) -> int:
        return len(self._rows) + len(self._back)

    def give_back(self, row: T) -> None:
        """Take a row back that could not go where it was sent; it goes before all others."""
        self._back.append(row)

    def take(self, is_open: Callable[[str | None], bool]) -> T | None:
        """Return the row that goes next where its lane is open; None when there is none."""
        self._fill()
        for place, row in enumerate(self._back):
            if is_open(row.lane):
                return self._back.pop(place)
        chosen = self._choose(is_open)
        if chosen is None:
            return None
        _, row = self._rows.pop(chosen)
        self._tokens -= row.counted
        self._given += 1
        most = SURPLUS_MAX * self._mean
        self._surplus = max(-most, min(most, self._surplus + row.counted - self._mean))
        return row

    def _fill(self) -> None:
        while not self.ended and len(self._rows) < LOOK_AHEAD and self._tokens < LOOK_AHEAD_TOKENS:
            row = next(self._source, None)
            if row is None:
                self.ended = True
                return
            self._read += 1
            if not self._is_known:
                self._mean += (row.counted - self._mean) / self._read
            self._rows.append((self._given, row))
            self._tokens += row.counted

    def _choose(self, is_open: Callable[[str | None], bool]) -> int | None:
        best, least = None, 0.0
        last = self.ended and len(self._rows) <= LONGEST_FIRST
        for place, (since, row) in enumerate(self._rows):
            if not is_open(row.lane):
                continue
            if best is None and self._given - since >= PASSED_MAX:
                return place
            if last:
                off = -row.work
            else:
                off = abs(self._surplus + row.counted - self._mean)
                if off <= NEAR * self._mean:
                    return place
            if best is None or off < least:
                best, least = place, off
        return best
