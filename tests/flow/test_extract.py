"""An extraction in both colours: how it asks, what it reads, when it asks again, and where it stops."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
from pathlib import Path
from typing import Any, Literal, TypedDict, assert_type

import msgspec
import pydantic
import pytest

from penstock import (
    AsyncClient,
    Budget,
    Cache,
    Client,
    Extracted,
    ExtractionFailed,
    ExtractStream,
    ParseError,
)
from penstock._text.result import MAX_CHARS
from penstock.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    ConfigError,
    ContentFiltered,
    InvalidRequest,
    ModelRefused,
    TruncatedOutput,
)
from penstock.testing import AsyncScriptedTransport, Scripted

from .colours import KEYS
from .extractions import claude_says, extract, refuses, says

COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])
CLAUDE = "anthropic:claude-haiku-4-5"
GOOD = '{"severity": "P1", "service": "db", "minutes": 3}'


class Incident(pydantic.BaseModel):
    severity: Literal["P1", "P2"]
    service: str = pydantic.Field(min_length=1)
    minutes: int = 3


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Pair(TypedDict):
    a: int
    b: str


class Size(msgspec.Struct):
    width: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Mapped(pydantic.BaseModel):
    counts: dict[str, int]


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@COLOURS
def test_an_answer_that_fits_is_a_value_without_repairs(colour: str) -> None:
    """One call, the provider's own mode, and what it does not enforce."""
    done = extract(colour, Incident, [says(GOOD)])
    result = done.result
    assert result.value == Incident(severity="P1", service="db", minutes=3)
    assert (result.repairs, result.mode, result.reasked) == ((), "native", 0)
    assert ("$.service", "minLength") in result.lossy
    assert done.bodies[0]["response_format"]["json_schema"]["strict"] is True
    assert result.cost == result.response.cost
    assert done.client.usage().calls == 1
    assert done.transport.open == 0


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Pair, '{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
        (Size, '{"width": 3}', Size(3)),
        (Colour, '{"result": "blue"}', Colour.BLUE),
        (Literal["yes", "no"], '{"result": "no"}', "no"),
        (int | str, '{"result": 4}', 4),
        (list[Point], '{"result": [{"x": 1, "y": 2}]}', [Point(1, 2)]),
        (list[Incident], f'{{"result": [{GOOD}]}}', [Incident(severity="P1", service="db")]),
        (Incident | Mapped, '{"result": {"counts": {"a": 1}}}', Mapped(counts={"a": 1})),
        (Point | Size, '{"result": {"width": 3}}', Size(3)),
        (float, '{"result": 1.5}', 1.5),
        (str, '{"result": "plain"}', "plain"),
        (bool, '{"result": true}', True),
        (SCHEMA, '{"a": 1}', {"a": 1}),
        ({"type": "array", "items": SCHEMA}, '{"result": [{"a": 1}]}', [{"a": 1}]),
    ],
    ids=str,
)
@COLOURS
def test_whatever_a_type_is_it_is_asked_for_as_an_object(colour: str, wanted: Any, text: str, value: Any) -> None:
    """And given back as itself; in every mode."""
    result = extract(colour, wanted, [says(text)], mode="prompted").result
    assert (result.value, result.repairs) == (value, ())
    called = says("", calls=[text], finish="tool_calls")
    assert extract(colour, wanted, [called], mode="tool").result.value == value


@COLOURS
def test_a_value_that_came_without_the_object_around_it_is_taken(colour: str) -> None:
    """But prose is never taken for a string."""
    assert extract(colour, list[int], [says("[1, 2]")], mode="prompted").result.value == [1, 2]
    assert extract(colour, Literal["yes", "no"], [says("Yes.")], mode="prompted").result.value == "yes"
    for wanted in (str, int | str):
        failed = extract(colour, wanted, [says("I do not know.")], mode="prompted", reasks=0)
        assert isinstance(failed.error, ExtractionFailed)


