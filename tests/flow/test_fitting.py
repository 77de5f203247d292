"""Prompts and windows in both colours: told when near, cut where the caller chose, and again when still too long."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from penstock import BreakerSettings, Cache, Client, ErrorPolicy, Message, ModelFacts, RetryPolicy, Routing, Truncate
from penstock._text.tokens import estimate
from penstock.errors import ConfigError, ContextTooLong, RateLimited, ServerFault
from penstock.testing import Scripted, ScriptedTransport

from .colours import KEYS, anthropic_reply, openai_error, openai_reply, run

COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])
SMALL = {"routing": Routing(models={"openai:gpt-4o-mini": ModelFacts(context=1_000)})}
LONG = "\n".join(f"line {at} of a report that nobody reads to its end" for at in range(400))


def ask(colour: str, answers: list[Scripted], prompt: Any = LONG, **options: Any) -> Any:
    """One call with a prompt of its own."""
    import asyncio

    from penstock import AsyncClient
    from penstock.testing import AsyncScriptedTransport

    from .colours import QUICK

    settings = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, **SMALL, **options.pop("client", {})}
    options.setdefault("model", "openai:gpt-4o-mini")
    if colour == "sync":
        transport: Any = ScriptedTransport(answers)
        with Client(transport=transport, **settings) as client:
            return client.complete(prompt, **options), transport

    async def main() -> Any:
        made = AsyncScriptedTransport(answers)
        async with AsyncClient(transport=made, **settings) as client:
            return await client.complete(prompt, **options), made

    return asyncio.run(main())


def sent(transport: Any, at: int = 0) -> str:
    """The text of the last message that went out."""
    text = json.loads(transport.sent[at].body)["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


def too_long(words: str = "This model's maximum context length was exceeded") -> Scripted:
    """The provider finds the prompt too long."""
    body = {"error": {"message": words, "type": "invalid_request_error", "code": "context_length_exceeded"}}
    return Scripted(status=400, body=json.dumps(body).encode())


@COLOURS
def test_a_prompt_near_the_window_is_told_once_and_sent_whole(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    """In the answer and in the log, with its facts, also where attempts are repeated."""
    with caplog.at_level(logging.WARNING, logger="penstock"):
        answer, transport = ask(colour, [openai_error(500), openai_reply()])
    (notice,) = answer.notices
    assert (notice.kind, notice.model, notice.window) == ("near_window", "openai:gpt-4o-mini", 1_000)
    assert notice.tokens > 1_000
    assert sent(transport) == LONG
    (record,) = caplog.records
    assert record.getMessage() == notice.message
    assert (record.__dict__["kind"], record.__dict__["provider"]) == ("near_window", "openai")


@COLOURS
def test_a_prompt_far_from_the_window_is_not_spoken_of(colour: str) -> None:
    """Nor one to a model whose window nobody knows."""
    assert ask(colour, [openai_reply()], "hi")[0].notices == ()
    assert ask(colour, [openai_reply()], client={"routing": Routing()}, model="openai:gpt-x")[0].notices == ()


@COLOURS
@pytest.mark.parametrize("strategy", ["head", "tail", "middle", "relevance"])
def test_a_prompt_is_cut_as_the_caller_chose(colour: str, strategy: Any) -> None:
    """Never otherwise; the answer says what was left out, and the text itself too."""
    answer, transport = ask(colour, [openai_reply()], truncate=strategy, max_tokens=100)
    (notice,) = answer.notices
    assert (notice.kind, notice.strategy) == ("truncated", strategy)
    assert notice.left_out_lines > 0
    assert notice.left_out_chars > 0
    assert notice.tokens <= 900
    assert estimate(sent(transport)) <= 900
    assert "left out" in sent(transport)


@COLOURS
def test_the_system_message_is_never_cut_and_the_longest_text_first(colour: str) -> None:
    """What the user asked beside a long document stays whole."""
    messages = [Message("system", "S" * 300), Message("user", LONG), Message("user", "What is wrong here?")]
    _, transport = ask(colour, [openai_reply()], messages, truncate=Truncate("tail", to_tokens=500))
    first, second, third = json.loads(transport.sent[0].body)["messages"]
    assert first["content"] == "S" * 300
    assert third["content"] == "What is wrong here?"
    assert len(second["content"]) < len(LONG)


@COLOURS
def test_a_prompt_that_is_still_too_long_is_cut_again(colour: str) -> None:
    """By the provider's figures where it gives some; each attempt is in the log of the call."""
    words = "This model's maximum context length is 300 tokens. However, your messages resulted in 900 tokens"
    answer, transport = ask(colour, [too_long(words), openai_reply()], truncate="head")
    assert [attempt.outcome for attempt in answer.attempts] == ["context_too_long", "ok"]
    assert len(sent(transport, 1)) < len(sent(transport, 0)) * 0.4
    assert [notice.kind for notice in answer.notices] == ["truncated", "truncated"]
    anthropic = "prompt is too long: 900 tokens > 300 maximum"
    _, transport = ask(colour, [too_long(anthropic), openai_reply()], truncate="head")
    assert len(sent(transport, 1)) < len(sent(transport, 0)) * 0.4


