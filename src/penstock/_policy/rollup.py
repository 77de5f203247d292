"""Sums of calls and attempts by hour, provider, model, operation, outcome and tags.

A call counts under the lane that answered it and under its own outcome, an attempt under the lane that it went to and
under its own: so money by model is right where a call fell back, and an error rate counts calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import Final

import msgspec
from msgspec.structs import astuple

from ..events import AttemptEnded, CallEnded
from ..types import Usage
from .sketch import Counts, bucket

HOUR_S: Final = 3600
DAY_S: Final = 86_400

USAGE: Final = tuple(name for name in Usage.__struct_fields__ if name != "estimated")
"""The buckets of a usage, in its order."""

OF_CALLS: Final = (
    "calls",
    "cached",
    "saved_nano",
    "batched",
    "batch_saved_nano",
    "routed",
    "route_saved_nano",
    "latency_us",
)
OF_ATTEMPTS: Final = (
    "attempts",
    "refused",
    "retries",
    "cost_nano",
    "unpriced",
    "estimated",
    "estimated_nano",
    "wait_us",
)
SUMS: Final = (*OF_CALLS, *OF_ATTEMPTS, *USAGE)
"""What is added up.

Of calls: how many, how many the cache answered and what that saved; how many went through a provider's batch and what
that saved; for how many a tier chose the model and what that saved against the strongest; their latencies.
Of attempts: how many were sent, refused before that, or repeated another; what they cost, how many of them have no
known price, how many have an estimated usage and what those cost; what they waited. And the tokens.
"""

_CALLS, _CACHED, _SAVED, _BATCHED, _BATCH_SAVED, _ROUTED, _ROUTE_SAVED, _LATENCY = range(8)
_ATTEMPTS, _REFUSED, _RETRIES, _COST, _UNPRICED, _ESTIMATED, _ESTIMATED_NANO, _WAIT = range(8, 16)
_TOKENS: Final = 16
_INPUT, _OUTPUT = (_TOKENS + USAGE.index(name) for name in ("input", "output"))
assert Usage.__struct_fields__[-1] == "estimated"
_EMPTY: Final = (0,) * len(SUMS)


Key = tuple[int, str, str, str, str, str]
"""The hour (its start, seconds since 1970, UTC), provider, model, operation, outcome, and tags written as JSON."""


class Sums(msgspec.Struct):
    """One row: the figures of `SUMS`, and how long calls and their first tokens took."""

    figures: list[int]
    latency: Counts
    first: Counts


class Alike(msgspec.Struct, kw_only=True):
    """Calls of one key that had one attempt each, which ended as they did, and no tokens but input and output.

    Their latencies, those of first tokens where there were any, and what the others of their figures add up to.
    """

    latency_us: Sequence[int]
    first_us: Sequence[int]
    wait_us: int
    input: int
    output: int
    cost_nano: int
    unpriced: int
    estimated: bool


class Rollup:
    """Adds events up. `rows` has what came of it."""

    def __init__(self) -> None:
        self.rows: dict[Key, Sums] = {}

    def _row(self, event: CallEnded | AttemptEnded, tags: str) -> Sums:
        hour = int(event.at_s // HOUR_S) * HOUR_S
        return self._at((hour, event.provider, event.model, event.operation, event.outcome, tags))

    def _at(self, key: Key) -> Sums:
        found = self.rows.get(key)
        if found is None:
            found = self.rows[key] = Sums(list(_EMPTY), {}, {})
        return found

    def call(self, event: CallEnded, tags: str) -> None:
        """Add a call."""
        _add_call(self._row(event, tags), event)

    def attempt(self, event: AttemptEnded, tags: str) -> None:
        """Add an attempt."""
        _add_attempt(self._row(event, tags).figures, event)

    def alike(self, key: Key, calls: Alike) -> None:
        """Add many calls and their attempts at once."""
        row, count = self._at(key), len(calls.latency_us)
        figures = row.figures
        figures[_CALLS] += count
        figures[_LATENCY] += sum(calls.latency_us)
        figures[_ATTEMPTS] += count
        figures[_COST] += calls.cost_nano
        figures[_UNPRICED] += calls.unpriced
        figures[_WAIT] += calls.wait_us
        figures[_INPUT] += calls.input
        figures[_OUTPUT] += calls.output
        if calls.estimated:
            figures[_ESTIMATED] += count
            figures[_ESTIMATED_NANO] += calls.cost_nano
        for into, durations in ((row.latency, calls.latency_us), (row.first, calls.first_us)):
            for us in durations:
                at = bucket(us)
                into[at] = into.get(at, 0) + 1


def _add_call(row: Sums, event: CallEnded) -> None:
    figures = row.figures
    figures[_CALLS] += 1
    if event.batch:
        figures[_BATCHED] += 1
        if event.full_nano is not None and event.cost_nano is not None:
            figures[_BATCH_SAVED] += event.full_nano - event.cost_nano
    else:  # a batch takes up to a day, which says nothing about the latency of calls
        us = event.latency_s * 1e6
        figures[_LATENCY] += int(us)
        at = bucket(us)
        latency = row.latency
        latency[at] = latency.get(at, 0) + 1
    if event.cached:
        figures[_CACHED] += 1
        figures[_SAVED] += event.saved_nano or 0
    if event.strongest_nano is not None and event.cost_nano is not None:
        figures[_ROUTED] += 1
        figures[_ROUTE_SAVED] += event.strongest_nano - event.cost_nano
    first_s = event.first_token_s
    if first_s is not None:
        at = bucket(first_s * 1e6)
        row.first[at] = row.first.get(at, 0) + 1


def _add_attempt(figures: list[int], event: AttemptEnded) -> None:
    if not event.sent:
        figures[_REFUSED] += 1
        return
    figures[_ATTEMPTS] += 1
    if event.number > 1:
        figures[_RETRIES] += 1
    if event.wait_s:
        figures[_WAIT] += int(event.wait_s * 1e6)
    cost, usage = event.cost_nano, event.usage
    if cost is None:
        figures[_UNPRICED] += 1
    else:
        figures[_COST] += cost
    if usage is None:
        return
    figures[_TOKENS:] = map(add, figures[_TOKENS:], astuple(usage))  # and not `estimated`, which comes last there
    if usage.estimated:
        figures[_ESTIMATED] += 1
        figures[_ESTIMATED_NANO] += cost or 0
