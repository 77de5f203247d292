"""How a job stands by its journal alone, for any process to ask, while a run writes it or after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from .._io.index import Index
from .._io.rows import id_digest
from ..errors import InputError
from ..types import to_nano

MESSAGE_MAX: Final = 500
"""Characters shown of the message of an error."""


LABEL_MAX: Final = 24
LABELS_MAX: Final = 20
"""Answers of more characters, or of more kinds, are no labels."""


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Line(msgspec.Struct):
    id: str | int
    key: str
    model: str | None = None
    error: _Error | None = None
    parsed: Any = None
    text: str | None = None
    cost: float | None = None
    cost_known: float | None = None
    cost_before: float | None = None


_line = msgspec.json.Decoder(_Line).decode


class Failures(msgspec.Struct, kw_only=True):
    """Rows whose result is one kind of error: how many, and the id and the message of one of them."""

    count: int = 0
    id: str | int = ""
    message: str = ""


class Standing(msgspec.Struct, kw_only=True):
    """What a journal holds: rows by their newest line, and what they cost. `classes` count the values of fields.

    `texts` counts the answers where all are a few short labels, None where they are not or were not asked for.
    """

    answered: int = 0
    failed: int = 0
    cost_nano: int = 0
    errors: dict[str, Failures] = {}
    models: Counter[str] = msgspec.field(default_factory=Counter)
    classes: dict[str, Counter[str]] = {}
    texts: Counter[str] | None = None


def standing(journal: Path, fields: Sequence[str] = (), *, texts: bool = False) -> Standing:
    """Read a journal without locking or changing it; a line that is being written is left out.

    `fields` are those of parsed answers whose values are counted; `texts` counts answers that are a few short labels.

    Raises: InputError when it cannot be read or holds something else.
    """
    found = Standing(errors={}, classes={field: Counter() for field in fields}, texts=Counter() if texts else None)
    places = Index()
    try:
        with journal.open("rb") as file, journal.open("rb") as earlier:
            for at, line in _lines(journal, file):
                digest = id_digest(line.id)
                before = places.find(digest)
                if before is not None:
                    _count(found, _again(earlier, before[0]), -1)
                places.put(digest, at, 0)
                _count(found, line, 1)
    except OSError as error:
        raise InputError(f"cannot read {journal}: {error.strerror or error}") from error
    found.errors = {code: each for code, each in sorted(found.errors.items()) if each.count}
    return found


def _lines(journal: Path, file: BinaryIO) -> Iterator[tuple[int, _Line]]:
    at = 0
    for number, data in enumerate(file, 1):
        if not data.endswith(b"\n"):
            return
        try:
            yield at, _line(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{journal} line {number} is no result of a run ({error})") from None
        at += len(data)


def _again(file: BinaryIO, place: int) -> _Line:
    file.seek(place)
    return _line(file.readline())


def _count(found: Standing, line: _Line, one: int) -> None:
    costs = (line.cost, line.cost_known, line.cost_before)
    found.cost_nano += one * sum(to_nano(cost) for cost in costs if cost is not None)
    if line.error is not None:
        found.failed += one
        failures = found.errors.setdefault(line.error.code, Failures())
        failures.count += one
        if one > 0:
            failures.id, failures.message = line.id, line.error.message[:MESSAGE_MAX]
        return
    found.answered += one
    found.models[line.model or "?"] += one
    if found.texts is not None:
        text = (line.text or "").strip()
        found.texts[text] += one
        if len(text) > LABEL_MAX or not text or "\n" in text or len(found.texts) > LABELS_MAX:
            found.texts = None
    for field, values in found.classes.items():
        value = line.parsed.get(field) if isinstance(line.parsed, dict) else None
        values["(not parsed)" if line.parsed is None else str(value)] += one
