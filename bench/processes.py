"""The processes of a run: each is started in its own session, spoken to by lines, and stopped by its own id."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).parent.parent
VENV: Final = ROOT / ".venv" / "bin" / "python"
PEERS_VENV: Final = ROOT / ".venv-bench" / "bin" / "python"
"""any-llm and LiteLLM pin older versions of the official SDKs, so they live apart."""

KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
START_S: Final = 60.0
TURN_S: Final = 60.0
STOP_S: Final = 3.0


class Failed(Exception):
    """A process could not be started, answered nothing in time or ended; says why in its own last words."""


def environment() -> dict[str, str]:
    """No keys, no proxies, no settings of the user: only what a process needs to run."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


class Process:
    """One child: a server or a contestant."""

    def __init__(self, python: Path, *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed in stop()
        self._pending = b""
        if not python.exists():
            raise Failed(f"{python.relative_to(ROOT)} does not exist")
        self._child = subprocess.Popen(
            [python, "-m", *arguments],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches this program alone, which then stops its children
        )

    def line(self, within_s: float) -> str:
        """Wait for one line.

        Raises: Failed.
        """
        out = self._child.stdout
        assert out is not None
        until = time.monotonic() + within_s
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise Failed(f"no answer within {within_s:.0f} s")
                data = os.read(out.fileno(), 65_536)
                if not data:
                    raise Failed(self.last_words())
                self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode()

    def say(self, line: str) -> None:
        """Send one line.

        Raises: Failed.
        """
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            raise Failed(self.last_words()) from None

    def end(self) -> None:
        """Ask the process to end; whoever waits for a line of it is told that it did. Any thread may."""
        self._child.terminate()

    def last_words(self) -> str:
        """The last words that the process wrote to its standard error, without the frame that groups of errors have."""
        self._errors.seek(0)
        lines = [line.strip("|+- ") for line in self._errors.read().decode(errors="replace").splitlines()]
        return next((line[:200] for line in reversed(lines) if line), "ended without a word")

    def stop(self) -> None:
        """End this process, by force when it does not listen."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.terminate()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


class Server(Process):
    """The loopback server; `url` is where it listens."""

    def __init__(self) -> None:
        super().__init__(VENV, "bench.server")
        self.url = f"http://127.0.0.1:{self.line(START_S)}"


class Worker(Process):
    """One contestant in one colour, ready for turns."""

    def __init__(self, python: Path, family: str, colour: str, root: str) -> None:
        super().__init__(python, "bench.worker", family, colour, root)
        self.version: str = json.loads(self.line(START_S))["version"]

    def turn(
        self, kind: str, count: int, concurrency: int, *, warm_up: int, within_s: float = TURN_S
    ) -> dict[str, float]:
        """Do `count` calls or streams and return CPU, wall and memory.

        Raises: Failed.
        """
        self.say(json.dumps({"kind": kind, "count": count, "concurrency": concurrency, "warm_up": warm_up}))
        figures: dict[str, float] = json.loads(self.line(within_s))
        return figures


if sys.platform == "win32":
    raise SystemExit("make bench needs a Unix: it reads getrusage and waits on pipes")