@COLOURS
def test_a_null_that_the_schema_asks_for_is_no_repair(colour: str) -> None:
    """OpenAI wants every field; what has a default comes as null and takes it."""
    result = extract(colour, Incident, [says('{"severity": "P1", "service": "db", "minutes": null}')]).result
    assert (result.value.minutes, result.repairs) == (3, ())


@COLOURS
def test_what_was_mended_is_said(colour: str) -> None:
    """With the path in the value, also where it stood under a key."""
    result = extract(colour, Incident, [says("```json\n{'severity': 'p1', 'service': 'db',}\n```")]).result
    assert result.value.severity == "P1"
    assert {"quotes", "comma", "name"} <= {repair.kind for repair in result.repairs}
    listed = extract(colour, list[Incident], [says('{"result": [{"severity": "p1", "service": "db"}]}')]).result
    assert [repair.path for repair in listed.repairs] == ["$[0].severity"]


@COLOURS
def test_a_map_of_unknown_keys_is_asked_for_by_a_tool(colour: str) -> None:
    """As no provider can be held to it, and the reason names the path."""
    done = extract(colour, Mapped, [says("", calls=['{"counts": {"a": 1}}'], finish="tool_calls")])
    assert done.result.mode == "tool"
    assert "$.counts is a map of unknown keys" in done.result.reason
    assert done.result.lossy == (("$", "*"),)
    body = done.bodies[0]
    assert body["tool_choice"]["function"]["name"] == body["tools"][0]["function"]["name"] == "Mapped"
    assert "response_format" not in body


@COLOURS
def test_models_that_cannot_be_held_to_a_schema_are_asked_otherwise(colour: str) -> None:
    """By family, by provider, by what the request has with it."""
    called = says("", calls=[GOOD], finish="tool_calls")
    assert extract(colour, Incident, [called], model="openai:gpt-4-turbo").result.mode == "tool"
    assert extract(colour, Incident, [says(GOOD)], model="openai:o1-mini").result.mode == "prompted"
    deepseek = extract(
        colour, Incident, [called], model="deepseek:deepseek-chat", client={"keys": {"deepseek": "sk-canary"}}
    )
    assert (deepseek.result.mode, deepseek.result.reason) == ("tool", "deepseek takes no schema")
    thinking = extract(colour, Mapped, [claude_says('{"counts": {}}')], model=CLAUDE, thinking={"mode": "adaptive"})
    assert thinking.result.mode == "prompted"
    assert "think" in thinking.result.reason
    begun = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"}]
    for text in (GOOD, GOOD.removeprefix("{")):  # the beginning repeated, and gone on with
        found = extract(colour, Incident, [claude_says(text)], model=CLAUDE, prompt=begun).result
        assert (found.mode, found.value.service, found.repairs) == ("prompted", "db", ())


@COLOURS
def test_the_prompt_shows_the_schema_in_prompted_mode(colour: str) -> None:
    """In a system message, and in JSON mode where a provider has nothing else."""
    done = extract(
        colour,
        Incident,
        [says(GOOD)],
        mode="prompted",
        model="deepseek:deepseek-chat",
        client={"keys": {"deepseek": "sk-canary"}},
    )
    assert done.result.mode == "prompted"
    system, user = done.bodies[0]["messages"]
    assert system["role"] == "system"
    assert '"P1"' in system["content"]
    assert user["content"] == "hi"
    assert done.bodies[0]["response_format"] == {"type": "json_object"}


REFUSED = "Invalid schema for response_format 'Incident': 'minimum' is not permitted."


@COLOURS
def test_a_schema_that_is_refused_is_asked_for_by_a_tool_then_in_the_prompt(colour: str) -> None:
    """Each once, and the result says so."""
    script = [
        refuses(400, REFUSED, "response_format"),
        refuses(400, "this server has no support for tool_choice", "tool_choice"),
        says(GOOD),
    ]
    done = extract(colour, Incident, script)
    assert done.result.mode == "prompted"
    assert "refused the tool: this server has no support for tool_choice" in done.result.reason
    assert [attempt.outcome for attempt in done.result.attempts] == ["unsupported_parameter", "invalid_request", "ok"]
    assert [attempt.number for attempt in done.result.attempts] == [1, 2, 3]


