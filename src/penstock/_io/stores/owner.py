"""Which process owns something in a shared file, and whether it still lives.

A process number alone is given out again, so an owner is a number, the instant at which the process started, and the
world in which both mean something: this start of this machine, and the container. What cannot be looked up, in another
container or on another system, counts as living.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple


class Owner(NamedTuple):
    """A process: its number, when it started (clock ticks since the machine did, '' where unknown), and its world."""

    pid: int
    started: str
    boot: str
    container: str


def myself() -> Owner:
    """Say which process this is."""
    pid = os.getpid()
    started = _started(pid)
    return Owner(pid, started or "", _read("/proc/sys/kernel/random/boot_id"), _container())


def is_dead(owner: Owner) -> bool:
    """Whether a process is known to have ended; False where nobody can tell."""
    if owner.boot != _read("/proc/sys/kernel/random/boot_id"):
        return bool(owner.boot)
    if owner.container != _container():
        return False
    if owner.started:
        started = _started(owner.pid)
        if started is not None:
            return started != owner.started
    if sys.platform == "win32":  # where signal 0 is no question
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    # It is there and /proc does not show it, or nobody knows when the owner started.
    return False


def _started(pid: int) -> str | None:
    """Return when a process started, '' for one that ended and was not waited for yet, None where nothing tells.

    Source: proc_pid_stat(5): the name in parentheses may hold anything; then the state, and 19 fields on the start.
    """
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return None
    return "" if fields[0] in {"Z", "X"} else fields[19]


def _container() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
