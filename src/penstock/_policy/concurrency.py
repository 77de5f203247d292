"""How many calls may be in flight at once: what the user set, what rejections taught, what latency tells.

    configured   an upper bound that the user set; nothing goes beyond it
    learned      found in 429s that no known rate explains: below where they came, and one more now and then;
                 and in 503s and 529s, when they are many: a fifth lower
    ramp         while nothing is known of a server: doubled each second that it is in the way, one more per answer
    auto         for servers that tell no limits and queue what is too much (vLLM, Ollama, llama.cpp): see `Pace`

What a server tells of its limits ends all of them but the first.
"""

from __future__ import annotations

from math import inf
from typing import Final

from ..types import Usage

FIRST_IN_FLIGHT: Final = 32.0  # while nothing is known of a server's limits
RAMP_S: Final = 1.0
MOST_FIRM: Final = 4

OVERLOADS_LEAST: Final = 2  # one is an accident
OVERLOAD_SHARE: Final = 0.05  # of the calls in flight
OVERLOAD_CUT: Final = 0.8

FIRST_PACE: Final = 2.0
TOLERANCE: Final = 1.5  # of the floor: calls may take half as long again, so that the server never runs dry
NEAR_FLOOR: Final = 1.25
LEAST_SAMPLES: Final = 6
GROWTH: Final = 0.1
LEAST_GROWTH: Final = 0.25
LEAST_CUT: Final = 0.5
FAULT_CUT: Final = 0.7
FAULTS_LEAST: Final = 2
FAULT_SHARE: Final = 0.2
RECENT: Final = 0.2  # of a window in the mean of the last ones
DIP: Final = 0.5
DIP_AFTER: Final = 40  # windows; the floor is looked for again, since models, prompts and neighbours change
PROMPT_SHARE: Final = 1 / 200  # reading a token of the prompt takes about so much of writing one
OVERHEAD: Final = 4.0  # tokens' worth of work that every call has


class Pace:
    """Finds the number of calls in flight at which a server is busy and nobody waits for long.

    The measure is the time that an answer took per token, summed over a window of answers, so that their sizes do not
    matter. Its floor is the least mean of the last windows; the least single window would be a lucky one where calls
    differ in speed, and hold the limit down. While the measure is near the floor and the limit is used, the limit grows
    (doubles, until it was too much once); beyond `TOLERANCE` times the floor it shrinks in proportion. Now and then the
    limit is halved for one window, whose measure is the new floor. Faults that look like overload cut it at once. Only
    calls that were granted under the present limit count.

    Source: TCP Vegas (Brakmo, Peterson 1995); the gradient limiter of Netflix concurrency-limits; probing as in BBR.
    """

    __slots__ = ("_busy", "_dip", "_faults", "_floor_s", "_samples", "_since", "_slow_start", "_took_s", "_top",
                 "_usual_s", "_windows", "_work", "limit")  # fmt: skip

    def __init__(self) -> None:
        self.limit = FIRST_PACE
        self._floor_s = inf  # per token
        self._usual_s = 0.0  # per token, in the last windows
        self._slow_start = True
        self._dip: float | None = None  # the limit to go back to
        self._windows = 0
        self._top = inf  # the limit before it began to shrink
        self._since = -inf
        self._clear()

    def _clear(self) -> None:
        self._took_s = 0.0
        self._work = 0.0
        self._samples = 0
        self._busy = 0
        self._faults = 0

    def answered(self, now: float, granted_at: float, in_flight: int, work: float) -> None:
        """Take in an answer that was `work` tokens' worth."""
        if not self._since <= granted_at <= now:
            return
        self._took_s += now - granted_at
        self._work += work
        self._samples += 1
        self._busy += in_flight >= int(self.limit)
        if self._samples >= max(LEAST_SAMPLES, self.limit):
            self._judge(now)

    def failed(self, now: float, granted_at: float) -> None:
        """Take in a fault of the server: one is an accident, two and a fifth of those in flight are too much load."""
        if granted_at < self._since:
            return
        self._faults += 1
        if self._faults >= FAULTS_LEAST and self._faults >= FAULT_SHARE * self.limit:
            self._slow_start = False
            self._dip = None
            self._set(now, self.limit * FAULT_CUT)

    def shift(self, back_s: float) -> None:
        """Follow a clock that was put back."""
        self._since -= back_s

    def _set(self, now: float, limit: float) -> None:
        if limit != self.limit:
            self.limit = max(1.0, limit)
            self._since = now
        self._clear()

    def _judge(self, now: float) -> None:
        token_s = self._took_s / self._work
        if self._dip is not None:
            self._floor_s = self._usual_s = token_s
            limit, self._dip, self._windows = self._dip, None, 0
            self._set(now, limit)
            return
        alone = self.limit < 2  # so nothing of ours slows it down
        if alone or not self._usual_s:
            self._floor_s = self._usual_s = token_s
        self._usual_s += RECENT * (token_s - self._usual_s)
        self._floor_s = min(self._floor_s, self._usual_s)
        inflation = token_s / self._floor_s if self._floor_s > 0 else 1.0
        self._windows += 1
        limit, busy = self.limit, self._busy * 2 >= self._samples
        if inflation > TOLERANCE:
            self._slow_start = False
            self._top = limit if self._top == inf else self._top
            limit *= max(LEAST_CUT, TOLERANCE / inflation)
        else:
            self._top = inf
            if busy and inflation < NEAR_FLOOR:
                limit = limit * 2 if self._slow_start else limit + max(LEAST_GROWTH, GROWTH * limit)
        in_vain = limit <= LEAST_CUT * self._top < inf  # so perhaps it is not our load and the floor is out of date
        if busy and not alone and (in_vain or self._windows >= DIP_AFTER):
            self._top = inf
            self._dip = limit
            limit *= DIP
        self._set(now, limit)


