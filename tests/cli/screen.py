"""A command on a pseudo-terminal: what a person types, and what they see."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.sim import SimServer
from tests.cli.terminal import WAIT_S, command, environment

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


class Screen:
    """A process whose stdin, stdout and stderr are one terminal; `seen` is all that was on it, without its codes."""

    def __init__(self, *args: str | Path, sim: SimServer | None, folder: Path, **more: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command(*args),
            cwd=folder,
            env=environment(sim, folder, TERM="xterm", COLUMNS="100", **more),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._raw = b""

    @property
    def seen(self) -> str:
        return _CODES.sub("", self._raw.decode(errors="replace"))

    def wait_for(self, words: str, *, after: int = 0) -> int:
        """Read until words are on the screen, and return where they end.

        Raises: AssertionError with the screen, when they do not come.
        """
        until = time.monotonic() + WAIT_S
        while (at := self.seen.find(words, after)) < 0:
            assert time.monotonic() < until, f"{words!r} did not come:\n{self.seen}"
            if not self._read(0.2) and self.process.poll() is not None:
                assert words in self.seen[after:], f"it ended without {words!r}:\n{self.seen}"
        return at + len(words)

    def press(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal is not the process's controlling one, so the signal is sent as it would be.

        It is sent once the process waits: readline hears one that comes between its prompt and its wait only with the
        next key.
        """
        state = Path(f"/proc/{self.process.pid}/stat")
        until = time.monotonic() + WAIT_S
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < until, f"it never waits:\n{self.seen}"
        os.kill(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        until = time.monotonic() + WAIT_S
        while self.process.poll() is None and time.monotonic() < until:
            self._read(0.05)
        while self._read(0.0):
            pass
        return self.process.wait(1)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self._raw += data
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
