"""Whether a process lives: by number, start and world, so that a number given out again is no disguise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from penstock._io.stores import owner
from penstock._io.stores.owner import Owner, is_dead, myself

linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")


def test_this_process_lives() -> None:
    """And knows its own number."""
    assert myself().pid == os.getpid()
    assert not is_dead(myself())


@linux
def test_a_number_that_was_given_out_again_is_another_process() -> None:
    """As is every process of before the machine was started."""
    assert is_dead(myself()._replace(started="1"))
    assert is_dead(myself()._replace(boot="another boot"))


@linux
def test_what_another_container_runs_cannot_be_looked_up() -> None:
    """It counts as living."""
    assert not is_dead(myself()._replace(container="pid:[1]", pid=2**22 + 1))


@linux
def test_a_process_that_ended_is_dead_also_before_it_was_waited_for() -> None:
    """A zombie has its number still."""
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = myself()._replace(pid=program.pid, started=owner._started(program.pid) or "")
    assert not is_dead(found)
    program.kill()
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(found)
    program.communicate()
    assert is_dead(found)


def test_without_proc_a_process_is_asked_for_by_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems that do not tell when it started; one of another user is there as well."""
    monkeypatch.setattr(owner, "_read", lambda path: "")
    monkeypatch.setattr(owner, "_container", lambda: "")
    assert not is_dead(myself())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_dead(Owner(ended.pid, "", "", ""))

    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert not is_dead(Owner(ended.pid, "", "", ""))
    monkeypatch.setattr(sys, "platform", "win32")
    assert not is_dead(Owner(ended.pid, "", "", ""))
