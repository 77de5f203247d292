"""Two attempts side by side: whoever answers first stays, and both are settled in every interleaving."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client, Hedge, Limits, RetryPolicy, Timeouts
from penstock._flow.call import call
from penstock._flow.effects import Admission, End, Parallel, Permit, Settled, Sleep
from penstock._flow.trail import Trail
from penstock._policy.breaker import Pass
from penstock._policy.hedge import ENOUGH, Latencies
from penstock._policy.retry import GiveUp, Retry
from penstock.errors import (
    ClientClosed,
    ConfigError,
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
    PenstockError,
    ServerFault,
)
from penstock.testing import Scripted

from .colours import KEYS, anthropic_reply, openai_error, openai_events
from .races import MODEL, SOON, Act, AsyncPlay, SyncPlay, closing, race, reply

both = pytest.mark.parametrize("colour", ["sync", "async"])
streams = pytest.mark.parametrize("stream", [False, True])


@pytest.mark.prove(7, 12)
@both
@streams
@pytest.mark.parametrize("at_read", [False, True])
def test_a_late_attempt_is_overtaken_by_the_one_beside_it(colour: str, stream: bool, at_read: bool) -> None:
    """The loser is cancelled and stays on the books as possibly paid; the answer tells of both."""
    raced = race(colour, Act(reply(stream), None, at_read), Act(reply(stream, "won")), stream=stream)
    assert raced.response is not None, raced.error
    assert raced.response.text == "won"
    assert not stream or raced.text == "won"
    assert raced.outcomes() == ["cancelled", "ok"]
    assert [attempt.number for attempt in raced.response.attempts] == [1, 2]
    totals, scope = raced.client.usage(), raced.client.budget().scopes[0]
    assert (totals.attempts, totals.retries) == (2, 1)
    assert scope.possible_nano > 0
    assert scope.spent_nano > scope.possible_nano


@both
@streams
def test_a_quick_attempt_is_never_hedged(colour: str, stream: bool) -> None:
    """Nothing more is sent than without a hedge."""
    raced = race(colour, Act(reply(stream)), stream=stream, hedge=Hedge(after_s=5))
    assert raced.response is not None, raced.error
    assert raced.outcomes() == ["ok"]


@both
@streams
@pytest.mark.parametrize("at_read", [False, True])
def test_the_first_attempt_may_still_win(colour: str, stream: bool, at_read: bool) -> None:
    """It answers once the second was sent; that one is cancelled."""
    raced = race(colour, Act(reply(stream, "first"), 2), Act(reply(stream), None, at_read), stream=stream)
    assert raced.response is not None, raced.error
    assert raced.response.text == "first"
    assert raced.outcomes() == ["ok", "cancelled"]


@both
@streams
def test_two_answers_at_once_are_one_answer(colour: str, stream: bool) -> None:
    """Whichever is taken, nothing is shown twice and both are settled."""
    for _ in range(20):
        raced = race(colour, Act(reply(stream, "one"), 2), Act(reply(stream, "two"), 2), stream=stream)
        assert raced.response is not None, raced.error
        assert raced.response.text in ("one", "two")
        assert not stream or raced.text == raced.response.text
        assert len(raced.response.attempts) == 2
        assert "ok" in raced.outcomes()


@both
@streams
def test_when_both_fail_the_first_error_is_retried_as_ever(colour: str, stream: bool) -> None:
    """And the call is not hedged again."""
    acts = [Act(openai_error(503), 2), Act(openai_error(503), 2), Act(reply(stream, "third"))]
    raced = race(colour, *acts, stream=stream)
    assert raced.response is not None, raced.error
    assert raced.response.text == "third"
    assert raced.outcomes() == ["overloaded", "overloaded", "ok"]
    raced = race(colour, *acts[:2], stream=stream, client={"retry": RetryPolicy(attempts=1)})
    assert isinstance(raced.error, Overloaded)
    assert raced.outcomes() == ["overloaded", "overloaded"]


@both
@pytest.mark.parametrize("hopeless", [0, 1])
def test_what_one_of_two_finds_hopeless_is_not_asked_again(colour: str, hopeless: int) -> None:
    """They ask the same: the other's fault, which would pass, does not count."""
    acts = [Act(openai_error(503), 2), Act(openai_error(503), 2), Act(reply(False, "third"))]
    acts[hopeless] = Act(openai_error(400), 2)
    raced = race(colour, *acts)
    assert isinstance(raced.error, InvalidRequest), raced.error
    assert sorted(raced.outcomes()) == ["invalid_request", "overloaded"]


@both
@streams
@pytest.mark.parametrize("failing", [0, 1])
def test_one_that_fails_leaves_the_field_to_the_other(colour: str, stream: bool, failing: int) -> None:
    """The race goes on while somebody is under way."""
    acts = [Act(reply(stream, "fine"), 2), Act(reply(stream, "fine"), 2)]
    acts[failing] = Act(openai_error(500), 2)
    acts[1 - failing].at_read = stream
    raced = race(colour, *acts, stream=stream, client={"retry": RetryPolicy(attempts=1)})
    if raced.response is None:
        raise raced.error
    assert raced.response.text == "fine"
    assert len(raced.response.attempts) == 2


