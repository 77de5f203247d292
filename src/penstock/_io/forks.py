"""Whether this process was forked off since something was begun: what a parent began is not its child's.

To ask for the process id at every step would be a system call each time; a fork is rare and says so by itself.
"""

from __future__ import annotations

import os


class Forks:
    """How many forks lead from the first process to this one."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.count += 1


FORKS = Forks()
