"""How a row that is finished gets its line, and what is made of the lines once all are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._flow.extracted import Extracted
from .._io.journal import Journal
from .._io.row_lines import answer_line, failure_line
from .._io.rows import Row, id_digest
from ..errors import OutputError, PenstockError
from ..types import Response
from .outputs import failed_path, is_table, pick_columns, write_failed
from .question import Task
from .report import Counts
from .table import write_table


class Line(NamedTuple):
    """A finished row's line to be written; `code` is that of its error, None for an answer.

    `failed_with` is the code of its failure earlier in this run.
    """

    id: str | int
    key: str
    data: bytes
    code: str | None = None
    retriable: bool = False
    failed_with: str | None = None


class Settlement:
    """Writes results into the journal, with `columns` of the input. What cannot be written is kept for `write_late`."""

    def __init__(self, columns: Sequence[str], counts: Counts) -> None:
        self._columns = columns
        self._counts = counts
        self._late: list[Line] = []

    @property
    def unwritten(self) -> int:
        """Results that found no room."""
        return len(self._late)

    def settle(
        self, journal: Journal, task: Task, ended: Response | Extracted[Any] | PenstockError
    ) -> OutputError | None:
        """Write a row's result down; return why it could not be written."""
        row = task.row
        columns = pick_columns(row.fields, self._columns)
        if not isinstance(ended, PenstockError):
            data = answer_line(row.id, task.key, ended, spent_nano=task.spent_nano, shaped=task.shaped, columns=columns)
            line = Line(row.id, task.key, data, failed_with=task.failed_with)
        else:
            data = failure_line(row.id, task.key, ended, model=row.model, spent_nano=task.spent_nano, columns=columns)
            line = Line(row.id, task.key, data, ended.code, ended.retriable, task.failed_with)
        return self.keep(journal, line)

    def keep(self, journal: Journal, line: Line) -> OutputError | None:
        """Write a line; return why it could not be written."""
        try:
            self.write(journal, line)
        except OutputError as error:
            journal.free_reserve()
            self._late.append(line)
            return error
        return None

    def write(self, journal: Journal, line: Line) -> None:
        """Write a line and count its row.

        Raises: OutputError.
        """
        journal.append(line.id, line.key, line.data, answered=line.code is None, retriable=line.retriable)
        if line.failed_with is not None:
            self._counts.take_back(line.failed_with)
        self._counts.row(line.code, retriable=line.retriable)

    def write_late(self, journal: Journal) -> None:
        """Try once more to write what found no room."""
        late, self._late = self._late, []
        for line in late:
            try:
                self.write(journal, line)
            except OutputError:
                self._late.append(line)

    def deliver(
        self,
        journal: Journal,
        output: Path,
        rows: Callable[[], Iterator[Row]],
        *,
        done: bool,
        order: Callable[[], Iterable[int]] | None,
    ) -> None:
        """Collect the rows that failed; when all is done, put the output into its order and write the table.

        `order` are the digests of the ids; None: as they were first completed.

        Raises: OutputError; every row has its line, only what is made of them is missing. InputError when the input
            vanished or changed before its order was looked up.
        """
        write_failed(failed_path(output), rows, journal)
        if done:
            journal.arrange(order or (lambda: map(id_digest, journal.ids())))
            if is_table(output):
                write_table(output, journal.path, self._columns)