@both
def test_a_first_attempt_that_fails_early_is_retried_and_not_hedged(colour: str) -> None:
    """A hedge is for the late."""
    raced = race(colour, Act(openai_error(503)), Act(reply(False)), hedge=Hedge(after_s=5))
    assert raced.outcomes() == ["overloaded", "ok"]


@both
@streams
def test_a_deadline_ends_both(colour: str, stream: bool) -> None:
    """Neither answers in time."""
    raced = race(colour, Act(reply(stream), None), Act(reply(stream), None), stream=stream, deadline_s=0.2)
    assert isinstance(raced.error, TimeoutError)
    assert raced.outcomes() == ["total_timeout", "total_timeout"]


@both
@streams
@pytest.mark.parametrize("at_read", [False, True])
def test_closing_the_client_ends_both(colour: str, stream: bool, at_read: bool) -> None:
    """Both are settled, and possibly paid."""
    acts = [Act(reply(stream), None, at_read), Act(reply(stream), None, at_read)]
    raced = race(colour, *acts, stream=stream, meanwhile=closing)
    assert isinstance(raced.error, ClientClosed), raced.error
    assert raced.outcomes() == ["client_closed", "client_closed"]
    assert raced.client.budget().scopes[0].possible_nano > 0


@streams
@pytest.mark.parametrize("cancels", [1, 2, 3])
def test_a_cancel_of_the_caller_ends_both(stream: bool, cancels: int) -> None:
    """Also a second one while they are settled."""

    async def cancel(task: asyncio.Task[None]) -> None:
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)

    raced = race("async", Act(reply(stream), None), Act(reply(stream), None), stream=stream, meanwhile=cancel)
    assert isinstance(raced.error, asyncio.CancelledError)
    assert raced.client.usage().attempts == 2
    assert raced.client.budget().scopes[0].possible_nano > 0


@both
@streams
def test_a_hedge_that_still_waits_for_its_turn_is_called_back(colour: str, stream: bool) -> None:
    """A lane that is full has no room for it; nobody waits for that once the first one answers."""
    settings = {"limits": Limits(concurrency=1)}
    raced = race(colour, Act(reply(stream), late_s=0.03), stream=stream, client=settings)
    assert raced.response is not None, raced.error
    assert raced.text == "hello" if stream else raced.response.text == "hello"
    assert [attempt.sent for attempt in raced.response.attempts] == [True, False]
    assert raced.client.usage().attempts == 1


@both
@streams
def test_a_bug_in_one_of_them_surfaces_and_settles_both(colour: str, stream: bool) -> None:
    """Whether the other is under way, or at its first output in the same instant."""
    for other in [Act(reply(stream), None)] + [Act(reply(stream), 2)] * 10:
        raced = race(colour, Act(Scripted(error=ZeroDivisionError("bug")), 2), other, stream=stream)
        assert isinstance(raced.error, ZeroDivisionError) or raced.response.text == "hello"


def test_a_thread_that_cannot_be_started_leaves_nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt that was about to be sent is settled."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    raced = race("sync", Act(reply(False)))
    assert isinstance(raced.error, RuntimeError)
    assert raced.play.sent == []


@both
def test_a_stream_that_breaks_after_it_won_is_interrupted(colour: str) -> None:
    """A race is over with the first output; nothing is repeated after it."""
    broken = Scripted(body=[*openai_events("some", done=False), OutcomeUnknown("cut")])
    raced = race(colour, Act(reply(True), None), Act(broken), stream=True)
    assert raced.error.code == "stream_interrupted"
    assert raced.error.partial.text == "some"
    assert raced.outcomes() == ["cancelled", "stream_interrupted"]


@both
def test_who_leaves_a_stream_that_the_hedge_won_is_told_of_no_error(colour: str) -> None:
    """The call is settled as any other that was left: both attempts are counted."""
    raced = race(colour, Act(reply(True), None), Act(reply(True, "won")), stream=True, leaves=True)
    assert raced.error is None
    assert raced.outcomes() == ["cancelled", "cancelled"]
    assert raced.client.usage().attempts == 2


def test_the_wait_for_a_retry_counts_from_when_the_attempt_failed() -> None:
    """Both failed, the hedge three seconds later: of a wait of five seconds two are left."""
    client = AsyncClient(keys=KEYS, config=False, env={}, hedge=SOON)
    order = client._order("hi", {"model": MODEL}, stream=False)
    trail = Trail(order)
    flow = call(order, trail)
    assert isinstance(next(flow), Permit)
    raced = flow.send(Admission(0.0, 0.0, Pass(0), Pass(0)))
    assert isinstance(raced, Parallel)
    failed = [(ServerFault("late"), Retry(5.0), 1.0), (ServerFault("later"), GiveUp("no"), 4.0)]
    trail.ended = 4.0
    waits = flow.send(tuple(End(each, True, result) for each, result in zip(raced.flows, failed, strict=True)))
    assert waits == Sleep(2.0)
    next(raced.flows[0])
    with contextlib.suppress(StopIteration):
        raced.flows[0].throw(PenstockError("over"))
        raced.flows[0].send(Settled(4.0, None))


