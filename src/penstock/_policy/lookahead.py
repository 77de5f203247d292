"""Which of the next rows goes first: a window of rows read ahead, mixed by size, and the longest first at the end.

In the middle of a run sizes are kept close to their mean, so that neither a limit of requests nor one of tokens is idle
while the other holds everything up. Of the last ones the longest go first: what is started last ends last.
"""

from __future__ import annotations

from bisect import bisect_left, insort
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
"""Of the mean: where the oldest row brings the sum so near to it, none is better."""

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


class _Shelf(Generic[T]):
    """The rows read ahead for one lane, by their numbers, each with how many had been given out before it came."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, T]] = {}
        self._sizes: list[tuple[int, int]] = []  # sorted, each with the number of its row

    def put(self, number: int, given: int, row: T) -> None:
        self.rows[number] = (given, row)
        insort(self._sizes, (row.counted, number))

    def pop(self, number: int) -> T:
        _, row = self.rows.pop(number)
        del self._sizes[bisect_left(self._sizes, (row.counted, number))]
        return row

    def oldest(self) -> tuple[int, int, T]:
        """Return the number of the oldest row, how many had been given out before it came, and the row."""
        number = next(iter(self.rows))
        return number, *self.rows[number]

    def nearest(self, size: float) -> tuple[float, int]:
        """Return how far the nearest size is off, and the number of its oldest row."""
        sizes = self._sizes
        place = bisect_left(sizes, (size, -1))
        found = []
        if place < len(sizes):
            found.append((sizes[place][0] - size, sizes[place][1]))
        if place:
            below = sizes[bisect_left(sizes, (sizes[place - 1][0], -1))]
            found.append((size - below[0], below[1]))
        return min(found)


class Lookahead(Generic[T]):
    """Takes rows from `source` and gives them out; see the module.

    `mean` is what its rows count on the average, where that is known beforehand; else it is that of the rows read.
    """

    def __init__(self, source: Iterator[T], mean: float | None = None) -> None:
        self._source = source
        self._is_known = mean is not None
        self._shelves: dict[str | None, _Shelf[T]] = {}  # of the lanes that have rows
        self._ahead = 0
        self._back: list[T] = []
        self._tokens = 0
        self._given = 0
        self._read = 0
        self._mean = mean or 0.0
        self._surplus = 0.0
        self.ended = False

    def __len__(self) -> int:
        return self._ahead + len(self._back)

    def give_back(self, row: T) -> None:
        """Take a row back that could not go where it was sent; it goes before all others."""
        self._back.append(row)

    def take(self, is_open: Callable[[str | None], bool]) -> T | None:
        """Return the row that goes next where its lane is open; None when there is none."""
        self._fill()
        for place, row in enumerate(self._back):
            if is_open(row.lane):
                return self._back.pop(place)
        shelves = [shelf for lane, shelf in self._shelves.items() if is_open(lane)]
        if not shelves:
            return None
        row = self._pop(*self._choose(shelves))
        most = SURPLUS_MAX * self._mean
        self._surplus = max(-most, min(most, self._surplus + row.counted - self._mean))
        return row

    def _pop(self, shelf: _Shelf[T], number: int) -> T:
        row = shelf.pop(number)
        if not shelf.rows:
            del self._shelves[row.lane]
        self._ahead -= 1
        self._tokens -= row.counted
        self._given += 1
        return row

    def _fill(self) -> None:
        while not self.ended and self._ahead < LOOK_AHEAD and self._tokens < LOOK_AHEAD_TOKENS:
            row = next(self._source, None)
            if row is None:
                self.ended = True
                return
            self._read += 1
            if not self._is_known:
                self._mean += (row.counted - self._mean) / self._read
            shelf = self._shelves.get(row.lane)
            if shelf is None:
                shelf = self._shelves[row.lane] = _Shelf()
            shelf.put(self._read, self._given, row)
            self._ahead += 1
            self._tokens += row.counted

    def _choose(self, shelves: list[_Shelf[T]]) -> tuple[_Shelf[T], int]:
        """Return the shelf and the number of the row that goes next."""
        number, given, row, shelf = min((*shelf.oldest(), shelf) for shelf in shelves)
        if self._given - given >= PASSED_MAX:
            return shelf, number
        if self.ended and self._ahead <= LONGEST_FIRST:
            last = [(-row.work, number, shelf) for shelf in shelves for number, (_, row) in shelf.rows.items()]
            _, number, shelf = min(last)
            return shelf, number
        ideal = self._mean - self._surplus
        if abs(row.counted - ideal) <= NEAR * self._mean:
            return shelf, number
        _, number, shelf = min((*shelf.nearest(ideal), shelf) for shelf in shelves)
        return shelf, number
