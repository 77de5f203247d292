"""The limiter given what makes no sense: clocks that jump, limits that contradict each other, headers of nonsense."""

from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock._policy.limiter import Grant, Limiter, Limits, Ticket, Wait
from penstock._wire.headers import limits_seen, retry_after_s
from penstock._wire.protocol import Provider
from penstock.types import Usage

from .limiting import drain, grant, queue


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
