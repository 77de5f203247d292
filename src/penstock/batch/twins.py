"""Rows that ask the same: one of them is asked, and the others get a copy of its answer."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .._io.index import Index
from .._io.journal import Journal, short_key
from .._io.row_lines import copied_line
from .._io.rows import id_digest
from .outputs import pick_columns
from .question import Task
from .report import Counts


class Twins:
    """Which row stands for all that ask the same, by 64 bits of their key: 24 to 48 bytes a question."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._first = Index()
        for digest, key in journal.answered():
            self._first.put(key or 1, digest, 0)

    def asks(self, task: Task) -> bool:
        """Whether the row is to be asked, because no other one that asks the same was or will be."""
        key, digest = short_key(task.key) or 1, id_digest(task.row.id)
        found = self._first.find(key)
        if found is None:
            self._first.put(key, digest, 0)
            return True
        return found[0] == digest

    def stand(self, key: str, digest: int) -> None:
        """Have a row, by the digest of its id, stand for all that ask the same, unless another one does."""
        self._first.note(short_key(key) or 1, digest)

    def firsts(self, pending: Iterator[Task]) -> Iterator[Task]:
        """Leave out the rows that others stand for; those that cannot be asked stay."""
        return (task for task in pending if task.wrong is not None or self.asks(task))

    def copy(self, task: Task, columns: tuple[str, ...], counts: Counts) -> bool:
        """Write the row's line after that of the row that stood for it; False when that one has no result."""
        found = self._first.find(short_key(task.key) or 1)
        line = None if found is None else self._journal.line_of(found[0])
        if line is None:
            return False
        record = msgspec.json.decode(line, type=dict)
        if record.get("key") != task.key:
            return False
        code = None if record["error"] is None else record["error"]["code"]
        kept = pick_columns(task.row.fields, columns)
        data = copied_line(task.row.id, record, columns=kept, spent_nano=task.spent_nano)
        self._journal.append(task.row.id, task.key, data, answered=code is None)
        counts.row(code)
        counts.copied += 1
        return True