@COLOURS
def test_a_prompt_is_not_cut_for_ever(colour: str) -> None:
    """Three times, and then the provider's error surfaces."""
    with pytest.raises(ContextTooLong) as caught:
        ask(colour, [too_long()] * 4, truncate="head")
    assert len(caught.value.attempts) == 4


@COLOURS
def test_without_a_choice_nothing_is_cut(colour: str) -> None:
    """The provider's error is the caller's to read; nor where the error policy does not want it."""
    with pytest.raises(ContextTooLong) as caught:
        ask(colour, [too_long()])
    assert len(caught.value.attempts) == 1
    policy = ErrorPolicy({"context_too_long": "fail"})
    with pytest.raises(ContextTooLong):
        ask(colour, [too_long()], truncate="head", on_error=policy)


@COLOURS
def test_a_fallback_with_a_larger_window_gets_the_whole_prompt(colour: str) -> None:
    """Each lane is fitted by itself."""
    answer, transport = ask(
        colour,
        [openai_error(400, "context_length_exceeded"), anthropic_reply()],
        truncate="head",
        fallbacks=["anthropic:claude-haiku-4-5"],
        on_error=ErrorPolicy({"context_too_long": "fall_back"}),
    )
    assert answer.provider == "anthropic"
    assert len(sent(transport, 0)) < len(LONG)
    assert sent(transport, 1) == LONG


@COLOURS
def test_an_error_policy_decides_about_retries_and_fallbacks(colour: str) -> None:
    """A class that may not be retried goes on at once, and one that may do nothing fails."""
    away = {"fallbacks": ["anthropic:claude-haiku-4-5"]}
    answer, _ = ask(
        colour,
        [openai_error(429), anthropic_reply()],
        "hi",
        on_error=ErrorPolicy({"rate_limited": "fall_back"}),
        **away,
    )
    assert [attempt.outcome for attempt in answer.attempts] == ["rate_limited", "ok"]
    with pytest.raises(RateLimited) as caught:
        ask(colour, [openai_error(429)], "hi", client={"on_error": ErrorPolicy({"rate_limited": "fail"})}, **away)
    assert len(caught.value.attempts) == 1
    assert caught.value.gave_up == "the error policy does not want it"
    with pytest.raises(ServerFault) as retried:
        ask(colour, [openai_error(500)] * 2, "hi", on_error=ErrorPolicy({"server_fault": "retry"}), **away)
    assert len(retried.value.attempts) == 2


def test_a_preview_shows_what_would_be_cut() -> None:
    """And sends nothing."""
    with Client(keys=KEYS, config=False, env={}, transport=ScriptedTransport([]), **SMALL) as client:  # type: ignore[arg-type]
        shown = client.preview(LONG, model="openai:gpt-4o-mini", truncate="tail")
        assert shown.notices[0].kind == "truncated"
        assert len(str(shown.request.messages[0].content)) < len(LONG)
        assert client.preview(LONG, model="openai:gpt-4o-mini").notices[0].kind == "near_window"


def test_an_answer_to_a_cut_prompt_is_not_kept() -> None:
    """The cache knows the question as it was asked, and this answer is to another one."""
    transport = ScriptedTransport([openai_reply("one"), openai_reply("two")])
    settings = {"keys": KEYS, "config": False, "env": {}, "cache": Cache(), **SMALL}
    with Client(transport=transport, **settings) as client:  # type: ignore[arg-type]
        for strategy, text in (("head", "one"), ("tail", "two")):
            answer = client.complete(LONG, model="openai:gpt-4o-mini", temperature=0, truncate=strategy)  # type: ignore[arg-type]
            assert (answer.text, answer.cached) == (text, False)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"truncate": "half"}, "truncate is 'half'"),
        ({"truncate": 5}, "parameter 'truncate' is 5"),
        ({"on_error": {"overloaded": "fail"}}, "expected an ErrorPolicy"),
    ],
)
def test_wrong_options_are_named(option: dict[str, Any], said: str) -> None:
    """Before anything is sent."""
    outcome = run("sync", [], **option)
    assert isinstance(outcome.error, ConfigError)
    assert said in str(outcome.error)


def test_a_lane_that_is_asked_again_and_again_tells_once() -> None:
    """A call whose only lane is shut looks again when it is probed, and says nothing twice."""
    breaker = BreakerSettings(min_calls=1, window_s=1, open_s=0.01, open_max_s=0.01)
    settings: Any = {**SMALL, "breaker": breaker, "retry": RetryPolicy(attempts=1), "keys": KEYS}
    script = ScriptedTransport([openai_error(500), openai_reply()])
    with Client(transport=script, config=False, env={}, **settings) as client:
        with pytest.raises(ServerFault):
            client.complete("hi", model="openai:gpt-4o-mini")
        answer = client.complete(LONG, model="openai:gpt-4o-mini", deadline_s=5)
    assert len(answer.notices) == 1
