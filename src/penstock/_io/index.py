"""A table from 64-bit digests to two 64-bit numbers, 24 to 48 bytes per entry however many there are."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

_WIDTH: Final = 3
_FIRST_SLOTS: Final = 1024
_FULL: Final = 0.75


class Index:
    """Open addressing in one flat array: a dict of a million entries would take 200 MB, this takes 50.

    Two ids share a digest with a chance of 3 in 100 million for a job of a million rows.
    """

    def __init__(self) -> None:
        self._slots = _FIRST_SLOTS
        self._cells = array("Q", bytes(8 * _WIDTH * _FIRST_SLOTS))
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def find(self, digest: int) -> tuple[int, int] | None:
        """Return the two numbers of a digest (not 0), None when it has none."""
        at = self._at(digest)
        return (self._cells[at + 1], self._cells[at + 2]) if self._cells[at] else None

    def put(self, digest: int, first: int, second: int) -> int | None:
        """Set the two numbers of a digest (not 0); return the second one that it had, None when it had none."""
        cells, at, before = self._cells, self._at(digest), None
        if cells[at]:
            before = cells[at + 2]
        else:
            if self._used + 1 > self._slots * _FULL:
                self._grow()
                cells, at = self._cells, self._at(digest)
            self._used += 1
            cells[at] = digest
        cells[at + 1] = first
        cells[at + 2] = second
        return before

    def note(self, digest: int, number: int) -> int:
        """Set the first number of a digest (neither is 0) that has none; return the one that it had, or else 0."""
        cells, mask = self._cells, self._slots - 1
        slot = digest & mask
        while (found := cells[slot * _WIDTH]) and found != digest:
            slot = (slot + 1) & mask
        if found:
            return cells[slot * _WIDTH + 1]
        self._used += 1
        if self._used > self._slots * _FULL:
            self._grow()
            slot = self._at(digest) // _WIDTH
        at = slot * _WIDTH
        self._cells[at], self._cells[at + 1] = digest, number
        return 0

    def match(self, digests: Iterable[int], firsts: Iterable[int]) -> Iterator[int | None]:
        """For each digest with its first number, yield the second one; None where it has another first, or none."""
        cells, mask = self._cells, self._slots - 1
        for digest, first in zip(digests, firsts, strict=True):
            slot = digest & mask
            while (found := cells[slot * _WIDTH]) and found != digest:
                slot = (slot + 1) & mask
            at = slot * _WIDTH
            yield cells[at + 2] if found and cells[at + 1] == first else None

    def seconds(self, digests: Iterable[int]) -> Iterator[int]:
        """Yield the second number of each digest that has one."""
        cells, mask = self._cells, self._slots - 1
        for digest in digests:
            slot = digest & mask
            while (found := cells[slot * _WIDTH]) and found != digest:
                slot = (slot + 1) & mask
            if found:
                yield cells[slot * _WIDTH + 2]

    @property
    def cells(self) -> array[int]:
        """The table itself, for `restore`."""
        return self._cells

    def restore(self, cells: array[int], used: int) -> bool:
        """Take the table of another index; False when it cannot be one."""
        slots = len(cells) // _WIDTH
        sound = len(cells) == slots * _WIDTH and slots >= _FIRST_SLOTS and not slots & (slots - 1)
        if not sound or not 0 <= used <= slots * _FULL:
            return False
        self._slots, self._cells, self._used = slots, cells, used
        return True

    def clear_bit(self, bit: int) -> None:
        """Take a bit out of every second number."""
        cells, keep = self._cells, ~bit
        for at in range(2, len(cells), _WIDTH):
            if cells[at] & bit:
                cells[at] &= keep

    def items(self) -> Iterator[tuple[int, int, int]]:
        """Every digest with its two numbers, in no order."""
        cells = self._cells
        return ((cells[at], cells[at + 1], cells[at + 2]) for at in range(0, len(cells), _WIDTH) if cells[at])

    def _at(self, digest: int) -> int:
        cells, mask = self._cells, self._slots - 1
        slot = digest & mask
        while (found := cells[slot * _WIDTH]) and found != digest:
            slot = (slot + 1) & mask
        return slot * _WIDTH

    def _grow(self) -> None:
        old = self._cells
        self._slots *= 2
        mask = self._slots - 1
        cells = self._cells = array("Q", bytes(8 * _WIDTH * self._slots))
        for at in range(0, len(old), _WIDTH):
            if digest := old[at]:
                slot = digest & mask
                while cells[slot * _WIDTH]:
                    slot = (slot + 1) & mask
                cells[slot * _WIDTH : (slot + 1) * _WIDTH] = old[at : at + _WIDTH]
