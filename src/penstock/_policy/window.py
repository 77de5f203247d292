"""One dimension of a limit: at most so many requests or tokens in any window of its period, and evenly paced.

Two guards that must both agree. The *window* is the promise: the exact sum of the last period, kept in at most 600
slots that expire late, never early. The *bucket* is the pace: it spreads the limit over the period, so that a server
that enforces it in short slices, or by a bucket of its own, has nothing to refuse. Both run a guard of 1/60 of the
period slower than allowed, because the network moves requests closer together than they were sent; that leaves 98.4 %
of the limit.
"""

from __future__ import annotations

from collections import deque
from math import inf

import msgspec

from .trim import FLOOR, Trim

Name = str
REQUESTS, TOKENS, INPUT, OUTPUT = range(4)
KINDS = {"requests": REQUESTS, "tokens": TOKENS, "input_tokens": INPUT, "output_tokens": OUTPUT}

GUARD = 1 / 60  # of the period: arrivals may be this much closer together than departures
OUTPUT_GUARD = 1 / 300  # no network moves outputs closer together; this covers the width of a slot
SLOTS = 600
BURST_S = 0.25  # of the rate of requests: a quarter of the shortest slice that a server was seen to enforce (1 s)
TOKEN_BURST_S = 4.0  # of the rate of tokens: credit for mixed sizes, less than the smallest bucket seen (6 s)
AT_ONCE = 0.5  # of an output counts when its call begins, the rest when it ends: it is produced in between
SPARE_S = 1.5  # what is left is compared over so long
SPARE_SHARE = 0.25  # of what was sent meanwhile; more left than before shows room
SPARE_TIMES = 2  # in a row: a window that starts anew shows it once
PACED_PERIOD_S = 120.0  # a limit per day is a quota: it is counted, not spread over the day


class Spare:
    """Whether the provider's own count of what is left shows that it refills faster than we send."""

    __slots__ = ("_at", "_booked", "_deaf", "_last", "_left", "_most", "_times")

    def __init__(self) -> None:
        self._at = -inf
        self._booked = self._left = self._last = self._most = 0.0
        self._times = 0
        self._deaf = False

    def is_there(self, now: float, left: float, booked: float) -> bool:
        """Take in what is left when so much was booked in all; whether there is clearly room."""
        self._last = left
        self._most = max(self._most, left)
        if now - self._at < SPARE_S:
            return False
        sent = booked - self._booked
        full = left >= 0.95 * self._most - 1
        shown = now - self._at < 4 * SPARE_S and sent > 0 and (full or left - self._left > SPARE_SHARE * sent)
        self._times = self._times + 1 if shown else 0
        self._at, self._left, self._booked = now, left, booked
        return self._times >= SPARE_TIMES and not self._deaf

    def rejected(self) -> None:
        """Believe no count that says that much is left where nothing is."""
        self._deaf = self._deaf or (self._most > 0 and self._last > self._most / 2)
        self._times = 0

    def shift(self, back_s: float) -> None:
        """Follow a clock that was put back."""
        self._at -= back_s


class DimensionState(msgspec.Struct, frozen=True, kw_only=True):
    """One dimension as it stands: `limit` counts, `used_in_window` of it are used; `level` is left in the bucket."""

    name: str
    period_s: float
    limit: int
    configured: int | None
    told: int | None
    used_in_window: float
    level: float
    trim: float

    @property
    def utilisation(self) -> float:
        """The used share of the limit, 0 to 1 (above 1: usage that nobody could know before)."""
        return self.used_in_window / self.limit


class Slot:
    """What was booked between `opens` and `closes`; `expires` is -inf once it left the window."""

    __slots__ = ("amount", "closes", "expires", "opens")

    def __init__(self, opens: float, closes: float, expires: float, amount: float) -> None:
        self.opens = opens
        self.closes = closes
        self.expires = expires
        self.amount = amount