class Concurrency:
    """See the module. `cap` calls may be in flight; at `ramp` of them `ramp_up` says when there may be more.

    `learns` says whether answers and faults still change anything.
    """

    __slots__ = ("_configured", "_cut_at", "_firm", "_good", "_learned", "_overloads", "_pace", "_raised", "_ramp_at",
                 "_unharmed", "cap", "learns", "ramp")  # fmt: skip

    def __init__(self, configured: int | str | None, *, ramp: bool) -> None:
        self._configured = float(configured) if isinstance(configured, int) else inf
        self._learned = inf
        self._good = 0
        self._raised = False
        self._firm = 1  # how often as many answers are waited for, as the bound was found at the same place
        self._pace = Pace() if configured == "auto" else None
        self._overloads = 0
        self._unharmed = 0  # answers since the first of these
        self._cut_at = -inf
        self.ramp = FIRST_IN_FLIGHT if ramp else inf
        self._ramp_at: float | None = None
        self._recap()

    def _recap(self) -> None:
        pace = inf if self._pace is None else float(int(self._pace.limit))
        self.cap = min(self._configured, self._learned, pace)
        self.learns = self.ramp < inf or self._learned < inf or self._pace is not None or self._overloads > 0

    def ramp_up(self, now: float) -> float:
        """Double the ramp and return `now`, or return when that may be."""
        if self._ramp_at is None or now > self._ramp_at + RAMP_S:
            self._ramp_at = now + RAMP_S
        if now < self._ramp_at:
            return self._ramp_at
        self.ramp *= 2
        self._ramp_at = None
        return now

    def answered(self, now: float, granted_at: float, in_flight: int, usage: Usage) -> None:
        """Take in an answer."""
        if self.ramp < inf and in_flight * 2 > self.ramp:
            self.ramp += 1
        if self._overloads:
            self._unharmed += 1
            if self._unharmed * OVERLOAD_SHARE > self._overloads:
                self._overloads = 0
                self._recap()
        if self._learned < inf:
            self._good += 1
            if self._good >= 1.5 * self._firm * self._learned and in_flight >= self._learned - 1:
                self._learned += 1
                self._raised = True
                self._firm = max(1, self._firm - 1)
                self._good = 0
                self._recap()
        if self._pace is not None:
            work = OVERHEAD + usage.prompt * PROMPT_SHARE + usage.completion
            self._pace.answered(now, granted_at, in_flight, work)
            self._recap()

    def failed(self, now: float, granted_at: float) -> None:
        """Take in a fault of the server."""
        if self._pace is not None:
            self._pace.failed(now, granted_at)
            self._recap()

    def overloaded(self, now: float, granted_at: float, in_flight: int) -> None:
        """Take in a refusal of a server that has too much to do; only what was sent since the last cut counts."""
        if granted_at < self._cut_at:
            return
        if not self._overloads:
            self._unharmed = 0
        self._overloads += 1
        if self._overloads >= max(OVERLOADS_LEAST, OVERLOAD_SHARE * in_flight):
            self._learned = max(1, int(OVERLOAD_CUT * min(self._learned, in_flight)))
            self._cut_at = now
            self._overloads = self._good = 0
            self._firm = 1
            self._raised = False
            self.ramp = inf
        self._recap()

    def rejected(self, in_flight: int, *, explained: bool) -> None:
        """Take in the first 429 of a generation; `explained` by a known rate it says nothing of the calls in flight."""
        self.ramp = inf
        if explained:
            self._recap()
            return
        others, before = in_flight - 1, self._learned
        if before == inf:
            self._learned = max(1, int(others * 0.95))
        else:
            self._learned = max(1, min(before, others + 1) - 1)
            self._firm = min(MOST_FIRM, self._firm + 2) if in_flight >= before else 1
        self._good = 0
        self._raised = False
        self._recap()

    def is_full(self, in_flight: int) -> bool:
        """Whether so many calls reach the bound that 429s taught, after one more was tried: it was too much."""
        return self._raised and in_flight >= self._learned

    def shift(self, back_s: float) -> None:
        """Follow a clock that was put back."""
        self._ramp_at = None
        self._cut_at -= back_s
        if self._pace is not None:
            self._pace.shift(back_s)

    def told(self) -> None:
        """A server that tells a limit is held at that one."""
        self.ramp = self._learned = inf
        self._pace = None
        self._recap()
