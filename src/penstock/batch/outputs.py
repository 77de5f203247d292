"""What a job leaves beside its journal: a table of the results, and the rows that failed, ready to be asked again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from .._io.extras import extra
from .._io.journal import Journal
from .._io.records import LINE_MAX_BYTES
from .._io.replaced import replaced
from .._io.rows import Row
from ..errors import ConfigError, InputError, OutputError
from .jobfile import TABLES, journal_of
from .table import COLUMNS

ALL: Final = "*"

OTHERS: Final = frozenset(
    {".xlsx", ".xls", ".ods", ".gz", ".bz2", ".xz", ".zst", ".zip", ".arrow", ".feather", ".npy", ".db", ".sqlite"}
)
"""Endings of files that hold something else: lines of JSON under such a name would open nowhere."""

_MARK: Final = "_failure"
"""The field of a collected row that says why it failed; it marks the file as ours too."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def is_table(output: Path) -> bool:
    """Whether the output is a table, by the end of its name."""
    return output.suffix.lower() in TABLES


def check_columns(output: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of the input to keep.

    Raises: ConfigError for one that cannot stand in this output, MissingExtra for Parquet without pyarrow.
    """
    if output.suffix.lower() in OTHERS:
        ours = ", ".join(sorted(TABLES))
        raise ConfigError(f"{output} cannot be written as {output.suffix}; let it end with .jsonl, {ours}")
    if isinstance(names, str):
        raise ConfigError(f"keep_columns is {names!r}; expected a list of names")
    if output.suffix.lower() == ".parquet":
        extra("pyarrow.parquet", "parquet")
    if is_table(output):
        if ALL in names:
            raise ConfigError("a table needs to know its columns before its first row: name those to keep")
        taken = next((name for name in names if name in COLUMNS), None)
        if taken is not None:
            raise ConfigError(f"column {taken!r} of the input has the name of a column of the output; rename it there")
    return tuple(dict.fromkeys(names))


def pick_columns(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    """Return the fields to keep of a row, None when none are asked for."""
    if not names:
        return None
    return dict(fields) if ALL in names else {name: fields.get(name) for name in names}


def check_place(output: Path, rows: Path | None) -> None:
    """Look whether the output may be written.

    Raises: InputError when it is the input as well, OutputError when it is a table that no run has made.
    """
    journal = journal_of(output)
    if rows is not None and any(is_same(rows, path) for path in (output, journal)):
        raise InputError(f"{output} is also the input; choose another output (-o), nothing was sent")
    if is_table(output) and output.exists() and not journal.exists():
        raise OutputError(f"{output} is there already and is not of this job; remove it, or choose another output (-o)")
    failed = failed_path(output)
    if failed.exists() and not _is_collected(failed):
        raise OutputError(f"{failed}, where failed rows go, is a file of somebody else; choose another output (-o)")


def _is_collected(path: Path) -> bool:
    """Whether a file holds failed rows of a run, by its first line."""
    try:
        with path.open("rb") as file:
            line = file.readline(LINE_MAX_BYTES)
        return not line or _MARK in msgspec.json.decode(line, type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def failed_path(output: Path) -> Path:
    """Return where the failed rows of an output go."""
    real = Path(os.path.realpath(output))
    return real.with_name(f"{real.stem}.failed.jsonl")


def write_failed(path: Path, rows: Callable[[], Iterable[Row]], journal: Journal) -> None:
    """Collect the rows whose result is an error, as they came in; without any the file is removed.

    Raises: OutputError; what the file held before stays.
    """
    if not journal.failures:
        if path.exists() and _is_collected(path):
            path.unlink()
        return
    with replaced(path, (b"{",)) as file:
        for line in _failed(rows, journal):
            file.write(line)


def _failed(rows: Callable[[], Iterable[Row]], journal: Journal) -> Iterator[bytes]:
    for row in rows():
        error = journal.error_of(row.id)
        if error is not None:
            yield _collected(row, error) + b"\n"


def _collected(row: Row, error: dict[str, Any]) -> bytes:
    try:
        return _encode({**_as_given(row), _MARK: error})
    except (UnicodeEncodeError, TypeError):  # what no JSON can carry cannot be handed back either
        return _encode({"id": row.id, _MARK: error})


def _as_given(row: Row) -> dict[str, Any]:
    """Write a row as it can be read again, with its id even where that is the number of its line."""
    if row.fields:
        return dict(row.fields) if "custom_id" in row.fields else {"id": row.id, **row.fields}
    given = {"prompt": row.prompt} if isinstance(row.prompt, str) else {"messages": row.prompt}
    more = {"model": row.model, "params": row.params}
    return {"id": row.id, **given, **{name: value for name, value in more.items() if value}}
