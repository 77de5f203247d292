"""Requests of many inputs, of which some are refused: which is asked next, and which input it was.

    rejected, of several ─▶ its halves are asked instead            rejected, of one ─▶ that input is bad
    both halves accepted ─▶ it was too large, and so is every request that is larger in count and in tokens

A single bad input among n costs ceil(log2 n) + 1 rejections. Where nothing at all is accepted, not even single inputs,
the fault is not with an input, and the rest is not asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Literal

HOPELESS: Final = 3
"""Single inputs refused, with nothing accepted before, after which no other is asked."""

Verdict = Literal["split", "bad", "hopeless"]


class Pack:
    """The inputs of one request, by their numbers, and the rejected one that it is a half of."""

    __slots__ = ("numbers", "parent", "tokens", "whole_halves")

    def __init__(self, numbers: Sequence[int], tokens: int, parent: Pack | None = None) -> None:
        self.numbers = numbers
        self.tokens = tokens
        self.parent = parent
        self.whole_halves = 0

    def __len__(self) -> int:
        return len(self.numbers)


class Splits:
    """What is still to be asked. Each pack that `next` gives is to be `accepted`, `rejected` or put back by `again`."""

    def __init__(self, packs: Iterable[Sequence[int]], weights: Sequence[int]) -> None:
        self._weights = weights
        self._fresh = deque(packs)
        self._halves: list[Pack] = []
        self._too_large: list[Pack] = []
        self._accepted = 0
        self._bad = 0
        self.rejections = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._halves)

    def next(self) -> Pack | None:
        """Return what to ask next, None when all is asked: halves first, so that a bad input is known early."""
        while True:
            if self._halves:
                pack = self._halves.pop()
            elif self._fresh:
                pack = self._made(self._fresh.popleft(), None)
            else:
                return None
            if len(pack) == 1 or not any(
                len(pack) >= len(known) and pack.tokens >= known.tokens for known in self._too_large
            ):
                return pack
            self.halve(pack)

    def accepted(self, pack: Pack) -> None:
        """The pack was answered."""
        self._accepted += 1
        parent = pack.parent
        if parent is not None:
            parent.whole_halves += 1
            if parent.whole_halves == 2:
                self._too_large.append(parent)

    def rejected(self, pack: Pack) -> Verdict:
        """The pack was refused for what is in it, or for how much that is."""
        self.rejections += 1
        if len(pack) > 1:
            self._halves += reversed(self._halved(pack, pack))
            return "split"
        self._bad += 1
        return "hopeless" if not self._accepted and self._bad >= HOPELESS and len(self) else "bad"

    def again(self, pack: Pack) -> None:
        """The pack was not asked after all; it comes next."""
        self._halves.append(pack)

    def halve(self, pack: Pack) -> None:
        """The pack was not asked, and is to be smaller; its halves come next."""
        self._halves += reversed(self._halved(pack, None))

    def _halved(self, pack: Pack, parent: Pack | None) -> list[Pack]:
        middle = (len(pack) + 1) // 2
        return [self._made(half, parent) for half in (pack.numbers[:middle], pack.numbers[middle:])]

    def _made(self, numbers: Sequence[int], parent: Pack | None) -> Pack:
        return Pack(numbers, sum(map(self._weights.__getitem__, numbers)), parent)
