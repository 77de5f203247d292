"""The limiter: never above the limit, first in first out, exact waits, nothing leaks; all in virtual time."""

import gc
import random
import tracemalloc
from collections import Counter, deque
from math import inf, isfinite, nan
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock._policy.limiter import Counting, Grant, Limiter, Limits, Refuse, Ticket, Wait
from penstock._wire.headers import limits_seen, retry_after_s
from penstock._wire.protocol import Provider
from penstock.errors import ConfigError
from penstock.types import LimitSeen, Usage


def grant(limiter: Limiter, now: float, ticket: Ticket | None = None) -> Ticket:
    """Ask for a ticket that must go at once."""
    ticket = ticket or Ticket(1)
    assert limiter.ask(now, ticket) == Grant()
    return ticket


def queue(limiter: Limiter, now: float, ticket: Ticket | None = None) -> Ticket:
    """Ask for a ticket that must wait."""
    ticket = ticket or Ticket(1)
    assert isinstance(limiter.ask(now, ticket), Wait)
    return ticket


def drain(limiter: Limiter, until: float = inf) -> list[tuple[float, Ticket]]:
    """Follow `next_at` up to a time and return who went when."""
    went: list[tuple[float, Ticket]] = []
    while limiter.next_at is not None and limiter.next_at <= until:
        now = limiter.next_at
        went.extend((now, ticket) for ticket in limiter.advance(now))
    return went


def requests(limiter: Limiter, now: float | None = None) -> Any:
    """The state of the first dimension."""
    return limiter.snapshot(now).dimensions[0]


def told(limit: int, remaining: int | None = None, *, dimension: str = "requests") -> tuple[LimitSeen, ...]:
    """Headers that speak of one limit."""
    return (LimitSeen(dimension=dimension, limit=limit, remaining=remaining),)  # type: ignore[arg-type]  # a test's word


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rpm", "tpm", "itpm", "otpm", "concurrency"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, nan, inf, "60"])
def test_limits_refuse_what_is_no_positive_whole_number(name: str, value: object) -> None:
    """The error names the limit and what it got."""
    with pytest.raises(ConfigError, match=f"limit {name} must be a whole number of at least 1.*got {value!r}"):
        Limits(**{name: value})  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("value", [0, -0.5, nan, inf, True, "1"])
def test_limits_refuse_a_burst_that_is_no_time(value: object) -> None:
    """`burst_s` is a finite number above 0."""
    with pytest.raises(ConfigError, match="limit burst_s must be a number of seconds above 0"):
        Limits(burst_s=value)  # type: ignore[arg-type]  # that is the point


# --- any order of events ------------------------------------------------------------------------------------------


