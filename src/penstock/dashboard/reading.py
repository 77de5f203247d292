"""The ledger as the page asks it: one `View` for a period and filter, one call with its attempts."""

from __future__ import annotations

import os
from typing import Any, Final

from .._policy.sketch import percentile
from ..ledger import CallDetail, Figures, LedgerReader, Period, Where, file_of
from .asked import DAY_S, HOUR_S, PERIODS, Asked
from .asked import Period as Span
from .lists import Calls
from .standing import budgets, daily, lanes
from .steps import KEPT_S, Step, Steps, total
from .view import (
    Before,
    ErrorSeries,
    LedgerShown,
    ModelSeries,
    Name,
    Names,
    Percentiles,
    PercentileSeries,
    PeriodShown,
    Series,
    Today,
    Tokens,
    TokenSeries,
    TotalsShown,
    View,
)

MODELS_SHOWN: Final = 5
ERRORS_SHOWN: Final = 5
"""As many as there are colours that everyone can tell apart; the others are one."""
STEPS_MOST: Final = 60
ALL_STEPS: Final = (HOUR_S, 6 * HOUR_S, DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S, 28 * DAY_S, 91 * DAY_S)
TAGS_MOST: Final = 300
NAMES_S: Final = 30.0
EVERYTHING: Final = Where()


