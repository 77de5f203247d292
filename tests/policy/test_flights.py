"""The cache in memory and the book of flights, against models that fit on a page."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from penstock import Cache, Choice, Chunk, Refusal, Request, Response, Text, ToolCall
from penstock._policy.cache import ENTRY_OVERHEAD_BYTES, USES, Entry, Memory, grade, pack, unpack, use
from penstock._policy.flights import PATIENCE_S, AskAgain, Flights, Landed, Lead, Seat, Told
from penstock.errors import ConfigError, ServerFault, StreamInterrupted

ROOM = 3 * (ENTRY_OVERHEAD_BYTES + 100)
TTL_S = 50.0


class MemoryMachine(RuleBasedStateMachine):
    """The least recently used goes first, nothing outlives its time, and the bytes are never above the bound."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(Cache(ttl_s=TTL_S, max_bytes=ROOM))
        self.model: list[tuple[int, float, bytes]] = []  # least recently used first
        self.now = 1000.0

    @rule(seconds=st.floats(-5, 30))
    def time_passes(self, seconds: float) -> None:
        """Mostly forward; a wall clock is also set back."""
        self.now += seconds

    @rule(key=st.integers(0, 5), size=st.integers(0, 900))
    def put(self, key: int, size: int) -> None:
        """Keep an answer, also one that is larger than everything."""
        kept = bytes(size)
        self.memory.put(self.now, b"%d" % key, kept)
        self.model = [row for row in self.model if row[0] != key]
        if size + ENTRY_OVERHEAD_BYTES <= ROOM:
            self.model.append((key, self.now, kept))
            while sum(len(row[2]) + ENTRY_OVERHEAD_BYTES for row in self.model) > ROOM:
                self.model.pop(0)

    @rule(key=st.integers(0, 5))
    def get(self, key: int) -> None:
        """What is found is what the model has."""
        row = next((row for row in self.model if row[0] == key), None)
        if row is not None:
            self.model.remove(row)
            if 0 <= self.now - row[1] < TTL_S:
                self.model.append(row)
            else:
                row = None
        assert self.memory.get(self.now, b"%d" % key) == (row[2] if row else None)

    @invariant()
    def the_sum_is_that_of_the_model(self) -> None:
        """And inside the bound."""
        total = sum(len(row[2]) + ENTRY_OVERHEAD_BYTES for row in self.model)
        assert self.memory.size() == (len(self.model), total)
        assert total <= ROOM


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def answer(text: str = "x", stop: Any = "stop", *parts: Any) -> Response:
    """Make a whole answer."""
    return Response(provider="p", model="m", choices=(Choice(content=(Text(text), *parts), stop_reason=stop),))


class Caller:
    """A call as the flow makes it: one seat, and what it has heard."""

    def __init__(self, number: int, seat: Seat) -> None:
        self.number = number
        self.seat = seat
        self.state = "new"  # then: leads, waits, called, or over
        self.heard: list[str] = []


