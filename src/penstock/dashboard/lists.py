"""Lists of single calls: the dearest, the slowest, those that failed, the latest.

No list goes through all calls of a period. It is put together once, from what the ledger notes of each day and from the
hours that have calls that fit; after that it takes in what is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from ..ledger import CallRow, LedgerReader, Period, Where
from .asked import DAY_S, HOUR_S
from .view import Lists, Row

SHOWN: Final = 12
"""Calls in a list."""
SPARE: Final = 3 * SHOWN
"""Calls kept for a list, as some leave the period."""
KEPT_S: Final = 600.0
ROWS_MAX: Final = 100_000
"""So many calls of a period without sums of their kind are gone through, at first; more are not."""
NOTED_MAX: Final = 2_000
NEW_MAX: Final = 2_000
"""New calls are read in slices of so many; lists that miss `SLICES_MAX` slices are put together anew."""
SLICES_MAX: Final = 10
HOURS_MAX: Final = 60
"""In so many hours that have fitting calls they are looked for."""
FILTERS_MAX: Final = 50

Kind = Literal["dearest", "slowest"]


class _Kept(msgspec.Struct):
    """The lists of one filter and period, longer than they are shown."""

    where: Where
    since: int
    made_s: float
    dearest: list[CallRow]
    slowest: list[CallRow]
    failed: list[CallRow]
    latest: list[CallRow]
    whole: bool

    def take(self, call: CallRow) -> None:
        """Take a new call in, where it belongs."""
        if not fits(call, self.where):
            return
        self.latest.append(call)
        if call.outcome != "ok":
            self.failed.append(call)
        if call.cost_nano:
            self.dearest.append(call)
        if not call.batch:
            self.slowest.append(call)

    def trim(self, since: int) -> None:
        """Let go of what left the period or is not among the first."""
        for calls, order in (
            (self.dearest, _cost), (self.slowest, _latency), (self.failed, _time), (self.latest, _time),
        ):  # fmt: skip
            unique = {call.id: call for call in calls if call.at_s >= since}
            calls[:] = sorted(unique.values(), key=order, reverse=True)[:SPARE]


class Calls:
    """The lists of an open ledger."""

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self._last: int | None = None
        self._kept: dict[tuple[str, int], _Kept] = {}

    def read(self, where: Where, since: int, until: int, span_s: int, now_s: float) -> Lists:
        """Read the lists of the calls from `since` on that fit; lists of a longer `span_s` are others."""
        self._catch_up()
        key = (repr(where), span_s)
        kept = self._kept.get(key)
        if kept is None or now_s - kept.made_s > KEPT_S:
            if len(self._kept) >= FILTERS_MAX:
                self._kept.clear()
            kept = self._kept[key] = self._made(where, since, until, now_s)
        kept.trim(since)
        return Lists(
            dearest=_rows(kept.dearest),
            slowest=_rows(kept.slowest),
            failed=_rows(kept.failed),
            latest=_rows(kept.latest),
            whole=kept.whole,
        )

    def _catch_up(self) -> None:
        """Give all lists the calls that are new."""
        if self._last is None or not self._kept:
            newest = self._reader.tail(limit=1)
            self._last = newest[-1].id if newest else 0
            return
        for _ in range(SLICES_MAX):
            new = self._reader.tail(self._last, NEW_MAX)
            for call in new:
                for kept in self._kept.values():
                    kept.take(call)
            if new:
                self._last = new[-1].id
                for kept in self._kept.values():
                    kept.trim(kept.since)
            if len(new) < NEW_MAX:
                return
        self._kept.clear()
        self._last = None
        self._catch_up()

    def _made(self, where: Where, since: int, until: int, now_s: float) -> _Kept:
        dearest, all_dear = self._highest("dearest", where, since, until)
        slowest, all_slow = self._highest("slowest", where, since, until)
        return _Kept(
            where=where,
            since=since,
            made_s=now_s,
            dearest=dearest,
            slowest=slowest,
            failed=self._newest(msgspec.structs.replace(where, outcome="failed"), since, until),
            latest=self._newest(where, since, until),
            whole=all_dear and all_slow,
        )

    def _newest(self, where: Where, since: int, until: int) -> list[CallRow]:
        """Look in the hours that have such calls, the last first."""
        found: list[CallRow] = []
        for hours, hour in enumerate(self._hours(where, since, until), 1):
            of_hour = _period(max(since, hour), hour + HOUR_S)
            found += self._reader.calls(of_hour, where, order="newest", limit=SPARE - len(found))
            if len(found) >= SPARE or hours >= HOURS_MAX:
                break
        return found

    def _hours(self, where: Where, since: int, until: int) -> Iterator[int]:
        """Yield the hours that have such calls, the last first; stretches further back are longer."""
        days, end = 1, until
        while end > since:
            start = max(since, end // DAY_S * DAY_S - days * DAY_S)
            for day in reversed(self._reader.series(_period(start, end), where, step="day", percentiles=False)):
                if day.figures.calls:
                    of_day = _period(max(start, day.start_s), min(end, day.start_s + DAY_S))
                    hours = self._reader.series(of_day, where, step="hour", percentiles=False)
                    yield from (hour.start_s for hour in reversed(hours) if hour.figures.calls)
            days, end = days * 3, start

    def _highest(self, kind: Kind, where: Where, since: int, until: int) -> tuple[list[CallRow], bool]:
        """Return the dearest or slowest calls, and whether they are all of them."""
        first = -(-since // DAY_S) * DAY_S
        last = -(-until // DAY_S) * DAY_S
        parts = [(since, min(first, until))] if since < first else []
        if first < last:
            parts.append((first, last))
        found: list[CallRow] = []
        whole = True
        for start, end in parts:
            calls, all_of_them = self._highest_of(kind, where, start, end)
            found += calls
            whole = whole and all_of_them
        return found, whole

    def _highest_of(self, kind: Kind, where: Where, start: int, end: int) -> tuple[list[CallRow], bool]:
        """Return those of whole days, which have them noted by model, or of a part of one; a task has few calls."""
        noted = where.task is not None or (start % DAY_S == 0 and not where.tags)
        of_model = Where(model=where.model)
        if noted or self._reader.stats(_period(start, end), of_model).total.calls <= ROWS_MAX:
            return self._reader.calls(_period(start, end), where, order=kind, limit=SPARE), True
        days = _period(start // DAY_S * DAY_S, -(-end // DAY_S) * DAY_S)
        calls = self._reader.calls(days, of_model, order=kind, limit=NOTED_MAX)
        return [call for call in calls if start <= call.at_s < end and fits(call, where)][:SPARE], False


def fits(call: CallRow, where: Where) -> bool:
    """Whether a call is one of those asked for, by model and tags."""
    tags = where.tags if where.task is None else {**where.tags, "task": where.task}
    return (where.model is None or where.model == f"{call.provider}:{call.model}") and tags.items() <= call.tags.items()


def _period(start: float, end: float) -> Period:
    return Period(float(start), float(end), "")


def _time(call: CallRow) -> float:
    return call.at_s


def _latency(call: CallRow) -> float:
    return call.latency_s


def _cost(call: CallRow) -> float:
    return call.cost_nano or 0


def _rows(calls: list[CallRow]) -> list[Row]:
    return [_row(call) for call in calls[:SHOWN]]


def _row(call: CallRow) -> Row:
    usage = call.usage
    return Row(
        id=call.call_id,
        at_s=call.at_s,
        model=f"{call.provider}:{call.model}",
        operation=call.operation,
        tags=call.tags,
        tokens=0 if usage is None else usage.total,
        attempts=call.attempts,
        first_token_s=call.first_token_s,
        latency_s=call.latency_s,
        cost_nano=call.cost_nano,
        estimated=usage is not None and usage.estimated,
        outcome=call.outcome,
        cached=call.cached,
    )
