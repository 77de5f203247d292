"""What a client tells of its calls, in both colours, and that nobody who listens can harm one."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import Any

import pytest

from penstock import AsyncClient, BreakerSettings, Budget, BudgetAlert, Client
from penstock.errors import ConfigError, PenstockError
from penstock.events import AttemptEnded, CallEnded, CallStarted, Event, LaneChanged, RecordsLost
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport

from .colours import KEYS, QUICK, openai_error, openai_events, openai_reply

MODEL = "openai:gpt-4o-mini"
COLOURS = ("sync", "async")


def told(
    colour: str, answers: list[Scripted], *, stream: bool = False, content: bool = False, **client: Any
) -> list[Any]:
    """Make a call, and return everything that was told of it."""
    events: list[Any] = []
    settings: dict[str, Any] = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, **client}
    asked: dict[str, Any] = {"model": MODEL, "tags": {"team": "sre"}}
    if colour == "sync":
        with Client(transport=ScriptedTransport(answers), **settings) as one:
            one.on(Event, events.append, content=content)
            with suppress(PenstockError):
                one.stream("hi", **asked).finish() if stream else one.complete("hi", **asked)
        return events

    async def main() -> None:
        async with AsyncClient(transport=AsyncScriptedTransport(answers), **settings) as two:
            two.on(Event, events.append, content=content)
            with suppress(PenstockError):
                await two.stream("hi", **asked).finish() if stream else await two.complete("hi", **asked)

    asyncio.run(main())
    return events


@pytest.mark.parametrize("colour", COLOURS)
def test_a_call_is_told_from_start_to_end(colour: str) -> None:
    """One story with one id: the start, each attempt with its outcome, the end with their sums."""
    started, failed, answered, ended = told(colour, [openai_error(500), openai_reply()])
    assert isinstance(started, CallStarted)
    assert isinstance(failed, AttemptEnded)
    assert isinstance(ended, CallEnded)
    assert len({event.call_id for event in (started, failed, answered, ended)}) == 1
    assert (failed.number, failed.outcome, failed.status) == (1, "server_fault", 500)
    assert (answered.number, answered.outcome, answered.status) == (2, "ok", 200)
    assert (ended.outcome, ended.attempts, ended.retries, ended.stop_reason) == ("ok", 2, 1, "stop")
    assert ended.usage == answered.usage
    assert ended.tags == {"team": "sre"}
    assert (ended.request, ended.response, ended.message) == (None, None, None)
    assert started.at_s <= failed.at_s <= ended.at_s


@pytest.mark.parametrize("colour", COLOURS)
def test_a_failure_and_a_stream_are_told_as_what_they_are(colour: str) -> None:
    """With the error's code and sentence, and the time of the first token."""
    *_, ended = told(colour, [openai_error(401)])
    assert (ended.outcome, ended.ok) == ("authentication", False)
    assert "401" in ended.message
    *_, attempt, ended = told(colour, [Scripted(body=openai_events("a", "b"))], stream=True)
    assert (ended.operation, ended.outcome) == ("stream", "ok")
    assert ended.first_token_s is not None
    assert attempt.first_token_s is not None


@pytest.mark.parametrize("colour", COLOURS)
def test_content_is_told_only_to_those_who_ask(colour: str) -> None:
    """Prompt and answer, whole."""
    started, _, ended = told(colour, [openai_reply("hello")], content=True)
    assert started.request.messages[0].parts[0].text == "hi"
    assert ended.response.text == "hello"


@pytest.mark.parametrize("colour", COLOURS)
def test_a_breaker_that_opens_is_told(colour: str) -> None:
    """With what opened it, and until when."""
    events = told(colour, [openai_error(500)] * 3, breaker=BreakerSettings(min_calls=1))
    changed = next(event for event in events if isinstance(event, LaneChanged))
    assert (changed.lane, changed.was, changed.state, changed.account) == (MODEL, "closed", "open", False)
    assert "failed" in changed.reason
    assert changed.retry_after_s is not None


def client(answers: int = 50, **more: Any) -> Client:
    """A client whose every call is answered."""
    return Client(
        transport=ScriptedTransport([openai_reply() for _ in range(answers)]), keys=KEYS, config=False, env={}, **more
    )


def test_a_client_that_nobody_listens_to_makes_no_event() -> None:
    """There is not even a place for it."""
    with client() as quiet:
        quiet.complete("hi", model=MODEL)
        assert quiet._gate.hub is None


