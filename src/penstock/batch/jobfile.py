"""The record of a job beside its output: who runs it, how far it is, and how to go on; other processes read it.

`.NAME.job` is written when a run begins, about once a second and when it ends, each time in one step; it is removed
once every row has its answer. `.NAME.stop` asks the run to stop. Both only inform: the truth is the journal.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from .._io.lockfile import is_held, lock_path
from .report import BatchReport

TABLES: Final = frozenset({".csv", ".tsv", ".parquet"})


class JobState(msgspec.Struct, kw_only=True):
    """What a run tells about itself. Times are seconds since 1970; `figures` are those of its summary.

    `command` is how the command line was called, in the folder `cwd`; empty for a run from Python. What `begun` leaves
    open follows with each report.
    """

    output: str
    pid: int
    started: float
    concurrency: int
    rows: int = 0
    updated: float = 0.0
    command: list[str] = []
    cwd: str = ""
    stopped: str | None = None
    cause: str | None = None
    ended: bool = False
    figures: dict[str, Any] = {}

    @classmethod
    def begun(cls, output: Path, now_s: float, concurrency: int, command: Sequence[str]) -> Self:
        """Tell of a run of this process that begins."""
        cwd = os.path.abspath(os.curdir) if command else ""
        return cls(
            output=str(output), pid=os.getpid(), started=now_s, concurrency=concurrency, command=[*command], cwd=cwd
        )


_decode = msgspec.json.Decoder(JobState).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def journal_of(output: str | Path) -> Path:
    """Return where the results of a job are written as they come: the output itself, or beside a table."""
    path = Path(os.path.realpath(output))
    return path.with_name(f"{path.name}.jsonl") if path.suffix.lower() in TABLES else path


class JobFile:
    """The files beside a journal that speak of its run; what cannot be written is left unsaid."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self._path = journal.with_name(f".{journal.name}.job")
        self._stop = journal.with_name(f".{journal.name}.stop")

    def read(self) -> JobState | None:
        """Return what the last run said, None when it said nothing or is done."""
        try:
            return _decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def say(self, begun: JobState, report: BatchReport, now_s: float, figures: dict[str, Any] | None) -> None:
        """Tell how a run stands; `figures` None: it has ended. Once every row has its answer nothing is said."""
        if figures is None and not report.left and not report.failed and not report.kept:
            self.remove()
            return
        self.write(
            msgspec.structs.replace(
                begun,
                rows=report.rows,
                updated=now_s,
                stopped=report.stopped,
                cause=None if report.cause is None else str(report.cause),
                ended=figures is None,
                figures=report.figures() if figures is None else figures,
            )
        )

    def write(self, state: JobState) -> None:
        """Replace the record in one step."""
        side = self._path.with_name(f"{self._path.name}.tmp")
        with contextlib.suppress(OSError):
            fd = os.open(side, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
            with open(fd, "wb") as file:
                file.write(_encode(state))
            side.replace(self._path)

    def remove(self) -> None:
        """Say nothing more: there is nothing to resume."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def is_running(self) -> bool:
        """Whether a process writes the journal now."""
        return is_held(lock_path(self.journal))

    def ask_stop(self, *, now: bool) -> None:
        """Ask the run to stop, or to cut its calls."""
        self._stop.write_text("now" if now else "stop", encoding="utf-8")

    def asked(self) -> str | None:
        """Return what somebody asked the run to do: 'stop', 'now' or None."""
        try:
            return self._stop.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def hear(self, stop: Callable[[], None], cancel: Callable[[], None]) -> None:
        """Pass on what somebody asked the run to do: to stop, and if it is to be now, to cut its calls as well."""
        if asked := self.asked():
            self.forget_stop()
            stop()
            if asked == "now":
                cancel()

    def forget_stop(self) -> None:
        """Take the request away, once it was heard or is stale."""
        with contextlib.suppress(OSError):
            self._stop.unlink()
