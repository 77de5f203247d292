"""The planner of a job: which row may start now, on which lane, and what a row's failure means for the whole run.

    pick ──▶ Start | Wait | Stop          answered · failed ──▶ "record" | "again" | "leave"

It holds no rows and knows no clock: `now` is an instant of the caller's monotonic clock. A lane here is a model of the
job as the user wrote it. The limiter of the client paces each lane; the planner only decides who stands before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import msgspec

from ..errors import BreakerOpen, BudgetExceeded, BudgetUnavailable, ConfigError, PenstockError

Verdict = Literal["record", "again", "leave"]
StopReason = Literal["interrupted", "budget", "refused", "outage", "output", "failed", "submitted"]

FIRST_IN_FLIGHT: Final = 8
"""Calls on a lane before its first answer, so that a wrong key or model wastes few of them."""

FATAL: Final = frozenset({"authentication", "permission", "quota_exhausted", "not_found"})
"""Failures that the next row of the same lane will share."""

FATAL_MAX: Final = 3
"""Fatal failures in a row that close a lane."""

SAME_MAX: Final = 20
"""Rows that may fail in the same way before the first answer, and in a row for the key, the account or the name of the
model that they name themselves; then the run stops instead of burning all rows."""

OUTAGE_S: Final = 300.0
"""How long all lanes may be shut by their breakers, or others may hold the rest of a budget, before the run gives up.

