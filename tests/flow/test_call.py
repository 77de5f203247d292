"""The order of a call, in both colours."""

from __future__ import annotations

import asyncio
import gc
import inspect
from decimal import Decimal
from typing import Any, NoReturn

import pytest

from penstock import AsyncClient, Budget, Client, ModelFacts, RetryPolicy, Routing
from penstock._flow.effects import Expired
from penstock._io.http import Target
from penstock._wire.protocol import Outbound
from penstock.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    ConfigError,
    ConnectionFailed,
    ContextTooLong,
    DeadlineExceeded,
    IdleTimeout,
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
    PenstockError,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    StreamInterrupted,
)
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport, Sent

from .colours import (
    KEYS,
    QUICK,
    Outcome,
    anthropic_reply,
    openai_error,
    openai_events,
    openai_reply,
    run,
)

both = pytest.mark.parametrize("colour", ["sync", "async"])


def outcomes(outcome: Outcome) -> list[str]:
    """Return how each attempt of the call ended."""
    told = outcome.response or outcome.error
    return [attempt.outcome for attempt in told.attempts]  # type: ignore[union-attr]


@both
def test_an_answer_carries_text_usage_cost_and_its_attempt(colour: str) -> None:
    """A plain call returns everything that the provider said and what it cost."""
    outcome = run(colour, [openai_reply("fine", prompt=1000, completion=100)], tags={"task": "t1"})
    answer = outcome.response
    assert answer is not None, outcome.error
    assert (answer.text, answer.stop_reason, answer.request_id) == ("fine", "stop", "req_1")
    assert (answer.usage.input, answer.usage.output, answer.usage.estimated) == (1000, 100, False)
    assert answer.cost == Decimal("0.00021")
    assert answer.served_model == "gpt-4o-mini-2024-07-18"
    assert outcomes(outcome) == ["ok"]
    totals = outcome.client.usage()
    assert (totals.calls, totals.attempts, totals.cost) == (1, 1, Decimal("0.00021"))
    assert totals.by_tag["task=t1"].usage.total == 1100
    assert totals.by_model["openai:gpt-4o-mini"].calls == 1
    assert outcome.transport.open == 0


@pytest.mark.prove(14)
@both
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_a_known_price_has_no_cost_and_is_counted(colour: str, stream: bool) -> None:
    """Not one of 0: the sums say how many attempts they lack, and so does the budget that lets it pass."""
    answer = Scripted(body=openai_events("a")) if stream else openai_reply()
    budget = Budget(total="1.00", allow_unpriced=True)
    outcome = run(colour, [answer], stream=stream, client={"budget": budget}, model="openai:gpt-unheard-of")
    assert outcome.response is not None, outcome.error
    assert (outcome.response.cost, outcome.response.cost_nano) == (None, None)
    assert [attempt.cost_nano for attempt in outcome.response.attempts] == [None]
    assert (outcome.client.usage().unpriced, outcome.client.usage().calls) == (1, 1)
    assert outcome.client.budget().unpriced_calls == 1


@pytest.mark.prove(5)
@both
@pytest.mark.parametrize(
    ("status", "code", "cls"),
    [
        (400, "invalid_value", InvalidRequest),
        (401, "invalid_api_key", AuthenticationFailed),
        (429, "insufficient_quota", QuotaExhausted),
    ],
)
def test_what_cannot_be_helped_is_sent_exactly_once(colour: str, status: int, code: str, cls: type) -> None:
    """Faults of the caller and an empty account are not repeated."""
    outcome = run(colour, [openai_error(status, code), openai_reply()])
    assert type(outcome.error) is cls or isinstance(outcome.error, cls)
    assert len(outcome.transport.sent) == 1


@both
def test_a_429_then_an_answer_are_two_attempts_of_one_call(colour: str) -> None:
    """The retry is inside the call and its attempts are told."""
    outcome = run(colour, [openai_error(429, "rate_limit_exceeded", **{"retry-after-ms": "5"}), openai_reply()])
    assert outcome.response is not None, outcome.error
    assert outcomes(outcome) == ["rate_limited", "ok"]
    assert outcome.client.usage().rate_limited == 1
    assert outcome.client.usage().retries == 1


