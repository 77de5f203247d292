"""The index kept beside a journal: with it, an opening finds exactly what it finds without."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock._io import lockfile, sidecar
from penstock._io.journal import Journal, index_path
from penstock.errors import InputError

IDS = [f"r{number}" for number in range(12)]
KEYS = [f"{number:032x}" for number in (1 << 120, 2 << 120)]

Step = tuple[Any, ...]
LINES = st.tuples(
    st.just("append"), st.sampled_from(IDS), st.sampled_from(KEYS), st.booleans(), st.integers(0, 5_000_000)
)
STEPS = st.lists(
    LINES
    | st.tuples(st.just("save"))
    | st.tuples(st.just("kill"))
    | st.tuples(st.just("compact"))
    | st.tuples(st.just("tear"), st.integers(1, 400))
    | st.tuples(st.just("edit"), st.integers(0, 2000))
    | st.tuples(st.just("foreign")),
    max_size=24,
)


def line(name: str, key: str, *, answered: bool, cost: int) -> bytes:
    """A line as a run writes it."""
    error = "null" if answered else '{"code":"timeout","retriable":true}'
    return f'{{"id":"{name}","model":"m","text":"P1","error":{error},"cost":{cost / 1e9:.9f},"key":"{key}"}}'.encode()


def standing(path: Path) -> Any:
    """What an opening knows of a file; why not, where it holds something else."""
    try:
        with Journal.open(path) as journal:
            found = {(name, key): journal.find(name, key) for name in IDS for key in KEYS}
            spent = {name: [journal.spent(name, key) for key in KEYS] for name in IDS}
            return (len(journal), journal.failures, journal.spent_nano, journal.mended.lines, found, spent)
    except InputError as error:
        return str(error).replace(str(path), "")


def kill(journal: Journal) -> None:
    """End as `kill -9` does: nothing is synced or saved, and the lock goes."""
    os.close(journal._fd)
    journal._fd = -1
    if journal._reader is not None:
        journal._reader.close()
    journal._lock.release()


class Story:
    """A journal that lives through steps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal.open(path)

    def take(self, step: Step) -> None:
        """One step; after those that end a run a new one begins."""
        match step:
            case ("append", name, key, answered, cost):
                text = line(name, key, answered=answered, cost=cost)
                self.journal.append(name, key, text, answered=answered, retriable=not answered)
                return
            case ("save",):
                self.journal.save_index(always=True)
                return
            case ("compact",):
                self.journal.compact(lambda: IDS)
                self.journal.save_index(always=True)
                self.journal.close()
            case ("kill",):
                kill(self.journal)
            case ("tear", size):
                kill(self.journal)
                self.path.write_bytes(self.path.read_bytes()[:-size])
            case ("edit", at):
                kill(self.journal)
                self._edit(at)
            case ("foreign",):
                self._foreign()
        self.journal = Journal.open(self.path)

    def _edit(self, at: int) -> None:
        """Somebody answers a failed row by hand, in place."""
        data = self.path.read_bytes()
        if data:
            self.path.write_bytes(data.replace(b'"code":"timeout"', b'"code":"overlap"', 1 + at % 3))

    def _foreign(self) -> None:
        """The index of another job comes to stand here."""
        kill(self.journal)
        other = self.path.with_name("other")
        with Journal.open(other) as journal:
            journal.append("r1", KEYS[0], line("r1", KEYS[0], answered=True, cost=9), answered=True)
            journal.save_index(always=True)
        shutil.copy(index_path(other), index_path(self.path))
        other.unlink()


@given(steps=STEPS)
@example(steps=[("append", "r0", KEYS[0], False, 0), ("append", "r0", KEYS[0], False, 0), ("tear", 262)])
@example(steps=[("append", "r0", KEYS[0], False, 0), ("save",), ("append", "r1", KEYS[0], True, 0), ("tear", 262)])
@settings(max_examples=30, deadline=None)
def test_an_index_never_changes_what_an_opening_finds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Saved at any point, then stale, torn away from its file, foreign, or of a file that was edited or compacted."""
    folder = tmp_path_factory.mktemp("journal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sidecar, "WORTH_ROWS", 1)
        patch.setattr(lockfile, "RESERVE_BYTES", 0)  # which costs the time of a test and says nothing here
        story = Story(folder / "out")
        with contextlib.suppress(InputError):  # of what is left of a first line nobody can say that it is ours
            for step in steps:
                story.take(step)
            kill(story.journal)
        shutil.copy(folder / "out", folder / "plain")
        assert standing(folder / "out") == standing(folder / "plain")


def test_with_an_index_only_the_new_lines_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is why a long job goes on at once."""
    from penstock._io import journal as module

    monkeypatch.setattr(sidecar, "WORTH_ROWS", 1)
    with Journal.open(tmp_path / "out") as journal:
        for number in range(100):
            if number == 90:
                journal.save_index(always=True)
            journal.append(number, KEYS[0], line(str(number), KEYS[0], answered=True, cost=1), answered=True)
    read: list[bytes] = []
    decode = module._line

    def noted(data: bytes) -> Any:
        read.append(data)
        return decode(data)

    monkeypatch.setattr(module, "_line", noted)
    with Journal.open(tmp_path / "out") as journal:
        assert (len(journal), journal.mended.lines, len(read)) == (100, 100, 10)


def test_a_short_journal_has_no_index(tmp_path: Path) -> None:
    """It is read faster than anybody notices."""
    with Journal.open(tmp_path / "out") as journal:
        journal.append("a", KEYS[0], line("a", KEYS[0], answered=True, cost=1), answered=True)
        journal.save_index(always=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