def test_a_subscriber_that_fails_hurts_no_call_and_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is counted; the calls are answered."""

    def bad(event: Event) -> None:
        raise RuntimeError("mine")

    with caplog.at_level(logging.ERROR, logger="penstock"), client() as busy:
        subscriptions = [busy.on(CallEnded, bad, inline=inline) for inline in (False, True)]
        for _ in range(5):
            assert busy.complete("hi", model=MODEL).text == "hello"
    assert [each.lost for each in subscriptions] == [5, 5]
    assert len(caplog.records) == 2
    assert "bad failed over an event; calls go on" in caplog.text


def test_a_subscriber_that_is_stuck_loses_events_and_says_how_many(caplog: pytest.LogCaptureFixture) -> None:
    """At most `queue` events wait for it, no call does, and `RecordsLost` tells."""
    free, stuck = threading.Event(), threading.Event()
    losses: list[RecordsLost] = []

    def slow(event: Event) -> None:
        stuck.set()
        free.wait(20)

    with caplog.at_level(logging.WARNING, logger="penstock"), client() as busy:
        busy.on(RecordsLost, losses.append)
        subscription = busy.on(CallEnded, slow, queue=3)
        busy.complete("hi", model=MODEL)
        assert stuck.wait(20)
        for _ in range(20):
            busy.complete("hi", model=MODEL)
        free.set()
        subscription.flush()
        assert subscription.lost == 17
    assert sum(loss.count for loss in losses) == 17
    assert losses[0].subscriber.endswith("slow")
    assert caplog.text.count("it is too slow") == 1


def test_close_hands_over_what_is_left() -> None:
    """Nothing that happened before it is missing after it."""
    seen: list[Event] = []
    with client() as busy:
        busy.on(CallEnded, seen.append)
        for _ in range(30):
            busy.complete("hi", model=MODEL)
    assert len(seen) == 30


def test_a_coroutine_function_is_called_in_the_loop() -> None:
    """In order, one after the other; one that fails is counted."""

    async def main() -> tuple[list[Any], int]:
        seen: list[Any] = []

        async def handler(event: CallEnded) -> None:
            await asyncio.sleep(0)
            seen.append((event, asyncio.get_running_loop()))
            if len(seen) == 2:
                raise ValueError("mine")

        transport = AsyncScriptedTransport([openai_reply() for _ in range(3)])
        async with AsyncClient(transport=transport, keys=KEYS, config=False, env={}) as one:
            subscription = one.on(CallEnded, handler)
            for _ in range(3):
                await one.complete("hi", model=MODEL)
        assert {loop for _, loop in seen} == {asyncio.get_running_loop()}
        return seen, subscription.lost

    seen, lost = asyncio.run(main())
    assert (len(seen), lost) == (3, 1)


def test_a_closed_subscription_hears_nothing_more() -> None:
    """It is also a context manager."""
    seen: list[Event] = []
    with client() as busy:
        with busy.on(CallEnded, seen.append):
            busy.complete("hi", model=MODEL)
        busy.complete("hi", model=MODEL)
    assert len(seen) == 1


def test_alerts_of_a_budget_are_events_too() -> None:
    """Beside the function that the budget has."""
    seen: list[Event] = []
    own: list[BudgetAlert] = []
    budget = Budget(total="0.0001", alerts=(0.01,), on_alert=own.append, allow_unpriced=True)
    with client(budget=budget) as busy:
        busy.on(BudgetAlert, seen.append)
        busy.complete("hi", model=MODEL, max_tokens=5)
    assert seen == own
    assert len(own) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((str, print), "no kind of event; expected one of CallStarted"),
        ((CallEnded, 5), "no function"),
        (((CallEnded, 7), print), "7 is no kind"),
    ],
)
def test_what_cannot_listen_is_an_error(arguments: tuple[Any, Any], said: str) -> None:
    """With what was expected."""
    with client() as one, pytest.raises(ConfigError, match=said):
        one.on(*arguments)


def test_a_coroutine_function_needs_a_loop() -> None:
    """And cannot be called in place."""

    async def handler(event: Event) -> None: ...

    with client() as one:
        with pytest.raises(ConfigError, match="none does"):
            one.on(CallEnded, handler)
        with pytest.raises(ConfigError, match="in place"):
            one.on(CallEnded, handler, inline=True)