@both
def test_a_server_that_keeps_failing_is_asked_as_often_as_the_policy_says(colour: str) -> None:
    """An unknown outcome is repeated once, a refusal up to the attempts; the provider's own error surfaces."""
    outcome = run(colour, [openai_error(503)] * 5)
    assert isinstance(outcome.error, Overloaded | ServerFault)
    assert outcomes(outcome) == ["overloaded"] * 3
    outcome = run(colour, [openai_error(500)] * 5)
    assert isinstance(outcome.error, ServerFault)
    assert len(outcome.error.attempts) == 2 or len(outcome.error.attempts) == 3


@pytest.mark.prove(6)
@both
def test_retry_after_past_the_deadline_fails_now_and_says_so(colour: str) -> None:
    """Nobody waits 90 s inside a deadline of 5 s."""
    outcome = run(colour, [openai_error(429, **{"retry-after": "90"}), openai_reply()], deadline_s=5.0)
    assert isinstance(outcome.error, RateLimited | DeadlineExceeded)
    assert outcome.error.retry_after_s == 90
    assert "deadline" in str(outcome.error)
    assert len(outcome.transport.sent) == 1


@both
def test_an_overloaded_provider_falls_back_to_the_next_model(colour: str) -> None:
    """The fallback answers, and the attempts of both lanes are told."""
    answers = [openai_error(503)] * 3 + [anthropic_reply("from the other one")]
    outcome = run(colour, answers, fallbacks=["anthropic:claude-haiku-4-5"])
    assert outcome.response is not None, outcome.error
    assert outcome.response.text == "from the other one"
    assert outcome.response.provider == "anthropic"
    assert outcomes(outcome) == ["overloaded", "overloaded", "overloaded", "ok"]


@pytest.mark.prove(17)
@both
def test_a_fault_of_the_caller_does_not_fall_back(colour: str) -> None:
    """A second model is not paid for a bad request."""
    outcome = run(colour, [openai_error(400), anthropic_reply()], fallbacks=["anthropic:claude-haiku-4-5"])
    assert isinstance(outcome.error, InvalidRequest)
    assert len(outcome.transport.sent) == 1


@both
def test_a_stream_shows_chunks_and_ends_in_the_whole_answer(colour: str) -> None:
    """Chunks and the final response agree."""
    outcome = run(colour, [Scripted(body=openai_events("Hel", "lo"))], stream=True)
    assert outcome.response is not None, outcome.error
    assert "".join(chunk.text for chunk in outcome.chunks if chunk.kind == "text") == "Hello"
    assert outcome.response.text == "Hello"
    assert (outcome.response.usage.input, outcome.response.usage.output) == (10, 2)
    assert outcome.response.first_token_s is not None
    assert outcome.transport.open == 0


@pytest.mark.prove(11)
@both
def test_a_stream_that_breaks_before_output_is_retried_unseen(colour: str) -> None:
    """The reader sees one stream although two were made."""
    broken = Scripted(body=[*openai_events(done=False), OutcomeUnknown("cut")])
    outcome = run(colour, [broken, Scripted(body=openai_events("ok"))], stream=True)
    assert outcome.response is not None, outcome.error
    assert [chunk.text for chunk in outcome.chunks if chunk.kind == "text" and chunk.text] == ["ok"]
    assert outcomes(outcome) == ["outcome_unknown", "ok"]


@pytest.mark.prove(11)
@both
def test_a_stream_that_breaks_after_output_raises_with_what_came(colour: str) -> None:
    """It is not retried, and its estimated usage and cost are told."""
    broken = Scripted(body=[*openai_events("some text", done=False), OutcomeUnknown("cut")])
    outcome = run(colour, [broken, Scripted(body=openai_events("again"))], stream=True)
    assert isinstance(outcome.error, StreamInterrupted)
    partial = outcome.error.partial
    assert partial.text == "some text"
    assert partial.usage.estimated
    assert partial.usage.output > 0
    assert partial.cost is not None
    assert partial.cost > 0
    assert len(outcome.transport.sent) == 1
    assert outcome.client.usage().cost_nano == partial.cost_nano


@both
def test_a_connection_that_cannot_be_made_is_tried_again_and_costs_nothing(colour: str) -> None:
    """Nothing was sent, so the hold is given back whole."""
    answers = [Scripted(error=ConnectionFailed("refused")), openai_reply()]
    outcome = run(colour, answers, client={"budget": Budget(total="1.00")})
    assert outcome.response is not None, outcome.error
    assert outcomes(outcome) == ["connection", "ok"]
    assert outcome.response.cost_nano is not None


