"""The vectors of a finished job as a file: lines of JSON, Parquet, or a NumPy array with its ids beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from .._io.extras import extra
from .._io.index import Index
from .._io.replaced import replaced
from .._io.rows import id_digest
from .._io.vector_lines import VectorLine, read_vector_line
from ..errors import ConfigError

FORMS: Final = {".jsonl": b'{"id":', ".parquet": b"PAR1", ".npy": b"\x93NUMPY"}
"""How an output may end, and how such a file begins."""

VECTORS_SUFFIX: Final = ".journal"

ROWS_AT_ONCE: Final = 1000


def check_form(output: Path) -> None:
    """Look whether an output of that name can be written.

    Raises: ConfigError for another ending, MissingExtra for a form that needs what is not installed.
    """
    suffix = output.suffix.lower()
    if suffix not in FORMS:
        raise ConfigError(f"{output} does not say what it is to be; let it end with {', '.join(FORMS)}")
    if suffix == ".parquet":
        extra("pyarrow.parquet", "parquet")
    if suffix == ".npy":
        extra("numpy", "numpy")


def vectors_journal(output: str | Path) -> Path:
    """Return where the vectors of an output are kept as they come."""
    path = Path(output).resolve()
    return path.with_name(f"{path.name}{VECTORS_SUFFIX}")


def ids_path(output: str | Path) -> Path:
    """Return where the ids of the rows of a NumPy array are written."""
    path = Path(output)
    return path.with_name(f"{path.name}.ids.jsonl")


def write_vectors(output: Path, journal: Path, ids: Iterable[str | int]) -> None:
    """Write the vectors of a finished journal that belong to `ids`, in its order; rows that failed are left out.

    The file of `ids_path` stands beside a NumPy array.

    Raises: OutputError; what the files held before stays.
    """
    wanted = Index()
    for name in ids:
        wanted.put(id_digest(name), 0, 0)
    suffix = output.suffix.lower()
    write = {".jsonl": _write_jsonl, ".parquet": _write_parquet, ".npy": _write_numpy}[suffix]
    with replaced(output, (FORMS[suffix],)) as file:
        write(file, output, journal, wanted)


def _lines(journal: Path, wanted: Index) -> Iterator[VectorLine]:
    with journal.open("rb") as file:
        for data in file:
            line = read_vector_line(data)
            if line.vector is not None and wanted.find(id_digest(line.id)) is not None:
                yield line


def _write_jsonl(file: BinaryIO, output: Path, journal: Path, wanted: Index) -> None:
    for line in _lines(journal, wanted):
        file.write(msgspec.json.encode({"id": line.id, "embedding": line.floats.tolist()}) + b"\n")


def _write_parquet(file: BinaryIO, output: Path, journal: Path, wanted: Index) -> None:
    arrow, parquet = extra("pyarrow", "parquet"), extra("pyarrow.parquet", "parquet")
    lines = _lines(journal, wanted)
    first = next(lines, None)
    size = 0 if first is None else len(first.floats)
    schema = arrow.schema([("id", arrow.string()), ("embedding", arrow.list_(arrow.float32(), size))])
    with parquet.ParquetWriter(file, schema) as writer:
        piece = [] if first is None else [first, *islice(lines, ROWS_AT_ONCE - 1)]
        while piece:
            numbers = arrow.Array.from_buffers(
                arrow.float32(), size * len(piece), [None, arrow.py_buffer(b"".join([line.raw for line in piece]))]
            )
            columns = [
                arrow.array([str(line.id) for line in piece], arrow.string()),
                arrow.FixedSizeListArray.from_arrays(numbers, size),
            ]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
            piece = list(islice(lines, ROWS_AT_ONCE))


def _write_numpy(file: BinaryIO, output: Path, journal: Path, wanted: Index) -> None:
    form: Any = extra("numpy.lib.format", "numpy")
    rows = size = 0
    with replaced(ids_path(output), (b'"', b"-", *[str(digit).encode() for digit in range(10)])) as names:
        for line in _lines(journal, wanted):
            rows += 1
            size = size or len(line.floats)
            names.write(msgspec.json.encode(line.id) + b"\n")
    form.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, size)})
    for line in _lines(journal, wanted):
        file.write(line.raw)
