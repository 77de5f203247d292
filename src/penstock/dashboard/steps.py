"""The sums of a view, step by step.

A step that is over hardly changes any more, so it is kept for some minutes, or an hour when it is more than a day old.
An update reads the rest: one or two steps, whatever the length of the period and the size of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from ..ledger import Figures, LedgerReader, Period, Where
from .asked import DAY_S, HOUR_S, MINUTE_S

KEPT_S: Final = 300.0
OLD_KEPT_S: Final = 3600.0
LATE: Final = {MINUTE_S: 60.0, HOUR_S: 900.0, DAY_S: 900.0}
"""Records come late: so long after its end a step is read again."""
STEPS_MAX: Final = 5_000
_GRAIN: Final[dict[int, Literal["minute", "hour", "day"]]] = {MINUTE_S: "minute", HOUR_S: "hour", DAY_S: "day"}


class Step(msgspec.Struct):
    """The figures of one step, in all and by model."""

    models: dict[str, Figures]
    whole: Figures


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
            ago_s = now_s - start - step_s
            if step is None or ago_s < late_s or now_s - read_s > (KEPT_S if ago_s < DAY_S else OLD_KEPT_S):
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
        found: list[dict[str, list[Figures]]] = [{} for _ in starts]
        period = Period(float(starts.start), float(starts.stop), "")
        for point in self._reader.series(period, where, by="model", step=_GRAIN[grain(starts.step)]):
            of_step = found[(point.start_s - starts.start) // starts.step]
            of_step.setdefault(point.group, []).append(point.figures)
        by_model = [{name: total(parts) for name, parts in of_step.items()} for of_step in found]
        return [Step(models, total(models.values())) for models in by_model]


def grain(step_s: int) -> int:
    """Return the largest of minute, hour and day that a step is made of."""
    return next(size for size in (DAY_S, HOUR_S, MINUTE_S) if step_s % size == 0)


def total(parts: Iterable[Figures]) -> Figures:
    """Add figures up; nobody changes what is returned."""
    first, *others = parts = tuple(parts) or (Figures(),)
    if not others:
        return first
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
