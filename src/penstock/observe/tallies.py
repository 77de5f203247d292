"""What happened so far, as counts under a closed set of labels; an event costs about a microsecond.

Labels are bounded by construction: providers are rows of the settings, models beyond `most` are 'other', outcomes are
the codes of the error tree, operations are those of `events`. Tags and ids are never labels.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import Final, get_args

from .._policy.alerts import BudgetAlert
from ..errors import all_errors
from ..events import AttemptEnded, CallEnded, LaneChanged, Operation, RecordsLost
from ..types import Usage

OTHER: Final = "other"
OUTCOMES: Final = frozenset({"ok", "cancelled", "bug", OTHER} | {error.code for error in all_errors()})
OPERATIONS: Final = frozenset(get_args(Operation)) | {OTHER}
TOKENS: Final = ("input", "cache_read", "cache_write", "output", "reasoning", "audio_in", "audio_out")
BREAKERS: Final = ("lane", "account")
STATES: Final = ("closed", "half_open", "open")
"""Of a breaker, better before worse."""

SCOPES: Final = ("total", "day", "month", "client", "tag")
"""The kinds of a budget's accounts."""

SAVINGS: Final = ("cache", "batch", "routing")

CALL_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FIRST_TOKEN_S: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
WAIT_S: Final = (0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


class Histogram:
    """How many values fell between the bounds, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Take in a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Calls:
    """How many calls of a lane ended in one way, and how long those took."""

    __slots__ = ("count", "durations", "lane")

    def __init__(self, lane: Lane, durations: Histogram) -> None:
        self.count = 0
        self.durations = durations
        self.lane = lane


class Lane:
    """Counts of one label pair of provider and model."""

    __slots__ = (
        "attempts",
        "cache_hits",
        "calls",
        "changes",
        "cost_nano",
        "durations",
        "first_token",
        "refused",
        "retries",
        "saved_nano",
        "tokens",
        "unpriced",
        "wait",
    )

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], Calls] = {}
        self.durations: dict[tuple[str, bool], Histogram] = {}
        self.first_token = Histogram(FIRST_TOKEN_S)
        self.wait = Histogram(WAIT_S)
        self.attempts: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.retries = 0
        self.tokens = [0] * len(TOKENS)
        self.cost_nano = 0
        self.unpriced = 0
        self.cache_hits = 0
        self.saved_nano = dict.fromkeys(SAVINGS, 0)
        self.changes = {(breaker, state): 0 for breaker in BREAKERS for state in STATES}

    def use(self, usage: Usage) -> None:
        """Count tokens."""
        tokens = self.tokens
        tokens[0] += usage.input
        tokens[1] += usage.cache_read
        tokens[2] += usage.cache_write_5m + usage.cache_write_30m + usage.cache_write_1h + usage.cache_write_12h
        tokens[3] += usage.output
        tokens[4] += usage.reasoning
        tokens[5] += usage.audio_in
        tokens[6] += usage.audio_out


class Tallies:
    """All counts of one exporter; events may come from many threads. `lock` is held while they change."""

    def __init__(self, most: int) -> None:
        self.lock = threading.Lock()
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.alerts = dict.fromkeys(SCOPES, 0)
        self.lost = 0
        self._most = most
        self._calls: dict[tuple[str, str, str, str], Calls] = {}

    def labels(self, provider: str, model: str) -> tuple[str, str]:
        """Return the labels of a model: its own while there is room, else 'other'; the caller holds the lock."""
        key = (provider, model)
        if key not in self.lanes:
            if len(self.lanes) >= self._most:
                key = (provider, OTHER)
            self.lanes.setdefault(key, Lane())
        return key

    def lane(self, provider: str, model: str) -> Lane:
        """Find or begin the counts of a model; the caller holds the lock."""
        return self.lanes[self.labels(provider, model)]

    def call(self, event: CallEnded) -> None:
        """Count a call that ended."""
        key = (event.provider, event.model, event.operation, event.outcome)
        with self.lock:
            calls = self._calls.get(key) or self._like(*key)
            lane = calls.lane
            calls.count += 1
            calls.durations.add(event.latency_s)
            if event.first_token_s is not None:
                lane.first_token.add(event.first_token_s)
            if event.cached:
                lane.cache_hits += 1
                lane.saved_nano["cache"] += event.saved_nano or 0
            cost = event.cost_nano
            if cost is not None:
                if event.full_nano is not None:
                    lane.saved_nano["batch"] += max(0, event.full_nano - cost)
                if event.strongest_nano is not None:
                    lane.saved_nano["routing"] += max(0, event.strongest_nano - cost)

    def _like(self, provider: str, model: str, operation: str, outcome: str) -> Calls:
        """Find or begin the counts of such calls, remembered where their labels are their own: those are bounded."""
        labels = self.labels(provider, model)
        lane = self.lanes[labels]
        key = (operation if operation in OPERATIONS else OTHER, outcome if outcome in OUTCOMES else OTHER)
        found = lane.calls.get(key)
        if found is None:
            durations = lane.durations.setdefault((key[0], key[1] == "ok"), Histogram(CALL_S))
            found = lane.calls[key] = Calls(lane, durations)
        if (*labels, *key) == (provider, model, operation, outcome):
            self._calls[provider, model, operation, outcome] = found
        return found

    def attempt(self, event: AttemptEnded) -> None:
        """Count an exchange, or one that was refused before it was sent."""
        outcome = event.outcome
        with self.lock:
            lane = self.lanes.get((event.provider, event.model)) or self.lane(event.provider, event.model)
            if event.wait_s:
                lane.wait.add(event.wait_s)
            else:
                lane.wait.counts[0] += 1
            counts = lane.attempts if event.sent else lane.refused
            if outcome not in counts:
                outcome = outcome if outcome in OUTCOMES else OTHER
                counts.setdefault(outcome, 0)
            counts[outcome] += 1
            if not event.sent:
                return
            if event.number > 1:
                lane.retries += 1
            if event.usage is not None:
                lane.use(event.usage)
            if event.cost_nano is None:
                lane.unpriced += 1
            else:
                lane.cost_nano += event.cost_nano

    def changed(self, event: LaneChanged) -> None:
        """Count a breaker that went into another state."""
        provider, _, model = event.lane.partition(":")
        key: tuple[str, str] = ("account" if event.account else "lane", event.state)
        with self.lock:
            self.lane(provider, model).changes[key] += 1

    def alert(self, event: BudgetAlert) -> None:
        """Count an alert by the kind of its scope."""
        kind = event.scope.partition(" ")[0]
        with self.lock:
            self.alerts[kind] += 1

    def records_lost(self, event: RecordsLost) -> None:
        """Count events that a subscriber did not get."""
        with self.lock:
            self.lost += event.count
