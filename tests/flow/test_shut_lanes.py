"""Lanes and credentials that a breaker shut: passed over, waited for within the deadline, probed again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from penstock import AsyncClient, BreakerSettings, Client, Limits, RetryPolicy
from penstock._flow.accounting import Order
from penstock._flow.call import call
from penstock._flow.effects import Abandoned, Permit, Settle, Settled, Sleep
from penstock._flow.trail import Trail
from penstock._policy.retry import GiveUp, Retry
from penstock.errors import (
    AuthenticationFailed,
    BreakerOpen,
    NotFound,
    Overloaded,
    PenstockError,
    QuotaExhausted,
    ServerFault,
)
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport

from .colours import KEYS, anthropic_reply, openai_error, openai_events, openai_reply

MINI, NANO, CLAUDE = "openai:gpt-4o-mini", "openai:gpt-4.1-nano", "anthropic:claude-haiku-4-5"
SOON = BreakerSettings(min_calls=1, open_s=0.05, open_max_s=0.4)
ONCE = RetryPolicy(attempts=1)


class ManualClock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at

    def chance(self) -> float:
        return 0.5


class Talk:
    """A client of either colour that is asked again and again; `sent` counts what left it."""

    def __init__(self, colour: str, answers: list[Scripted], **settings: Any) -> None:
        given = {"keys": KEYS, "config": False, "env": {}, "retry": ONCE, "breaker": SOON, **settings}
        self.colour = colour
        self.loop = asyncio.Runner()
        self.transport: Any = (ScriptedTransport if colour == "sync" else AsyncScriptedTransport)(answers)
        made: Any = Client if colour == "sync" else AsyncClient
        self.client: Any = made(transport=self.transport, **given)

    @property
    def sent(self) -> int:
        """How many requests went out."""
        return len(self.transport.sent)

    def ask(self, model: str = MINI, **options: Any) -> str | PenstockError:
        """Ask once: the text, or the error."""
        try:
            asked = self.client.complete("hi", model=model, **options)
            return str((asked if self.colour == "sync" else self.loop.run(asked)).text)
        except PenstockError as error:
            return error


@pytest.fixture(params=["sync", "async"])
def talk(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes a client of one colour and closes its loop."""
    made: list[Talk] = []

    def make(answers: list[Scripted], **settings: Any) -> Talk:
        made.append(Talk(request.param, answers, **settings))
        return made[-1]

    yield make
    for each in made:
        each.loop.close()


@pytest.mark.prove(16)
@pytest.mark.parametrize(
    ("refusal", "cls", "remedy"),
    [
        (openai_error(401, "invalid_api_key"), AuthenticationFailed, "check the key"),
        (openai_error(429, "insufficient_quota"), QuotaExhausted, "top it up"),
    ],
)
def test_a_refused_key_shuts_every_model_of_its_credential_and_no_other(
    talk: Any, refusal: Scripted, cls: type, remedy: str
) -> None:
    """One request tells; the next ones are refused with the remedy, a fallback with another key still answers."""
    client = talk([refusal, anthropic_reply("from the other one")], breaker=BreakerSettings())
    assert isinstance(client.ask(), cls)
    shut = client.ask(NANO)
    assert isinstance(shut, BreakerOpen)
    assert remedy in str(shut)
    assert not shut.retriable
    assert client.ask(NANO, deadline_s=60) is not None  # told at once, not after a minute
    assert client.ask(NANO, fallbacks=[CLAUDE]) == "from the other one"
    assert client.sent == 2


@pytest.mark.prove(16)
def test_a_mended_key_recovers_with_its_first_probe(talk: Any) -> None:
    """After its open time one call goes; its answer opens the credential for all, a refusal shuts it for longer."""
    refusal = openai_error(401, "invalid_api_key")
    clock = ManualClock()
    answers = [refusal, refusal, openai_reply("mended"), openai_reply("again")]
    client = talk(answers, breaker=BreakerSettings(), clock=clock)
    assert isinstance(client.ask(), AuthenticationFailed)
    clock.at += 5.0
    assert isinstance(client.ask(NANO), AuthenticationFailed)
    clock.at += 5.0
    assert isinstance(client.ask(), BreakerOpen), "twice as long after a probe that failed"
    clock.at += 5.0
    assert client.ask() == "mended"
    assert client.ask(NANO) == "again"
    assert [lane.account.state for lane in client.client.lanes()] == ["closed", "closed"]


def test_a_missing_model_says_nothing_of_the_credential(talk: Any) -> None:
    """Only the key and the account are shared."""
    client = talk([openai_error(404, "model_not_found"), openai_reply("here")])
    assert isinstance(client.ask(), NotFound)
    assert client.ask(NANO) == "here"


@pytest.mark.prove(16)
@pytest.mark.parametrize("fallbacks", [[], [NANO]])
def test_when_all_lanes_are_open_a_call_waits_for_a_probe_within_its_deadline(talk: Any, fallbacks: list[str]) -> None:
    """Instead of failing: with one lane as with two, and without an attempt of its own being spent."""
    faults = [openai_error(500)] * (1 + len(fallbacks))
    client = talk([*faults, openai_reply("after the outage")])
    assert isinstance(client.ask(fallbacks=fallbacks), ServerFault)
    assert client.ask(fallbacks=fallbacks, deadline_s=5.0) == "after the outage"
    assert client.sent == len(faults) + 1