class Books(RuleBasedStateMachine):
    """The limiter against a model: the sliding log that a server keeps, added up by hand at every grant."""

    RPM, TPM, CONCURRENCY = 40, 20_000, 6

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limiter = Limiter(Limits(rpm=self.RPM, tpm=self.TPM, concurrency=self.CONCURRENCY), counting="prompt+max")
        self.waiting: dict[str, list[Ticket]] = {"interactive": [], "normal": [], "batch": []}
        self.flying: list[Ticket] = []
        self.booked: dict[Ticket, tuple[float, int]] = {}
        self.rpm = self.RPM
        self.paused_until = -inf

    def went(self, tickets: list[Ticket]) -> None:
        assert not tickets or self.now >= self.paused_until
        for ticket in tickets:
            assert self.waiting[ticket.priority].pop(0) is ticket, "first in first out inside a class"
            self.flies(ticket)

    def flies(self, ticket: Ticket) -> None:
        assert ticket.state == "granted"
        self.flying.append(ticket)
        self.booked[ticket] = (self.now, max(ticket.input_tokens, ticket.output_tokens or 0))
        recent = [amount for at, amount in self.booked.values() if at > self.now - 60]
        assert len(recent) <= max(self.rpm, 1)
        assert sum(recent) <= self.TPM or len(recent) == 1

    @rule(
        size=st.integers(1, 15_000),
        most=st.none() | st.integers(1, 8000),
        priority=st.sampled_from(["interactive", "normal", "batch"]),
    )
    def ask(self, size: int, most: int | None, priority: Any) -> None:
        ticket = Ticket(size, most, priority=priority)
        match self.limiter.ask(self.now, ticket):
            case Grant():
                assert not self.waiting[priority]
                assert self.now >= self.paused_until
                self.flies(ticket)
            case Wait():
                self.waiting[priority].append(ticket)
            case refusal:
                raise AssertionError(refusal)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.09, 0.5, 3.0, 20.0, 59.9, 61.0, 200.0]))
    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.limiter.next_at is not None and self.limiter.next_at <= end:
            before, self.now = self.now, max(self.now, self.limiter.next_at)
            went = self.limiter.advance(self.now)
            assert went or self.now > before or self.limiter.next_at != self.now, "a timer that helps nobody"
            self.went(went)
        self.now = end

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), what=st.sampled_from(["known", "unknown", "unsent", "cancel", "twice"]))
    def end(self, data: st.DataObject, what: str) -> None:
        ticket = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        if what in ("unsent", "cancel"):
            del self.booked[ticket]
        if what == "cancel":
            self.went(self.limiter.cancel(self.now, ticket))
        else:
            usage = Usage(input=ticket.input_tokens) if what == "known" else None
            self.went(self.limiter.settle(self.now, ticket, usage=usage, sent=what != "unsent"))
        if what == "twice":
            assert self.limiter.settle(self.now, ticket, usage=None, sent=False) == []
            assert self.limiter.cancel(self.now, ticket) == []

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def walk_away(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from([ticket for line in self.waiting.values() for ticket in line]))
        self.waiting[ticket.priority].remove(ticket)
        self.went(self.limiter.cancel(self.now, ticket))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), told_s=st.sampled_from([None, 0.0, 2.0, 40.0]), u=st.sampled_from([0.0, 0.9]))
    def reject(self, data: st.DataObject, told_s: float | None, u: float) -> None:
        ticket = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        if told_s is not None:
            self.paused_until = max(self.paused_until, self.now + told_s)
        self.went(self.limiter.rejected(self.now, ticket, told_s, u))

    @rule(rpm=st.sampled_from([1, 10, 20, 40, 400]), remaining=st.none() | st.integers(0, 400))
    def tell(self, rpm: int, remaining: int | None) -> None:
        self.rpm = min(self.RPM, rpm)
        self.went(self.limiter.adopt(self.now, told(rpm, remaining), self.now))

    @rule(back_s=st.sampled_from([0.01, 5.0, 3600.0]))
    def put_the_clock_back(self, back_s: float) -> None:
        self.now -= back_s
        if back_s > 1:
            self.booked = {ticket: (at - back_s, amount) for ticket, (at, amount) in self.booked.items()}
            self.paused_until -= back_s
        if self.limiter.is_due(self.now):
            self.went(self.limiter.advance(self.now))

    @rule(seconds=st.sampled_from([0.0, 0.5, 30.0]))
    def pause(self, seconds: float) -> None:
        self.paused_until = max(self.paused_until, self.now + seconds)
        self.limiter.pause(self.now, self.now + seconds)

    @invariant()
    def the_counts_agree(self) -> None:
        state = self.limiter.snapshot()
        assert state.in_flight == len(self.flying) <= self.CONCURRENCY
        assert state.queued == sum(map(len, self.waiting.values()))
        if not state.queued:
            assert state.next_at is None
        elif state.in_flight < (state.in_flight_cap or inf):
            assert state.next_at is not None, "somebody waits for nothing"

    def teardown(self) -> None:
        for _ in range(10_000):
            if not self.flying and not any(self.waiting.values()):
                break
            for ticket in self.flying[:]:
                self.flying.remove(ticket)
                self.went(self.limiter.settle(self.now, ticket, usage=None))
            if self.limiter.next_at is not None:
                self.now = max(self.now, self.limiter.next_at)
                self.went(self.limiter.advance(self.now))
        assert not any(self.waiting.values()), "nobody is left behind"


TestBooks = Books.TestCase
TestBooks.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip


