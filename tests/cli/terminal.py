"""The command line as a user runs it: a process of its own, with the simulator as its provider."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from penstock.sim import SimServer
from tests.cli.forked import Forks

WAIT_S = 30.0


def environment(sim: SimServer | None, home: Path, **more: str) -> dict[str, str]:
    """An environment that reaches nobody but the simulator."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    found = kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONUTF8": "1"}
    if sim is not None:
        found |= {"OPENAI_BASE_URL": f"{sim.url}/v1", "ANTHROPIC_BASE_URL": sim.url}
        found |= {"OPENAI_API_KEY": "k-secret", "ANTHROPIC_API_KEY": "k-secret"}
        found |= {"CO_API_URL": sim.url, "GOOGLE_GEMINI_BASE_URL": sim.url}
        found |= {"CO_API_KEY": "k-secret", "GEMINI_API_KEY": "k-secret"}
    return found | more


def command(*args: str | Path) -> list[str]:
    """The command line for the current interpreter."""
    return [sys.executable, "-c", "from penstock.cli import main; main()", *map(str, args)]


forks = cache(Forks)
"""The process that forks for `penstock`: one for all tests of this process, made when the first of them asks."""


def start(
    *args: str | Path, sim: SimServer | None, folder: Path, stdin: int = subprocess.DEVNULL, **more: str
) -> subprocess.Popen[str]:
    """Start a command in a folder."""
    return subprocess.Popen(
        command(*args),
        cwd=folder,
        env=environment(sim, folder, **more),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def penstock(
    *args: str | Path, sim: SimServer | None = None, folder: Path, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a fork."""
    env = environment(sim, folder, **more)
    return forks().run([*map(str, args)], folder=folder, env=env, stdin=stdin, timeout=WAIT_S)


def shell(line: str, sim: SimServer | None, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in which `penstock` is the command."""
    called = shlex.join(command())
    return subprocess.run(
        ["bash", "-c", f'penstock() {{ {called} "$@"; }}\n{line}'],
        cwd=folder,
        env=environment(sim, folder, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def wait_until(program: subprocess.Popen[Any], reached: Callable[[], bool]) -> None:
    """Let a command go until it has come so far; looking all the time would take it half of a small machine."""
    until = time.monotonic() + WAIT_S
    while not reached():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)


def wait_for_lines(program: subprocess.Popen[str], path: Path, count: int) -> None:
    """Let a run go until a file of it has so many lines."""
    wait_until(program, lambda: path.exists() and path.read_bytes().count(b"\n") >= count)


def write_rows(path: Path, count: int) -> Path:
    """Write rows with a log column."""
    path.write_text("".join(json.dumps({"id": f"r{n}", "log": f"case {n}"}) + "\n" for n in range(count)), "utf-8")
    return path


def results(path: Path) -> list[dict[str, Any]]:
    """The lines of an output."""
    return [json.loads(row) for row in path.read_bytes().splitlines()]
