"""What is piped into a command, as an open file of bytes; said when nothing comes, and when much comes."""

from __future__ import annotations

import io
import itertools
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from typing import IO, Any, Final

import click

from .shown import note

PATIENCE_S: Final = 2.0
"""How long stdin may be silent before the user is told that it is waited for."""
TOLD_EVERY_S: Final = 2.0


def stdin_or_usage(what: str) -> IO[bytes]:
    """Return stdin as bytes.

    Raises: click.UsageError where a person sits at it, with what to do.
    """
    if sys.stdin.isatty():
        raise click.UsageError(what)
    return sys.stdin.buffer


def pieces(file: IO[bytes], most: int = 1 << 20) -> Iterator[bytes]:
    """Read to the end, and say so when it keeps us waiting."""
    read1 = getattr(file, "read1", file.read)
    if not _comes(file):
        note("waiting for stdin to end", dim=True)
    while piece := read1(most):
        yield piece


def _comes(file: IO[bytes]) -> bool:
    try:
        return bool(select.select([file.fileno()], [], [], PATIENCE_S)[0])
    except (OSError, ValueError, io.UnsupportedOperation):  # Windows asks sockets only
        return True


class Progress:
    """Says on a terminal how much of a long log was read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told_at = time.monotonic()
        self._on = sys.stderr.isatty()

    def __call__(self, read: int) -> None:
        """Take in how many bytes were read so far."""
        now = time.monotonic()
        if self._on and now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            note(f"{self._name}: {read / 1e6:,.0f} MB read", dim=True)


def context_of(file: str | None) -> Any:
    """Return what belongs to a question: a file that is named, else what is piped in, None where nothing is."""
    if file is not None and file != "-":
        from pathlib import Path

        return Path(file)
    if file is None:
        try:
            kind = os.fstat(sys.stdin.fileno()).st_mode
        except (OSError, ValueError, io.UnsupportedOperation):
            return None
        if not (stat.S_ISFIFO(kind) or stat.S_ISREG(kind)):
            return None
        first = next(pieces(sys.stdin.buffer), b"")
        return itertools.chain([first], pieces(sys.stdin.buffer)) if first.strip() else None
    return pieces(sys.stdin.buffer)
