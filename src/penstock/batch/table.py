"""The results of a job as a table: CSV or Parquet, made in one step of the lines of its journal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from .._io.extras import extra
from .._io.replaced import replaced
from ..types import Usage

COLUMNS: Final = {
    "id": "text",
    "model": "text",
    "text": "text",
    "parsed": "text",
    "stop_reason": "text",
    "input_tokens": "number",
    "output_tokens": "number",
    "cost": "dollars",
    "attempts": "number",
    "latency_s": "seconds",
    "error": "text",
    "error_message": "text",
}
"""The columns that a table always has, after the kept ones of the input; those are text."""

ROWS_AT_ONCE: Final = 1000

_encode = msgspec.json.Encoder(decimal_format="number").encode


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Line(msgspec.Struct):
    """What a table shows of a line."""

    id: str | int
    model: str | None = None
    text: str | None = None
    parsed: Any = None
    stop_reason: str | None = None
    usage: Usage | None = None
    cost: Decimal | None = None
    attempts: int | None = None
    latency_s: float | None = None
    error: _Error | None = None
    columns: dict[str, Any] = {}


_line = msgspec.json.Decoder(_Line).decode


def write_table(path: Path, journal: Path, kept: Sequence[str]) -> None:
    """Write the lines of a finished journal as a table, in their order, with the kept columns after the id.

    Raises: OutputError; what the file held before stays.
    """
    names = ["id", *kept, *list(COLUMNS)[1:]]
    begins = (b"PAR1",) if path.suffix.lower() == ".parquet" else (b"id",)
    with replaced(path, begins) as file, journal.open("rb") as lines:
        write = _write_parquet if path.suffix.lower() == ".parquet" else _write_text
        write(file, names, (_cells(_line(line), kept) for line in lines), path)


def _cells(line: _Line, kept: Sequence[str]) -> list[Any]:
    usage, error = line.usage, line.error
    return [
        str(line.id),
        *[_text(line.columns.get(name)) for name in kept],
        line.model,
        line.text,
        None if line.parsed is None else _encode(line.parsed).decode(),
        line.stop_reason,
        None if usage is None else usage.prompt,
        None if usage is None else usage.completion,
        line.cost,
        line.attempts,
        line.latency_s,
        None if error is None else error.code,
        None if error is None else error.message,
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str | None) else _encode(value).decode()


def _write_text(file: BinaryIO, names: Sequence[str], rows: Iterator[list[Any]], path: Path) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    table = csv.writer(text, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", lineterminator="\n")
    table.writerow(names)
    for row in rows:
        table.writerow([f"{cell:f}" if isinstance(cell, Decimal) else cell for cell in row])
    text.detach()


def _write_parquet(file: BinaryIO, names: Sequence[str], rows: Iterator[list[Any]], path: Path) -> None:
    arrow, parquet = extra("pyarrow", "parquet"), extra("pyarrow.parquet", "parquet")
    kinds: dict[str, Callable[[], Any]] = {
        "text": arrow.string,
        "number": arrow.int64,
        "dollars": lambda: arrow.decimal128(24, 9),
        "seconds": arrow.float64,
    }
    types = [kinds[COLUMNS.get(name, "text")]() for name in names]
    schema = arrow.schema(list(zip(names, types, strict=True)))
    with parquet.ParquetWriter(file, schema) as writer:
        while piece := list(islice(rows, ROWS_AT_ONCE)):
            columns = [list(column) for column in zip(*piece, strict=True)]
            arrays = [arrow.array(column, type) for column, type in zip(columns, types, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
