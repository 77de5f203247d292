"""Which texts go together into one request: as few requests as the provider's limits allow, each as full as it can be.

Two limits hold at once, a count and a sum, so the largest first is not enough: it would leave requests of small texts
that are full by count and hold next to nothing. Each request is begun with the smallest texts, as many as every request
must take for the rest to come out even, and of these one after the other is exchanged for the largest that still fits.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

UNLIMITED: Final = 1 << 62


class PackLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request takes: `inputs` at most, of at most `input_tokens` each, and `tokens` in all; 0 for no limit."""

    inputs: int
    tokens: int = 0
    input_tokens: int = 0

    @property
    def largest(self) -> int:
        """The most tokens that one input may have."""
        return min(self.tokens or UNLIMITED, self.input_tokens or UNLIMITED)


class Packing(msgspec.Struct, frozen=True):
    """Inputs by their numbers: those of each request, in order, and those that are `oversized` and fit into none."""

    packs: tuple[Sequence[int], ...]
    oversized: tuple[int, ...] = ()


def lower_bound(weights: Sequence[int], limits: PackLimits) -> int:
    """Return a number of requests that no packing can go below."""
    by_tokens = -(-sum(weights) // limits.tokens) if limits.tokens else 0
    return max(-(-len(weights) // limits.inputs), by_tokens)


def pack(weights: Sequence[int], limits: PackLimits) -> Packing:
    """Share out inputs of so many tokens each, none twice; no request crosses a limit."""
    largest = limits.largest
    if max(weights, default=0) <= largest and lower_bound(weights, limits) <= 1:
        return Packing((range(len(weights)),) if weights else ())
    ranked = sorted(range(len(weights)), key=weights.__getitem__)
    fitting = bisect_right(ranked, largest, key=weights.__getitem__)
    shelf = _Shelf(ranked[:fitting], weights)
    packs = []
    while shelf.left:
        packs.append(array("q", sorted(_fill(shelf, limits))))
    return Packing(tuple(packs), tuple(sorted(ranked[fitting:])))


def _fill(shelf: _Shelf, limits: PackLimits) -> list[int]:
    """Take the inputs of one request off the shelf."""
    most = limits.tokens or UNLIMITED
    requests = max(-(-shelf.left // limits.inputs), -(-shelf.tokens // most))
    small = shelf.smallest(-(-shelf.left // requests), most)
    free = most - sum(shelf.sizes[at] for at in small)
    taken: list[int] = []
    while small:
        least = small.pop()
        free += shelf.sizes[least]
        best = shelf.largest(free, above=least)
        free -= shelf.sizes[best]
        taken.append(shelf.take(best))
    while len(taken) < limits.inputs and (best := shelf.largest(free)) >= 0:
        free -= shelf.sizes[best]
        taken.append(shelf.take(best))
    return taken


class _Shelf:
    """Inputs by size; the largest up to a size is found in next to no time, since taken places point to those below."""

    def __init__(self, ranked: Sequence[int], weights: Sequence[int]) -> None:
        self._ranked = ranked
        self.sizes = array("q", (weights[number] for number in ranked))
        self.left = len(ranked)
        self.tokens = sum(self.sizes)
        self._below = array("q", range(len(ranked) + 1))  # of place + 1; 0 is the end
        self._first = 0

    def smallest(self, count: int, most: int) -> list[int]:
        """Return the places of the smallest inputs, at most so many and with at most `most` tokens in all."""
        found: list[int] = []
        at = self._first
        while len(found) < count and at < len(self.sizes):
            if self._below[at + 1] == at + 1:
                most -= self.sizes[at]
                if most < 0:
                    break
                found.append(at)
            at += 1
        return found

    def largest(self, most: int, *, above: int = -1) -> int:
        """Return the place of the largest input of at most so many tokens, `above` itself if none is beyond it.

        Without `above`, -1 when there is none.
        """
        at = self._find(bisect_right(self.sizes, most))
        return max(at - 1, above)

    def take(self, at: int) -> int:
        """Take the input at a place, and return its number."""
        self._below[at + 1] = at
        self.left -= 1
        self.tokens -= self.sizes[at]
        while self._first < len(self.sizes) and self._below[self._first + 1] != self._first + 1:
            self._first += 1
        return self._ranked[at]

    def _find(self, at: int) -> int:
        below = self._below
        root = at
        while below[root] != root:
            root = below[root]
        while below[at] != root:
            below[at], at = root, below[at]
        return root