class Dimension:
    """Requests or tokens against one limit; amounts may be fractions (an expected output is an average).

    `configured` is the upper bound that the user set, `told` what the provider's headers say; the smaller one counts.
    `trim` scales it down after rejections that the figures do not explain. A `guessed` limit is neither configured nor
    told but seen in rejections; its trim also grows beyond 1, since nothing else says where the limit is.

    The level pays for an output when its call begins, by what is expected. The window counts it as it is produced: as
    if half came at the beginning and half at the end, which has the same mean time. Counted whole from the beginning
    it would be counted too early, and a limit of outputs would be idle for half the time that a call takes.
    """

    __slots__ = (
        "_at_once",
        "_base_rate",
        "_blocked_need",
        "_blocked_until",
        "_burst_s",
        "_gone",
        "_keep_s",
        "_missed",
        "_most_cap",
        "_oldest",
        "_slots",
        "_spare",
        "_trim",
        "_width_s",
        "allowed",
        "at",
        "bound",
        "cap",
        "configured",
        "guessed",
        "kind",
        "level",
        "limit",
        "name",
        "period_s",
        "rate",
        "told",
        "trim",
        "used",
    )

    def __init__(
        self,
        name: Name,
        now: float,
        *,
        configured: int | None = None,
        told: int | None = None,
        period_s: float = 60.0,
        burst_s: float | None = None,
        guessed: bool = False,
    ) -> None:
        self.name = name
        self.kind = KINDS[name]
        self.configured = configured
        self.told = told
        self.period_s = period_s
        self.trim = 1.0
        self.guessed = guessed
        self.at = now
        self.used = 0.0
        own_burst_s = (BURST_S if self.kind == REQUESTS else TOKEN_BURST_S) * min(1.0, period_s / 60)
        self._at_once = AT_ONCE if self.kind == OUTPUT else 1.0
        self._burst_s = (own_burst_s if burst_s is None else burst_s) if period_s <= PACED_PERIOD_S else period_s
        self._keep_s = period_s * (1 + (OUTPUT_GUARD if self.kind == OUTPUT else GUARD))
        self._width_s = self._keep_s / SLOTS
        self._slots: deque[Slot] = deque()
        self._oldest = inf  # when the first of them leaves the window
        self._gone = 0.0  # booked in slots that left the window
        self._missed = 0.0  # booked and then turned away
        self._spare = Spare()
        self._trim = Trim(free=guessed, sized=self.kind != REQUESTS)
        self._blocked_need = inf
        self._blocked_until = -inf
        self._retune()
        self.level = self.cap

    def _retune(self) -> None:
        limits = [limit for limit in (self.configured, self.told) if limit is not None]
        self.limit = min(limits)
        # One request always fits the bucket; tokens may overdraw it (see `ready_at`), so they need no such floor.
        self._most_cap = min(float(self.limit), max(1.0, self.limit * self._burst_s / self.period_s))
        self._base_rate = self.limit / self._keep_s
        self._scale()

    def _scale(self) -> None:
        self.allowed = self.limit * self.trim
        # Where the provider tells its limit a trim is a pace: what was let in before a cut stops nothing.
        self.bound = self.allowed if self.told is None else max(self.allowed, float(self.limit))
        self.rate = self._base_rate * self.trim
        cap = self._most_cap * self.trim
        self.cap = self._most_cap if self.trim >= 1.0 else cap if cap > 1.0 else 1.0
        self._blocked_need = inf

    def roll(self, now: float) -> None:
        """Bring level and window to `now`; time that runs backwards counts as time that stands."""
        elapsed_s = now - self.at
        if elapsed_s > 0:
            self.level += elapsed_s * self.rate
            if self.level > self.cap:
                self.level = self.cap
            if self.trim < 1.0 or self.guessed:
                self._grow(now)
            self.at = now
        if now >= self._oldest:
            self._forget(now)

    def _forget(self, now: float) -> None:
        slots = self._slots
        while slots and slots[0].expires <= now:
            gone = slots.popleft()
            self.used -= gone.amount
            self._gone += gone.amount
            gone.expires = -inf
        if slots:
            self._oldest = slots[0].expires
        else:
            self.used = 0.0
            self._oldest = inf

    def ready_at(self, now: float, amount: float) -> float:
        """The earliest time at which `amount` may go if nothing else happens; `now` when it may go at once.

        What is larger than the burst goes at a full bucket and overdraws it, so no size waits for ever. For the same
        reason an empty window takes anything: a trimmed or tightened limit never blocks what was let into the queue.
        """
        self.roll(now)
        ready = now
        need = amount if amount < self.cap else self.cap
        missing = need - self.level
        if missing > self.rate * 1e-6:
            ready = self.at + missing / self.rate
        if self.used + amount > self.bound + 1e-6 and self._slots:
            ready = max(ready, self._window_at(amount))
        if ready > now and self.trim < 1.0:
            return min(ready, now + 1.0)  # the trim grows back meanwhile
        return ready

    def _window_at(self, amount: float) -> float:
        # Nothing but a refund makes room before the slot found last time expires, and a refund forgets it.
        if amount >= self._blocked_need and self.at < self._blocked_until:
            return self._blocked_until
        excess = self.used + amount - self.bound - 1e-6
        until = self._slots[-1].expires
        for slot in self._slots:
            excess -= slot.amount
            if excess <= 0:
                until = slot.expires
                break
        self._blocked_need, self._blocked_until = amount, until
        return until

    def book(self, now: float, amount: float) -> Slot:
        """Take `amount` now; the slot is the receipt for `correct`."""
        self.level -= amount
        return self._count(now, amount * self._at_once)

    def _count(self, now: float, amount: float) -> Slot:
        self.used += amount
        if self._slots:
            last = self._slots[-1]
            if now < last.closes:
                last.amount += amount
                return last
        slot = Slot(now, now + self._width_s, now + self._keep_s, amount)
        if not self._slots:
            self._oldest = slot.expires
        self._slots.append(slot)
        return slot

    def correct(self, slot: Slot, change: float) -> None:
        """Add `change` to what was taken with a slot; negative is a refund, which may be used at once."""
        self.level = min(self.level - change, self.cap)
        if slot.expires > -inf:
            change *= self._at_once
            slot.amount += change
            self.used += change
            self._blocked_need = inf

    def finish(self, now: float, slot: Slot, held: float, actual: float) -> None:
        """Replace a held amount by what was used, at the end of the call."""
        if actual != held:
            self.correct(slot, actual - held)
        if self._at_once < 1.0:
            self._count(now, actual * (1.0 - self._at_once))

    def booked_since(self, since: float) -> float:
        """What was booked after `since`, a slot that covers it included."""
        total = 0.0
        for slot in reversed(self._slots):
            if slot.closes <= since:
                break
            total += slot.amount
        return total

    def cut(self, now: float) -> None:
        """Scale down after a rejection."""
        self.roll(now)
        self._trim.cut(now)
        self._follow()

    def learn(self, now: float, calls: int) -> None:
        """Scale down after the first rejection of a generation, by what was let in: so many calls so far."""
        self.roll(now)
        self._spare.rejected()
        let_in = self._gone + self.used - self._missed
        told = self.told is not None and not self.guessed
        self._trim.learn(now, calls, let_in, self._base_rate, told=told)
        self._follow()

    def turned_away(self, now: float, held: float, calls: int, *, refunded: bool) -> None:
        """Take in one rejection; `refunded` says that the server does not count it, so that what it held is free."""
        if not refunded:
            self._missed += held
        let_in = self._gone + self.used - self._missed
        if calls > 0 and let_in > 0:
            self._trim.owe(now, let_in / calls / self.rate)

    def _follow(self) -> None:
        self.trim = self._trim.share
        self._scale()

    def _grow(self, now: float) -> None:
        if self._trim.grow(self.at, now):
            self._follow()

    def tell(self, now: float, limit: int) -> None:
        """Adopt the limit that the provider states: a lower one at once, a higher one as a trim grows back."""
        if limit == self.told and not self.guessed:
            return
        self.roll(now)
        before = self.allowed
        self.told = limit
        self.guessed = False
        self._retune()
        self._trim.free = False
        self._trim.restart(max(FLOOR, min(1.0, before / self.limit)))
        self._follow()
        self.level = min(self.level, self.cap)

    def agrees(self, limit: int | None, remaining: int | None) -> bool:
        """Whether what a provider tells is no news: the same limit, and more left of it than could be used at once."""
        return limit == self.told and not self.guessed and (remaining is None or remaining >= self.cap)

    def notice(self, now: float, remaining: int) -> None:
        """Let a trim grow at once where the provider's count shows room, as after a limit was raised again."""
        if self.trim < 1.0 and not self.guessed and self._spare.is_there(now, remaining, self._gone + self.used):
            self._trim.release(now)

    def remain(self, now: float, remaining: int, asked_at: float) -> None:
        """Lower the level to what the provider says is left, less what was booked after it was asked.

        `remaining` >= the burst says nothing: what was booked since cannot exceed the burst and the refill since.
        """
        if remaining >= self.cap:
            return
        self.roll(now)
        refilled = max(0.0, now - asked_at) * self.rate
        self.level = min(self.level, remaining - self.booked_since(asked_at) + refilled)

    def shift(self, back_s: float) -> None:
        """Follow a clock that was put back."""
        self.at -= back_s
        self._oldest -= back_s
        self._trim.shift(back_s)
        self._spare.shift(back_s)
        self._blocked_need = inf
        for slot in self._slots:
            slot.opens -= back_s
            slot.closes -= back_s
            slot.expires -= back_s

    def state(self) -> DimensionState:
        """The dimension as it stands."""
        return DimensionState(
            name=self.name,
            period_s=self.period_s,
            limit=self.limit,
            configured=self.configured,
            told=self.told,
            used_in_window=self.used,
            level=self.level,
            trim=self.trim,
        )

    def __len__(self) -> int:
        return len(self._slots)