@both
def test_the_hedge_goes_to_the_next_model_of_the_chain(colour: str) -> None:
    """Which another provider may answer sooner."""
    raced = race(colour, Act(reply(False), None), Act(anthropic_reply("b")), fallbacks=["anthropic:claude-haiku-4-5"])
    assert raced.response is not None, raced.error
    assert (raced.response.provider, raced.response.text) == ("anthropic", "b")


@both
def test_a_hedge_that_the_budget_cannot_hold_is_not_sent(colour: str) -> None:
    """The first attempt goes on alone."""
    tight = {"budget": Budget(total="0.0001"), "timeouts": Timeouts(total_s=0.05), "retry": RetryPolicy(attempts=1)}
    raced = race(colour, Act(reply(False), None), client=tight)
    assert raced.error.code == "total_timeout"
    assert len(raced.play.sent) == 1


@both
def test_a_hedge_is_paid_out_of_the_retry_budget(colour: str) -> None:
    """Which is empty after 35 of them: in an outage nothing is doubled."""
    settings: Any = {"keys": KEYS, "config": False, "env": {}, "retry": RetryPolicy(attempts=1), "hedge": SOON}
    settings |= {"timeouts": Timeouts(total_s=0.04), "hedge": Hedge(after_s=0.001)}
    acts = [Act(reply(False), None)] * 90

    async def ask_async() -> int:
        play = AsyncPlay(acts)
        client = AsyncClient(transport=play, **settings)
        await asyncio.gather(*[client.complete("hi", model=MODEL) for _ in range(40)], return_exceptions=True)
        return len(play.sent)

    def ask_sync() -> int:
        play = SyncPlay(acts)
        client = Client(transport=play, **settings)
        for _ in range(5):
            client._gate.state(client._lane(MODEL)).retries.spend(90)
        for _ in range(5):
            with pytest.raises(PenstockError):
                client.complete("hi", model=MODEL)
        return len(play.sent)

    assert asyncio.run(ask_async()) <= 40 + 35 if colour == "async" else ask_sync() == 5 + 3


def test_a_percentile_hedges_from_the_twentieth_answer_on() -> None:
    """The lane's own latencies say what late is."""
    latencies = Latencies()
    for i in range(ENOUGH):
        assert latencies.percentile(95) is None
        latencies.add(float(i))
    assert (latencies.percentile(50), latencies.percentile(95), latencies.percentile(99.9)) == (9.0, 18.0, 19.0)


@both
@streams
def test_latencies_are_kept_per_lane_and_kind(colour: str, stream: bool) -> None:
    """After 20 quick answers the slow one is hedged."""
    acts = [Act(reply(stream))] * ENOUGH + [Act(reply(stream), None), Act(reply(stream, "won"))]
    settings: Any = {"keys": KEYS, "config": False, "env": {}, "hedge": Hedge(after_percentile=90)}

    def text_of(answer: Any) -> str:
        return str(answer.text)

    async def ask_async() -> list[str]:
        client = AsyncClient(transport=AsyncPlay(acts), **settings)
        texts = []
        for _ in range(ENOUGH + 1):
            asked = client.stream("hi", model=MODEL).finish() if stream else client.complete("hi", model=MODEL)
            texts.append(text_of(await asked))
        return texts

    def ask_sync() -> list[str]:
        client = Client(transport=SyncPlay(acts), **settings)
        texts = []
        for _ in range(ENOUGH + 1):
            asked = client.stream("hi", model=MODEL).finish() if stream else client.complete("hi", model=MODEL)
            texts.append(text_of(asked))
        return texts

    texts = ask_sync() if colour == "sync" else asyncio.run(ask_async())
    assert texts == ["hello"] * ENOUGH + ["won"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"after_s": 1, "after_percentile": 90},
        *({"after_s": value} for value in (0, -1, True, "1", float("nan"), float("inf"))),
        *({"after_percentile": value} for value in (40, 100)),
    ],
)
def test_a_wrong_hedge_is_refused(wrong: dict[str, Any]) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match="after_"):
        Hedge(**wrong)


@both
def test_a_hedge_of_the_wrong_type_is_named(colour: str) -> None:
    """On the client and on the call."""
    make: Any = Client if colour == "sync" else AsyncClient
    with pytest.raises(ConfigError, match="hedge is 5; expected a Hedge"):
        make(config=False, env={}, hedge=5)
    with pytest.raises(ConfigError, match="'hedge' is 5; expected a Hedge"):
        make(config=False, env={}, keys=KEYS).preview("hi", model=MODEL, hedge=5)


def test_a_transport_that_cannot_end_a_wait_is_not_hedged() -> None:
    """The loser would be waited for, and the hedge would gain nothing."""
    with (
        Client(config=False, env={}, keys=KEYS, transport="httpx2", hedge=SOON) as client,
        pytest.raises(ConfigError, match="urllib3"),
    ):
        client.complete("hi", model=MODEL)