class FlightMachine(RuleBasedStateMachine):
    """Callers of three questions come, follow, lead, stream, fail and vanish in any order.

    The model is the promise itself: at most one leads a flight, unless it was held up by its reader; whoever waits has
    somebody who works for it or is about to be called; a caller hears exactly the answer of the flight that it was in.
    """

    callers = Bundle("callers")

    @initialize()
    def begin(self) -> None:
        """Nobody has asked anything."""
        self.memory = Memory(Cache(ttl_s=TTL_S))
        self.book = Flights(self.memory)
        self.all: list[Caller] = []
        self.now = 100.0
        self.stored: dict[bytes, str] = {}
        self.answers = 0

    @rule(target=callers, key=st.sampled_from([b"a", b"b"]), mode=st.sampled_from([*USES]), stream=st.booleans())
    def come(self, key: bytes, mode: Any, stream: bool) -> Any:
        """A new call looks the question up."""
        caller = Caller(len(self.all), Seat(key, key, USES[mode], stream=stream))
        self.all.append(caller)
        self._hear(caller, self.book.ask(self.now, caller.seat), key)
        return caller

    @rule(seconds=st.floats(0, PATIENCE_S * 0.6))
    def time_passes(self, seconds: float) -> None:
        """Readers take their time."""
        self.now += seconds

    @rule(caller=callers)
    def look(self, caller: Caller) -> None:
        """A follower was called, or its own clock rang."""
        if caller.state in ("waits", "called"):
            self._hear(caller, self.book.look(self.now, caller.seat, caller), caller.seat.key)
            self._call()

    @rule(caller=callers, text=st.sampled_from(["x", "y"]))
    def show(self, caller: Caller, text: str) -> None:
        """A leader's stream shows a chunk to its reader."""
        if caller.state == "leads" and caller.seat.stream:
            self.book.tell(self.now, caller.seat, [Chunk(kind="text", text=text)])
            self._call()

    @rule(caller=callers)
    def read_on(self, caller: Caller) -> None:
        """The reader asks for more."""
        caller.seat.read_on()

    @rule(caller=callers, stop=st.sampled_from(["stop", "length", "refusal"]))
    def answered(self, caller: Caller, stop: Any) -> None:
        """A leader has the whole answer."""
        if caller.state != "leads":
            return
        self.answers += 1
        text = f"answer {self.answers}"
        flight = caller.seat.flight
        mine = flight is not None and flight.leader is caller.seat
        writes = caller.seat.use.writes or (mine and flight.writes)  # type: ignore[union-attr]
        forced = caller.seat.use.forced or (mine and flight.forced)  # type: ignore[union-attr]
        response = answer(text, stop)
        self.book.land(self.now, caller.seat, Entry(response, grade(response)), None)
        if writes and (stop == "stop" or (stop == "length" and forced)):
            self.stored[caller.seat.key] = text
        self._over(caller)

    @rule(caller=callers, cut=st.booleans())
    def failed(self, caller: Caller, cut: bool) -> None:
        """A leader has an error for everybody."""
        if caller.state == "leads":
            error = StreamInterrupted("cut", partial=answer()) if cut else ServerFault("boom")
            self.book.land(self.now, caller.seat, None, error)
            self._over(caller)

    @rule(caller=callers)
    def vanish(self, caller: Caller) -> None:
        """A call is cancelled, whatever it was doing."""
        self._over(caller)

    def _hear(self, caller: Caller, news: Any, key: bytes) -> None:
        match news:
            case Lead():
                caller.state = "leads"
            case None:
                caller.state = "waits" if caller.state != "new" else "called"
            case Told(chunks=chunks, again=again):
                caller.heard = ([] if again else caller.heard) + [chunk.text for chunk in chunks]
                assert caller.seat.flight is not None
                assert caller.heard == [chunk.text for chunk in caller.seat.flight.chunks]
                caller.state = "called"
            case AskAgain():
                assert not caller.seat.stream
                self._over(caller)
            case Landed(entry=entry, error=error):
                if caller.state == "new":
                    assert entry is not None
                    assert entry.response.text == self.stored[key]
                    assert entry.grade == "clean" or caller.seat.use.forced
                assert (entry is None) != (error is None)
                self._over(caller)

    def _over(self, caller: Caller) -> None:
        self.book.leave(caller.seat)
        caller.state = "over"
        self._call()

    def _call(self) -> None:
        for called in self.book.called():
            if called.state == "waits":
                called.state = "called"

    @invariant()
    def whoever_waits_is_waited_upon(self) -> None:
        """By a leader at work, by one whose reader is slow, or by a follower that was called and will look."""
        for caller in self.all:
            if caller.state == "waits":
                flight = caller.seat.flight
                assert flight is not None
                assert flight.landed is None
                leading = flight.leader is not None and any(
                    other.seat is flight.leader and other.state == "leads" for other in self.all
                )
                called = any(other.state == "called" and other.seat.flight is flight for other in self.all)
                assert leading or called

    @invariant()
    def one_leads(self) -> None:
        """Others may still be under way for a question only if they were overtaken or fly alone."""
        for key in (b"a", b"b"):
            leaders = [
                caller
                for caller in self.all
                if caller.state == "leads"
                and caller.seat.key == key
                and caller.seat.flight is not None
                and caller.seat.flight.leader is caller.seat
            ]
            flights = {id(caller.seat.flight) for caller in leaders}
            assert len(leaders) == len(flights)

    @invariant()
    def the_book_has_only_flights_with_somebody_aboard(self) -> None:
        """Nothing is left of those who have gone."""
        aboard = {id(caller.seat.flight) for caller in self.all if caller.seat.flight is not None}
        assert all(id(flight) in aboard for flight in self.book._flights.values())
        for flight in self.book._flights.values():
            assert all(seat.flight is flight for seat in flight.parked)

    def teardown(self) -> None:
        """When all have gone the book is empty, and what was stored is there."""
        if not hasattr(self, "all"):
            return
        for caller in self.all:
            self._over(caller)
        assert len(self.book) == 0
        for key, text in self.stored.items():
            kept = self.memory.get(self.now, key)
            if kept is not None:
                entry = unpack(kept)
                assert entry is not None
                assert entry.response.text == text


