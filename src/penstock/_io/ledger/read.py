"""The reading end of the ledger: figures of a period, their course, single calls, and who works now."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

import msgspec

from ..._policy.figures import Figures, Where
from ..._policy.period import FOREVER_S, Period
from ..._policy.reconcile import Line
from ..._policy.rollup import SUMS
from ...errors import ConfigError
from .parts import Part, parts
from .records import (
    ATTEMPT_COLUMNS,
    CALL_COLUMNS,
    AttemptRow,
    CallDetail,
    CallRow,
    Choices,
    Point,
    State,
    Stats,
    attempt_of,
    attempt_words,
    call_of,
    call_words,
    tags_of,
)
from .schema import DAY, HOUR, MINUTE, SPELL, meant, open_to_read
from .settings import file_of
from .sql import RAW_ATTEMPTS, RAW_CALLS, SketchMerge, SketchOf
from .sums import OTHER
from .words import texts

By = str
"""'model', 'provider', 'operation', 'outcome', 'day', 'hour', or 'tag:NAME'."""

_STEPS: Final = {"minute": MINUTE, "hour": HOUR, "day": DAY}
_BYS: Final = ("model", "provider", "operation", "outcome", "day", "hour")
_Row = tuple[tuple[Any, ...], bytes | None, bytes | None]
"""The figures of `SUMS`, and the packed counts of latencies and first tokens."""

LIVE_S: Final = 10.0
"""A state that was not written again for this long is of a client that ended, or rests."""

UNTAGGED: Final = "(none)"
"""The group of calls without the tag."""

EVERYTHING: Final = Where()


class _Question(NamedTuple):
    """What sums are asked for: of a period, of some calls, by group, in steps of seconds."""

    period: Period
    where: Where
    by: By | None
    step: int | None = None
    percentiles: bool = True


def open_ledger(path: str | os.PathLike[str] | None = None) -> LedgerReader:
    """Open a ledger for questions: the file named, or the user's own.

    Raises: ConfigError when there is none, LedgerUnavailable when it cannot be read.
    """
    return LedgerReader(file_of(path))


class LedgerReader:
    """Answers questions about a ledger while others write it. One thread at a time.

    Raises: LedgerUnavailable from every method when the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = open_to_read(path)
        self._db.create_aggregate("merged", 1, SketchMerge)  # type: ignore[arg-type]
        self._db.create_aggregate("sketch", 1, SketchOf)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def version(self) -> int:
        """A number that changes when somebody wrote into the file."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise meant(self.path, error) from error

    def stats(self, period: Period, where: Where = EVERYTHING, *, by: By | None = None) -> Stats:
        """Return the figures of a period, in all and by group.

        Raises: ConfigError for an unknown group.
        """
        total = Figures()
        groups: dict[str, Figures] = {}
        gone: list[Part] = []
        for group, outcome, _, row in self._sums(_Question(period, where, by), gone):
            total.take(outcome, *row)
            if group is not None:
                groups.setdefault(group, Figures()).take(outcome, *row)
        first, last = self._extent(period)
        return Stats(
            period=period,
            total=total,
            groups=groups,
            first_s=first,
            last_s=last,
            lost=self._lost(period),
            whole=not gone,
        )

    def series(
        self,
        period: Period,
        where: Where = EVERYTHING,
        *,
        by: By | None = None,
        step: Literal["minute", "hour", "day"] = "day",
        percentiles: bool = True,
    ) -> list[Point]:
        """Return the figures of each minute, hour or UTC day of a period that has any, by group.

        Minutes have no sums: all single calls of the period are added up for them.

        Without `percentiles` it has sums only, several times as fast.

        Raises: ConfigError for an unknown group.
        """
        found: dict[tuple[int, str], Figures] = {}
        for group, outcome, start, row in self._sums(_Question(period, where, by, _STEPS[step], percentiles), []):
            found.setdefault((start, group or ""), Figures()).take(outcome, *row)
        return [Point(*key, found[key]) for key in sorted(found)]

    def lines(self, period: Period, where: Where = EVERYTHING) -> list[Line]:
        """Return what each UTC day and model came to, to be compared with a bill."""
        return [
            Line(
                day=time.strftime("%Y-%m-%d", time.gmtime(point.start_s)),
                model=point.group,
                cost_nano=point.figures.cost_nano,
                tokens=point.figures.tokens,
                estimated_nano=point.figures.estimated_nano,
                unpriced=point.figures.unpriced,
            )
            for point in self.series(period, where, by="model", step="day", percentiles=False)
            if point.figures.attempts
        ]

    def _sums(self, asked: _Question, gone: list[Part]) -> Iterator[tuple[str | None, str, int, _Row]]:
        """Yield sums: group, outcome, start of the step, and the row; put into `gone` what is no longer there."""
        period, where, by, step, _ = asked
        if by is not None and by not in _BYS and not (by.startswith("tag:") and by != "tag:"):
            raise ConfigError(f"there is no group {by!r}; expected one of {', '.join(_BYS)}, or tag:NAME")
        if by in ("day", "hour"):
            step = HOUR if by == "hour" else DAY
        first, last = self._extent(period)
        if first is None or last is None:
            return
        filters, values, of_tags = self._filters(where)
        if filters is None:
            return
        if by is not None and by.startswith("tag:"):
            of_tags = True
        dims = ["outcome"]
        dims += {"model": ["provider", "model"], "provider": ["provider"], "operation": ["operation"]}.get(by or "", [])
        dims += ["tags"] if by is not None and by.startswith("tag:") else []
        table = "rollup" if of_tags else "total"
        for part in parts(
            max(period.start_s, first),
            min(period.end_s, last + HOUR),
            step,
            raw=where.task is not None or step == MINUTE,
        ):
            if part.span and of_tags and self._is_other(part):
                part = Part(0, part.start, part.end)
            rows = self._of_part(part, dims, step, (filters, values), table, asked.percentiles)
            if not part.span and not self._has_rows(part):
                gone.append(part)
            yield from self._named(rows, dims, by)

    def _of_part(
        self, part: Part, dims: list[str], step: int | None, only: tuple[str, list[Any]], table: str, percentiles: bool
    ) -> list[Any]:
        """Return rows of dims, start of the step, sums and sketches; those of single calls where there are no sums."""
        names, (filters, values) = ", ".join(dims), only
        if part.span:
            counts = "merged(latency), merged(first)" if percentiles else "NULL, NULL"
            start = f"start / {step} * {step}" if step else "0"
            sums = ", ".join(f"sum({name})" for name in SUMS)
            query = (
                f"SELECT {names}, {start} AS step, {sums}, {counts} FROM {table}"
                f" WHERE span = ? AND start >= ? AND start < ? {filters} GROUP BY {names}, step"
            )
            return self._rows(query, [part.span, part.start, part.end, *values])
        start = f"at_ms / 1000 / {step} * {step}" if step else "0"
        between = [part.start * 1000, part.end * 1000]
        tail = f"FROM {{}} WHERE at_ms >= ? AND at_ms < ? {filters} GROUP BY {names}, step"
        rows = self._rows(f"SELECT {names}, {start} AS step, {RAW_CALLS} {tail.format('call')}", [*between, *values])
        return rows + self._rows(
            f"SELECT {names}, {start} AS step, {RAW_ATTEMPTS} {tail.format('try')}", [*between, *values]
        )

    def _named(self, rows: list[Any], dims: list[str], by: By | None) -> Iterator[tuple[str | None, str, int, _Row]]:
        """Put texts in place of numbers, and name the group of each row."""
        many = len(dims)
        words = texts(self._db, (number for row in rows for number in row[:many]))
        for row in rows:
            outcome, *rest = [words.get(number, "") for number in row[:many]]
            start = row[many]
            group: str | None = None
            if by == "outcome":
                group = outcome
            elif by in ("day", "hour"):
                group = time.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%dT%H:00", time.gmtime(start))
            elif by is not None and by.startswith("tag:"):
                group = tags_of(rest[0]).get(by[4:], UNTAGGED)
            elif by is not None:
                group = ":".join(rest)
            yield group, outcome, start, (tuple(row[many + 1 : -2]), row[-2], row[-1])

    def _filters(self, where: Where) -> tuple[str | None, list[Any], bool]:
        """Return what follows WHERE and its values; None when nothing can match. And whether tags are asked for."""
        parts: list[str] = []
        values: list[Any] = []
        model, provider = where.model, where.provider
        if model is not None and ":" in model and provider is None:
            provider, model = model.split(":", 1)
        wanted = [("provider", provider), ("model", model), ("operation", where.operation)]
        if where.outcome not in (None, "failed"):
            wanted.append(("outcome", where.outcome))
        for column, text in wanted:
            if text is not None:
                number = self._rows("SELECT id FROM word WHERE text = ?", [text])
                if not number:
                    return None, [], False
                parts.append(f"AND {column} = ?")
                values.append(number[0][0])
        if where.outcome == "failed":
            parts.append("AND outcome != coalesce((SELECT id FROM word WHERE text = 'ok'), 0)")
        if where.task is not None:
            parts.append("AND task = ?")
            values.append(where.task)
        if where.tags:
            numbers = [number for number, tags in self._tagsets() if where.tags.items() <= tags.items()]
            parts.append(f"AND tags IN ({','.join(map(str, numbers))})")
        return " ".join(parts), values, bool(where.tags)

    def _tagsets(self) -> list[tuple[int, dict[str, str]]]:
        rows = self._rows("SELECT id, text FROM word WHERE text >= '{' AND text < '|'")
        return [(number, tags_of(text)) for number, text in rows]

    def _is_other(self, part: Part) -> bool:
        """Whether a part has sums in which sets of tags were put together."""
        number = self._rows("SELECT id FROM word WHERE text = ?", [OTHER])
        if not number:
            return False
        query = "SELECT 1 FROM rollup WHERE span = ? AND start >= ? AND start < ? AND tags = ? LIMIT 1"
        return bool(self._rows(query, [part.span, part.start, part.end, number[0][0]]))

    def _has_rows(self, part: Part) -> bool:
        """Whether the single calls of a part are still there."""
        query = "SELECT 1 FROM total WHERE span = ? AND start >= ? AND start < ? LIMIT 1"
        if not self._rows(query, [DAY, part.start // DAY * DAY, part.end]):
            return True
        oldest = self._rows("SELECT min(at_ms) FROM call")[0][0]
        return oldest is not None and oldest <= part.start * 1000 + HOUR * 1000

    def began_s(self) -> float | None:
        """Return the first hour that has records; None where there are none."""
        return self._extent(Period(0.0, FOREVER_S, ""))[0]

    def _extent(self, period: Period) -> tuple[float | None, float | None]:
        """Return the first and the last hour of a period that have records."""
        row = self._ends(HOUR, period.start_s - HOUR + 1, period.end_s)
        days = self._ends(DAY, period.start_s, period.end_s)
        if row[0] is None:
            return (days[0], None if days[1] is None else days[1] + DAY - HOUR)
        if days[0] is not None and days[0] < row[0] - DAY:
            return days[0], row[1]
        return row[0], row[1]

    def _ends(self, span: int, start_s: float, end_s: float) -> tuple[int | None, int | None]:
        """Return the first and last step between; each by itself, as both at once would go through all of them."""
        of = "FROM total WHERE span = ? AND start >= ? AND start < ?"
        query = f"SELECT (SELECT min(start) {of}), (SELECT max(start) {of})"
        row = self._rows(query, [span, start_s, end_s, span, start_s, end_s])[0]
        return row[0], row[1]

    def _lost(self, period: Period) -> int:
        query = "SELECT coalesce(sum(count), 0) FROM loss WHERE at_ms >= ? AND at_ms < ?"
        return int(self._rows(query, [period.start_s * 1e3, period.end_s * 1e3])[0][0])

    def calls(
        self,
        period: Period,
        where: Where = EVERYTHING,
        *,
        order: Literal["newest", "slowest", "dearest"] = "newest",
        limit: int = 20,
        before_id: int | None = None,
    ) -> list[CallRow]:
        """Return single calls: the newest (`before_id`: further ones), or the slowest or dearest of the period."""
        filters, values, of_tags = self._filters(where)
        if filters is None:
            return []
        between = [period.start_s * 1e3, period.end_s * 1e3]
        if order == "newest":
            if before_id is not None:
                filters += " AND (at_ms, id) < ((SELECT at_ms FROM call WHERE id = ?), ?)"
                values += [before_id, before_id]
            return self._calls(
                f"WHERE at_ms >= ? AND at_ms < ? {filters} ORDER BY at_ms DESC, id DESC LIMIT ?",
                [*between, *values, limit],
            )
        column = "latency_us" if order == "slowest" else "cost_nano"
        batch = " AND NOT batch" if order == "slowest" else ""
        whole_days = period.start_s % DAY == 0 and (period.end_s % DAY == 0 or period.end_s > time.time())
        if whole_days and not of_tags and not (where.operation or where.outcome or where.task):
            own = filters.replace("AND provider", "AND peak.provider").replace("AND model", "AND peak.model")
            return self._calls(
                "WHERE id IN (SELECT call FROM peak WHERE day >= ? AND day < ? AND kind = ? "
                f"{own} ORDER BY value DESC LIMIT ?) ORDER BY {column} DESC",
                [period.start_s, period.end_s, order, *values, limit],
            )
        return self._calls(
            f"WHERE at_ms >= ? AND at_ms < ? {filters}{batch} ORDER BY {column} DESC LIMIT ?",
            [*between, *values, limit],
        )

    def last_id(self) -> int:
        """Return the id of the call that was written last; 0 where there is none."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM call")[0][0])

    def tail(self, after_id: int | None = None, limit: int = 20, where: Where = EVERYTHING) -> list[CallRow]:
        """Return the newest calls, oldest first; with `after_id` those that were written since."""
        filters, values, _ = self._filters(where)
        if filters is None:
            return []
        if after_id is None:
            return self._calls(f"WHERE 1 {filters} ORDER BY id DESC LIMIT ?", [*values, limit])[::-1]
        return self._calls(f"WHERE id > ? {filters} ORDER BY id LIMIT ?", [after_id, *values, limit])

    def call(self, call_id: str) -> CallDetail | None:
        """Return a call with its attempts; None where the ledger has none of that id."""
        found = self._calls("WHERE call_id = ?", [call_id])
        if not found:
            return None
        content = self._rows("SELECT prompt, answer, message FROM content WHERE call_id = ?", [call_id])
        prompt, answer, message = content[0] if content else (None, None, None)
        return CallDetail(
            call=found[0], attempts=tuple(self.attempts(call_id)), prompt=prompt, answer=answer, message=message
        )

    def attempts(self, call_id: str) -> list[AttemptRow]:
        """Return the attempts of a call, first to last; also of one under way."""
        rows = self._rows(f"SELECT {ATTEMPT_COLUMNS} FROM try WHERE call_id = ? ORDER BY at_ms, number", [call_id])
        words = texts(self._db, (number for row in rows for number in attempt_words(row)))
        return [attempt_of(row, words) for row in rows]

    def _calls(self, rest: str, values: Sequence[Any]) -> list[CallRow]:
        rows = self._rows(f"SELECT {CALL_COLUMNS} FROM call {rest}", values)
        words = texts(self._db, (number for row in rows for number in call_words(row)))
        return [call_of(row, words) for row in rows]

    def choices(self, period: Period) -> Choices:
        """Return what can be filtered by in a period: whole days, as to tags spells of 16 days where it is longer."""
        between = "WHERE span = ? AND start > ? AND start < ?"
        query = f"SELECT DISTINCT provider, model, operation, outcome FROM total {between}"
        rows = self._rows(query, [DAY, period.start_s - DAY, period.end_s])
        span = DAY if period.end_s - period.start_s < SPELL else SPELL
        tagsets = self._rows(f"SELECT DISTINCT tags FROM rollup {between}", [span, period.start_s - span, period.end_s])
        words = texts(self._db, (number for row in [*rows, *tagsets] for number in row))
        tags: dict[str, set[str]] = {}
        for (tagset,) in tagsets:
            for name, value in tags_of(words.get(tagset, "")).items():
                tags.setdefault(name, set()).add(value)
        tags.pop("…", None)

        def distinct(place: int) -> tuple[str, ...]:
            return tuple(sorted({words[row[place]] for row in rows}))

        return Choices(
            providers=distinct(0),
            models=tuple(sorted({f"{words[row[0]]}:{words[row[1]]}" for row in rows})),
            operations=distinct(2),
            outcomes=distinct(3),
            tags={name: tuple(sorted(values)) for name, values in sorted(tags.items())},
        )

    def live(self, now_s: float | None = None) -> list[State]:
        """Return what the processes that work now said last, within the last 10 s."""
        since = (time.time() if now_s is None else now_s) - LIVE_S
        query = "SELECT process, kind, name, at_ms, data FROM state WHERE at_ms >= ? ORDER BY 1, 2, 3"
        rows = self._rows(query, [since * 1e3])
        return [
            State(process=row[0], kind=row[1], name=row[2], at_s=row[3] / 1e3, data=msgspec.json.decode(row[4]))
            for row in rows
        ]