def test_a_refusal_is_remembered_by_lane_and_schema() -> None:
    """The second extraction of the same type begins where the first ended; another type begins anew."""
    called = says("", calls=[GOOD], finish="tool_calls")
    done = extract("sync", Incident, [refuses(400, REFUSED, "response_format"), called, called, says('{"x":1,"y":2}')])
    assert done.client.extract(Incident, "hi", model="openai:gpt-4o-mini").mode == "tool"
    assert done.client.extract(Point, "hi", model="openai:gpt-4o-mini").mode == "native"
    assert len(done.transport.sent) == 4


@COLOURS
def test_a_refusal_of_something_else_is_no_reason_to_ask_otherwise(colour: str) -> None:
    """The error is the caller's to mend; and a mode that was asked for is never left."""
    other = extract(colour, Incident, [refuses(400, "messages[0].content is too rude", "messages")])
    assert type(other.error) is InvalidRequest
    chosen = extract(colour, Incident, [refuses(400, REFUSED, "response_format")], mode="native")
    assert isinstance(chosen.error, InvalidRequest)
    assert len(chosen.transport.sent) == 1


@COLOURS
def test_each_lane_of_a_route_is_asked_in_its_own_mode(colour: str) -> None:
    """Anthropic's lane takes no recursion, OpenAI's does."""
    node = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": []}},
        "$ref": "#/$defs/node",
    }
    script = [refuses(503, "overloaded")] * 3 + [claude_says(value={"next": {}})]
    done = extract(colour, node, script, fallbacks=[CLAUDE])
    assert done.result.mode == "tool"
    assert "contains itself" in done.result.reason
    assert "response_format" in done.bodies[0]
    assert done.bodies[-1]["tool_choice"]["type"] == "tool"