@pytest.mark.prove(2)
def test_nothing_leaks_under_random_cancels() -> None:
    """After 100,000 cancels at any stage the limiter is as good as new."""
    rng = random.Random(7)
    limiter = Limiter(Limits(rpm=600, tpm=600_000, concurrency=50))
    now, alive = 0.0, deque[Ticket]()
    for _ in range(100_000):
        now += 0.01
        ticket = Ticket(rng.randrange(1, 3000), priority=rng.choice(["interactive", "normal", "batch"]))
        limiter.ask(now, ticket)
        alive.append(ticket)
        if len(alive) > 100:
            alive.rotate(rng.randrange(100))
            limiter.cancel(now, alive.popleft())
    for ticket in alive:
        limiter.cancel(now, ticket)
    state = limiter.snapshot(now)
    assert (state.queued, state.in_flight, state.next_at) == (0, 0, None)
    assert [d.used_in_window for d in state.dimensions] == pytest.approx([0, 0], abs=1e-6)


def test_a_waiting_call_takes_less_than_a_kibibyte() -> None:
    """Measured on 2,000 of them; cancelling gives it all back."""
    limiter = Limiter(Limits(concurrency=1))
    grant(limiter, 0.0)
    gc.collect()
    tracemalloc.start()
    tickets = [queue(limiter, 0.0, Ticket(5)) for _ in range(2000)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / len(tickets) < 1024
    for ticket in tickets:
        limiter.cancel(0.0, ticket)
    assert limiter.snapshot().queued == 0


# --- whose turn it is --------------------------------------------------------------------------------------------


@pytest.mark.prove(1)
def test_a_large_call_keeps_its_place() -> None:
    """Small ones behind it do not overtake, however long it waits for its tokens."""
    limiter = Limiter(Limits(tpm=6000))
    grant(limiter, 0.0, Ticket(400))
    large = queue(limiter, 0.0, Ticket(5000))
    small_ones = [queue(limiter, 0.1 * n, Ticket(1)) for n in range(20)]
    assert [ticket for _, ticket in drain(limiter, 300)] == [large, *small_ones]


def test_a_call_that_was_sent_back_goes_before_new_ones() -> None:
    """Those sent back keep their own order."""
    limiter = Limiter(Limits(concurrency=1))
    first = grant(limiter, 0.0)
    new = queue(limiter, 0.0)
    back = [queue(limiter, 0.0, Ticket(1, returned=True)) for _ in range(2)]
    went = limiter.settle(1.0, first, usage=None)
    while went[-1] is not new:
        went += limiter.settle(1.0, went[-1], usage=None)
    assert went == [*back, new]


def test_an_interactive_call_goes_at_once_while_a_batch_waits_for_its_turn() -> None:
    """The class that is due is asked first, also when another class's head was waiting."""
    limiter = Limiter(Limits(concurrency=2))
    grant(limiter, 0.0)
    running = grant(limiter, 0.0)
    line = [queue(limiter, 0.0, Ticket(1, priority="batch")) for _ in range(3)]
    assert limiter.settle(1.0, running, usage=None) == line[:1]
    urgent = queue(limiter, 1.0, Ticket(1, priority="interactive"))
    assert limiter.settle(2.0, line[0], usage=None) == [urgent]


def test_refused_tickets_say_what_and_how_much() -> None:
    """A call larger than the limit never waits."""
    limiter = Limiter(Limits(tpm=1000))
    refusal = limiter.ask(0.0, Ticket(10, 1001))
    assert isinstance(refusal, Refuse)
    assert refusal.never
    assert refusal.reason == "the call counts 1,001 tokens, the limit is 1,000 per minute"
    assert limiter.snapshot().queued == 0


@pytest.mark.prove(1)
def test_waits_are_exact() -> None:
    """The time told is the time at which it goes: not a microsecond sooner, no second question."""
    limiter = Limiter(Limits(rpm=6))
    grant(limiter, 100.0)
    ticket = Ticket(1)
    answer = limiter.ask(100.0, ticket)
    assert isinstance(answer, Wait)
    assert answer.until is not None
    assert 110 < answer.until < 110.5
    assert limiter.advance(answer.until - 1e-5) == []
    assert limiter.advance(answer.until) == [ticket]


def test_threads_that_come_a_little_late_gain_nothing() -> None:
    """Less than a second back counts as time that stands."""
    limiter = Limiter(Limits(rpm=6))
    grant(limiter, 100.0)
    ticket = queue(limiter, 99.5)
    assert limiter.next_at is not None
    assert limiter.next_at > 110.0
    assert limiter.advance(99.9) == []
    assert limiter.advance(111.0) == [ticket]


@pytest.mark.prove(1)
@pytest.mark.parametrize("back_s", [50.0, 3600.0, 1e9])
def test_a_clock_that_jumps_back_neither_hangs_nor_grants_twice(back_s: float) -> None:
    """What was to come in ten seconds still comes in ten seconds: turns, pauses, probes and the window."""
    limiter = Limiter(Limits(rpm=6))
    grant(limiter, 100.0)
    waiting = queue(limiter, 100.0)
    assert limiter.advance(100.0 - back_s) == []
    assert limiter.next_at == pytest.approx(110.17 - back_s, abs=0.1)
    assert limiter.advance(111.0 - back_s) == [waiting]
    limiter = Limiter(Limits(rpm=60))
    limiter.rejected(100.0, grant(limiter, 100.0), 30.0, 0.0)
    late = queue(limiter, 110.0 - back_s, Ticket(1, deadline=200.0 - back_s))
    assert limiter.next_at == pytest.approx(140.0 - back_s)  # asked at what was 100: half a minute from then
    assert limiter.advance(140.0 - back_s) == [late]
    busy = Limiter(Limits(rpm=60, burst_s=60.0))
    for _ in range(60):
        grant(busy, 100.0)
    queue(busy, 100.0 - back_s)
    assert [ticket for at, ticket in drain(busy, 160.0 - back_s)] == []


@pytest.mark.prove(1)
def test_a_clock_that_jumps_ahead_lets_through_one_burst_more() -> None:
    """A machine that slept: the window is empty, the pace stays."""
    limiter = Limiter(Limits(rpm=600))
    went: list[float] = []
    now = jump = 0.0
    while now < 180.0:
        if now > 90.0:
            jump = 86_400.0
        if limiter.ask(now + jump, Ticket(1)) == Grant():
            went.append(now)
        else:
            went.extend(now for _ in limiter.advance(now + jump))
        now += 0.01
    most = max(sum(1 for at in went if start <= at < start + 60) for start in range(120))
    assert most <= 600 + 0.25 * 10


@pytest.mark.parametrize(
    ("limits", "tickets", "first"),
    [
        (Limits(tpm=1010, itpm=50_000, burst_s=60), Ticket(100), 10),
        (Limits(rpm=3, tpm=10**12, burst_s=60), Ticket(100), 3),
        (Limits(rpm=10**9, concurrency=2), Ticket(1), 2),
        (Limits(rpm=20, burst_s=1e9), Ticket(1), 20),
        (Limits(rpm=20, burst_s=1e-9), Ticket(1), 1),
    ],
)
def test_of_limits_that_contradict_each_other_the_tightest_counts(limits: Limits, tickets: Ticket, first: int) -> None:
    """A part larger than the whole adds nothing, and no burst is larger than its limit or smaller than a call."""
    limiter = Limiter(limits)
    answers = [limiter.ask(0.0, Ticket(tickets.input_tokens, 1)) for _ in range(60)]
    assert answers.count(Grant()) == first
    assert all(isinstance(answer, Wait) for answer in answers[first:])


HEADERS = st.sampled_from(
    ["-1", "-5.5", "0", "1e400", "nan", "NaN", "inf", "-inf", "None", "", " ", "٣", "9223372036854775807", "9" * 4000,
     "0x10", "1_000", "1,000", "6m0s", "-6m0s", "3000ms", "1999-12-31T00:00:00Z", "9999-12-31T23:59:59Z",
     "Thu, 01 Jan 1970 00:00:00 GMT", "1754667660000", "req_abc", "\x00"]
)  # fmt: skip
NAMES = [
    ("openai", ["x-ratelimit-{}-requests", "x-ratelimit-{}-tokens"]),
    ("groq", ["x-ratelimit-{}-requests", "x-ratelimit-{}-tokens"]),
    ("azure", ["x-ratelimit-{}-requests", "x-ratelimit-{}-tokens"]),
    ("anthropic", ["anthropic-ratelimit-requests-{}", "anthropic-ratelimit-input-tokens-{}"]),
    ("mistral", ["x-ratelimit-{}-req-minute", "x-ratelimit-{}-tokens-minute"]),
    ("openrouter", ["x-ratelimit-{}"]),
    ("together", ["x-ratelimit-{}"]),
]


@pytest.mark.prove(3)
@given(st.data(), st.sampled_from(NAMES), st.integers(100, 599))
@settings(max_examples=300, deadline=None)
def test_nonsense_in_headers_neither_opens_nor_shuts_a_lane(
    data: st.DataObject, row: tuple[str, list[str]], status: int
) -> None:
    """From the wire to the limiter: negative, huge, past, of another unit or no number at all."""
    provider = Provider(name="p", wire="openai_chat", limits=row[0])  # type: ignore[arg-type]  # one of the known
    headers = {
        pattern.format(what): data.draw(HEADERS) for pattern in row[1] for what in ("limit", "remaining", "reset")
    } | {"retry-after": data.draw(HEADERS), "retry-after-ms": data.draw(HEADERS)}
    limiter = Limiter(Limits(rpm=60, tpm=60_000))
    ticket = grant(limiter, 1000.0, Ticket(100))
    limiter.adopt(1000.1, limits_seen(headers, provider, wall_s=1.7e9), ticket.granted_at)
    wait_s = retry_after_s(status, headers, b"", provider, wall_s=1.7e9)
    assert wait_s is None or 0 <= wait_s <= 366 * 86_400
    limiter.settle(1000.1, ticket, usage=Usage(input=100))
    for dimension in limiter.snapshot(1000.1).dimensions:
        assert 0 < dimension.limit <= (60 if dimension.name == "requests" else 60_000) or dimension.configured is None
        assert isfinite(dimension.level)
    for _ in range(200):
        limiter.ask(1001.0, Ticket(1))
    went = drain(limiter, 1061.0)
    assert len(went) <= 60 + 1
    assert limiter.next_at is not None, "the others have their time"


# --- what is reserved and what is given back ---------------------------------------------------------------------


@pytest.mark.prove(2)
@pytest.mark.parametrize(
    ("ticket", "usage", "reserved", "settled"),
    [
        (Ticket(100, 1000), Usage(input=90, output=50), 1000, 1000),
        (Ticket(2000, 10), Usage(input=1500, output=10), 2010, 2000),
        (Ticket(100, 1000), Usage(input=600, output=800), 1000, 1400),
        (Ticket(100, None), Usage(input=90, output=700), 612, 790),
        (Ticket(100, 1000), None, 1000, 1000),
    ],
)
def test_prompt_plus_max_is_reserved_by_the_rule_and_never_given_back_below_it(
    ticket: Ticket, usage: Usage | None, reserved: float, settled: float
) -> None:
    """OpenAI: the larger of max_tokens and the estimate; more only when more was used."""
    limiter = Limiter(Limits(tpm=10_000))
    ticket = Ticket(ticket.input_tokens, ticket.output_tokens)
    grant(limiter, 0.0, ticket)
    assert requests(limiter).used_in_window == reserved
    limiter.settle(1.0, ticket, usage=usage)
    assert requests(limiter).used_in_window == settled


@pytest.mark.prove(2)
def test_input_is_settled_without_cache_reads_and_output_as_produced() -> None:
    """Anthropic: cache reads are free, cache writes are not, max_tokens is only an upper bound."""
    limiter = Limiter(Limits(itpm=10_000, otpm=10_000), counting="input,output")
    ticket = grant(limiter, 0.0, Ticket(1000, 64))
    assert [d.used_in_window for d in limiter.snapshot().dimensions] == [1000, 64]
    limiter.settle(4.0, ticket, usage=Usage(input=100, cache_read=800, cache_write_5m=50, output=30, reasoning=10))
    assert [d.used_in_window for d in limiter.snapshot().dimensions] == [150, 40]


def test_the_expected_output_follows_the_answers() -> None:
    """The first answer replaces the guess, later ones move it by a tenth."""
    limiter = Limiter(Limits(otpm=100_000), counting="input,output")
    for produced, expected in ((100, 100), (200, 110)):
        limiter.settle(0.0, grant(limiter, 0.0), usage=Usage(output=produced))
        assert limiter.snapshot().expected_output == pytest.approx(expected)
    grant(limiter, 0.0)
    assert limiter.snapshot().dimensions[0].used_in_window == pytest.approx(300 + 110)


@pytest.mark.parametrize("how", ["cancel", "unsent"])
def test_what_was_not_sent_is_given_back_whole_and_used_at_once(how: str) -> None:
    """The next in line goes with it."""
    limiter = Limiter(Limits(rpm=1, tpm=1000))
    ticket = grant(limiter, 0.0, Ticket(900))
    following = queue(limiter, 0.0, Ticket(900))
    went = limiter.cancel(0.5, ticket) if how == "cancel" else limiter.settle(0.5, ticket, usage=None, sent=False)
    assert went == [following]
    assert requests(limiter).used_in_window == 1


@pytest.mark.prove(2)
@pytest.mark.parametrize(("counting", "left"), [("prompt+max", 1), ("input,output", 0)])
def test_a_rejected_call_is_charged_by_the_rule_of_the_provider(counting: Counting, left: float) -> None:
    """OpenAI counts failed requests in full, Anthropic gives the tokens back."""
    limiter = Limiter(Limits(itpm=1000), counting=counting)
    limiter.rejected(0.1, grant(limiter, 0.0, Ticket(100)), 1.0, 0.0)
    assert requests(limiter).used_in_window == left * 100


# --- pauses and probes -------------------------------------------------------------------------------------------


@pytest.mark.prove(6)
def test_one_429_pauses_the_lane_exactly_as_long_as_told_and_then_one_probe_goes() -> None:
    """The others wait for the probe's answer, not for each other."""
    limiter = Limiter(Limits(rpm=6000))
    ticket = grant(limiter, 10.0)
    limiter.rejected(10.1, ticket, 2.5, 0.9)
    waiting = [queue(limiter, 10.2) for _ in range(5)]
    assert limiter.next_at == limiter.snapshot(10.2).paused_until == pytest.approx(12.6)
    assert limiter.advance(12.59) == []
    assert limiter.advance(12.6) == waiting[:1]
    assert limiter.snapshot(12.6).probing
    assert limiter.settle(12.7, waiting[0], usage=Usage()) == waiting[1:]
    assert not limiter.snapshot(12.7).probing


def test_a_probe_that_is_not_rejected_soon_opens_the_lane_though_its_answer_takes_minutes() -> None:
    """Rejections come back at once, answers do not."""
    limiter = Limiter(Limits(rpm=6000))
    limiter.rejected(0.1, grant(limiter, 0.0), 1.0, 0.0)
    probe, following = queue(limiter, 0.2), queue(limiter, 0.2)
    went = drain(limiter)
    assert [ticket for _, ticket in went] == [probe, following]
    assert [at for at, _ in went] == pytest.approx([1.1, 1.35])


def test_a_cancelled_probe_is_replaced() -> None:
    """Its cancellation says nothing of the lane, so the next one probes."""
    limiter = Limiter(Limits(rpm=6000))
    limiter.pause(0.0, 1.0)
    waiting = [queue(limiter, 0.0) for _ in range(3)]
    assert limiter.advance(1.0) == waiting[:1]
    assert limiter.cancel(1.1, waiting[0]) == waiting[1:2]
    assert limiter.settle(1.2, waiting[1], usage=None, sent=False) == waiting[2:]


def test_a_pause_beyond_the_deadline_refuses_at_once_and_says_how_long() -> None:
    """Nobody waits for what cannot come in time."""
    limiter = Limiter(Limits(rpm=60))
    limiter.pause(0.0, 270.0)
    refusal = limiter.ask(1.0, Ticket(1, deadline=21.0))
    assert refusal == Refuse("the provider asked to wait 269.0 s more, the deadline is in 20.0 s", 269.0)
    queue(limiter, 1.0, Ticket(1, deadline=300.0))


def test_a_shorter_pause_never_shortens_a_longer_one() -> None:
    """An echo of the same overload arrives late and says less."""
    limiter = Limiter(Limits(rpm=60))
    limiter.pause(0.0, 10.0)
    limiter.pause(1.0, 5.0)
    queue(limiter, 1.0)
    assert limiter.next_at == 10.0


@pytest.mark.parametrize(("u", "until"), [(0.0, 1.5), (0.5, 1.75)])
def test_a_429_without_a_time_pauses_for_half_a_second_to_one(u: float, until: float) -> None:
    """Jittered, so that clients do not return together."""
    limiter = Limiter(Limits(rpm=60))
    limiter.rejected(1.0, grant(limiter, 0.9), None, u)
    assert limiter.snapshot(1.0).paused_until == until


def test_only_the_first_429_of_a_generation_cuts_the_rate() -> None:
    """A hundred rejections of one burst are one piece of news."""
    limiter = Limiter(Limits(rpm=60_000))
    burst = [grant(limiter, 0.0) for _ in range(100)]
    for ticket in burst:
        limiter.rejected(0.1, ticket, 0.0, 0.0)
    assert requests(limiter).trim == pytest.approx(0.93)
    limiter.rejected(0.3, grant(limiter, 0.2), 0.0, 0.0)
    assert requests(limiter).trim == pytest.approx(0.93**2)
    assert requests(limiter, 3.3).trim == pytest.approx(0.93**2)
    assert requests(limiter, 5.3).trim == pytest.approx(0.93**2 + 0.02)
    assert requests(limiter, 100.0).trim == 1


def test_the_calls_in_flight_are_capped_when_no_known_rate_explains_a_429() -> None:
    """A server that takes eight at a time is found out and not asked for more."""
    limiter = Limiter(Limits(concurrency=100))
    flying = [grant(limiter, 0.0) for _ in range(9)]
    limiter.rejected(0.05, flying.pop(), 0.0, 0.0)
    assert limiter.snapshot().in_flight_cap == 7
    queue(limiter, 0.1)
    assert limiter.next_at is None
    assert limiter.settle(1.0, flying.pop(), usage=Usage()) == []
    assert len(limiter.settle(1.1, flying.pop(), usage=Usage())) == 1


def test_an_unknown_server_is_not_met_with_a_thousand_calls_at_once() -> None:
    """32 first, twice as many each second, and one more for each answer: a hanging server delays nobody for long."""
    limiter = Limiter()
    flying = [grant(limiter, 0.0) for _ in range(32)]
    line = [queue(limiter, 0.0) for _ in range(200)]
    assert limiter.settle(0.1, flying[0], usage=Usage()) == line[:2]
    assert Counter(at for at, _ in drain(limiter, 5.0)) == {1.0: 33, 2.0: 66, 3.0: 99}


# --- headers -----------------------------------------------------------------------------------------------------


@pytest.mark.prove(3)
def test_the_smaller_of_configured_and_told_counts() -> None:
    """A configured limit is an upper bound; headers tighten it at once."""
    limiter = Limiter(Limits(rpm=100))
    limiter.adopt(0.0, told(500), 0.0)
    assert requests(limiter).limit == 100
    limiter.adopt(1.0, told(40), 1.0)
    assert (requests(limiter).limit, requests(limiter).trim) == (40, 1)


def test_a_raised_limit_is_used_slowly() -> None:
    """One percent of it per second, from where it was."""
    limiter = Limiter()
    limiter.adopt(0.0, told(500), 0.0)
    limiter.adopt(10.0, told(1000), 10.0)
    assert (requests(limiter).limit, requests(limiter).trim) == (1000, 0.5)
    assert requests(limiter, 30.0).trim == pytest.approx(0.7)


def test_the_limit_of_an_older_answer_is_ignored() -> None:
    """Answers overtake each other."""
    limiter = Limiter()
    limiter.adopt(10.0, told(500), 9.0)
    limiter.adopt(11.0, told(1000), 2.0)
    assert requests(limiter).limit == 500


def test_what_remains_lowers_the_level_by_what_was_booked_since_and_never_raises_it() -> None:
    """Other tenants of the key show themselves in `remaining`."""
    limiter = Limiter(Limits(rpm=6000, burst_s=1.0))
    for _ in range(50):
        grant(limiter, 0.0)
    before = requests(limiter, 0.0).level
    limiter.adopt(0.0, told(6000, 99_999), 0.0)
    assert requests(limiter).level == before
    limiter.adopt(0.0, told(6000, 55), 0.0)
    assert requests(limiter).level == 55 - 50
    limiter.adopt(0.0, told(6000, 60), 0.0)
    assert requests(limiter).level == 5


@pytest.mark.parametrize("limit", [0, -5])
@pytest.mark.parametrize("period_s", [60.0, 0.0, nan, inf])
def test_nonsense_in_headers_changes_nothing(limit: int, period_s: float) -> None:
    """Neither unlimited nor a lane that is shut for ever."""
    limiter = Limiter(Limits(rpm=60))
    limiter.adopt(0.0, (LimitSeen(dimension="requests", limit=limit, remaining=5, period_s=period_s),), 0.0)
    assert requests(limiter).limit == 60
    grant(limiter, 0.0)


def test_a_tightened_limit_never_strands_a_call_that_already_waits() -> None:
    """Too large for the new limit, it goes alone and the provider has the word."""
    limiter = Limiter(Limits(tpm=1000))
    grant(limiter, 0.0, Ticket(900))
    large = queue(limiter, 0.0, Ticket(800))
    limiter.adopt(1.0, told(100, dimension="tokens"), 1.0)
    assert [ticket for _, ticket in drain(limiter, 1000)] == [large]


def test_a_limit_per_day_is_counted_and_not_spread_over_the_day() -> None:
    """A quota of 1,000 a day may be used this minute."""
    limiter = Limiter(Limits(concurrency=2000))
    limiter.adopt(0.0, (LimitSeen(dimension="requests", limit=1000, period_s=86_400),), 0.0)
    for _ in range(1000):
        grant(limiter, 0.0)
    queue(limiter, 0.0)


def test_a_guess_gives_way_to_what_headers_say() -> None:
    """Together with the cap on calls in flight that was learned with it."""
    limiter = Limiter()
    flying = [grant(limiter, 0.02 * n) for n in range(30)]
    limiter.rejected(0.7, flying.pop(), 0.0, 0.0)
    assert requests(limiter).told == 60 * 28 / 0.7
    assert limiter.snapshot().in_flight_cap is not None
    assert limiter.adopt(0.8, told(600), 0.7) == []
    assert (requests(limiter).told, limiter.snapshot().in_flight_cap) == (600, None)


def test_the_snapshot_says_how_much_of_each_limit_is_used() -> None:
    """As a share of the limit, at the time asked for."""
    limiter = Limiter(Limits(rpm=100, itpm=1000), name="lane")
    assert limiter.snapshot().dimensions == ()
    ticket = grant(limiter, 0.0, Ticket(250))
    state = limiter.snapshot(1.0)
    assert [d.utilisation for d in state.dimensions] == [0.01, 0.25]
    assert (state.name, state.granted, state.in_flight, state.paused_until) == ("lane", 1, 1, None)
    assert repr(ticket) == "Ticket(250, None, 'normal', 'granted')"
    assert limiter.rejected(1.0, Ticket(1), 1.0, 0.0) == []
    assert limiter.snapshot(70.0).dimensions[1].utilisation == 0


def test_tokens_in_all_are_settled_by_the_provider_s_own_counting() -> None:
    """One limit over input and output, cache reads free where they are free."""
    limiter = Limiter(Limits(tpm=10_000), counting="input,output")
    ticket = grant(limiter, 0.0, Ticket(1000, 100))
    assert requests(limiter).used_in_window == 1100
    limiter.settle(1.0, ticket, usage=Usage(input=100, cache_read=900, output=70))
    assert requests(limiter).used_in_window == 170


def test_an_echo_of_a_rejection_sends_no_second_probe_and_waits_no_longer() -> None:
    """Calls of the rejected burst come back while the probe is out."""
    limiter = Limiter(Limits(rpm=6000))
    burst = [grant(limiter, 0.0) for _ in range(5)]
    limiter.rejected(0.1, burst[0], None, 0.0)
    waiting = [queue(limiter, 0.1) for _ in range(3)]
    limiter.rejected(0.5, burst[1], None, 0.0)
    assert limiter.next_at == pytest.approx(0.6)
    assert limiter.advance(0.6) == waiting[:1]
    assert limiter.rejected(0.61, burst[2], 0.0, 0.0) == []
    limiter.pause(0.62, 0.6)
    assert limiter.advance(0.63) == []
    assert limiter.rejected(0.64, waiting[0], 0.0, 0.0) == waiting[1:2]
