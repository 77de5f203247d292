"""Answers that are there, read again with another schema: no call, no cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .._io.journal import Journal
from .._io.row_lines import reread_line
from ..errors import ConfigError, ParseError
from .job import Batch
from .jobfile import journal_of
from .key import is_same_question

if TYPE_CHECKING:
    from .shape import Shape  # loaded with the first schema


class Reparsed(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a job by what became of their answers.

    `fits`: they have a value now; `misfits`: nothing in their text fits; `left`: they have no answer to this question.
    """

    rows: int
    fits: int = 0
    misfits: int = 0
    left: int = 0


def reparse(batch: Batch) -> Reparsed:
    """Read the answers that a job has again, with the schema that it has now; nothing is sent.

    Raises: ConfigError for a job without a schema; InputError, OutputError as `Batch`.
    """
    shape = batch._questions.shape
    if shape is None:
        raise ConfigError("to read answers again there must be a schema to read them with; give schema=…")
    rows = batch.check().rows
    counts = {"fits": 0, "misfits": 0, "left": 0}
    with Journal.open(journal_of(batch._output)) as journal:
        for row in batch._rows():
            counts[_again(journal, batch._questions.task(row).key, row.id, shape)] += 1
        batch._deliver(journal)
    return Reparsed(rows=rows, **counts)


def _again(journal: Journal, key: str, name: str | int, shape: Shape) -> str:
    line = journal.newest(name)
    if line is None or line.get("text") is None or not is_same_question(line["key"], key):
        return "left"
    try:
        if line.get("stop_reason") in ("length", "content_filter", "refusal"):
            raise ParseError(f"the answer ended by {line['stop_reason']}, so that it is no whole value")
        found = shape.reader.read_text(line["text"])
    except ParseError as error:
        journal.append(name, key, reread_line(line, key, error.message), answered=False)
        return "misfits"
    journal.append(name, key, reread_line(line, key, found), answered=True)
    return "fits"