@COLOURS
@pytest.mark.prove(20)
def test_what_does_not_fit_is_asked_for_once_more_with_the_reasons_alone(colour: str) -> None:
    """All of them at once; both answers are paid and shown."""
    done = extract(colour, Incident, [says('{"severity": "P9", "minutes": [1, 2]}'), says(GOOD)])
    assert done.result.value.severity == "P1"
    assert done.result.reasked == 1
    told = done.bodies[1]["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "user"]
    assert told[1]["content"] == '{"severity": "P9", "minutes": [1, 2]}'
    for reason in ("$.severity: expected one of 'P1', 'P2'", "$.minutes: expected an integer", "the field 'service'"):
        assert reason in told[2]["content"]
    assert told[0]["content"] == "hi"
    assert "schema" not in told[2]["content"].lower()
    assert len(done.result.responses) == 2
    assert done.result.usage.total == 30
    assert done.result.cost_nano == sum(each.cost_nano or 0 for each in done.result.responses)
    assert done.client.usage().cost_nano == done.result.cost_nano


@COLOURS
def test_in_tool_mode_the_reasons_are_the_result_of_the_call(colour: str) -> None:
    """By its id; and the tool is forced again."""
    script = [
        says("", calls=['{"counts": [1]}'], finish="tool_calls"),
        says("", calls=['{"counts": {}}'], finish="tool_calls"),
    ]
    done = extract(colour, Mapped, script)
    assert done.result.value == Mapped(counts={})
    roles = [(message["role"], message.get("tool_call_id")) for message in done.bodies[1]["messages"]]
    assert roles == [("user", None), ("assistant", None), ("tool", "call_0")]
    assert "$.counts" in done.bodies[1]["messages"][2]["content"]
    assert done.bodies[1]["tool_choice"] == done.bodies[0]["tool_choice"]
    claude = extract(
        colour, Mapped, [claude_says(value={"counts": [1]}), claude_says(value={"counts": {}})], model=CLAUDE
    )
    (result,) = claude.bodies[1]["messages"][2]["content"]
    assert (result["type"], result["tool_use_id"], result["is_error"]) == ("tool_result", "toolu_1", True)


@COLOURS
def test_arguments_that_no_server_would_take_back_are_told_as_text(colour: str) -> None:
    """Broken JSON inside a call cannot be part of a conversation everywhere."""
    script = [says("", calls=["[1, 2"], finish="tool_calls"), says("", calls=['{"counts": {}}'], finish="tool_calls")]
    done = extract(colour, Mapped, script)
    assert [message["role"] for message in done.bodies[1]["messages"]] == ["user", "assistant", "user"]
    assert done.result.value == Mapped(counts={})


@COLOURS
def test_a_tool_that_was_not_called_or_called_twice_is_read_all_the_same(colour: str) -> None:
    """And the result says so."""
    spoken = extract(colour, Mapped, [says('{"counts": {"a": 1}}')]).result
    assert "instead of calling the tool" in spoken.repairs[-1].note
    twice = says("", calls=['{"counts": {"a": 1}}', '{"counts": 5}'], finish="tool_calls")
    found = extract(colour, Mapped, [twice]).result
    assert (found.value, found.repairs[-1].kind) == (Mapped(counts={"a": 1}), "ambiguous")


@COLOURS
def test_the_same_bad_answer_twice_stops(colour: str) -> None:
    """However often it might have been asked."""
    done = extract(colour, Incident, [says("no")] * 2, reasks=5)
    error = done.error
    assert isinstance(error, ExtractionFailed)
    assert error.gave_up == "the model gave the same answer twice"
    assert len(done.transport.sent) == 2


@COLOURS
def test_a_failure_has_every_answer_its_reasons_and_its_cost(colour: str) -> None:
    """And is a ParseError, so that one `except` is enough for both."""
    done = extract(colour, Incident, [says('{"severity": "P9"}'), says('{"severity": "P8"}')])
    error = done.error
    assert isinstance(error, ExtractionFailed)
    assert isinstance(error, ParseError)
    assert error.text == '{"severity": "P8"}'
    assert [response.text for response in error.responses] == ['{"severity": "P9"}', '{"severity": "P8"}']
    assert any("P8" in reason for reason in error.reasons)
    assert error.candidates
    assert len(error.attempts) == 2
    assert error.cost_nano == done.client.usage().cost_nano
    assert "reasks=1" in (error.gave_up or "")
    assert error.exit_code == 65


@COLOURS
@pytest.mark.prove(20)
@pytest.mark.parametrize("mode", ["native", "tool", "prompted"])
def test_truncation_is_an_error_at_once(colour: str, mode: str) -> None:
    """Never a second question, and never half a value; what came is there to look at."""
    cut = '{"severity": "P1", "service": "the databa'
    script = [says(cut, finish="length", calls=[cut] if mode == "tool" else ())]
    done = extract(colour, Incident, script, mode=mode)
    error = done.error
    assert isinstance(error, TruncatedOutput)
    assert "raise max_tokens" in error.message
    assert error.value == {"severity": "P1", "service": "the databa"}
    assert error.partial.stop_reason == "length"
    assert error.cost_nano == done.client.usage().cost_nano
    assert len(done.transport.sent) == 1


@COLOURS
@pytest.mark.prove(20)
def test_a_whole_value_of_a_cut_answer_is_still_truncated(colour: str) -> None:
    """Nobody knows what was to follow."""
    assert isinstance(extract(colour, Incident, [says(GOOD, finish="length")]).error, TruncatedOutput)


@COLOURS
@pytest.mark.prove(20)
def test_a_refusal_or_a_filter_is_an_error_at_once(colour: str) -> None:
    """Each its own, in the words of the model where it has some."""
    refused = extract(colour, Incident, [says("", refusal="I would rather not.")])
    assert isinstance(refused.error, ModelRefused)
    assert "I would rather not." in refused.error.message
    claude = extract(colour, Incident, [claude_says("No.", stop="refusal")], model=CLAUDE)
    assert isinstance(claude.error, ModelRefused)
    filtered = extract(colour, Incident, [says("{", finish="content_filter")])
    assert isinstance(filtered.error, ContentFiltered)
    assert filtered.error.cost_nano
    assert all(len(done.transport.sent) == 1 for done in (refused, claude, filtered))


@COLOURS
def test_a_text_that_ends_too_early_by_itself_is_no_value(colour: str) -> None:
    """A bracket that is missing at the end may have had more before it; only 'loose' takes it."""
    cut = '{"severity": "P1", "service": "db"'
    assert extract(colour, Incident, [says(cut), says(GOOD)]).result.reasked == 1
    assert extract(colour, Incident, [says(cut)], policy="loose").result.value.service == "db"


@COLOURS
def test_a_second_question_stays_inside_the_budget(colour: str) -> None:
    """Where nothing is left for it, the first answer's failure is told, with the reason."""
    probe = extract(colour, Incident, [says("no")], reasks=0, max_tokens=20)
    spent = probe.client.usage().cost
    done = extract(colour, Incident, [says("no")], max_tokens=20, client={"budget": Budget(total=spent + spent)})
    error = done.error
    assert isinstance(error, ExtractionFailed | BudgetExceeded)
    if isinstance(error, ExtractionFailed):
        assert isinstance(error.__cause__, BudgetExceeded)
        assert "budget" in (error.gave_up or "")
    assert len(done.transport.sent) <= 1


@COLOURS
def test_a_helper_reads_what_the_model_cannot_write(colour: str) -> None:
    """As the last step, from the text alone; its cost counts."""
    script = [says("severity one, the db"), says("as I said: severity one"), says(GOOD)]
    done = extract(colour, Incident, script, helper="openai:gpt-4.1-nano")
    assert done.result.value.severity == "P1"
    assert done.result.repairs[-1].kind == "helper"
    assert "gpt-4.1-nano" in done.result.repairs[-1].note
    assert done.result.reasked == 2
    body = done.bodies[2]
    assert body["model"] == "gpt-4.1-nano"
    assert "as I said: severity one" in body["messages"][1]["content"]
    assert not any(message["content"] == "hi" for message in body["messages"])
    assert done.result.cost_nano == done.client.usage().cost_nano


@COLOURS
def test_a_helper_that_fails_leaves_the_failure_as_it_was(colour: str) -> None:
    """And is never asked about an answer that was cut or refused."""
    done = extract(colour, Incident, [says("no"), says("no"), says("nothing there")], helper="openai:gpt-4.1-nano")
    assert isinstance(done.error, ExtractionFailed)
    assert "the helper could not read it either" in (done.error.gave_up or "")
    assert len(done.error.responses) == 3
    cut = extract(colour, Incident, [says("{", finish="length")], helper="openai:gpt-4.1-nano")
    assert isinstance(cut.error, TruncatedOutput)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "magic"}, "expected one of auto, native, tool, prompted"),
        ({"policy": "kind"}, "expected one of strict, safe, loose"),
        ({"reasks": -1}, "from 0 to 5"),
        ({"reasks": True}, "from 0 to 5"),
        ({"helper": 3}, "expected a model"),
        ({"tools": [{"name": "a"}]}, "'tools' cannot be given to extract"),
        ({"response_format": "json"}, "the type says"),
        ({"n": 2}, "one value"),
        ({"colours": 3}, "no parameter 'colours'"),
    ],
    ids=str,
)
def test_an_option_that_is_wrong_is_refused_before_anything_is_sent(options: dict[str, Any], words: str) -> None:
    """In one sentence that names it."""
    done = extract("sync", Incident, [], **options)
    assert isinstance(done.error, ConfigError)
    assert words in str(done.error)


