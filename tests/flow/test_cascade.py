"""A cascade in both colours: when the next model is asked, what is counted, and how it ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Cache, Cascade, CheckFailed, Client, JSONSchema
from penstock.errors import ClientClosed, ConfigError, ContextTooLong, ExtractionFailed, InvalidRequest, ServerFault
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport

from .colours import KEYS, anthropic_reply, openai_error, openai_reply, run
from .extractions import extract, says

COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])
STRONG = "anthropic:claude-haiku-4-5"


def long_enough(answer: Any) -> bool:
    """A check."""
    return len(answer.text) > 6


@COLOURS
def test_a_good_answer_of_the_cheap_model_is_taken(colour: str) -> None:
    """And the strong one is not asked."""
    outcome = run(colour, [openai_reply("good enough")], cascade=Cascade(STRONG, long_enough))
    assert outcome.response is not None
    assert outcome.response.escalated == ()
    assert len(outcome.transport.sent) == 1


@COLOURS
def test_an_answer_that_fails_the_check_is_asked_of_the_next_model(colour: str) -> None:
    """Both are paid and counted, as one call; the reason is in the answer."""
    outcome = run(
        colour, [openai_reply("short"), anthropic_reply("a long answer")], cascade=Cascade(STRONG, long_enough)
    )
    answer = outcome.response
    assert answer is not None
    assert (answer.text, answer.provider) == ("a long answer", "anthropic")
    assert answer.escalated == ("openai:gpt-4o-mini: it did not pass the check",)
    assert [(each.number, each.provider) for each in answer.attempts] == [(1, "openai"), (2, "anthropic")]
    assert answer.cost_nano == sum(each.cost_nano or 0 for each in answer.attempts)
    used = outcome.client.usage()
    assert (used.calls, used.attempts, used.cost_nano) == (1, 2, answer.cost_nano)
    keys = [sent.headers.get("Idempotency-Key") for sent in outcome.transport.sent]
    assert keys[0] is None or keys[0] != keys[1]


@COLOURS
def test_the_reason_of_a_check_is_told(colour: str) -> None:
    """A check may return a string."""
    cascade = Cascade(STRONG, lambda answer: True if "long" in answer.text else "too terse")
    outcome = run(colour, [openai_reply("short"), anthropic_reply("long")], cascade=cascade)
    assert outcome.response is not None
    assert outcome.response.escalated == ("openai:gpt-4o-mini: too terse",)


@COLOURS
@pytest.mark.parametrize(
    ("reply", "options", "said"),
    [
        (says("cut", finish="length"), {}, "it was cut at max_tokens"),
        (says("", finish="content_filter"), {}, "it was filtered"),
        (says("", refusal="I will not"), {}, "the model refused"),
        (says("no json"), {"response_format": "json"}, "it is not of the wanted format"),
        (
            says('{"a": "x"}'),
            {"response_format": JSONSchema(schema={"type": "object", "properties": {"a": {"type": "integer"}}})},
            "it is not of the wanted format",
        ),
    ],
)
def test_an_answer_that_is_wrong_by_itself_needs_no_check(
    colour: str, reply: Scripted, options: dict[str, Any], said: str
) -> None:
    """It was cut, filtered, refused, or is not of the wanted format."""
    good = says('{"a": 1}')
    outcome = run(colour, [reply, good], cascade=Cascade("openai:gpt-4o"), **options)
    assert outcome.response is not None
    assert said in outcome.response.escalated[0]
    assert outcome.response.text == '{"a": 1}'


@COLOURS
def test_a_cascade_that_ends_without_a_good_answer_has_them_all(colour: str) -> None:
    """With their reasons and their cost."""
    outcome = run(colour, [openai_reply("one"), openai_reply("two")], cascade=Cascade("openai:gpt-4o", long_enough))
    error = outcome.error
    assert isinstance(error, CheckFailed)
    assert [answer.text for answer in error.responses] == ["one", "two"]
    assert len(error.reasons) == len(error.attempts) == 2
    assert error.cost_nano == outcome.client.usage().cost_nano
    assert outcome.transport.open == 0


@COLOURS
def test_a_provider_that_fails_is_passed_over_and_a_wrong_request_is_not(colour: str) -> None:
    """The fault of the first is in the reasons; a fault of the caller would be one everywhere."""
    outcome = run(colour, [openai_error(500)] * 2 + [anthropic_reply("from there")], cascade=Cascade(STRONG))
    assert outcome.response is not None
    assert outcome.response.text == "from there"
    assert [each.outcome for each in outcome.response.attempts] == ["server_fault", "server_fault", "ok"]
    wrong = run(colour, [openai_error(400)], cascade=Cascade(STRONG))
    assert isinstance(wrong.error, InvalidRequest)
    last = run(colour, [openai_reply("short")] + [openai_error(500)] * 2, cascade=Cascade("openai:gpt-4o", long_enough))
    assert isinstance(last.error, ServerFault)
    assert len(last.error.attempts) == 3
    assert last.error.cost_nano is None or last.error.cost_nano >= 0


@COLOURS
def test_steps_may_be_tiers_with_their_own_fallbacks(colour: str) -> None:
    """A tier stands for its models."""
    tiers = {"simple": "openai:gpt-4o-mini", "expert": ["openai:gpt-4o", STRONG]}
    outcome = run(
        colour,
        [openai_reply("no"), openai_error(500), openai_error(500), anthropic_reply("yes, at last")],
        client={"tiers": tiers},
        tier="simple",
        model=None,
        cascade=Cascade(["expert"], long_enough),
    )
    assert outcome.response is not None
    assert outcome.response.text == "yes, at last"


@COLOURS
def test_a_value_that_does_not_fit_is_asked_of_the_next_model(colour: str) -> None:
    """After the cheap model was told what is wrong, as often as `reasks` says."""
    outcome = extract(
        colour, int, [says("no idea"), says("none"), says('{"result": 5}')], cascade=Cascade("openai:gpt-4o"), reasks=1
    )
    result = outcome.result
    assert result.value == 5
    assert len(result.responses) == len(result.attempts) == 3
    assert result.cost_nano == outcome.client.usage().cost_nano
    assert "openai:gpt-4o-mini: no value" in result.escalated[0]
    assert [json.loads(sent.body)["model"] for sent in outcome.transport.sent] == ["gpt-4o-mini"] * 2 + ["gpt-4o"]


@COLOURS
def test_a_value_that_fails_the_check_is_asked_of_the_next_model(colour: str) -> None:
    """The check of an extraction is given the value."""
    cascade = Cascade("openai:gpt-4o", lambda value: value > 10 or "too small")
    outcome = extract(colour, int, [says('{"result": 5}'), says('{"result": 50}')], cascade=cascade)
    assert outcome.result.value == 50
    assert outcome.result.escalated == ("openai:gpt-4o-mini: too small",)
    failed = extract(colour, int, [says('{"result": 5}'), says('{"result": 6}')], cascade=cascade)
    assert isinstance(failed.error, CheckFailed)
    assert len(failed.error.responses) == 2
    none = extract(colour, int, [says("no")] * 2, cascade=Cascade("openai:gpt-4o"), reasks=0)
    assert isinstance(none.error, ExtractionFailed)
    assert len(none.error.attempts) == 2


def test_each_model_of_a_cascade_has_its_own_place_in_the_cache() -> None:
    """The second time nothing is sent, and nothing is paid."""
    transport = ScriptedTransport([openai_reply("short"), openai_reply("long enough")])
    cascade = Cascade("openai:gpt-4o", long_enough)
    with Client(transport=transport, keys=KEYS, config=False, env={}, cache=Cache()) as client:
        asked = {"model": "openai:gpt-4o-mini", "temperature": 0.0, "cascade": cascade}
        first, second = (client.complete("hi", **asked) for _ in range(2))  # type: ignore[arg-type]
    assert (first.cached, second.cached) == (False, True)
    assert second.text == "long enough"
    assert second.cost_nano == 0
    assert second.saved_nano == first.cost_nano


@COLOURS
def test_a_budget_holds_for_all_steps(colour: str) -> None:
    """The second step is refused like any call when nothing is left."""
    outcome = run(
        colour,
        [openai_reply("short", prompt=1000, completion=1000)],
        client={"budget": Budget(total="0.0009")},
        cascade=Cascade("openai:gpt-4o", long_enough),
        max_tokens=1000,
    )
    assert outcome.error is not None
    assert getattr(outcome.error, "code", "") == "budget_exceeded"
    assert len(outcome.error.attempts) == 2  # type: ignore[attr-defined]


def test_a_cascade_that_is_cancelled_between_its_steps_settles() -> None:
    """What was paid is counted, and nothing stays open."""

    async def main() -> Any:
        transport = AsyncScriptedTransport([openai_reply("short"), openai_reply("long enough")])
        client = AsyncClient(transport=transport, keys=KEYS, config=False, env={})

        def check(answer: Any) -> bool:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await client.complete("hi", model="openai:gpt-4o-mini", cascade=Cascade("openai:gpt-4o", check))
        await client.close()
        with pytest.raises(ClientClosed):
            await client.complete("hi", model="openai:gpt-4o-mini", cascade=Cascade("openai:gpt-4o"))
        return client.usage(), transport

    used, transport = asyncio.run(main())
    assert (used.attempts, transport.open) == (1, 0)
    assert used.cost_nano > 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Cascade([]), "a cascade goes to \\[\\]"),
        (lambda: Cascade(""), "a cascade goes to ''"),
        (lambda: Cascade(5), "a cascade goes to 5"),  # type: ignore[arg-type]
        (lambda: Cascade("a:b", "check"), "the check of a cascade is 'check'"),  # type: ignore[arg-type]
    ],
)
def test_wrong_cascades_are_named(make: Any, said: str) -> None:
    """When they are made."""
    with pytest.raises(ConfigError, match=said):
        make()


def test_wrong_uses_are_named() -> None:
    """A stream shows what it has, a check must answer, and a model must exist."""
    streamed = run("sync", [], stream=True, cascade=Cascade(STRONG))
    assert isinstance(streamed.error, ConfigError)
    assert "cannot be taken back" in str(streamed.error)
    silent = run("sync", [openai_reply()], cascade=Cascade(STRONG, lambda answer: None))
    assert isinstance(silent.error, ConfigError)
    assert "returned None" in str(silent.error)
    unknown = run("sync", [], cascade=Cascade("nowhere:x"))
    assert isinstance(unknown.error, ConfigError)
    no_tier = run("sync", [], cascade=Cascade("expert"))
    assert "Tier 'expert' has no model" in str(no_tier.error)
    assert isinstance(run("sync", [], cascade="openai:gpt-4o").error, ConfigError)
    assert not isinstance(silent.error, ContextTooLong)
