"""What clients look like at the moment of a scrape: limiters, breakers, budgets, caches; nothing is kept between."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from .._io.base_client import BaseClient
from .._policy.budget import BudgetState
from ..errors import PenstockError
from ..types import to_usd
from .tallies import BREAKERS, STATES

AnyClient = BaseClient[Any, Any]


class LaneGauges:
    """All lanes that share one label pair, added up; of shares and states the worst counts."""

    def __init__(self) -> None:
        self.waiting = 0
        self.in_flight = 0
        self.used: dict[str, float] = {}
        self.limit: dict[str, float] = {}
        self.utilization: dict[str, float] = {}
        self.breakers = dict.fromkeys(BREAKERS, 0)

    def add(self, lane: Any) -> None:
        """Take in a lane."""
        limiter = lane.limiter
        self.waiting += limiter.queued
        self.in_flight += limiter.in_flight
        for dimension in limiter.dimensions:
            name = dimension.name if dimension.period_s == 60.0 else f"{dimension.name}_per_{dimension.period_s:g}s"
            self.used[name] = self.used.get(name, 0.0) + dimension.used_in_window
            self.limit[name] = self.limit.get(name, 0.0) + dimension.limit
            self.utilization[name] = max(self.utilization.get(name, 0.0), dimension.utilisation)
        for breaker, state in (("lane", lane.breaker.state), ("account", lane.account.state)):
            self.breakers[breaker] = max(self.breakers[breaker], STATES.index(state))


class Clients:
    """The clients that are watched, for as long as they live and are open."""

    def __init__(self) -> None:
        self._watched: weakref.WeakSet[AnyClient] = weakref.WeakSet()

    def add(self, client: AnyClient) -> None:
        """Watch a client."""
        self._watched.add(client)

    def _open(self) -> list[AnyClient]:
        return [client for client in list(self._watched) if not client._gate.closed]

    def lanes(self, labels: Callable[[str, str], tuple[str, str]]) -> dict[tuple[str, str], LaneGauges]:
        """Return the lanes by their labels."""
        found: dict[tuple[str, str], LaneGauges] = {}
        for client in self._open():
            for lane in client.lanes():
                provider, _, model = lane.name.partition(":")
                found.setdefault(labels(provider, model), LaneGauges()).add(lane)
        return found

    def budgets(self) -> dict[str, dict[str, float]]:
        """Return cap, spent, held and left in dollars by kind of scope, where something is capped.

        Budgets of several clients add up; one that they share in a file counts once.
        """
        states: dict[object, BudgetState] = {}
        for client in self._open():
            try:
                states[getattr(client._gate.budget, "path", id(client))] = client.budget()
            except PenstockError as error:
                logging.getLogger("penstock").warning("the budget is left out of the metrics: %s", error)
        return _summed(states.values())

    def caches(self) -> tuple[int, int] | None:
        """Return how many answers caches hold and how large they are; None without a cache."""
        found = [state for client in self._open() if (state := client.cache()) is not None]
        return (sum(state.entries for state in found), sum(state.bytes for state in found)) if found else None


def _summed(states: Iterable[BudgetState]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for state in states:
        for scope in state.scopes:
            kind = scope.name.partition(" ")[0]
            if scope.cap_nano is None or kind == "tag":  # tags are no labels
                continue
            sums = found.setdefault(kind, {"cap": 0.0, "spent": 0.0, "held": 0.0, "remaining": 0.0})
            sums["cap"] += float(to_usd(scope.cap_nano))
            sums["spent"] += float(to_usd(scope.spent_nano))
            sums["held"] += float(to_usd(scope.held_nano))
            sums["remaining"] += float(to_usd(scope.left_nano or 0))
    return found