It can be resumed later.
"""

NEVER_UP_S: Final = 60.0
"""The same before the first answer, when the address may simply be wrong."""

AGAIN_S: Final = 1.0
"""The wait before a shut lane is tried again when nobody said how long it stays shut."""


class Start(msgspec.Struct, frozen=True):
    """Send the row to this model."""

    model: str


class Wait(msgspec.Struct, frozen=True):
    """Ask again when a call ended, or at `until`."""

    until: float | None


class Stop(msgspec.Struct, frozen=True):
    """Start nothing more."""

    reason: StopReason


class LaneCount(msgspec.Struct, frozen=True, kw_only=True):
    """One lane of the job as it stands."""

    model: str
    in_flight: int
    answered: int
    failed: int
    closed: bool


class _Lane:
    __slots__ = (
        "answered",
        "cause",
        "closed",
        "failed",
        "fatal",
        "in_flight",
        "model",
        "paused_until",
        "shut_since",
        "weight",
    )

    def __init__(self, model: str, weight: float = 1.0) -> None:
        self.model = model
        self.weight = weight
        self.in_flight = 0
        self.answered = 0
        self.failed = 0
        self.fatal = 0
        self.cause: PenstockError | None = None
        self.closed = False
        self.paused_until = 0.0
        self.shut_since: float | None = None

    def ready(self, now: float) -> bool:
        return self.paused_until <= now and (self.answered > 0 or self.in_flight < FIRST_IN_FLIGHT)


class Planner:
    """Decides for one run over `models`, which may have weights; rows that name a model of their own get a lane of it.

    Each `Start` owes exactly one `answered` or `failed`. Once `reason` is set nothing starts; `cause` is the error that
    stopped the run, None when somebody asked for it.
    """

    def __init__(self, models: Sequence[str] | Mapping[str, float] = ()) -> None:
        self.reason: StopReason | None = None
        self.cause: PenstockError | None = None
        self.in_flight = 0
        weights = models if isinstance(models, Mapping) else dict.fromkeys(models, 1.0)
        self._pool = [_Lane(model, weight) for model, weight in weights.items()]
        self._lanes = {lane.model: lane for lane in self._pool}
        self._answered = 0
        self._same: tuple[str, int] = ("", 0)
        self._starved = False
        self._credit = 0
        self._held_since: float | None = None

    @property
    def lanes(self) -> tuple[LaneCount, ...]:
        """Every lane used so far."""
        return tuple(
            LaneCount(
                model=lane.model,
                in_flight=lane.in_flight,
                answered=lane.answered,
                failed=lane.failed,
                closed=lane.closed,
            )
            for lane in self._lanes.values()
        )

    def stop(self, reason: StopReason, cause: PenstockError | None = None) -> None:
        """Start nothing more; the first reason given is the one that counts."""
        if self.reason is None:
            self.reason = reason
            self.cause = cause

    def pick(self, now: float, model: str | None = None, tried: Collection[str] = ()) -> Start | Wait | Stop:
        """Choose the lane for a row: its own `model`, else the emptiest of the pool that was not `tried` for it."""
        if self.reason is not None:
            return Stop(self.reason)
        if self._starved and self.in_flight and not self._credit:
            return Wait(None)
        lanes = self._candidates(model, tried)
        ready = [lane for lane in lanes if lane.ready(now)]
        if not ready:
            pauses = [lane.paused_until for lane in lanes if lane.paused_until > now]
            return Wait(min(pauses) if pauses else None)
        self._credit = max(0, self._credit - 1)
        chosen = min(ready, key=lambda lane: (lane.in_flight + 1) / lane.weight)
        chosen.in_flight += 1
        self.in_flight += 1
        return Start(chosen.model)

    def _candidates(self, model: str | None, tried: Collection[str]) -> list[_Lane]:
        if model is not None:
            return [self._lanes.setdefault(model, _Lane(model))]
        left = [lane for lane in self._pool if not lane.closed and lane.model not in tried]
        return left or [lane for lane in self._pool if not lane.closed] or self._pool

    def pause(self, model: str, until: float) -> None:
        """Start nothing on a lane before that, since its provider asked to wait; others go on."""
        lane = self._lanes.get(model)
        if lane is not None:
            lane.paused_until = max(lane.paused_until, until)

    def is_paused(self, now: float, model: str) -> bool:
        """Whether a lane stands still."""
        lane = self._lanes.get(model)
        return lane is not None and lane.paused_until > now

    def answered(self, model: str) -> None:
        """A row got its answer."""
        lane = self._leave(model)
        lane.answered += 1
        lane.fatal = 0
        lane.shut_since = None
        self._held_since = None
        self._answered += 1
        self._credit += 2 if self._starved else 0

    def abandoned(self, model: str) -> None:
        """A call was cancelled: it says nothing about its lane."""
        self._leave(model)

    def failed(
        self, now: float, model: str, error: PenstockError, *, own: bool, tried: Collection[str], special: bool = False
    ) -> Verdict:
        """A row failed for good as far as the client is concerned.

        `own` says that the row itself names the model, `special` that it has options of its own: a setting that is
        wrong may then be the row's.

        'record': its error is its result. 'again': give it back to `pick`. 'leave': the run stops, the row is undone.
        """
        lane = self._leave(model)
        self._credit += 1 if self._starved else 0
        match error:
            case BudgetExceeded(scope="per_call") if error.needed_nano is not None:
                # The row alone is too dear, and the others may be cheap: it is its result.
                lane.failed += 1
                return "record"
            case BudgetExceeded():
                return self._over_budget(now, lane, error)
            case BudgetUnavailable():
                self.stop("budget", error)
                return "leave"
            case BreakerOpen() if error.retriable:
                return self._shut(now, lane, error)
            case BreakerOpen() if not own:  # its key or its account was refused, as the next row's would be
                if now >= lane.paused_until:  # of many rows that meet the shut gate together the first one tells
                    self._count_fatal(lane, error)
                return "leave" if self.reason is not None else self._shut(now, lane, error)
            case ConfigError() if own or special:
                # Nothing was sent, and the other rows may be well: it is this row's result and counts against nobody.
                lane.failed += 1
                return "record"
            case ConfigError():
                self.stop("refused", error)
                return "leave"
        lane.failed += 1
        if error.code in FATAL or isinstance(error, BreakerOpen):
            return self._fatal_own(lane, error) if own else self._fatal(lane, error, tried)
        if error.retriable:
            self._same = ("", 0)
            return "record"
        return self._same_again(error)

    def _leave(self, model: str) -> _Lane:
        lane = self._lanes[model]
        lane.in_flight -= 1
        self.in_flight -= 1
        return lane

    def _over_budget(self, now: float, lane: _Lane, error: BudgetExceeded) -> Verdict:
        fits = error.needed_nano is not None and error.spent_nano + error.needed_nano <= error.cap_nano
        if fits and self.in_flight:
            # The rest is only held: what flies settles for less than its worst case, and that makes room again.
            self._starved = True
            self._credit = 0
            return "again"
        if fits and error.held_nano:
            # Others who share the budget hold it, and nothing here tells when they settle.
            self._held_since = now if self._held_since is None else self._held_since
            lane.paused_until = now + AGAIN_S
            if now - self._held_since <= OUTAGE_S:
                return "again"
        self.stop("budget", error)
        return "leave"

    def _shut(self, now: float, lane: _Lane, error: BreakerOpen) -> Verdict:
        lane.shut_since = now if lane.shut_since is None else lane.shut_since
        lane.paused_until = now + (error.retry_after_s or AGAIN_S)
        peers = [other for other in self._pool if not other.closed] if lane in self._pool else [lane]
        patience_s = OUTAGE_S if self._answered else NEVER_UP_S
        if all(other.shut_since is not None and now - other.shut_since > patience_s for other in peers):
            self.stop("outage", error)
            return "leave"
        return "again"

    def _fatal(self, lane: _Lane, error: PenstockError, tried: Collection[str]) -> Verdict:
        self._count_fatal(lane, error)
        others = [other for other in self._pool if not other.closed and other.model not in tried and other is not lane]
        return "again" if others and self.reason is None else "record"

    def _count_fatal(self, lane: _Lane, error: PenstockError) -> None:
        lane.fatal += 1
        if lane.fatal >= FATAL_MAX:
            lane.closed = True
            if all(other.closed for other in self._pool):
                self.stop("failed", error)

    def _fatal_own(self, lane: _Lane, error: PenstockError) -> Verdict:
        shut = isinstance(error, BreakerOpen) and lane.cause is not None  # by the refusals counted so far
        if lane.cause is None or not (shut or error.code == lane.cause.code):
            lane.fatal, lane.cause = 0, error
        lane.fatal += 1
        if lane.fatal >= SAME_MAX:
            self.stop("failed", lane.cause)
        return "record"

    def _same_again(self, error: PenstockError) -> Verdict:
        code, count = self._same
        self._same = (error.code, count + 1 if error.code == code else 1)
        if not self._answered and self._same[1] >= SAME_MAX:
            self.stop("failed", error)
        return "record"
