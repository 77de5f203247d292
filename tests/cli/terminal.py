"""The command line as a user runs it: a process of its own, with the simulator as its provider."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from penstock.sim import SimServer

WAIT_S = 30.0


def environment(sim: SimServer | None, home: Path, **more: str) -> dict[str, str]:
    """An environment that reaches nobody but the simulator."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    found = kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONUTF8": "1"}
    if sim is not None:
        found |= {"OPENAI_BASE_URL": f"{sim.url}/v1", "ANTHROPIC_BASE_URL": sim.url}
        found |= {"OPENAI_API_KEY": "k-secret", "ANTHROPIC_API_KEY": "k-secret"}
    return found | more


def command(*args: str | Path) -> list[str]:
    """The command line for the current interpreter."""
    return [sys.executable, "-c", "from penstock.cli import main; main()", *map(str, args)]


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
    """Run a command to its end."""
    return subprocess.run(
        command(*args),
        cwd=folder,
        env=environment(sim, folder, **more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


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


def write_rows(path: Path, count: int) -> Path:
    """Write rows with a log column."""
    path.write_text("".join(json.dumps({"id": f"r{n}", "log": f"case {n}"}) + "\n" for n in range(count)), "utf-8")
    return path


def results(path: Path) -> list[dict[str, Any]]:
    """The lines of an output."""
    return [json.loads(row) for row in path.read_bytes().splitlines()]
