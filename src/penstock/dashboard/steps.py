"""The sums of a view, step by step.

A step that is over does not change any more, so it is kept for `KEPT_S`; an update reads the rest: one or two steps,
whatever the length of the period and the size of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from ..ledger import Figures, LedgerReader, Period, Where
from .asked import DAY_S, HOUR_S, MINUTE_S

KEPT_S: Final = 300.0
LATE: Final = {MINUTE_S: 60.0, HOUR_S: 900.0, DAY_S: 900.0}
"""Records come late: so long after its end a step is read again."""
STEPS_MAX: Final = 5_000
_GRAIN: Final[dict[int, Literal["minute", "hour", "day"]]] = {MINUTE_S: "minute", HOUR_S: "hour", DAY_S: "day"}


class Step(msgspec.Struct, gc=False):
    """The figures of one step: by model, and by outcome."""

    models: dict[str, Figures]
    outcomes: dict[str, Figures]


class Steps:
    """Steps from an open ledger."""

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self._kept: dict[tuple[str, int, int], tuple[float, Step]] = {}

    def read(self, where: Where, since: int, until: int, step_s: int, now_s: float) -> list[Step]:
        """Read the steps from `since` to `until`, both on the border of a step."""
        starts = range(since, until, step_s)
        key = repr(where)
        late_s = LATE[grain(step_s)]
        found: list[Step] = []
        for start in starts:
            read_s, step = self._kept.get((key, step_s, start), (0.0, None))
            if step is None or now_s - read_s > KEPT_S or start + step_s + late_s > now_s:
                break
            found.append(step)
        missing = starts[len(found) :]
        if missing:
            fresh = self._fresh(where, missing)
            if len(self._kept) + len(fresh) > STEPS_MAX:
                self._kept.clear()
            self._kept.update(((key, step_s, start), (now_s, step)) for start, step in zip(missing, fresh, strict=True))
            found += fresh
        return found

    def _fresh(self, where: Where, starts: range) -> list[Step]:
        steps = [Step({}, {}) for _ in starts]
        period = Period(float(starts.start), float(starts.stop), "")
        name = _GRAIN[grain(starts.step)]
        for point in self._reader.series(period, where, by="model", step=name):
            _join(steps[(point.start_s - starts.start) // starts.step].models, point.group, point.figures)
        for point in self._reader.series(period, where, by="outcome", step=name):
            _join(steps[(point.start_s - starts.start) // starts.step].outcomes, point.group, point.figures)
        return steps


def grain(step_s: int) -> int:
    """Return the largest of minute, hour and day that a step is made of."""
    return next(size for size in (DAY_S, HOUR_S, MINUTE_S) if step_s % size == 0)


def _join(groups: dict[str, Figures], group: str, figures: Figures) -> None:
    there = groups.get(group)
    groups[group] = figures if there is None else total((there, figures))


def total(parts: Iterable[Figures]) -> Figures:
    """Add figures up, into new ones."""
    whole = Figures()
    for part in parts:
        for name in Figures.__struct_fields__:
            value = getattr(part, name)
            if not isinstance(value, dict):
                setattr(whole, name, getattr(whole, name) + value)
                continue
            counts = getattr(whole, name)
            for at, number in value.items():
                counts[at] = counts.get(at, 0) + number
    return whole
