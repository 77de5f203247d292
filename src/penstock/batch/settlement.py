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


class _Result(NamedTuple):
    """A finished row's line; `code` is that of its error, None for an answer."""

    task: Task
    line: bytes
    code: str | None
    retriable: bool


class Settlement:
    """Writes results into the journal, with `columns` of the input. What cannot be written is kept for `write_late`."""

    def __init__(self, columns: Sequence[str], counts: Counts) -> None:
        self._columns = columns
        self._counts = counts
        self._late: list[_Result] = []

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
            line = answer_line(row.id, task.key, ended, spent_nano=task.spent_nano, shaped=task.shaped, columns=columns)
            result = _Result(task, line, None, False)
        else:
            line = failure_line(row.id, task.key, ended, model=row.model, spent_nano=task.spent_nano, columns=columns)
            result = _Result(task, line, ended.code, ended.retriable)
        try:
            self._write(journal, result)
        except OutputError as error:
            journal.free_reserve()
            self._late.append(result)
            return error
        return None

    def _write(self, journal: Journal, result: _Result) -> None:
        task, code = result.task, result.code
        journal.append(task.row.id, task.key, result.line, answered=code is None, retriable=result.retriable)
        if task.failed_with is not None:
            self._counts.take_back(task.failed_with)
        self._counts.row(code, retriable=result.retriable)

    def write_late(self, journal: Journal) -> None:
        """Try once more to write what found no room."""
        late, self._late = self._late, []
        for result in late:
            try:
                self._write(journal, result)
            except OutputError:
                self._late.append(result)

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
