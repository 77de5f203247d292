"""How much of a stated limit is used after rejections that the stated figures do not explain.

A server that turned something away was empty at that moment. So what it let in between two rejections is what it
allows, whatever it counts by: the trim goes to a little less than that where there are calls enough to tell, and down
by steps where there are not. There it stays, since each rejection is paid for by `EARN_CALLS` calls before more is
tried: that keeps rejections a small share of all calls, whatever the limit is. When more turns out to be too much, it
goes back to what was clean. Nothing is owed before a rate is known: a single rejection may be an accident. One that
comes alone after so many calls is paid for already; where the provider tells its limit, it is hardly a cut.
"""

from __future__ import annotations

from math import inf
from typing import Final

CUT: Final = 0.93
FLOOR: Final = 0.3
CLEAN_S: Final = 3.0
GROWTH_PER_S: Final = 0.01  # of the limit, or of the rate that is known
GROWS_FASTER_S: Final = 3.0  # growth that meets no rejection doubles so often, as where a limit was raised again
GROWS_FASTER_CALLS: Final = 30  # or after so many calls, where they are few
MOST_FASTER: Final = 16.0

HEADROOM: Final = 0.98  # of what was let in
LEAST_CUT: Final = 0.97
MOST_CUT: Final = 0.5
TELLING_CALLS: Final = 6  # let in between two rejections; fewer say nothing of a rate
TELLING_SIZED_CALLS: Final = 30  # where calls differ in size
BLIND_CUTS: Final = 2  # by `CUT`; after the first by `BLIND_CUT` if anything was let in, later not at all if not
BLIND_CUT: Final = 0.75
ROOM_S: Final = 20.0  # so long after a cut the server had room, and what it let in is only what was asked for
EARN_CALLS: Final = 150
MOST_HOLD_S: Final = 900.0
LEAST: Final = 0.05  # once a rate is known


class Trim:
    """See the module. `share` of the limit is used; a `free` one also grows beyond 1."""

    __slots__ = ("_blind", "_call_s", "_calls", "_cut_at", "_good", "_grows_at", "_knows", "_let_in", "_plateau",
                 "_since", "_telling_calls", "_turned_away", "_unpaid", "free", "share")  # fmt: skip

    def __init__(self, *, free: bool, sized: bool) -> None:
        self.free = free
        self._telling_calls = TELLING_SIZED_CALLS if sized else TELLING_CALLS
        self.restart(1.0)

    def restart(self, share: float) -> None:
        """Drop what rejections taught: the limit is another one."""
        self.share = share
        self._plateau = share  # where it grows from
        self._good = 0.0  # the last plateau that was clean until it grew
        self._knows = False
        self._call_s = 0.0
        self._unpaid = 0
        self._turned_away = 0  # since the last one that was learnt from
        self._blind = 0
        self._cut_at = -inf
        self._grows_at = -inf
        self._since = -inf  # the rejection that is counted from
        self._calls = 0
        self._let_in = 0.0

    def cut(self, now: float) -> None:
        """Go a step down."""
        self._set(now, self.share * CUT)

    def learn(self, now: float, calls: int, let_in: float, rate: float, *, told: bool = False) -> None:
        """Take in the first rejection of a generation, when `calls` that held `let_in` were let in so far.

        `rate` is what the whole limit comes to per second; `told` says that the provider states that limit.
        """
        since_calls = calls - self._calls
        first = self._since == -inf
        stray = told and self._turned_away == 1 and since_calls >= EARN_CALLS and not self._knows
        self._turned_away = 0
        if stray and not first:
            self._set(now, LEAST_CUT * self.share)
        elif first or since_calls < self._telling_calls or now <= self._since:
            self._step(now, since_calls)
            if not first:
                return
        elif self._knows and self.share > self._plateau and now - self._cut_at > ROOM_S:
            self._good = self._plateau
            self._set(now, max(self._good, self.share * CUT))
            self._blind = 1
        else:
            seen = HEADROOM * (let_in - self._let_in) / (now - self._since) / rate
            if self.share <= self._good:
                self._good = 0.0  # not any more
            self._knows = True
            self._blind = 0
            self._set(now, max(self._good, MOST_CUT * self.share, min(LEAST_CUT * self.share, seen)))
        self._since, self._calls, self._let_in = now, calls, let_in

    def _step(self, now: float, since_calls: int) -> None:
        if self._blind and since_calls > 0:
            self._set(now, min(self.share, max(self._good, self.share * BLIND_CUT)))
        elif self._blind < BLIND_CUTS:
            self.cut(now)
        self._blind += 1

    def owe(self, now: float, per_call_s: float) -> None:
        """Grow only after the calls that pay for one more rejection."""
        self._unpaid += 1
        self._turned_away += 1
        self._call_s = per_call_s
        if self._knows:
            owed_s = EARN_CALLS * self._unpaid * per_call_s
            self._grows_at = min(max(self._grows_at, now) + owed_s, now + MOST_HOLD_S)
            self._unpaid = 0

    def release(self, now: float) -> None:
        """Grow from now on, whatever is owed."""
        self._grows_at = min(self._grows_at, now)

    def _set(self, now: float, share: float) -> None:
        self.share = self._plateau = max(LEAST if self._knows else FLOOR, share)
        self._cut_at = now
        self._grows_at = max(self._grows_at, now + CLEAN_S)

    def grow(self, at: float, now: float) -> bool:
        """Let the time from `at` to `now` pass; whether the share changed."""
        since = at if at > self._grows_at else self._grows_at
        if now <= since:
            return False
        growth = GROWTH_PER_S * (now - since)
        if not self.free and self._grows_at > -inf:
            growth *= self._faster(since)
        if self._knows:
            self.share += self._plateau * growth
        elif self.free:
            self.share *= 1.0 + growth
        else:
            self.share += growth
        if self.share > 1.0 and not self.free:
            self.share = 1.0
        return True

    def _faster(self, now: float) -> float:
        """How many times faster it grows by now, after so long without a rejection."""
        doubles_s = max(GROWS_FASTER_S, GROWS_FASTER_CALLS * self._call_s)
        faster: float = 2.0 ** ((now - self._grows_at) / doubles_s)
        return min(MOST_FASTER, faster)

    def shift(self, back_s: float) -> None:
        """Follow a clock that was put back."""
        self._grows_at -= back_s
        self._cut_at -= back_s
        self._since -= back_s
