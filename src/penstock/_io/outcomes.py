"""Rows for a calibration: prompts, and how a weaker and a stronger model answered them."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .._flow.calibration import Outcomes
from .._policy.curve import Outcome
from ..errors import InputError
from .records import Bad, Record, Unreadable, format_of, read_records

WANTED: Final = (
    "a row needs 'prompt', and 'weak' and 'strong' (how good either answer was: 0 to 1, true or false, a mark), or "
    "'label' ('weak': the weaker model is enough, 'strong': it is not)"
)
_WORDS: Final = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
ROWS_MAX: Final = 1_000_000


def read_outcomes(path: str) -> Outcomes:
    """Read outcomes from JSONL, CSV, TSV or Parquet; costs count calls where the rows have no 'weak_cost' and so on.

    Raises: InputError naming file, line and field.
    """
    prompts: list[str] = []
    each: list[Outcome] = []
    priced: int | None = None
    for number, fields in _records(path):
        place = f"{path}:{number}"
        if fields is None or isinstance(fields, Bad):
            raise InputError(f"{place} {fields}")
        prompt = fields.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(f"{place} has no text in 'prompt'; {WANTED}")
        costs = [fields.get(name) not in (None, "") for name in ("weak_cost", "strong_cost")]
        if priced is None:
            priced = sum(costs)
        if sum(costs) != priced or priced == 1:
            raise InputError(f"{place}: give 'weak_cost' and 'strong_cost' in every row, or in none")
        prompts.append(prompt)
        each.append(Outcome(*_qualities(fields, place), *_costs(fields, place, bool(priced))))
        if len(each) > ROWS_MAX:
            raise InputError(f"{path} has more than {ROWS_MAX:,} rows; a tenth of them, drawn evenly, teaches as much")
    if not each:
        raise InputError(f"{path} has no rows; {WANTED}")
    return Outcomes(prompts, each, bool(priced))


def _records(path: str) -> Iterator[Record]:
    try:
        with Path(path).open("rb") as file:
            if stat.S_ISDIR(Path(path).stat().st_mode):
                raise IsADirectoryError(21, "it is a folder")
            yield from read_records(file, format_of(path), lambda: None)
    except Unreadable as error:
        raise InputError(f"{path} {error}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _qualities(fields: dict[str, Any], place: str) -> tuple[float, float]:
    label = fields.get("label")
    if label not in (None, ""):
        if label not in ("weak", "strong"):
            raise InputError(f"{place}: 'label' is {label!r}; {WANTED}")
        return (0.0, 1.0) if label == "strong" else (1.0, 1.0)
    return _number(fields, "weak", place), _number(fields, "strong", place)


def _costs(fields: dict[str, Any], place: str, priced: bool) -> tuple[float, float]:
    if not priced:
        return 0.0, 1.0
    weak, strong = _number(fields, "weak_cost", place), _number(fields, "strong_cost", place)
    if weak < 0 or strong < 0:
        raise InputError(f"{place}: a cost is below 0")
    return weak, strong


def _number(fields: dict[str, Any], name: str, place: str) -> float:
    value = fields.get(name)
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        said = "is missing" if value in (None, "") else f"is {value!r}, which is no number"
        raise InputError(f"{place}: {name!r} {said}; {WANTED}")
    return number
