"""A fault at every write of a bulk journal: what was acknowledged is kept, and the same rows again complete it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock._io import journal, lockfile, replaced
from penstock._io.journal import Journal
from penstock.errors import OutputError

from .test_journal import KEY, ids

ROWS = 3
MODULES = (journal, lockfile, replaced)
"""Where a run's output is written: all of them are given the faulty disk."""
WRITES = ("write", "ftruncate", "fsync", "replace", "unlink")


class Killed(BaseException):
    """The process is gone."""


class FaultyDisk:
    """Stands for `os` in the journal: the `at`-th write fails, or kills the process, after a part of it was done."""

    def __init__(self, at: int, *, kills: bool, part: float) -> None:
        self.writes = 0
        self._at = at
        self._kills = kills
        self._part = part
        self.dead = False
        self._files: list[tuple[int, tuple[int, int]]] = []

    def open(self, *args: Any) -> int:
        """Open a file, and remember it for the end of the process."""
        fd = os.open(*args)
        self._files.append((fd, _identity(fd)))
        return fd

    def end(self) -> None:
        """Close what a dead process had open, as the system does."""
        for fd, opened in self._files:
            with contextlib.suppress(OSError):
                if _identity(fd) == opened:  # and not closed since, its number given to something else
                    os.close(fd)

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._faulty(name, real) if name in WRITES else real

    def _faulty(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*args: Any) -> Any:
            if self.dead:
                raise Killed
            self.writes += 1
            if self.writes != self._at:
                return real(*args)
            if name == "write":
                real(args[0], bytes(args[1])[: int(len(args[1]) * self._part)])
            self.dead = self._kills
            if self._kills:
                raise Killed
            raise OSError(errno.EIO, "the disk failed")

        return attempt


def _identity(fd: int) -> tuple[int, int]:
    state = os.fstat(fd)
    return state.st_dev, state.st_ino


def result(row: int) -> bytes:
    """One line as a run writes it."""
    data = {"id": row, "model": "openai:gpt-4o-mini", "text": "é" * 50, "error": None, "key": KEY}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def run(path: Path) -> Iterator[int]:
    """Do a job as the bulk runner does: append what is not yet answered, put the file in order; yields what is safe."""
    with Journal.open(path) as written:
        for row in reversed(range(ROWS)):
            if not written.is_answered(row, KEY):
                written.append(row, KEY, result(row), answered=True)
                yield row
        written.compact(lambda: range(ROWS))


def play(path: Path, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Run until the disk fails or the process dies; return the rows that were acknowledged."""
    safe: set[int] = set()
    with monkeypatch.context() as patch:
        for module in MODULES:
            patch.setattr(module, "os", disk)
        try:
            for row in run(path):
                safe.add(row)
        except (Killed, OutputError):
            disk.end()
    return safe


@pytest.mark.prove(21)
@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kills", [True, False])
def test_a_fault_at_any_write_loses_no_row_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: bool, part: float
) -> None:
    """Killed or failed at each write in turn, before it, half way and after it; then the same rows again, and again."""
    writes = 0
    for at in range(1, 100):
        path = tmp_path / f"out{at}"
        disk = FaultyDisk(at, kills=kills, part=part)
        safe = play(path, disk, monkeypatch)
        if disk.writes < at:
            break
        writes += 1
        with Journal.open(path) as written:
            assert all(written.is_answered(row, KEY) for row in safe)
        assert set(run(path)).isdisjoint(safe)
        assert ids(path) == list(range(ROWS))
        assert list(run(path)) == []
    assert writes > ROWS


@pytest.mark.slow
@pytest.mark.prove(21)
def test_two_faults_in_a_row_lose_no_row_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of a write, and again while that is mended."""
    for first in range(2, 9):
        for second in range(1, 9):
            path = tmp_path / f"out{first}.{second}"
            safe = play(path, FaultyDisk(first, kills=True, part=0.5), monkeypatch)
            safe |= play(path, FaultyDisk(second, kills=True, part=0.5), monkeypatch)
            assert set(run(path)).isdisjoint(safe)
            assert ids(path) == list(range(ROWS))