TestFlights = pytest.mark.prove(19)(FlightMachine.TestCase)
TestFlights.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def seats(book: Flights, *streams: bool) -> list[Seat]:
    """Seat several callers of one question, the first of which leads."""
    made = [Seat(b"k", b"k", USES[None], stream=stream) for stream in streams]
    for seat in made:
        book.ask(0.0, seat)
    return made


def test_a_lead_passes_to_one_and_the_others_are_not_woken() -> None:
    """To the one that has waited longest."""
    book = Flights(Memory(Cache()))
    leader, *followers = seats(book, *[False] * 5)
    for number, seat in enumerate(followers):
        assert book.look(0.0, seat, number) is None
    book.leave(leader)
    assert book.called() == [0]
    assert isinstance(book.look(0.0, followers[0], 0), Lead)
    assert book.look(0.0, followers[1], 1) is None


def test_an_heir_that_is_gone_before_it_looks_passes_the_lead_on() -> None:
    """No wake-up is lost with it."""
    book = Flights(Memory(Cache()))
    leader, *followers = seats(book, *[False] * 3)
    for number, seat in enumerate(followers):
        book.look(0.0, seat, number)
    book.leave(leader)
    book.leave(followers[0])
    assert book.called() == [0, 1]
    assert isinstance(book.look(0.0, followers[1], 1), Lead)


def test_a_leader_whose_reader_stops_is_overtaken_and_one_that_works_is_not() -> None:
    """However long the provider takes."""
    book = Flights(Memory(Cache()))
    leader, follower = seats(book, True, False)
    assert book.look(1e6, follower, "f") is None
    book.tell(10.0, leader, [Chunk(kind="text", text="a")])
    assert book.look(10.0 + PATIENCE_S * 0.9, follower, "f") is None
    leader.read_on()
    assert book.look(10.0 + PATIENCE_S * 9, follower, "f") is None
    book.tell(20.0, leader, [Chunk(kind="text", text="b")])
    assert isinstance(book.look(20.0 + PATIENCE_S, follower, "f"), Lead)


def test_those_who_wait_without_a_clock_get_one_when_a_stream_takes_the_lead() -> None:
    """Otherwise a reader that stops would hold them for ever."""
    book = Flights(Memory(Cache()))
    leader, plain, stream = seats(book, False, False, True)
    assert book.look(0.0, stream, "stream") is None
    assert book.look(0.0, plain, "plain") is None
    book.leave(leader)
    assert book.called() == ["stream"]
    assert isinstance(book.look(0.0, stream, "stream"), Lead)
    assert book.called() == ["plain"]


def test_a_new_leader_tells_the_answer_from_its_start() -> None:
    """Also to a follower that looked before there was anything of it; what the old one still says is not heard."""
    book = Flights(Memory(Cache()))
    old, new, follower = seats(book, True, True, True)
    book.tell(0.0, old, [Chunk(kind="text", text="a")])
    assert book.look(0.0, follower, "f") == Told((Chunk(kind="text", text="a"),), again=False)
    assert book.look(0.0, follower, "f") is None
    assert isinstance(book.look(PATIENCE_S, new, "n"), Lead)
    assert book.called() == ["f"]
    assert book.look(PATIENCE_S, follower, "f") is None
    book.tell(PATIENCE_S, old, [Chunk(kind="text", text="old")])
    assert book.look(PATIENCE_S, follower, "f") is None
    book.tell(PATIENCE_S, new, [Chunk(kind="text", text="b")])
    assert book.called() == ["f"]
    assert book.look(PATIENCE_S, follower, "f") == Told((Chunk(kind="text", text="b"),), again=True)
    book.land(0.0, old, None, ServerFault("of the old one"))
    new.read_on()
    assert book.look(PATIENCE_S, follower, "f") is None


def test_a_stream_that_broke_is_no_error_of_a_call_that_does_not_stream() -> None:
    """It begins from the start, while those who streamed along saw what the leader saw."""
    book = Flights(Memory(Cache()))
    leader, plain, stream = seats(book, True, False, True)
    book.tell(0.0, leader, [Chunk(kind="text", text="a")])
    error = StreamInterrupted("cut", partial=answer())
    book.land(0.0, leader, None, error)
    assert book.look(0.0, plain, "p") == AskAgain()
    assert book.look(0.0, stream, "s") == Landed(None, error, (Chunk(kind="text", text="a"),))