@both
def test_over_budget_nothing_is_sent(colour: str) -> None:
    """A call whose worst case does not fit is refused with the figures."""
    outcome = run(colour, [openai_reply()], client={"budget": Budget(total="0.0000001")}, max_tokens=1000)
    assert isinstance(outcome.error, BudgetExceeded)
    assert outcome.error.cap_nano == 100
    assert outcome.transport.sent == []
    assert outcome.client.usage().attempts == 0


@pytest.mark.prove(8)
@both
def test_an_unknown_outcome_stays_held_at_its_worst(colour: str) -> None:
    """A request that went out and was never answered may have been paid: the budget counts it, also after a retry."""
    for again in (0, 1):
        retry = RetryPolicy(unknown_outcomes=again, base_s=0.001)
        answers = [Scripted(error=OutcomeUnknown("reset")), openai_reply()]
        outcome = run(colour, answers, client={"budget": Budget(total="1.00"), "retry": retry}, max_tokens=1000)
        assert len(outcome.transport.sent) == 1 + again
        assert isinstance(outcome.error, OutcomeUnknown) is (again == 0)
        assert outcome.client.usage().unpriced == 1
        known = outcome.client.usage().cost_nano
        for scope in outcome.client.budget().scopes:
            assert scope.possible_nano > 600_000  # the 1,000 tokens that it was allowed to produce
            assert scope.spent_nano == scope.possible_nano + known


@both
def test_a_bug_in_the_transport_surfaces_as_it_is_and_settles(colour: str) -> None:
    """Nothing is swallowed, and nothing stays held."""
    answers = [Scripted(error=ZeroDivisionError("bug"))]
    outcome = run(colour, answers, client={"budget": Budget(total="1.00")}, max_tokens=10)
    assert isinstance(outcome.error, ZeroDivisionError)
    assert all(scope.held_nano == 0 for scope in outcome.client.budget().scopes)


@pytest.mark.prove(12)
def test_leaving_a_sync_stream_early_settles_and_closes() -> None:
    """What was read is counted, and the connection is dropped."""
    transport = ScriptedTransport([Scripted(body=openai_events("one ", "two ", "three"))])
    client = Client(transport=transport, keys=KEYS, config=False, env={}, budget=Budget(total="1.00"))
    with client.stream("hi", model="openai:gpt-4o-mini", max_tokens=50) as stream:
        assert next(stream.text) == "one "
    assert transport.open == 0
    assert stream.partial is not None
    assert stream.partial.usage.estimated
    state = client.budget()
    assert all(scope.held_nano == 0 for scope in state.scopes)
    assert client.usage().cost_nano > 0
    with pytest.raises(RuntimeError, match="partial"):
        _ = stream.response


@pytest.mark.prove(12)
def test_a_dropped_stream_settles_when_it_is_collected() -> None:
    """Forgetting to close a stream does not leak its hold or its connection."""
    transport = ScriptedTransport([Scripted(body=openai_events("one ", "two "))])
    client = Client(transport=transport, keys=KEYS, config=False, env={}, budget=Budget(total="1.00"))
    stream = client.stream("hi", model="openai:gpt-4o-mini", max_tokens=50)
    next(iter(stream.text))
    del stream
    gc.collect()
    assert transport.open == 0
    assert all(scope.held_nano == 0 for scope in client.budget().scopes)


class _Hanging(AsyncScriptedTransport):
    def __init__(self) -> None:
        super().__init__([])
        self.reached = asyncio.Event()

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> NoReturn:
        self.sent.append(Sent(target.base_url, {}, outbound.body))
        self.reached.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")


@pytest.mark.prove(23)
def test_cancelling_an_async_call_twice_settles_once() -> None:
    """A second cancel during settlement finds nothing to cut, since settling never waits."""

    async def main() -> None:
        transport = _Hanging()
        client = AsyncClient(transport=transport, keys=KEYS, config=False, env={}, budget=Budget(total="1.00"))
        task = asyncio.create_task(client.complete("hi", model="openai:gpt-4o-mini", max_tokens=10))
        await transport.reached.wait()
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(scope.held_nano == 0 for scope in client.budget().scopes)
        assert client.usage().by_model["openai:gpt-4o-mini"].failed == 1
        assert client.lanes()[0].limiter.in_flight == 0

    asyncio.run(main())


