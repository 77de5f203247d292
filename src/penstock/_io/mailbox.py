"""A bounded queue with one thread behind it: whoever posts never waits, whoever reads may be slow or fail.

The thread is made with the first letter, takes what has gathered every `interval_s`, and ends when nothing came for a
while, so that an idle client has none. Posting is an append; it wakes nobody while the thread is at work. What comes
while it reads waits for the next time: read at once, a few letters at a time, they would cost a busy client much more.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .forks import FORKS

IDLE_S: Final = 10.0
"""A thread without work ends after this."""

CLOSE_S: Final = 5.0
"""How long closing waits for a reader that is not done."""

BATCH: Final = 5_000
"""Letters handed over at once."""


class Mailbox:
    """Letters for one reader, at most `most` of them waiting; more are counted as lost, and that is logged once.

    `read` is called with a list of letters, never by two threads at once. What it raises is logged once. `lost` is
    called with how many letters were lost and why, before they are forgotten; `closed` when all of them were read.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[list[Any]], None],
        *,
        most: int,
        interval_s: float,
        lost: Callable[[int, str], None] | None = None,
        closed: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.lost = 0
        self._read = read
        self._most = most
        self._interval_s = interval_s
        self._on_lost = lost
        self._on_close = closed
        self._told: set[str] = set()
        self._start()

    def _start(self) -> None:
        self._forks = FORKS.count
        self._letters: deque[Any] = deque()
        self._missed = 0
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._stopping = False
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def post(self, letter: Any) -> None:
        """Leave a letter. Never waits and never raises."""
        if self._forks != FORKS.count:
            self._start()  # a forked child has neither the thread nor the letters of its parent
        letters = self._letters
        if len(letters) >= self._most:
            self._missed += 1
        else:
            letters.append(letter)
        if self._asleep:
            self._rouse()

    def __len__(self) -> int:
        return len(self._letters)

    def _rouse(self) -> None:
        with self._lock:
            self._asleep = False
            if self._thread is not None:
                self._bell.set()
                return
            self._stopping = False
            thread = threading.Thread(target=self._work, name=f"penstock-{self.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending, so this thread reads itself
                self._asleep = True
            else:
                self._thread = thread
                atexit.register(self._at_exit)
                return
        self.flush()

    def _work(self) -> None:
        while True:
            self._asleep = False
            self._bell.wait(0.0 if self._stopping else self._interval_s)
            self._bell.clear()
            if self._take():
                continue
            self._asleep = True
            if not self._letters and self._bell.wait(0.0 if self._stopping else IDLE_S):
                self._bell.clear()
                if not self._stopping:
                    continue
            with self._lock:
                if not self._letters and not self._missed:
                    self._thread = None
                    atexit.unregister(self._at_exit)
                    return

    def _take(self) -> bool:
        """Hand over what has gathered, and say whether there was any."""
        with self._reading:
            return self._hand_over()

    def _hand_over(self) -> bool:
        letters = self._letters
        left = len(letters)
        worked = bool(left or self._missed)
        self._count_missed()
        while left:
            batch = [letters.popleft() for _ in range(min(left, BATCH))]
            left -= len(batch)
            try:
                self._read(batch)
            except Exception as error:  # noqa: BLE001 - a reader's failure is its own
                self.lose(len(batch), f"{type(error).__name__}: {error}")
            self._count_missed()
        return worked

    def _count_missed(self) -> None:
        missed, self._missed = self._missed, 0
        if missed:
            self.lose(missed, f"it is too slow: {self._most:,} events are waiting for it")

    def lose(self, count: int, why: str) -> None:
        """Count letters as lost; each reason is logged once."""
        self.lost += count
        if why not in self._told and len(self._told) < 8:
            self._told.add(why)
            logging.getLogger("penstock").warning("%s loses events; calls go on: %s", self.name, why)
        if self._on_lost is not None:
            self._on_lost(count, why)

    def hold(self, patience_s: float) -> bool:
        """Keep the reader from reading until `go_on`; False when it is not done in time."""
        return self._reading.acquire(timeout=patience_s)

    def go_on(self) -> None:
        """Let the reader read again."""
        self._reading.release()

    def flush(self, patience_s: float = CLOSE_S) -> bool:
        """Read all letters that are here now, in this thread; False when the reader is not done by then."""
        if not self._reading.acquire(timeout=patience_s):
            return False
        try:
            self._hand_over()
        finally:
            self._reading.release()
        return True

    def _at_exit(self) -> None:
        self.close(CLOSE_S)

    def close(self, patience_s: float = CLOSE_S) -> bool:
        """Read what is left and end the thread; a letter that comes later begins anew.

        False when the reader was not done in time: then its thread is left to itself.
        """
        if self._forks != FORKS.count:
            self._start()
        with self._lock:
            thread = self._thread
            self._stopping = True
            self._bell.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience_s)
            if thread.is_alive():
                return False
        done = self.flush(patience_s)
        if done and self._on_close is not None:
            self._on_close()
        return done