@pytest.mark.parametrize(
    ("leads", "follows", "stop", "stored"),
    [
        ("read", "read", "stop", False),
        ("read", None, "stop", True),
        ("read", "force", "length", True),
        (None, None, "length", False),
        (None, "force", "length", True),
        ("force", "read", "length", True),
    ],
)
def test_an_answer_is_stored_when_anybody_aboard_may_store_it(
    leads: Any, follows: Any, stop: Any, stored: bool
) -> None:
    """Whoever happens to lead."""
    memory = Memory(Cache())
    book = Flights(memory)
    leader, follower = (Seat(b"k", b"k", USES[mode], stream=False) for mode in (leads, follows))
    assert isinstance(book.ask(0.0, leader), Lead)
    assert book.ask(0.0, follower) is None
    response = answer("x", stop)
    book.land(0.0, leader, Entry(response, grade(response)), None)
    assert (memory.get(0.0, b"k") is not None) == stored


def test_a_call_that_only_writes_shares_nothing() -> None:
    """It makes its own request beside a flight, and leads none."""
    book = Flights(Memory(Cache()))
    (leader,) = seats(book, False)
    alone = [Seat(b"k", b"k", USES["write"], stream=False) for _ in range(2)]
    assert [book.ask(0.0, seat) for seat in alone] == [Lead(), Lead()]
    book.leave(leader)
    assert len(book) == 0


def test_an_entry_from_the_future_is_too_old() -> None:
    """The clock was set back, and nobody knows how old it is."""
    memory = Memory(Cache(ttl_s=TTL_S))
    memory.put(100.0, b"k", b"kept")
    assert memory.get(99.0, b"k") is None
    assert memory.size() == (0, 0)


@pytest.mark.prove(18)
@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (answer(), "clean"),
        (answer("x", "length"), "forced"),
        (answer("x", "tool_calls", ToolCall(id="1", name="f")), "forced"),
        (answer("x", "stop", ToolCall(id="1", name="f")), "forced"),
        (answer("x", "stop", Refusal("no")), "never"),
        *[
            (answer("x", reason), "never")
            for reason in ("content_filter", "refusal", "context_length", "paused", "tool_error", "error", "other")
        ],
        (answer("x", "unknown"), "never"),
        (Response(provider="p", model="m"), "never"),
        (msgspec.structs.replace(answer(), choices=answer().choices + answer("y", "length").choices), "forced"),
        (msgspec.structs.replace(answer(), choices=answer().choices + answer("y", "refusal").choices), "never"),
    ],
)
def test_only_whole_answers_are_clean(response: Response, expected: str) -> None:
    """Force lets through what was cut at max_tokens and tool calls, nothing else."""
    assert grade(response) == expected


@pytest.mark.parametrize(
    ("sampling", "drawn"),
    [
        ({}, True),
        ({"temperature": 0.0}, False),
        ({"temperature": 0.7}, True),
        ({"seed": 0}, False),
        ({"temperature": 1.0, "seed": 7}, False),
        ({"top_p": 0.0}, True),
    ],
)
def test_an_answer_drawn_by_chance_is_cached_only_where_forced(sampling: dict[str, Any], drawn: bool) -> None:
    """An omitted temperature is not 0."""
    request = Request(model="m", messages=(), **sampling)
    assert (use(request, None, configured=True) is None) == drawn
    forced = use(request, "force", configured=True)
    assert forced is not None
    assert forced.forced
    if drawn:
        with pytest.raises(ConfigError, match="drawn by chance"):
            use(request, "refresh", configured=True)


def test_a_number_that_has_no_place_in_the_store_is_not_stored() -> None:
    """And nothing is raised for it."""
    odd = msgspec.structs.replace(answer(), choices=(Choice(logprobs={"x": 2**70}),))
    assert pack(Entry(odd)) is None
    kept = pack(Entry(answer()))
    assert kept is not None
    assert unpack(kept) == Entry(answer())
    assert unpack(kept[:-1]) is None
    assert unpack(b"\xc1junk") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl_s": 0},
        {"ttl_s": float("inf")},
        {"ttl_s": True},
        {"max_bytes": 0},
        {"max_bytes": 1.5},
        {"path": ""},
        {"path": 5},
    ],
)
def test_a_setting_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """In one sentence that names it."""
    with pytest.raises(ConfigError, match=rf"cache\.{next(iter(wrong))} is "):
        Cache(**wrong)
