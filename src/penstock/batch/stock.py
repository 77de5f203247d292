"""Which rows of a job still have to be asked, by what earlier runs left in its journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from .._io.journal import Journal
from .._io.rows import Row
from .question import Questions, Task
from .report import Counts
from .roll import Roll

STOCK_ROWS: Final = 10_000
"""Rows looked at between two turns of the event loop, before the first call."""

OTHERS_MAX: Final = 50_000
"""Answers to other questions that are taken off the costs one by one; with more of them the rest is added up."""


class Stock:
    """The rows of a job beside its journal; `done` marks those that are not to be asked, by their places.

    `rows` reads them from the beginning without those that are done, by their places. `only` are the error codes whose
    rows alone are asked, empty for all failed ones; None asks every row without an answer.
    """

    def __init__(
        self,
        rows: Callable[[Sequence[int]], Iterator[Row]],
        questions: Questions,
        counts: Counts,
        only: Collection[str] | None,
    ) -> None:
        self._rows = rows
        self._questions = questions
        self._counts = counts
        self._only = only
        self.done: Sequence[int] = b""

    async def take(self, journal: Journal, rows: int, roll: Roll, halted: Callable[[], bool]) -> None:
        """See which of so many rows have their answer, and what the questions of this job cost so far.

        A `roll` of all rows saves reading them; it has no keys after that.
        """
        if journal.mended.lines:
            if len(roll) == rows:
                await self._compare(journal, roll, halted)
            else:
                await self._read(journal, rows, halted)
        roll.forget_keys()

    def due(self, left: int) -> int:
        """How many of the rows that are `left` are asked in this run."""
        if self._only is None:
            return left
        return len(self.done) - sum(self.done)

    async def _compare(self, journal: Journal, roll: Roll, halted: Callable[[], bool]) -> None:
        done = self.done = bytearray(len(roll))
        counts, chosen, known = self._counts, self._only, 0
        others, others_nano = 0, 0
        for number, found in enumerate(journal.matches(roll.ids, roll.keys)):
            if found is not None:
                known += 1
                if found:
                    counts.before += 1
                    done[number] = 1
                elif chosen and journal.error_code(roll.ids[number]) not in chosen:
                    counts.kept += 1
                    done[number] = 1
            else:
                done[number] = chosen is not None
                if others < OTHERS_MAX and (spent := journal.spent_by(roll.ids[number])) is not None:
                    others, others_nano = others + 1, others_nano + spent
            if number % STOCK_ROWS == 0:
                await asyncio.sleep(0)
                if halted():
                    return
        if known + others == len(journal):
            counts.cost_before_nano = journal.spent_nano - others_nano
        else:
            counts.cost_before_nano = sum(journal.spent_each(roll.ids, roll.keys))

    async def _read(self, journal: Journal, rows: int, halted: Callable[[], bool]) -> None:
        done = self.done = bytearray(rows)
        known = 0
        for number, row in enumerate(self._rows(b"")):
            task = self._questions.task(row)
            found = journal.find(row.id, task.key)
            known += found is not None
            self._counts.before += found is True
            self._counts.kept += found is False and self._keeps(journal, task)
            if number < len(done):  # rows of a list may have become more since
                done[number] = found is True if self._only is None else self.ready(journal, task) is None
            if number % STOCK_ROWS == 0:
                await asyncio.sleep(0)
                if halted():
                    return
        self._counts.cost_before_nano = journal.spent_nano if known == len(journal) else self._spent_before(journal)

    def _spent_before(self, journal: Journal) -> int:
        """Sum what the questions of this job cost where the journal holds others too."""
        tasks = map(self._questions.task, self._rows(b""))
        return sum(journal.spent(task.row.id, task.key) for task in tasks)

    def _keeps(self, journal: Journal, task: Task) -> bool:
        """Whether the row failed before and is not among those to be asked again."""
        if self._only is None or not self._only:
            return False
        code = journal.failure(task.row.id, task.key)
        return code is not None and code not in self._only

    def pending(self, journal: Journal, *, again: bool) -> Iterator[Task]:
        """Rows still to be asked: first all without an answer to their question, then those that may be tried again."""
        for row in self._rows(b"" if again else self.done):
            task = self._questions.task(row)
            ready = once_more(journal, task) if again else self.ready(journal, task)
            if ready is not None:
                yield ready

    def ready(self, journal: Journal, task: Task) -> Task | None:
        """Return a row that is to be asked in this run, with what its question cost before; None for any other."""
        found = journal.find(task.row.id, task.key)
        if found is None:
            return task if self._only is None else None
        if found or (self._only and journal.failure(task.row.id, task.key) not in self._only):
            return None
        return task._replace(spent_nano=journal.spent(task.row.id, task.key))


def once_more(journal: Journal, task: Task) -> Task | None:
    """Return a row that failed in this run and may be mended, ready to be asked once more."""
    code = journal.passing_failure(task.row.id, task.key)
    if code is None:
        return None
    return task._replace(sent=True, failed_with=code, spent_nano=journal.spent(task.row.id, task.key))
