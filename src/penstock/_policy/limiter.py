"""The limiter of one lane: who may send now, who waits until when, and what an answer gives back.

    ask ──▶ Grant | Wait | Refuse          settle · cancel · rejected · adopt · advance ──▶ the tickets that may now go

A ticket is asked for once. Whatever frees room returns the tickets that go next, already granted, in order; `next_at`
is the one time at which `advance` is to be called when nothing else happens. Nobody polls and nobody asks twice.
The caller holds a lock around every call, gives a monotonic `now`, and owes each granted ticket exactly one `settle`,
`cancel` or `rejected`; a second one changes nothing. A clock that jumps back shifts all that is still to come with it;
one that jumps ahead counts as time that passed, which lets through no more than a burst, as after any quiet time.
"""

from __future__ import annotations

from collections import deque
from math import inf, isfinite
from typing import Any, Final, Literal

import msgspec

from ..errors import ConfigError
from ..types import LimitSeen, Usage
from .concurrency import Concurrency
from .expected import Expected
from .fairqueue import FairQueue, Priority
from .trim import FLOOR
from .window import INPUT, OUTPUT, REQUESTS, TOKENS, Dimension, DimensionState, Slot

Counting = Literal["prompt+max", "input,output"]
TicketState = Literal["new", "queued", "granted", "done"]

DEFAULT_PAUSE_S = 0.5  # to twice that, after a 429 that names no time
SHUT_GROWTH = 4  # of that pause, for each probe in a row that is rejected; a period may be a minute
MOST_SHUT = 2
PROBE_S = 1.0  # a probe that was not rejected for so long let itself in; rejections come back faster than answers
LEAST_PROBE_S = 0.25
GUESS_MARK_S = 0.5
GUESS_MARKS = 10  # a limit that nobody stated is guessed from the sends of the last 5 s that were let in
GUESS_LEAST = 10  # sends; fewer say nothing of a rate
NO_NEWS_S = 0.01  # after headers that tell nothing new, those of the next answers tell nothing either
JUMP_S = 1.0  # less than that are threads that looked at the clock in one order and came in another
UNLIMITED_SHARE = 1e-3  # what a call counts between the classes where only the calls in flight are limited


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a lane may use per minute, as far as the user knows: requests, tokens, input and output tokens.

    All hold at once, so of limits that contradict each other the tightest counts. `concurrency` bounds the calls in
    flight; 'auto' finds that bound from latency and faults, until the server tells a limit (the rule for a local server
    without `Limits`). `burst_s` is how many seconds' worth of a limit may go at once after a quiet time (0.25 unless
    told; less for a server that counts in slices of a second, more for one known to be a large bucket; never more than
    the limit).

    Raises: ConfigError for anything but positive whole numbers (`burst_s`: a positive number).
    """

    rpm: int | None = None
    tpm: int | None = None
    itpm: int | None = None
    otpm: int | None = None
    concurrency: int | str | None = None
    burst_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "itpm", "otpm", "concurrency"):
            value: object = getattr(self, name)
            if value is None or (name == "concurrency" and value == "auto"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                auto = " or 'auto'" if name == "concurrency" else ""
                raise ConfigError(
                    f"limit {name} must be a whole number of at least 1{auto}, or left out; got {value!r}"
                )
        burst: object = self.burst_s
        if burst is not None and (
            isinstance(burst, bool) or not isinstance(burst, int | float) or not isfinite(burst) or burst <= 0
        ):
            raise ConfigError(f"limit burst_s must be a number of seconds above 0, or left out; got {burst!r}")


class Ticket(msgspec.Struct, eq=False):
    """One attempt's wish to be sent. The gate makes it; `tag` is the gate's own and never looked at.

    `input_tokens` is the estimate of the prompt, `output_tokens` the attempt's max_tokens. `deadline` is a time, not a
    duration. `returned` says that the provider sent an earlier attempt of the call back: it goes before new ones.
    `least` is what the server counts of its tokens at the start, for certain; the limiter works it out.
    """

    input_tokens: int = 0
    output_tokens: int | None = None
    priority: Priority = "normal"
    deadline: float | None = None
    returned: bool = False
    tag: Any = None
    state: TicketState = "new"
    asked_at: float = 0.0
    granted_at: float = 0.0
    least: int = 0
    holds: tuple[tuple[Dimension, Slot, float], ...] = ()

    def __repr__(self) -> str:
        return f"Ticket({self.input_tokens}, {self.output_tokens}, {self.priority!r}, {self.state!r})"


class Grant(msgspec.Struct, frozen=True):
    """Send now."""


class Wait(msgspec.Struct, frozen=True):
    """Park; the ticket is queued. `until` is the lane's `next_at`; None: only an answer or a cancel can help."""

    until: float | None