CYCLE: dict[str, Any] = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}


class Odd(pydantic.BaseModel, arbitrary_types_allowed=True):
    inner: pytest.MonkeyPatch


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (CYCLE, "refers to itself without end"),
        ({"type": "object", "properties": {"a": {"unheard": 1}}}, r"'unheard' at $.a"),
        ({"$ref": "#/nowhere"}, "nothing is there"),
        (Odd, "Odd.inner"),
        (None, "needs a type"),
        (12, "neither a type nor a JSON Schema"),
        (lambda: 1, "neither a type"),
    ],
    ids=["cycle", "unknown keyword", "no target", "no schema", "none", "no type", "a function"],
)
def test_a_type_that_cannot_be_expressed_is_refused_with_its_path(wanted: Any, words: str) -> None:
    """Before anything is sent."""
    done = extract("sync", wanted, [])
    assert isinstance(done.error, ConfigError), done.error
    assert words in str(done.error)


@COLOURS
def test_every_call_of_an_extraction_has_an_idempotency_key_of_its_own(colour: str, tmp_path: Path) -> None:
    """Their bodies differ, so that a server that keeps answers by key must not mix them up."""
    settings = tmp_path / "penstock.toml"
    settings.write_text('[providers.openai]\nidempotency = "Idempotency-Key"\n')
    done = extract(colour, Incident, [says("no"), says(GOOD)], client={"config": settings})
    keys = [sent.headers["Idempotency-Key"] for sent in done.transport.sent]
    assert len(set(keys)) == 2


