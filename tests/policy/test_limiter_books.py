"""The limiter under any order of events, against the sliding log that a server keeps."""

from math import inf
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock._policy.limiter import Grant, Limiter, Limits, Ticket, Wait
from penstock.types import Usage

from .limiting import told


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
        assert not tickets or self.now >= self.paused_until - 1e-6
        for ticket in tickets:
            assert self.waiting[ticket.priority].pop(0) is ticket, "first in first out inside a class"
            self.flies(ticket)

    def flies(self, ticket: Ticket) -> None:
        assert ticket.state == "granted"
        self.flying.append(ticket)
        self.booked[ticket] = (self.now, max(ticket.input_tokens, ticket.output_tokens or 0))
        recent = [amount for at, amount in self.booked.values() if at > self.now - 60 + 1e-6]
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
                assert self.now >= self.paused_until - 1e-6
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

    @rule(back_s=st.sampled_from([5.0, 3600.0]))
    def put_the_clock_back(self, back_s: float) -> None:
        self.now -= back_s
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