class Refuse(msgspec.Struct, frozen=True):
    """Do not send. `never`: larger than the limit. Else the deadline comes before `retry_after_s` is over."""

    reason: str
    retry_after_s: float | None = None
    never: bool = False


class LimiterState(msgspec.Struct, frozen=True, kw_only=True):
    """The limiter as it stands; times are on the caller's clock."""

    name: str
    queued: int
    in_flight: int
    in_flight_cap: float | None
    paused_until: float | None
    probing: bool
    next_at: float | None
    granted: int
    rejected: int
    expected_output: float
    dimensions: tuple[DimensionState, ...]


GRANT: Final = Grant()


class Limiter:
    """See the module. `counting` is how the provider counts tokens: 'prompt+max' reserves the larger of prompt estimate
    and max_tokens and never gives it back once sent (OpenAI); 'input,output' counts input at the start, output as it is
    produced and cache reads not at all (Anthropic).
    """  # noqa: D205

    def __init__(self, limits: Limits | None = None, *, counting: Counting = "prompt+max", name: str = "") -> None:
        self.name = name
        self.counting: Counting = counting
        self.next_at: float | None = None
        self.hears_at = -inf  # the headers of answers before this instant need not be read
        self._limits = limits or Limits()
        self._dimensions: list[Dimension] = []
        self._sized: list[Dimension] = []  # those that a single call can be too large for
        self._known: dict[tuple[str, float], Dimension] = {}
        self._now = -inf
        self._queue: FairQueue[Ticket] = FairQueue()
        self._in_flight = 0
        self._granted = 0
        self._rejected = 0
        self._expected = Expected()
        self._not_before = -inf
        self._probing = False
        self._probe: Ticket | None = None
        self._probe_until = inf
        self._reject_s: float | None = None
        self._shut = 0  # probes in a row that were rejected
        self._last_cut = -inf
        self._told_at = -inf
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=GUESS_MARKS)
        self._concurrency = Concurrency(self._limits.concurrency, ramp=limits is None)

    # --- the verbs -----------------------------------------------------------------------------------------------

    def ask(self, now: float, ticket: Ticket) -> Grant | Wait | Refuse:
        """Say whether the ticket may go, must wait (it is queued then), or can never go in time."""
        assert ticket.state == "new", f"{ticket!r} was asked for before"
        if now < self._now - JUMP_S:
            self._went_back(now)
        elif self._now == -inf:
            self._start(now)
        self._now = now
        ticket.asked_at = now
        least, most = ticket.input_tokens, ticket.output_tokens
        ticket.least = most if most is not None and most > least and self.counting == "prompt+max" else least
        if self._sized or ticket.deadline is not None:
            refusal = self._refusal(now, ticket)
            if refusal is not None:
                ticket.state = "done"
                return refusal
        if not self._queue.size:
            at = self._try(now, ticket)
            if at <= now:
                return GRANT
            self._enqueue(ticket)
            self.next_at = at if at < inf else None
            return Wait(self.next_at)
        self._enqueue(ticket)
        if self._queue.head() is ticket:  # its class is due before that of the old head, whose `next_at` stays true
            at = self._try(now, ticket)
            if at <= now:
                self._queue.pop(ticket, now, self._share(ticket))
                return GRANT
            self.next_at = at if at < inf else None
        return Wait(self.next_at)

    def is_due(self, now: float) -> bool:
        """Whether `advance` would help: the time came, or the clock was put back, which it knows how to take."""
        return self.next_at is not None and (now >= self.next_at or now < self._now - JUMP_S)

    def advance(self, now: float) -> list[Ticket]:
        """Return the tickets that may go now; to be called at `next_at`."""
        return self._pump(now)

    def settle(
        self,
        now: float,
        ticket: Ticket,
        *,
        usage: Usage | None,
        sent: bool = True,
        failed: bool = False,
        overloaded: bool = False,
    ) -> list[Ticket]:
        """Replace what a granted ticket holds by what it used, at the end of its attempt whatever the end was.

        `usage` None: unknown, so the reservation stands. `sent` False: the provider saw nothing, so all is given back.
        `failed` says that the server was at fault, `overloaded` that it had too much to do.
        """
        if ticket.state != "granted":
            return []
        if now < self._now - JUMP_S:
            self._went_back(now)
        self._now = now
        if not sent:
            return self.cancel(now, ticket)
        freed = False
        if usage is not None:
            self._expected.learn(ticket.output_tokens, usage.completion, ticket.input_tokens, usage.prompt)
        for dimension, slot, held in ticket.holds:
            used = held if usage is None else self._used(ticket, usage, dimension, held)
            dimension.finish(now, slot, held, used)
            freed = freed or used < held
        if overloaded:
            self._concurrency.overloaded(now, ticket.granted_at, self._in_flight)
        if self._concurrency.learns:
            if failed:
                self._concurrency.failed(now, ticket.granted_at)
            elif usage is not None and not usage.estimated:
                self._concurrency.answered(now, ticket.granted_at, self._in_flight, usage)
        if self._probing and ticket is self._probe:
            self._probing = False
            freed = True
        return self._leave(now, ticket, freed=freed)

    def cancel(self, now: float, ticket: Ticket) -> list[Ticket]:
        """Forget a ticket that waits, or give back all that a granted one holds because it was not sent."""
        if ticket.state == "queued":
            was_head = self._queue.head() is ticket
            self._queue.remove(ticket)
            ticket.state = "done"
            return self._pump(now) if was_head else []
        if ticket.state != "granted":
            return []
        for dimension, slot, held in ticket.holds:
            dimension.correct(slot, -held)
        if ticket is self._probe:
            self._probe = None
        return self._leave(now, ticket)

    def rejected(self, now: float, ticket: Ticket, retry_after_s: float | None, u: float) -> list[Ticket]:
        """Account for a 429: pause the lane as told (0.5 to 1 s if not), and go slower from now on.

        Only the first 429 of a generation (attempts granted since the last cut) slows down; the others are its echo.
        """
        if ticket.state != "granted":
            return []
        self._see(now)
        self._rejected += 1
        if ticket is self._probe:
            self._probe = None
            self._shut = min(self._shut + 1, MOST_SHUT)
        elif ticket.granted_at >= self._last_cut:
            self._shut = max(0, self._shut - 1)
        calls = self._granted - self._rejected
        for dimension, slot, held in ticket.holds:
            # OpenAI counts failed requests; elsewhere only the tokens are known to be given back.
            refunded = self.counting == "input,output" and dimension.kind != REQUESTS
            if refunded:
                dimension.correct(slot, -held)
            dimension.turned_away(now, held, calls, refunded=refunded)
        took_s = max(0.0, now - ticket.granted_at)
        self._reject_s = took_s if self._reject_s is None else 0.8 * self._reject_s + 0.2 * took_s
        fresh = ticket.granted_at >= self._last_cut
        full = False
        if fresh:
            self._last_cut = now
            blameless = all(dimension.trim <= FLOOR or dimension.guessed for dimension in self._dimensions)
            full = blameless and self._concurrency.is_full(self._in_flight)
            self._concurrency.rejected(self._in_flight, explained=not blameless)
            if not full:
                self._slow_down(now, calls)
        if retry_after_s is not None:
            self.pause(now, now + max(0.0, retry_after_s))
        elif fresh and not full:  # where calls in flight are the limit, there is room once one of them ends
            self.pause(now, now + DEFAULT_PAUSE_S * (1.0 + u) * SHUT_GROWTH**self._shut)
        return self._leave(now, ticket)

    def _slow_down(self, now: float, calls: int) -> None:
        if not self._dimensions:
            self._guess(now)
        pressed = [dimension for dimension in self._dimensions if dimension.level < dimension.cap / 2]
        for dimension in pressed or self._dimensions:
            dimension.learn(now, calls)

    def pause(self, now: float, until: float) -> None:
        """Send nothing before `until`, then one probe, then the rest; a shorter pause never shortens a longer one."""
        self._see(now)
        if self._probing and until <= max(now, self._not_before):
            return  # an echo of what the probe is about to find out
        self._not_before = max(self._not_before, until, now)
        self._probing = True
        self._probe = None
        self._probe_until = inf
        if self._queue.size:
            self.next_at = self._not_before

    def adopt(self, now: float, seen: tuple[LimitSeen, ...], asked_at: float) -> list[Ticket]:
        """Learn from the headers of an answer to an attempt that was granted at `asked_at`."""
        self._see(now)
        newest = asked_at >= self._told_at
        self._told_at = max(self._told_at, min(asked_at, now))
        self.hears_at = now + NO_NEWS_S
        for limit in seen:
            known = self._known.get((limit.dimension, limit.period_s))
            if known is not None and limit.remaining is not None:
                known.notice(now, limit.remaining)
            if known is None or not known.agrees(limit.limit, limit.remaining):
                self._adopt_one(now, limit, asked_at, newest, known)
                self.hears_at = now
        return self._pump(now) if self._queue.size else []

    @property
    def paused_until(self) -> float | None:
        """When a pause that was told or decided ends or ended, None before the first one."""
        return self._not_before if self._not_before > -inf else None

    def snapshot(self, now: float | None = None) -> LimiterState:
        """The state at `now`, or as the last event left it."""
        for dimension in self._dimensions if now is not None else ():
            dimension.roll(now if now is not None else 0.0)
        cap = min(self._concurrency.cap, self._concurrency.ramp)
        paused = self._not_before > (-inf if now is None else now)
        return LimiterState(
            name=self.name,
            queued=len(self._queue),
            in_flight=self._in_flight,
            in_flight_cap=cap if cap < inf else None,
            paused_until=self._not_before if paused and self._not_before > -inf else None,
            probing=self._probing,
            next_at=self.next_at,
            granted=self._granted,
            rejected=self._rejected,
            expected_output=self._expected.mean,
            dimensions=tuple([dimension.state() for dimension in self._dimensions]),
        )

    # --- admission -----------------------------------------------------------------------------------------------

    def _start(self, now: float) -> None:
        self._now = now
        limits = self._limits
        configured = {
            "requests": limits.rpm, "tokens": limits.tpm, "input_tokens": limits.itpm, "output_tokens": limits.otpm,
        }  # fmt: skip
        for name, limit in configured.items():
            if limit is not None:
                self._add(Dimension(name, now, configured=limit, burst_s=limits.burst_s))

    def _see(self, now: float) -> None:
        if now < self._now - JUMP_S:
            self._went_back(now)
        elif self._now == -inf:
            self._start(now)
        self._now = now

    def _went_back(self, now: float) -> None:
        back_s = self._now - now
        for dimension in self._dimensions:
            dimension.shift(back_s)
        self._concurrency.shift(back_s)
        self._marks.clear()
        self._now = now
        self._not_before -= back_s
        self._probe_until -= back_s
        self._last_cut -= back_s
        self._told_at -= back_s
        self.hears_at -= back_s

    def _add(self, dimension: Dimension) -> None:
        self._dimensions.append(dimension)
        self._known[dimension.name, dimension.period_s] = dimension
        if dimension.kind in (TOKENS, INPUT):
            self._sized.append(dimension)

    def _refusal(self, now: float, ticket: Ticket) -> Refuse | None:
        for dimension in self._sized:
            least = ticket.least if dimension.kind == TOKENS else ticket.input_tokens
            if least > dimension.limit:
                what = f"{least:,} {dimension.name.replace('_', ' ')}"
                per = "minute" if dimension.period_s == 60 else f"{dimension.period_s:g} s"
                return Refuse(f"the call counts {what}, the limit is {dimension.limit:,} per {per}", never=True)
        if ticket.deadline is not None and self._not_before > ticket.deadline and self._not_before > now:
            wait_s = self._not_before - now
            left_s = max(0.0, ticket.deadline - now)
            return Refuse(
                f"the provider asked to wait {wait_s:.1f} s more, the deadline is in {left_s:.1f} s",
                retry_after_s=wait_s,
            )
        return None

    def _amount(self, ticket: Ticket, dimension: Dimension) -> float:
        """What to reserve of tokens: what the server counts, and what the answer is expected to add."""
        kind = dimension.kind
        if kind == INPUT:
            return min(self._expected.prompt(ticket.input_tokens), float(dimension.limit))
        expected = self._expected.output(ticket.output_tokens)
        if kind == TOKENS:
            expected += ticket.input_tokens
            if expected < ticket.least:
                expected = float(ticket.least)
        return expected if expected < dimension.limit else float(dimension.limit)

    def _try(self, now: float, ticket: Ticket) -> float:
        """Grant the ticket and return `now`, or return when to try again (inf: when something is given back)."""
        if now < self._not_before:
            return self._not_before
        if self._probing and self._probe is not None:
            if now < self._probe_until:
                return self._probe_until
            self._probing = False
        concurrency = self._concurrency
        if self._in_flight >= concurrency.cap:
            return inf
        if self._in_flight >= concurrency.ramp:
            at = concurrency.ramp_up(now)
            if at > now:
                return at
        ready = now
        amounts = []
        for dimension in self._dimensions:
            amount = 1.0 if dimension.kind == REQUESTS else self._amount(ticket, dimension)
            at = dimension.ready_at(now, amount)
            if at > ready:
                ready = at
            amounts.append((dimension, amount))
        if ready > now:
            return ready
        ticket.holds = tuple([(dimension, dimension.book(now, amount), amount) for dimension, amount in amounts])
        ticket.state = "granted"
        ticket.granted_at = now
        self._in_flight += 1
        self._granted += 1
        if not amounts and (not self._marks or now >= self._marks[-1][0] + GUESS_MARK_S):
            self._marks.append((now, self._granted, self._rejected))
        if self._probing:
            self._probe = ticket
            patience = PROBE_S if self._reject_s is None else min(PROBE_S, max(LEAST_PROBE_S, 2 * self._reject_s))
            self._probe_until = now + patience
        return now

    def _enqueue(self, ticket: Ticket) -> None:
        ticket.state = "queued"
        self._queue.push(ticket)

    def _pump(self, now: float) -> list[Ticket]:
        self._see(now)
        granted: list[Ticket] = []
        self.next_at = None
        while (ticket := self._queue.head()) is not None:
            at = self._try(now, ticket)
            if at > now:
                self.next_at = at if at < inf else None
                break
            self._queue.pop(ticket, now, self._share(ticket))
            granted.append(ticket)
        return granted

    def _share(self, ticket: Ticket) -> float:
        return max([held / dimension.limit for dimension, _, held in ticket.holds], default=UNLIMITED_SHARE)

    def _leave(self, now: float, ticket: Ticket, *, freed: bool = True) -> list[Ticket]:
        ticket.state = "done"
        ticket.holds = ()
        self._in_flight -= 1
        if not self._queue.size:
            return []
        if not freed and self.next_at is not None and now < self.next_at and self._concurrency.ramp == inf:
            return []  # the head waits for time to pass, which one call less in flight does not change
        return self._pump(now)

    # --- what answers teach --------------------------------------------------------------------------------------

    def _used(self, ticket: Ticket, usage: Usage, dimension: Dimension, held: float) -> float:
        kind = dimension.kind
        if kind == REQUESTS:
            return held
        if kind == OUTPUT:
            return usage.completion
        if kind == INPUT or self.counting == "input,output":
            used = usage.prompt - (usage.cache_read if self.counting == "input,output" else 0)
            return used + usage.completion if kind == TOKENS else used
        return max(usage.total, ticket.least)

    def _adopt_one(self, now: float, seen: LimitSeen, asked_at: float, newest: bool, known: Dimension | None) -> None:
        if not (seen.period_s > 0 and isfinite(seen.period_s)):
            return
        if seen.limit is not None and seen.limit > 0:
            if known is None:
                burst_s = self._limits.burst_s
                known = Dimension(seen.dimension, now, told=seen.limit, period_s=seen.period_s, burst_s=burst_s)
                self._add(known)
                self._concurrency.told()
            elif newest:
                if known.guessed:
                    self._concurrency.told()
                known.tell(now, seen.limit)
        if known is not None and seen.remaining is not None:
            known.remain(now, max(0, seen.remaining), asked_at)

    def _guess(self, now: float) -> None:
        if not self._marks:
            return
        since, granted, rejected = self._marks[0]
        let_in = (self._granted - granted) - (self._rejected - rejected)
        if let_in >= GUESS_LEAST:
            limit = max(1, int(60 * let_in / max(GUESS_MARK_S, now - since)))
            self._add(Dimension("requests", now, told=limit, guessed=True))
