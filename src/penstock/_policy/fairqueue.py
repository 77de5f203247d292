"""Who goes next: first in first out inside a priority class, weighted fairness between the classes, O(1) removal."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Literal, Protocol, TypeVar

Priority = Literal["interactive", "normal", "batch"]
WEIGHTS: dict[Priority, float] = {"interactive": 8.0, "normal": 4.0, "batch": 1.0}
AGEING_S = 30.0  # a head that has waited this long counts twice its weight, after 60 s three times, and so on


class Queued(Protocol):
    """What the queue must know of its members, which it tells apart by identity."""

    priority: Priority
    returned: bool
    asked_at: float


T = TypeVar("T", bound=Queued)


class _Line(Generic[T]):
    """One class: those that the provider sent back go before those that never went."""

    __slots__ = ("due", "fresh", "returned", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.due = 0.0
        self.fresh: OrderedDict[T, None] = OrderedDict()
        self.returned: OrderedDict[T, None] = OrderedDict()


class FairQueue(Generic[T]):
    """Weighted fair queueing: each class has a virtual time at which it is due, and the earliest class goes.

    A class pays for what it sends, divided by its weight, so the shares hold for any mix of sizes, no class starves,
    and a class that was idle gains nothing by it.
    """

    __slots__ = ("_clock", "_lines", "size")

    def __init__(self) -> None:
        self._lines: dict[Priority, _Line[T]] = {name: _Line(weight) for name, weight in WEIGHTS.items()}
        self._clock = 0.0
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def waiting(self, priority: Priority) -> int:
        """How many of one class wait."""
        line = self._lines[priority]
        return len(line.fresh) + len(line.returned)

    def push(self, ticket: T) -> None:
        """Put a ticket at the end of its class, or behind those sent back when it was sent back itself."""
        line = self._lines[ticket.priority]
        if not line.fresh and not line.returned and line.due < self._clock:
            line.due = self._clock
        (line.returned if ticket.returned else line.fresh)[ticket] = None
        self.size += 1

    def remove(self, ticket: T) -> None:
        """Take a waiting ticket out, wherever it stands."""
        line = self._lines[ticket.priority]
        del (line.returned if ticket.returned else line.fresh)[ticket]
        self.size -= 1

    def head(self) -> T | None:
        """The ticket whose turn it is; it keeps its turn whatever its size until a more urgent class is due."""
        best: _Line[T] | None = None
        for line in self._lines.values():
            if (line.fresh or line.returned) and (best is None or line.due < best.due):
                best = line
        return None if best is None else next(iter(best.returned or best.fresh))

    def pop(self, ticket: T, now: float, share: float) -> None:
        """Take the head, which uses `share` (0 to 1) of the scarcest limit."""
        self.remove(ticket)
        line = self._lines[ticket.priority]
        self._clock = max(self._clock, line.due)
        waited_s = max(0.0, now - ticket.asked_at)
        line.due += share / (line.weight * (1.0 + waited_s / AGEING_S))
