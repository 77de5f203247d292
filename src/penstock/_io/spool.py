"""Rows that can be read only once, from a generator, a cursor or a stream, copied to a file that can be read again."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..errors import InputError
from .recipe import Recipe
from .rows import Row

Item = Row | Mapping[str, Any] | str
"""What a row is made of in Python: a `Row`, the fields of one, or its prompt."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class _Copy(msgspec.Struct):
    """A row as it is read back: messages are dicts then, which a call takes as well."""

    id: str | int
    prompt: Any
    line: int
    model: Any
    params: dict[str, Any]
    problem: str | None
    fields: dict[str, Any]


_copy = msgspec.json.Decoder(_Copy).decode


def as_row(number: int, item: Item, recipe: Recipe) -> Row:
    """Make a row of what a caller gave as its `number`th.

    Raises: InputError for what is none.
    """
    if isinstance(item, Row):
        return item
    if isinstance(item, str):
        item = {"prompt": item}
    fields: object = item
    if not isinstance(fields, Mapping) or not all(isinstance(name, str) for name in fields):
        raise InputError(f"row {number} is {item!r:.80}; expected a Row, a dict of its fields or a prompt")
    return recipe.row(number, dict(fields))


class Spool:
    """A copy of rows on disk, in a file that vanishes with it. Fill it once, then iterate it as often as you like."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._rows = 0
        self._file: Any = tempfile.NamedTemporaryFile(prefix="penstock-rows-")  # noqa: SIM115 - closed by `close`

    def fill(self, rows: Iterable[Item]) -> None:
        """Copy all rows.

        Raises: InputError for what is no row or cannot be written down.
        """
        for item in rows:
            self._add(item)
        self._file.flush()

    async def fill_async(self, rows: AsyncIterable[Item]) -> None:
        """Copy all rows as they come.

        Raises: InputError for what is no row or cannot be written down.
        """
        async for item in rows:
            self._add(item)
        self._file.flush()

    def _add(self, item: Item) -> None:
        self._rows += 1
        row = as_row(self._rows, item, self._recipe)
        try:
            data = _encode(row)
        except (TypeError, ValueError) as error:
            raise InputError(f"row {self._rows} cannot be kept for a second reading: {error}") from error
        try:
            self._file.write(data + b"\n")
        except OSError as error:
            raise InputError(f"cannot copy the rows to {tempfile.gettempdir()}: {error.strerror or error}") from error

    def __iter__(self) -> Iterator[Row]:
        with open(self._file.name, "rb") as file:
            for line in file:
                yield Row(**msgspec.structs.asdict(_copy(line)))

    def close(self) -> None:
        """Remove the copy."""
        self._file.close()
