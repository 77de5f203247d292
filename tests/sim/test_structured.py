"""Structured answers of the simulator: in all modes, spoilt on order, and only for schemas that a provider takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, get_args, get_type_hints

import anthropic
import openai
import pydantic
import pytest
from anthropic import transform_schema
from openai.lib._pydantic import to_strict_json_schema

from penstock.sim import SimServer, strictness
from penstock.sim.faults import Spoil

LOG = "ERROR [db] connection refused"


class Incident(pydantic.BaseModel):
    severity: Literal["P1", "P2"]
    service: str
    minutes: int


SCHEMA = Incident.model_json_schema()
FORMS: tuple[str, ...] = get_args(get_type_hints(Spoil)["form"])


def spoil(sim: SimServer, form: str) -> None:
    sim.play(f'[[rule]]\nfault = {{ kind = "spoil", form = "{form}" }}')


def test_a_schema_that_a_prompt_shows_is_followed(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """Wherever it stands."""
    told = f"Answer with JSON of this JSON Schema: {json.dumps(SCHEMA)}"
    said = chat.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "system", "content": told}, {"role": "user", "content": LOG}]
    )
    assert Incident.model_validate_json(said.choices[0].message.content or "").service == "db"
    answer = claude.messages.create(
        model="claude-haiku-4-5", max_tokens=500, messages=[{"role": "user", "content": f"{told}\n\n{LOG}"}]
    )
    assert Incident.model_validate(json.loads(json.loads(answer.content[0].to_json())["text"])).service


READABLE = ("enum_case", "numbers_as_text", "missing_field", "wrong_type", "extra_field")


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("refusal", "length")])
def test_a_spoilt_answer_is_what_it_says(sim: SimServer, chat: openai.OpenAI, form: str) -> None:
    """Text that is no JSON, or JSON that is no instance; as one whole answer, and the same as a stream."""
    spoil(sim, form)
    ask: Any = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": LOG}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": to_strict_json_schema(Incident), "strict": True},
        },
    }
    choice = chat.chat.completions.create(**ask).choices[0]
    assert choice.finish_reason == "stop"
    text = choice.message.content or ""
    if form in READABLE:
        assert isinstance(json.loads(text), dict)
        if form not in ("extra_field", "numbers_as_text"):
            with pytest.raises(pydantic.ValidationError):
                Incident.model_validate_json(text)
    else:
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
    spoil(sim, form)
    pieces = [event.choices[0].delta.content or "" for event in chat.chat.completions.create(**ask, stream=True)]
    assert "".join(pieces) == text


def test_a_refusal_is_said_where_each_protocol_says_it(
    sim: SimServer, chat: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    """OpenAI in a field of its own, Anthropic as the reason of the stop."""
    spoil(sim, "refusal")
    said = chat.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": LOG}])
    assert said.choices[0].message.refusal
    assert said.choices[0].message.content is None
    answer = claude.messages.create(
        model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": LOG}]
    )
    assert answer.stop_reason == "refusal"


def test_arguments_of_a_tool_are_spoilt_where_a_protocol_can_say_it(
    sim: SimServer, chat: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    """OpenAI's are text; Anthropic's are an object, so that bad ones are said instead of called."""
    spoil(sim, "single_quotes")
    ask: Any = {
        "messages": [{"role": "user", "content": LOG}],
        "tools": [{"type": "function", "function": {"name": "report", "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "report"}},
    }
    said = chat.chat.completions.create(model="gpt-4o-mini", **ask)
    calls = said.choices[0].message.tool_calls
    assert calls
    assert json.loads(calls[0].to_json())["function"]["arguments"].startswith("{'")
    answer = claude.messages.create(
        model="claude-haiku-4-5",
        max_tokens=500,
        messages=[{"role": "user", "content": LOG}],
        tools=[{"name": "report", "input_schema": SCHEMA}],
        tool_choice={"type": "tool", "name": "report"},
    )
    assert answer.content[0].type == "text"


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def having(**part: Any) -> dict[str, Any]:
    """A closed schema with one field."""
    return {**CLOSED, "properties": {"a": part}}


REJECTED_BY_OPENAI = {
    "a root union": {"anyOf": [CLOSED]},
    "a list at the root": {"type": "array", "items": {"type": "string"}},
    "an open object": having(type="object", properties={"b": {"type": "string"}}, required=["b"]),
    "extra allowed": {**CLOSED, "additionalProperties": True},
    "a map": having(type="object", additionalProperties={"type": "integer"}),
    "an optional field": {**CLOSED, "required": []},
    "oneOf": having(oneOf=[{"type": "string"}]),
    "allOf": having(allOf=[{"type": "string"}]),
    "a default": having(type="string", default="x"),
    "minLength": having(type="string", minLength=1),
    "uniqueItems": having(type="array", items={"type": "string"}, uniqueItems=True),
    "untyped items": having(type="array", items={}),
    "no items": having(type="array"),
    "a reference with more": {
        **having(**{"$ref": "#/$defs/b", "description": "x"}),
        "$defs": {"b": {"type": "string"}},
    },
    "look-around": having(type="string", pattern="^(?=a)"),
    "an unheard format": having(type="string", format="uri"),
}
REJECTED_BY_ANTHROPIC = {
    "an open object": having(type="object", properties={"b": {"type": "string"}}),
    "a minimum": having(type="integer", minimum=0),
    "maxLength": having(type="string", maxLength=9),
    "maxItems": having(type="array", items={"type": "string"}, maxItems=2),
    "minItems above 1": having(type="array", items={"type": "string"}, minItems=2),
    "recursion": {**having(**{"$ref": "#/$defs/b"}), "$defs": {"b": having(**{"$ref": "#/$defs/b"})}},
    "an outer reference": having(**{"$ref": "https://example.com/a"}),
    "look-around": having(type="string", pattern="^(?!a)"),
    "objects in an enum": having(enum=[{"a": 1}]),
    "25 optional fields": {
        **CLOSED,
        "properties": {f"f{at}": {"type": "string"} for at in range(25)},
        "required": [],
    },
    "17 unions": {
        **CLOSED,
        "properties": {f"f{at}": {"anyOf": [{"type": "string"}, {"type": "null"}]} for at in range(17)},
        "required": [f"f{at}" for at in range(17)],
    },
}


@pytest.mark.parametrize("schema", REJECTED_BY_OPENAI.values(), ids=REJECTED_BY_OPENAI.keys())
def test_openai_refuses_a_strict_schema_that_it_cannot_hold_to(schema: dict[str, Any]) -> None:
    """As the service is known to."""
    assert strictness.openai(schema)


@pytest.mark.parametrize("schema", REJECTED_BY_ANTHROPIC.values(), ids=REJECTED_BY_ANTHROPIC.keys())
def test_anthropic_refuses_a_schema_that_it_cannot_hold_to(schema: dict[str, Any]) -> None:
    """As the service is known to."""
    assert strictness.anthropic(schema)


def test_a_refused_schema_is_a_400_that_names_it(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """In the format, and in a strict tool."""
    bad = having(type="string", minLength=1)
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": bad, "strict": True}}
    messages: Any = [{"role": "user", "content": LOG}]
    with pytest.raises(openai.BadRequestError, match=r"Invalid schema for response_format 'a'.*minLength"):
        chat.chat.completions.create(model="gpt-4o-mini", messages=messages, response_format=form)
    config: Any = {"format": {"type": "json_schema", "schema": bad}}
    with pytest.raises(anthropic.BadRequestError, match=r"output_config.format.schema.*minLength"):
        claude.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=messages, output_config=config)
    tools: Any = [{"name": "t", "input_schema": bad, "strict": True}]
    with pytest.raises(anthropic.BadRequestError, match="input_schema"):
        claude.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=messages, tools=tools)
    loose: Any = [{"type": "function", "function": {"name": "t", "parameters": having(type="array")}}]
    with pytest.raises(openai.BadRequestError, match="array schema missing items"):
        chat.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=loose)


class Nested(pydantic.BaseModel):
    items: list[Incident]
    note: str | None = None


@pytest.mark.parametrize("model", [Incident, Nested])
@pytest.mark.parametrize(
    ("helper", "judge"),
    [(to_strict_json_schema, strictness.openai), (transform_schema, strictness.anthropic)],
    ids=["openai", "anthropic"],
)
def test_what_the_official_helpers_make_is_taken(
    model: type[pydantic.BaseModel],
    helper: Callable[[Any], dict[str, Any]],
    judge: Callable[[dict[str, Any]], str | None],
) -> None:
    """So that a refusal here says something of the schema."""
    assert judge(helper(model)) is None
