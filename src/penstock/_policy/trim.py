"""How much of a stated limit is used after rejections that the stated figures do not explain.

A server that turned something away was empty at that moment. So what it let in between two rejections is what it
allows, whatever it counts by: the trim goes to a little less than that, where there are calls enough to tell, and
otherwise down by steps. Then it stays: each rejection is paid for by `EARN_CALLS` calls that are let in before the next
rate is tried, so that rejections are a small share of all calls at any limit. What is tried grows by a hundredth a
second.
"""

from __future__ import annotations

from math import inf
from typing import Final

CUT: Final = 0.93
FLOOR: Final = 0.3
LEAST: Final = 0.05  # once the rate is known
SATURATED_S: Final = 20.0
GROWTH_PER_S: Final = 0.01
CLEAN_S: Final = 3.0

HEADROOM: Final = 0.98  # of what was let in between two rejections
LEAST_CUT: Final = 0.97
MOST_CUT: Final = 0.5
TELLING_CALLS: Final = 6  # let in between two rejections; fewer say nothing of a rate
BLIND_CUTS: Final = 2  # by `CUT`, then by `BLIND_CUT`, and not at all while nothing is let in
BLIND_CUT: Final = 0.75
TELLING_SIZED: Final = 30  # where calls differ in size
EARN_CALLS: Final = 150
MOST_HOLD_S: Final = 600.0


class Trim:
    """See the module. `share` of the limit is used; a `free` one also grows beyond 1."""

    __slots__ = ("_blind", "_calls", "_cut_at", "_good", "_grows_at", "_knows", "_let_in", "_plateau", "_since", "_telling_calls", "_unpaid", "free", "share")

    def __init__(self, *, free: bool, telling_calls: int) -> None:
        self.free = free
        self._telling_calls = telling_calls
        self.restart(1.0)

    def restart(self, share: float) -> None:
        """Drop what rejections taught: the limit is another one."""
        self.share = share
        self._grows_at = -inf
        self._since = -inf
        self._calls = 0
        self._let_in = 0.0
        self._blind = 0
        self._knows = False
        self._unpaid = 0
        self._plateau = share
        self._good = 0.0
        self._cut_at = -inf

    def cut(self, now: float) -> None:
        """Go a step down."""
        self._set(now, self.share * CUT)

    def learn(self, now: float, calls: int, let_in: float, rate: float) -> None:
        """Take in the first rejection of a generation, when `calls` and `let_in` were let in so far.

        `rate` is what the whole limit comes to per second.
        """
        since_calls = calls - self._calls
        elapsed_s = now - self._since
        telling = since_calls >= self._telling_calls and elapsed_s < inf
        if not telling:
            self._step(now, since_calls)
        elif self._knows and self.share > self._plateau and now - self._cut_at > SATURATED_S:
            # The server had room for long, so what it let in is what was asked for.
            self._good = self._plateau
            self._set(now, max(self._good, self.share * CUT))
            self._blind = 1
        else:
            seen = HEADROOM * (let_in - self._let_in) / (elapsed_s * rate) if elapsed_s > 0 else self.share
            share = max(MOST_CUT * self.share, min(LEAST_CUT * self.share, seen))
            if self.share <= self._good:
                self._good = 0.0  # not any more
            self._set(now, max(share, self._good))
            self._knows = True
            self._blind = 0
        if telling or elapsed_s == inf:
            self._since, self._calls, self._let_in = now, calls, let_in

    def _step(self, now: float, since_calls: int) -> None:
        if self._blind and since_calls > 0:
            self._set(now, max(self._good, self.share * BLIND_CUT))
        elif self._blind < BLIND_CUTS:
            self.cut(now)
        self._blind += 1

    def owe(self, now: float, per_call_s: float) -> None:
        """Wait for the calls that pay for a rejection, once it is known what is let in."""
        if not self._knows:
            self._unpaid += 1
            return
        per_call_s *= 1 + self._unpaid
        self._unpaid = 0
        start = self._grows_at if self._grows_at > now else now
        self._grows_at = min(start + EARN_CALLS * per_call_s, now + MOST_HOLD_S)

    def _set(self, now: float, share: float) -> None:
        self.share = self._plateau = max(LEAST if self._knows else FLOOR, share)
        self._cut_at = now
        self._grows_at = max(self._grows_at, now + CLEAN_S)

    def grow(self, at: float, now: float) -> bool:
        """Let the time from `at` to `now` pass; whether the share changed."""
        since = at if at > self._grows_at else self._grows_at
        if now <= since:
            return False
        if self._knows:
            share = self.share + GROWTH_PER_S * self._plateau * (now - since)
            self.share = share if self.free else min(1.0, share)
        elif self.free:
            self.share *= 1.0 + GROWTH_PER_S * (now - since)
        else:
            self.share = min(1.0, self.share + GROWTH_PER_S * (now - since))
        return True

    def shift(self, back_s: float) -> None:
        """Follow a clock that was put back."""
        self._grows_at -= back_s
        self._since -= back_s
        self._cut_at -= back_s