def test_both_clients_have_the_same_methods_and_parameters() -> None:
    """Sync and async alike: whoever knows one knows the other."""
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public == {name for name in dir(AsyncClient) if not name.startswith("_")}
    for name in sorted(public | {"__init__"}):
        ours, theirs = getattr(Client, name), getattr(AsyncClient, name)
        assert list(inspect.signature(ours).parameters.values()) == list(inspect.signature(theirs).parameters.values())


@both
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_token": 5}, "did you mean 'max_tokens'"),
        ({"max_tokens": 0}, "at least 1"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": float("nan")}, "finite"),
        ({"temperature": float("inf")}, "finite"),
        ({"tools": 5}, "tools"),
        ({"tools": [{"description": "no name"}]}, "name"),
        ({"priority": "high"}, "interactive"),
        ({"tags": "x"}, "dict of strings"),
        ({"tags": {"a": 1}}, "dict of strings"),
        ({"system": 5}, "expected a string"),
        ({"fallbacks": "openai:gpt-4o"}, "list of models"),
        ({"tier": "huge"}, "moderate"),
        ({"response_format": {"type": "json_schema"}}, "no known shape"),
        ({"response_format": {"schema": 5}}, "response_format"),
        ({"deadline_s": -1}, "deadline_s"),
        ({"model": "opnai:gpt-4o"}, "openai"),
        ({"model": "no-such-model-at-all"}, "PROVIDER:"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_sent(colour: str, options: dict[str, Any], words: str) -> None:
    """One sentence with the place and the remedy, and no request."""
    outcome = run(colour, [openai_reply()], **options)
    assert isinstance(outcome.error, ConfigError), outcome.error
    assert words in str(outcome.error)
    assert outcome.transport.sent == []


@pytest.mark.prove(25)
@both
def test_no_key_is_shown_by_anything_a_user_can_print(colour: str) -> None:
    """The canary is in no repr, error or attempt."""
    outcome = run(colour, [openai_error(401, "invalid_api_key")])
    assert isinstance(outcome.error, PenstockError)
    shown = [repr(outcome.client), repr(outcome.client.settings), str(outcome.error), repr(outcome.error.attempts)]
    shown += [repr(vars(outcome.client)), repr(outcome.client.lanes()), repr(outcome.error)]
    assert "canary" not in "".join(shown)
    assert QUICK.attempts == 3


@both
def test_a_server_that_keeps_the_connection_open_after_the_last_word_does_not_spoil_the_answer(colour: str) -> None:
    """The stream said [DONE]; what the connection does then is not the answer's fault."""
    for afterwards in (Expired(0.0, idle=True), OutcomeUnknown("reset")):
        outcome = run(colour, [Scripted(body=[*openai_events("whole"), afterwards])], stream=True)
        assert outcome.response is not None, outcome.error
        assert outcome.response.text == "whole"


@both
def test_an_error_in_the_same_bytes_as_text_is_raised_after_the_text_without_another_read(colour: str) -> None:
    """Nobody waits for bytes that may never come."""
    event = b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'
    pieces: list[bytes | BaseException] = [b"".join(openai_events("some", done=False)) + event, AssertionError("again")]
    outcome = run(colour, [Scripted(body=pieces)], stream=True)
    assert isinstance(outcome.error, StreamInterrupted)
    assert "".join(chunk.text for chunk in outcome.chunks) == "some"


def test_a_preview_shows_the_call_and_sends_nothing() -> None:
    """The request, the lanes and the first one's window, as complete would have them."""
    transport = ScriptedTransport([])
    told = Routing(models={"openai:our-own": ModelFacts(context=8_000)})
    with Client(transport=transport, keys=KEYS, config=False, env={}, routing=told) as client:
        shown = client.preview("hi", model="gpt-4o-mini", fallbacks=["anthropic:claude-haiku-4-5"], max_tokens=5)
        windows = [client.preview("hi", model=f"openai:{name}").window for name in ("our-own", "some-new-model")]
    assert shown.request.max_tokens == 5
    assert shown.window == 128_000
    assert windows == [8_000, None]
    assert [name for name, _ in shown.lanes] == ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]
    assert transport.sent == []


def test_what_an_earlier_run_spent_counts_against_the_total() -> None:
    """A resumed job has what is left, not the whole again."""
    client = Client(transport=ScriptedTransport([]), keys=KEYS, config=False, env={}, budget=Budget(total="1.00"))
    client.carry_spent(1_000_000_000)
    with pytest.raises(BudgetExceeded):
        client.complete("hi", model="openai:gpt-4o-mini", max_tokens=5)


@pytest.mark.prove(8)
@both
def test_a_stream_that_fails_before_its_first_output_stays_held_at_its_worst(colour: str) -> None:
    """A 200 came, so the provider worked; what it produced behind the head nobody saw."""
    answers = [Scripted(body=[*openai_events(done=False), OutcomeUnknown("cut")])]
    settings = {"budget": Budget(total="1.00"), "retry": RetryPolicy(unknown_outcomes=0)}
    outcome = run(colour, answers, stream=True, client=settings, max_tokens=1000)
    assert isinstance(outcome.error, OutcomeUnknown)
    total = outcome.client.budget().scopes[0]
    assert total.possible_nano == total.spent_nano >= 1000 * 600


class _Talk:
    """A stream whose pieces come `gap_s` apart by a clock of its own; it obeys the limits that it is given."""

    def __init__(self, gap_s: float, pieces: int) -> None:
        self.gap_s = gap_s
        self.pieces = [*openai_events(*["x"] * pieces)]
        self.time_s = 0.0
        self.status = 200
        self.headers: dict[str, str] = {}

    def now(self) -> float:
        return self.time_s

    wall = now

    def chance(self) -> float:
        return 0.5

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> _Talk:
        return self

    def read(self, until: float, idle_s: float | None) -> bytes:
        if self.pieces:
            arrives = self.time_s + self.gap_s
            ends = min(until, self.time_s + (idle_s or 1e9))
            self.time_s = min(arrives, ends)
            if arrives > ends:
                raise Expired(self.time_s, idle=ends < until)
            return self.pieces.pop(0)
        return b""

    def close(self) -> None:
        """Nothing to close."""


class _AsyncTalk(_Talk):
    async def send(self, *args: Any, **options: Any) -> _AsyncTalk:  # type: ignore[override]
        return self

    async def read(self, until: float, idle_s: float | None) -> bytes:  # type: ignore[override]
        return super().read(until, idle_s)


async def _finish(client: Any) -> Any:
    return await client.stream("hi", model="openai:gpt-4o-mini").finish()


@pytest.mark.prove(10)
@both
@pytest.mark.parametrize(("gap_s", "text"), [(59.0, "x" * 20), (61.0, None)])
def test_a_healthy_stream_of_twenty_minutes_is_never_cut(colour: str, gap_s: float, text: str | None) -> None:
    """With the default clocks, as long as no silence is longer than idle_s; no total ends it."""
    talk = _Talk(gap_s, 20) if colour == "sync" else _AsyncTalk(gap_s, 20)
    settings: dict[str, Any] = {"transport": talk, "clock": talk, "keys": KEYS, "config": False, "env": {}}
    settings["retry"] = RetryPolicy(attempts=1)
    try:
        if colour == "sync":
            answer: Any = Client(**settings).stream("hi", model="openai:gpt-4o-mini").finish()
        else:
            answer = asyncio.run(_finish(AsyncClient(**settings)))
    except PenstockError as error:
        answer = error
    if text is None:
        assert isinstance(answer, IdleTimeout)
    else:
        assert answer.text == text
        assert talk.time_s > 1200


@both
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_adapted_to_a_model_is_said(colour: str, stream: bool) -> None:
    """A parameter that only repeats the default is left out, with a note on the answer."""
    answer = Scripted(body=openai_events()) if stream else openai_reply()
    outcome = run(colour, [answer], stream=stream, model="openai:gpt-5", temperature=1.0)
    assert outcome.response is not None
    (notice,) = outcome.response.notices
    assert notice.kind == "adapted"
    assert notice.message.startswith("temperature=1.0 was left out")
    assert b"temperature" not in outcome.transport.sent[0].body


def test_a_prompt_far_beyond_the_window_is_not_sent() -> None:
    """By our count it is more than twice what the model reads."""
    long = [{"role": "user", "content": "word " * 40_000}]
    client = Client(transport=ScriptedTransport([openai_reply()]), keys=KEYS, config=False, env={})
    with pytest.raises(ContextTooLong, match="reads at most 16,385: it was not sent") as caught:
        client.complete(long, model="openai:gpt-3.5-turbo")
    assert (caught.value.provider, caught.value.model, caught.value.param) == ("openai", "gpt-3.5-turbo", "messages")
    assert client.complete(long, model="openai:gpt-4o-mini").text