class Reading:
    """An open ledger, for one thread.

    Raises: ConfigError when there is no ledger yet, LedgerUnavailable when it cannot be read, from every method.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = file_of(path)
        self._reader = LedgerReader(self._path)
        self._steps = Steps(self._reader)
        self._calls = Calls(self._reader)
        self._before: dict[tuple[Asked, int], tuple[float, Before]] = {}
        self._names: dict[tuple[str, int], tuple[float, Any]] = {}

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def version(self) -> int:
        """Return a number that changes with each commit of anyone."""
        return self._reader.version

    def call(self, name: str) -> CallDetail | None:
        """Return a call by its id."""
        return self._reader.call(name)

    def view(self, asked: Asked, now_s: float) -> View:
        """Return all that the page shows."""
        version = self._reader.version
        span = PERIODS[asked.period]
        since, until, step_s = self._frame(span, now_s)
        where = _where(asked)
        steps = self._steps.read(where, since, until, step_s, now_s)
        whole = total(step.whole for step in steps)
        standing = self._reader.live(now_s - DAY_S + 60)
        scopes = budgets(standing, now_s)
        return View(
            version=version,
            at=now_s,
            period=PeriodShown(
                name=span.name, label=span.label, words=span.words, since=since, until=until, step_s=step_s
            ),
            ledger=LedgerShown(
                name=os.path.basename(self._path),
                path=self._path,
                empty=not whole.calls and not self._reader.tail(limit=1),
            ),
            today=Today(spent_nano=self._spent_today(now_s), daily=daily(scopes, now_s)),
            budgets=scopes,
            totals=_totals(whole),
            previous=self._previous(asked, where, since, until, now_s),
            latency=_percentiles(whole.latency),
            first_token=_percentiles(whole.first),
            series=_series(steps, range(since, until, step_s)),
            lanes=lanes(standing, now_s),
            calls=self._calls.read(where, since, until, until - since, now_s),
            names=self._offered(asked, since, until, steps, now_s),
        )

    def _frame(self, span: Span, now_s: float) -> tuple[int, int, int]:
        """Return since, until and the step; both ends are on the border of a step, the running one included."""
        if span.span_s is not None:
            until = _end(span.step_s, now_s)
            return until - span.span_s, until, span.step_s
        began_s = self._reader.began_s()
        first = int(now_s if began_s is None else began_s)
        for step_s in ALL_STEPS:
            until = _end(step_s, now_s)
            count = max(1, -(-(until - first) // step_s))
            if count <= STEPS_MOST or step_s == ALL_STEPS[-1]:
                break
        return until - max(12, count) * step_s, until, step_s

    def _spent_today(self, now_s: float) -> int:
        """Add up the UTC day, whatever the filter: it is the day of budgets."""
        day = int(now_s) // DAY_S * DAY_S
        steps = self._steps.read(EVERYTHING, day, _end(HOUR_S, now_s), HOUR_S, now_s)
        return sum(step.whole.cost_nano for step in steps)

    def _previous(self, asked: Asked, where: Where, since: int, until: int, now_s: float) -> Before | None:
        """Return what the period of the same length before came to, up to the same point within it.

        None where the ledger does not have all of it: a part of a period is nothing to compare a whole one with.
        """
        began_s = self._reader.began_s()
        if began_s is None or began_s > 2 * since - until:
            return None
        read_s, before = self._before.get((asked, since), (0.0, None))
        if before is None or now_s - read_s > KEPT_S:
            end = since - max(0, until - int(now_s)) // HOUR_S * HOUR_S
            figures = self._reader.stats(Period(float(2 * since - until), float(end), ""), where).total
            before = Before(cost_nano=figures.cost_nano, calls=figures.calls)
            if len(self._before) > 100:
                self._before.clear()
            self._before[asked, since] = (now_s, before)
        return before

    def _offered(self, asked: Asked, since: int, until: int, steps: list[Step], now_s: float) -> Names:
        read_s, choices = self._names.get((asked.period, since), (0.0, None))
        if choices is None or now_s - read_s > NAMES_S:
            choices = self._reader.choices(Period(float(since), float(until), ""))
            if len(self._names) > 100:
                self._names.clear()
            self._names[asked.period, since] = (now_s, choices)
        cost: dict[str, int] = {}
        for step in steps:
            for name, figures in step.models.items():
                cost[name] = cost.get(name, 0) + figures.cost_nano
        models = sorted({*choices.models, *cost}, key=lambda name: (-cost.get(name, 0), name))
        tags = [f"{name}={value}" for name, values in choices.tags.items() for value in values]
        return Names(
            models=[Name(name=name, cost_nano=cost.get(name)) for name in models],
            tags=[Name(name=name, cost_nano=None) for name in tags[:TAGS_MOST]],
        )


def _where(asked: Asked) -> Where:
    name, _, value = (asked.tag or "").partition("=")
    if name == "task":  # each task has one of its own, so it is no part of the sums
        return Where(model=asked.model, task=value)
    return Where(model=asked.model, tags={name: value} if name else {})


def _end(step_s: int, now_s: float) -> int:
    size = min(step_s, DAY_S)
    return (int(now_s) // size + 1) * size


def _totals(whole: Figures) -> TotalsShown:
    return TotalsShown(
        calls=whole.calls,
        failed=whole.failed,
        cached=whole.cached,
        attempts=whole.attempts,
        rate_limited=whole.rate_limited,
        cost_nano=whole.cost_nano,
        unpriced=whole.unpriced,
        estimated_nano=whole.estimated_nano,
        usage=_tokens(whole),
        saved_cache_nano=whole.saved_nano,
        saved_batch_nano=whole.batch_saved_nano,
        saved_routing_nano=whole.route_saved_nano,
    )


def _tokens(figures: Figures) -> Tokens:
    writes = figures.cache_write_5m + figures.cache_write_30m + figures.cache_write_1h + figures.cache_write_12h
    return Tokens(
        input=figures.input,
        cache_read=figures.cache_read,
        cache_write=writes,
        output=figures.output,
        reasoning=figures.reasoning,
        audio=figures.audio_in + figures.audio_out,
    )


def _percentiles(counts: dict[int, int]) -> Percentiles:
    p50, p95, p99 = (percentile(counts, percent) for percent in (50, 95, 99))
    return Percentiles(count=sum(counts.values()), p50=p50, p95=p95, p99=p99)


def _series(steps: list[Step], starts: range) -> Series:
    wholes = [step.whole for step in steps]
    tokens = [_tokens(whole) for whole in wholes]
    return Series(
        t=list(starts),
        models=_by_model(steps),
        tokens=TokenSeries(
            input=[each.input for each in tokens],
            cache_read=[each.cache_read for each in tokens],
            cache_write=[each.cache_write for each in tokens],
            output=[each.output for each in tokens],
            reasoning=[each.reasoning for each in tokens],
            audio=[each.audio for each in tokens],
        ),
        latency=_percentile_series([whole.latency for whole in wholes]),
        first_token=_percentile_series([whole.first for whole in wholes]),
        errors=_by_error(steps),
    )


def _percentile_series(counts: list[dict[int, int]]) -> PercentileSeries:
    found = [_percentiles(each) for each in counts]
    return PercentileSeries(
        p50=[each.p50 for each in found], p95=[each.p95 for each in found], p99=[each.p99 for each in found]
    )


def _ranked(sums: dict[str, int], most: int) -> list[list[str]]:
    """Return the names with the largest sums, each in a group of its own, and the others in one."""
    names = sorted((name for name, value in sums.items() if value), key=lambda name: (-sums[name], name))
    if len(names) <= most:
        return [[name] for name in names]
    return [*([name] for name in names[:most]), names[most:]]


def _by_model(steps: list[Step]) -> list[ModelSeries]:
    weight: dict[str, int] = {}
    for step in steps:
        for name, figures in step.models.items():
            weight[name] = weight.get(name, 0) + figures.cost_nano + figures.calls
    return [
        ModelSeries(
            name=names[0] if len(names) == 1 else "",
            cost_nano=[sum(step.models[name].cost_nano for name in names if name in step.models) for step in steps],
            calls=[sum(step.models[name].calls for name in names if name in step.models) for step in steps],
        )
        for names in _ranked(weight, MODELS_SHOWN)
    ]


def _by_error(steps: list[Step]) -> list[ErrorSeries]:
    weight: dict[str, int] = {}
    for step in steps:
        for code, attempts in step.whole.faults.items():
            weight[code] = weight.get(code, 0) + attempts
    return [
        ErrorSeries(
            code=codes[0] if len(codes) == 1 else "",
            values=[sum(step.whole.faults.get(code, 0) for code in codes) for step in steps],
        )
        for codes in _ranked(weight, ERRORS_SHOWN)
    ]
