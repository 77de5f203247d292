"""Texts to embed as rows: a column of a file, lines of a plain text, or texts given one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from ..errors import InputError
from .recipe import Recipe
from .records import LINE_MAX_BYTES, Format
from .rowfile import OnBadRow, RowFile
from .rows import HALF_A_CHARACTER, is_text

USUAL_COLUMN: Final = "text"


class TextRecipe(Recipe):
    """Makes rows of records whose text stands in one column; the others are the user's own."""

    def __init__(self, column: str) -> None:
        super().__init__("{column}")  # as with any template, no field of a record is an option
        self._column = column

    def _asked(self, data: Mapping[str, Any]) -> tuple[str, None, dict[str, Any]]:
        text = data.get(self._column)
        if self._column not in data:
            raise InputError(f"has no column {self._column!r} (it has {', '.join(sorted(data)) or 'none'})")
        if not isinstance(text, str):
            raise InputError(f"has {_shown(text)} in column {self._column!r}; expected a text")
        if not text.strip():
            raise InputError(f"has an empty text in column {self._column!r}")
        if not is_text(text):
            raise InputError(f"has a text in column {self._column!r} that {HALF_A_CHARACTER}")
        return text, None, {}


class TextFile(RowFile):
    """The texts of a file, as often as it is iterated; see `RowFile`. `column` says where in a record the text is."""

    def __init__(
        self,
        path: str | Path,
        *,
        column: str = USUAL_COLUMN,
        limit: int | None = None,
        on_bad_row: OnBadRow = "stop",
        form: Format | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(path, limit=limit, on_bad_row=on_bad_row, form=form, name=name)
        self._recipe = TextRecipe(column)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:39] + "…"


def write_texts(texts: Iterable[str], file: BinaryIO) -> None:
    """Write texts as the rows of a `TextFile`, one a line, so that a row's number is that of its text."""
    for text in texts:
        file.write(msgspec.json.encode({USUAL_COLUMN: text}) + b"\n")


def write_lines(source: BinaryIO, file: BinaryIO, name: str) -> None:
    """Write the lines of a plain text as the rows of a `TextFile`, with their numbers; blank lines are no rows.

    Raises: InputError naming a line that is no UTF-8, or longer than any provider takes.
    """
    number = 0
    while line := source.readline(LINE_MAX_BYTES + 1):
        number += 1
        if len(line) > LINE_MAX_BYTES:
            raise InputError(f"{name} line {number} is longer than {LINE_MAX_BYTES // 2**20} MiB; no provider takes it")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{name} line {number} is not UTF-8: {error.reason} at byte {error.start + 1}") from None
        file.write((msgspec.json.encode({USUAL_COLUMN: text}) if text.strip() else b"") + b"\n")
