"""The limiter: never above the limit, first in first out, exact waits, nothing leaks; all in virtual time."""

import gc
import random
import tracemalloc
from collections import Counter, deque
from math import inf, nan

import pytest

from penstock._policy.limiter import Counting, Limiter, Limits, Refuse, Ticket, Wait
from penstock.errors import ConfigError
from penstock.types import LimitSeen, Usage

from .limiting import drain, grant, queue, requests, told

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
    """Anthropic: cache reads are free, cache writes are not; an output is produced from the beginning to the end."""
    limiter = Limiter(Limits(itpm=10_000, otpm=10_000), counting="input,output")
    ticket = grant(limiter, 0.0, Ticket(1000, 64))
    assert [d.used_in_window for d in limiter.snapshot().dimensions] == [1000, 32]
    limiter.settle(4.0, ticket, usage=Usage(input=100, cache_read=800, cache_write_5m=50, output=30, reasoning=10))
    assert [d.used_in_window for d in limiter.snapshot().dimensions] == [150, 40]


def test_the_expected_output_follows_the_answers() -> None:
    """The first answer replaces the guess, later ones move it."""
    limiter = Limiter(Limits(otpm=100_000), counting="input,output")
    for produced, expected in ((100, 100), (200, 150)):
        limiter.settle(0.0, grant(limiter, 0.0), usage=Usage(output=produced))
        assert limiter.snapshot().expected_output == pytest.approx(expected)
    grant(limiter, 0.0)
    assert limiter.snapshot().dimensions[0].used_in_window == pytest.approx(300 + 150 / 2)


def test_an_output_of_unknown_length_is_taken_for_what_was_expected() -> None:
    """The second half of it counts from the end of the call on."""
    limiter = Limiter(Limits(otpm=100_000), counting="input,output")
    ticket = grant(limiter, 0.0, Ticket(10, 64))
    limiter.settle(30.0, ticket, usage=None, failed=True)
    assert limiter.snapshot().dimensions[0].used_in_window == 64
    assert limiter.snapshot(62.0).dimensions[0].used_in_window == 32


def test_what_is_reserved_for_prompts_follows_what_the_provider_counts_of_them() -> None:
    """Where our estimate is too high it would keep others waiting."""
    limiter = Limiter(Limits(itpm=100_000), counting="input,output")
    limiter.settle(0.0, grant(limiter, 0.0, Ticket(1000)), usage=Usage(input=800))
    grant(limiter, 0.0, Ticket(1000))
    assert limiter.snapshot().dimensions[0].used_in_window == pytest.approx(800 + 800)


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
