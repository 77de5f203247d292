"""What a look at all rows found: whose rows they are and what they ask, in 16 bytes a row.

For a long file it is kept beside the output, in `.NAME.rows`. The same file with the same questions need not be looked
at again then, and of one that became longer only what was added.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Final

import msgspec

from .._io import sidecar
from .._io.journal import short_key
from .._io.rowfile import Checked, RowFile
from .._io.rows import id_digest
from .projection import Sample, SampleState
from .question import Questions, Task

ADDED_SHARE: Final = 4
"""What was added to a file is looked at alone where it is at most one part in so many."""


class _Seal(msgspec.Struct, kw_only=True):
    """What a saved roll is about: a file of `size` bytes by its digest, and the identity of the questions."""

    size: int
    digest: str
    questions: str
    sample: SampleState


class Roll:
    """The rows of a job in their order: the digest of each id, and 64 bits of the key of its question."""

    def __init__(self) -> None:
        self.ids = array("Q")
        self.keys = array("Q")

    def __len__(self) -> int:
        return len(self.ids)

    def note(self, digest: int, task: object) -> None:
        """Take in a row; without a task it cannot be asked, and has no key that an answer could have."""
        self.ids.append(digest)
        self.keys.append(short_key(task.key) if isinstance(task, Task) else 0)

    def add(self, task: Task) -> None:
        """Take in a row that was read."""
        self.note(id_digest(task.row.id), task)

    def forget_keys(self) -> None:
        """Keep the order of the rows alone."""
        self.keys = array("Q")

    def clear(self) -> None:
        """Forget all rows."""
        self.ids, self.keys = array("Q"), array("Q")


def take_roll(file: RowFile, questions: Questions, journal: Path, roll: Roll) -> Checked:
    """Look at every row of a file, or at what an earlier look at it found.

    Raises: InputError naming the lines that are bad.
    """
    checked = _recalled(file, questions, journal, roll)
    if checked is None:
        roll.clear()
        questions.sample = Sample()
        checked = file.check(questions.ask, roll.note)
        if not checked.bad and checked.rows >= sidecar.WORTH_ROWS:
            _save(file, questions, journal, roll)
    return checked


def _recalled(file: RowFile, questions: Questions, journal: Path, roll: Roll) -> Checked | None:
    found = sidecar.load(rows_path(journal), _Seal)
    if found is None:
        return None
    seal, numbers = found
    if seal.questions != questions.identity(file.identity) or len(numbers) != 2 or len(numbers[0]) != len(numbers[1]):
        return None
    content = file.content(seal.size)
    if content is None or content.digest != seal.digest:
        return None
    more = file.size - content.size
    if more and not (file.may_grow and content.ends and more <= content.size // ADDED_SHARE):
        return None
    roll.ids, roll.keys = numbers
    questions.sample = Sample.restored(seal.sample)
    added = Roll()
    if not file.check_on(content, questions.ask, added.note):
        return None
    if more:
        names = set(added.ids)
        if len(names) < len(added) or any(name in names for name in roll.ids):
            return None
        roll.ids.extend(added.ids)
        roll.keys.extend(added.keys)
        _save(file, questions, journal, roll)
    return Checked(rows=len(roll), bad=0, problems=())


def _save(file: RowFile, questions: Questions, journal: Path, roll: Roll) -> None:
    content = file.content()
    assert content is not None
    assert questions.sample is not None
    about = questions.identity(file.identity)
    seal = _Seal(size=content.size, digest=content.digest, questions=about, sample=questions.sample.state())
    sidecar.save(rows_path(journal), seal, [roll.ids, roll.keys])


def rows_path(journal: Path) -> Path:
    """Return where the roll of a job is kept."""
    return journal.with_name(f".{journal.name}.rows")