@pytest.mark.prove(16)
@pytest.mark.parametrize("fallbacks", [[], [NANO]])
def test_when_no_probe_comes_within_the_deadline_a_call_fails_at_once_and_says_so(
    talk: Any, fallbacks: list[str]
) -> None:
    """Nobody waits for what cannot come in time, and without a deadline as often as may be tried."""
    slow = BreakerSettings(min_calls=1, open_s=60.0)
    client = talk([openai_error(500)] * (1 + len(fallbacks)), breaker=slow)
    client.ask(fallbacks=fallbacks)
    error = client.ask(fallbacks=fallbacks, deadline_s=0.5)
    assert isinstance(error, BreakerOpen)
    assert "the deadline is in" in str(error)
    error = client.ask(fallbacks=fallbacks)
    assert isinstance(error, BreakerOpen)
    assert "a call with deadline_s waits longer" in str(error)


def test_a_lane_that_opens_in_time_is_waited_for_when_another_does_not() -> None:
    """One lane is probed too late for the deadline, the other soon: the call goes on with that one."""
    client = Client(keys=KEYS, config=False, env={}, transport=ScriptedTransport([]))
    order = client._order("hi", {"model": MINI, "fallbacks": [CLAUDE], "deadline_s": 5.0}, stream=False)
    looks: list[tuple[float, Retry | GiveUp]] = [
        (1.0, Retry(0.0)),
        (1.0, Retry(0.0)),
        (1.0, GiveUp("too late", deadline=True)),
        (1.0, Retry(0.125)),
    ]
    assert _slept(order, looks) == Sleep(0.125)


def test_what_was_told_of_a_lane_counts_from_when_it_was_told() -> None:
    """The first lane opened while the second was asked: it is asked again at once, not after the time that it told."""
    client = Client(keys=KEYS, config=False, env={}, transport=ScriptedTransport([]))
    order = client._order("hi", {"model": MINI, "fallbacks": [CLAUDE], "deadline_s": 5.0}, stream=False)
    looks: list[tuple[float, Retry | GiveUp]] = [
        (1.0, Retry(0.0)),
        (1.0, Retry(0.0)),
        (1.0, Retry(0.5)),
        (3.0, GiveUp("too late", deadline=True)),
    ]
    assert isinstance(_slept(order, looks), Permit)


def _slept(order: Order, looks: Sequence[tuple[float, Retry | GiveUp]]) -> object:
    """Make a call that finds its lanes shut, at such times and with such decisions, and return what it does next."""
    flow = call(order, Trail(order))
    effect = next(flow)
    for at, look in looks:
        assert isinstance(effect, Permit)
        effect = flow.throw(BreakerOpen("shut", lane=effect.record.lane.name, retry_after_s=0.1))
        assert isinstance(effect, Settle)
        effect = flow.send(Settled(at, look))
    with contextlib.suppress(Abandoned):
        flow.throw(Abandoned())
        flow.send(Settled(at, None))
    return effect


def test_a_shut_lane_costs_the_limiter_no_turn(talk: Any) -> None:
    """The look at the breaker comes first, so that a refusal takes nothing from those who may go."""
    client = talk([openai_error(500)], breaker=BreakerSettings(min_calls=1), limits=Limits(rpm=6000))
    client.ask()
    assert isinstance(client.ask(), BreakerOpen)
    limiter = client.client.lanes()[0].limiter
    assert (limiter.granted, limiter.in_flight, limiter.queued) == (1, 0, 0)


@pytest.mark.prove(7)
def test_two_hundred_calls_into_a_total_outage_make_at_most_1_2_attempts_each(talk: Any, record_property: Any) -> None:
    """By the retry budget alone, with the breaker out of the way; with it they make far fewer."""
    never = BreakerSettings(min_calls=1_000_000)
    retry = RetryPolicy(base_s=0.0, unknown_outcomes=9)
    down = talk([openai_error(500)] * 600, breaker=never, retry=retry)
    for _ in range(200):
        assert isinstance(down.ask(), ServerFault)
    record_property("outage.attempts_per_call", down.sent / 200)
    assert down.sent <= 1.2 * 200
    slow = BreakerSettings(open_s=60.0)
    guarded = talk([openai_error(500)] * 600, breaker=slow, retry=ONCE)
    for _ in range(200):
        assert isinstance(guarded.ask(), ServerFault | BreakerOpen)
    assert guarded.sent <= 0.2 * 200


class Late(list[bytes]):
    """The pieces of a stream whose answer lets some seconds pass."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        super().__init__(openai_events("late"))
        self._clock = clock
        self._seconds = seconds

    def __iter__(self) -> Iterator[bytes]:
        self._clock.at += self._seconds
        return super().__iter__()


def test_the_first_output_of_a_stream_is_what_the_slow_rule_looks_at() -> None:
    """Through the whole client: twenty as usual, then one that is late, and the lane is shut."""
    clock = ManualClock()
    answers = [Scripted(body=Late(clock, 0.1)) for _ in range(20)] + [Scripted(body=Late(clock, 1.0))]
    slow = BreakerSettings(slow_factor=3.0, min_calls=1)
    with Client(
        transport=ScriptedTransport(answers), keys=KEYS, config=False, env={}, breaker=slow, clock=clock
    ) as client:
        for number in range(21):
            clock.at += 60.0 * (number == 20)
            with client.stream("hi", model=MINI) as stream:
                assert "".join(stream.text) == "late"
        assert "first output later than 3 times the usual 0.10 s" in client.lanes()[0].breaker.reason


def test_faults_of_a_local_server_reach_its_cap(talk: Any) -> None:
    """Two of them and it is asked one thing at a time."""
    client = talk([openai_error(503), openai_error(503)], breaker=BreakerSettings())
    assert isinstance(client.ask("vllm:m"), Overloaded)
    assert client.client.lanes()[0].limiter.in_flight_cap == 2
    assert isinstance(client.ask("vllm:m"), Overloaded)
    assert client.client.lanes()[0].limiter.in_flight_cap == 1
