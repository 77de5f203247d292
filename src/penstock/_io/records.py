"""What a file of rows holds, record by record and in bounded memory: lines of JSON, a table in CSV, or Parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import PurePath
from typing import Any, BinaryIO, Final, Literal, get_args

import msgspec

from .._flow.prompt import OPTIONS
from .extras import extra
from .rows import HALF_A_CHARACTER, is_text

Format = Literal["jsonl", "csv", "tsv", "parquet"]

LINE_MAX_BYTES: Final = 64 * 1024 * 1024
"""A longer line is no row: no provider takes a body of this size."""

BATCH_ROWS: Final = 256
"""Rows of a Parquet file that are unpacked at once."""

_BOM: Final = b"\xef\xbb\xbf"
_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
_TEXTS: Final = frozenset({"model", "system", "tier", "task", "region", "priority", "user", "prompt_cache_key"})
_NESTED: Final = frozenset({"params", "messages"})
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Bad(str):
    """Why a record cannot be read."""

    __slots__ = ()


class Unreadable(Exception):
    """Why nothing of a file can be read, in words that go on from its name."""


Record = tuple[int, dict[str, Any] | Bad | None]
"""The number of a line or row, and its fields, or what is wrong with it; None for one that was passed over."""


def format_of(name: str) -> Format:
    """Tell the format of a file by the end of its name; what is not known holds lines of JSON."""
    suffix = PurePath(name).suffix.lower().removeprefix(".")
    return suffix if suffix in get_args(Format) else "jsonl"  # type: ignore[return-value]


def read_records(
    file: BufferedReader, form: Format, watch: Callable[[], None], done: Sequence[int] = b"", after: int = 0
) -> Iterator[Record]:
    """Yield the records of a file; `watch` is called for each piece that is read, before a record of it, and may raise.

    Lines of JSON at whose places `done` is not 0 are passed over unread. They may begin `after` so many lines.

    Raises: Unreadable for what is wrong with the whole file, MissingExtra for Parquet without pyarrow.
    """
    if form == "jsonl":
        return _json_lines(file, watch, done, after)
    return _parquet(file, watch) if form == "parquet" else _table(file, watch, "\t" if form == "tsv" else ",")


def typed(fields: dict[str, Any], *, columns: bool) -> dict[str, Any]:
    """Read the cells of a text table that hold options: numbers and lists are JSON, an empty cell is not there.

    With `columns` all fields but `params` are the user's own text.
    """
    found = dict(fields)
    for name, text in fields.items():
        if name in _NESTED or (name in OPTIONS and not columns):
            found[name] = text if name in _TEXTS and text else _value(text)
    return found


def _value(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _json_lines(file: BufferedReader, watch: Callable[[], None], done: Sequence[int], after: int) -> Iterator[Record]:
    at, known = 0, len(done)
    for number, line in enumerate(_lines(file, watch), after + 1):
        too_long = _is_too_long(line)
        if number == 1:
            line = line.removeprefix(_BOM)
        if not (too_long or line.strip()):
            continue
        if at < known and done[at]:
            yield number, None
        else:
            yield number, Bad(_too_long()) if too_long else _json_object(line)
        at += 1


def _lines(file: BufferedReader, watch: Callable[[], None]) -> Iterator[bytes]:
    """Yield the lines of a file, of one that is too long its beginning."""
    in_hand = 0
    while line := file.readline(LINE_MAX_BYTES + 1):
        in_hand -= len(line)
        if in_hand < 0:  # not all of it was in the buffer that was looked at
            in_hand = len(file.peek())
            watch()
        yield line
        if _is_too_long(line):
            while (more := file.readline(2**20)) and not more.endswith(b"\n"):
                pass
            in_hand = 0
    watch()


def _is_too_long(line: bytes) -> bool:
    return len(line) > LINE_MAX_BYTES and not line.endswith(b"\n")


def _too_long() -> str:
    return f"is longer than {LINE_MAX_BYTES // 2**20} MiB; no provider takes as much"


def _no_text(error: UnicodeDecodeError) -> str:
    """Say where a line is not UTF-8, and what to do."""
    if error.object.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is UTF-16; save the file as UTF-8"
    if error.object.startswith(_PACKED):
        return "is no text but a packed file (gzip, zstd, zip, Excel); unpack it, or save it as CSV in UTF-8"
    return f"is not UTF-8: byte {error.start + 1} is 0x{error.object[error.start]:02x}; save the file as UTF-8"


def _json_object(line: bytes) -> dict[str, Any] | Bad:
    try:
        return _object(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Bad(_no_object(line, error))


def _no_object(line: bytes, error: Exception) -> str:
    """Say why a line is not an object of JSON."""
    try:
        line.decode()
    except UnicodeDecodeError as wrong:
        return _no_text(wrong)
    if isinstance(error, msgspec.ValidationError):
        large = "out of range" in str(error)
        return "has a number that is too large to be read" if large else "is JSON but not an object; write {...}"
    try:
        whole = is_text(json.dumps(json.loads(line), ensure_ascii=False))
    except (ValueError, RecursionError):
        whole = True
    return f"is not JSON: {error}" if whole else HALF_A_CHARACTER


class _Lines:
    """The lines of a text file. What is wrong with one is noted, so that the others are still read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.number = 0
        self.wrong: str | None = None

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            if self.number == 1:
                line = line.removeprefix(_BOM)
            if _is_too_long(line):
                self.wrong = _too_long()
                line = b"-\n"
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                self.wrong = _no_text(error)
                yield line.decode("utf-8", "replace")


def _table(file: BufferedReader, watch: Callable[[], None], delimiter: str) -> Iterator[Record]:
    if csv.field_size_limit() < LINE_MAX_BYTES:
        csv.field_size_limit(LINE_MAX_BYTES)  # its default, 128 KiB, is less than many a log
    lines = _Lines(_lines(file, watch))
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    header = _header(lines, reader, delimiter)
    while True:
        first = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            lines.wrong = None
            yield first, Bad(f"is not CSV: {error}")
            continue
        wrong, lines.wrong = lines.wrong, None
        if cells is None:
            return
        if wrong is not None:
            yield first, Bad(wrong)
        elif not cells:
            continue
        elif len(cells) != len(header):
            yield first, Bad(f"has {len(cells)} columns where the header has {len(header)}")
        else:
            yield first, dict(zip(header, cells, strict=True))


def _header(lines: _Lines, reader: Iterator[list[str]], delimiter: str) -> list[str]:
    """Read the names of the columns.

    Raises: Unreadable when they cannot be told apart.
    """
    try:
        names = [sys.intern(name.strip()) for name in next(reader, [])]
    except csv.Error as error:
        raise Unreadable(f"has a header that is not CSV: {error}") from None
    if lines.wrong is not None:
        raise Unreadable(f"has a header (line 1) that {lines.wrong}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Unreadable(f"has a header that names the column {twice!r} twice")
    other = next((mark for mark in (";", "\t", ",") if mark != delimiter and names and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        raise Unreadable(
            f"has a header of one column with {other!r} in its name; columns are separated by {delimiter!r} here"
        )
    return names


def _parquet(file: BinaryIO, watch: Callable[[], None]) -> Iterator[Record]:
    arrow, parquet = extra("pyarrow", "parquet"), extra("pyarrow.parquet", "parquet")
    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            watch()
            for fields in batch.to_pylist():
                number += 1
                yield number, fields
    except arrow.ArrowException as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise Unreadable(f"is no Parquet file that can be read: {why}") from error
    watch()