def test_type_checkers_know_the_type_of_the_value() -> None:
    """Of the result, and of what a stream ends in; mypy reads this test."""
    client = extract("sync", Incident, [says(GOOD)] * 2).client
    assert isinstance(client, Client)
    assert_type(client.extract(Incident, "hi", model="openai:gpt-4o-mini"), Extracted[Incident])
    assert_type(client.stream_extract(Point, "hi", model="openai:gpt-4o-mini"), ExtractStream[Point])


@COLOURS
def test_an_answer_from_the_cache_costs_nothing_and_is_checked_the_same(colour: str) -> None:
    """Each question has a place of its own in it, a second one too."""
    kept = {"cache": Cache()}
    first = extract(colour, Incident, [says("no"), says(GOOD)], temperature=0, client=kept)
    assert first.result.reasked == 1
    if colour == "sync":
        again = first.client.extract(Incident, "hi", model="openai:gpt-4o-mini", temperature=0)
        assert (again.value, again.cost_nano, again.attempts) == (first.result.value, 0, ())
        assert again.responses[-1].cached
        assert first.client.usage().cached == 1


def test_a_cancelled_extraction_is_settled() -> None:
    """Between its questions or inside one, nothing stays held or open."""

    async def main() -> None:
        transport = AsyncScriptedTransport([says("no"), Scripted(body=[asyncio.CancelledError()])])
        async with AsyncClient(
            transport=transport, keys=KEYS, config=False, env={}, budget=Budget(total="1")
        ) as client:
            with pytest.raises(asyncio.CancelledError):
                await client.extract(Incident, "hi", model="openai:gpt-4o-mini")
            assert transport.open == 0
            assert client.budget().scopes[0].held_nano == 0
            assert client.usage().attempts == 2

    asyncio.run(main())


@COLOURS
def test_an_answer_longer_than_any_value_is_not_asked_again(colour: str) -> None:
    """A megabyte of noise would only come again."""
    done = extract(colour, Incident, [says("x" * (MAX_CHARS + 1))])
    assert isinstance(done.error, ExtractionFailed)
    assert "longer than any value" in (done.error.gave_up or "")
    assert len(done.transport.sent) == 1


@COLOURS
def test_reasons_are_capped(colour: str) -> None:
    """However much is wrong, the second question stays short."""
    listed = json.dumps({"result": [{"severity": "x" * 500, "service": ""}] * 200})
    done = extract(colour, list[Incident], [says(listed), says('{"result": []}')])
    assert done.result.value == []
    assert len(done.bodies[1]["messages"][-1]["content"]) < 2_200


@COLOURS
def test_what_fails_around_a_second_question_is_told_as_the_reason(colour: str) -> None:
    """With the failure of the first answer in front, and both attempts in the bill."""
    done = extract(colour, Incident, [says("no"), refuses(401, "bad key")])
    error = done.error
    assert isinstance(error, ExtractionFailed)
    assert isinstance(error.__cause__, AuthenticationFailed)
    assert "bad key" in (error.gave_up or "")
    assert [attempt.outcome for attempt in error.attempts] == ["ok", "authentication"]
