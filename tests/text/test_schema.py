"""What of a schema is sent to each provider, what gets lost, and what is never sent in another meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock._text.schema import Profile, sendable
from penstock.errors import ConfigError

PROFILES: tuple[Profile, ...] = get_args(Profile)
ENFORCING = [profile for profile in PROFILES if profile != "generic"]


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2, description="what it is called")
    count: int = pydantic.Field(1, ge=0)
    kind: Literal["a", "b"]


class Order(pydantic.BaseModel):
    items: list[Item]
    note: str | None = None


class Node(pydantic.BaseModel):
    name: str
    next: Node | None = None


class Mapped(pydantic.BaseModel):
    counts: dict[str, int]


class Anything(pydantic.BaseModel):
    values: list[Any]


def places(schema: Any) -> Iterator[dict[str, Any]]:
    """Every place of a schema."""
    if isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            parts = value.values() if key in ("properties", "$defs") else value if isinstance(value, list) else [value]
            for part in parts:
                yield from places(part)


def test_openai_has_every_property_required_and_keeps_the_limits_it_knows() -> None:
    """What is optional may be null instead; what it does not know is moved to the description."""
    sent = sendable(Order.model_json_schema(), "openai")
    item = sent.schema["$defs"]["Item"]
    assert sent.strict
    assert item["required"] == ["name", "count", "kind"]
    assert item["properties"]["count"]["anyOf"][0]["minimum"] == 0
    assert item["properties"]["name"]["description"] == "what it is called {minLength: 2}"
    assert ("$.items.items.name", "minLength") in sent.lossy


def test_anthropic_keeps_optional_fields_and_loses_limits() -> None:
    """And says so."""
    sent = sendable(Order.model_json_schema(), "anthropic")
    assert sent.strict
    assert sent.schema["required"] == ["items"]
    assert {keyword for _, keyword in sent.lossy} == {"minLength", "minimum", "default"}
    assert "{minimum: 0}" in sent.schema["$defs"]["Item"]["properties"]["count"]["description"]


@pytest.mark.parametrize("profile", ["cohere", "gemini"])
def test_references_are_written_out_where_they_are_not_known(profile: Profile) -> None:
    """So that there are none left."""
    sent = sendable(Order.model_json_schema(), profile)
    assert sent.strict
    assert not any("$ref" in place for place in places(sent.schema))


@pytest.mark.parametrize("profile", ENFORCING)
@pytest.mark.parametrize("model", [Mapped, Anything])
def test_what_cannot_be_said_is_not_sent_as_an_empty_object(profile: Profile, model: type[pydantic.BaseModel]) -> None:
    """A map or an untyped place makes the schema not strict, with the path, and leaves it as it was."""
    sent = sendable(model.model_json_schema(), profile)
    assert not sent.strict
    assert sent.reasons[0].startswith("$.counts" if model is Mapped else "$.values.items")
    assert sent.schema == model.model_json_schema()


def test_recursion_is_sent_only_where_it_is_known() -> None:
    """OpenAI takes it."""
    assert sendable(Node.model_json_schema(), "openai").strict
    for profile in ("anthropic", "cohere", "gemini"):
        sent = sendable(Node.model_json_schema(), profile)
        assert not sent.strict
        assert "contains itself" in sent.reasons[0]


def test_a_root_that_is_no_object_is_wrapped_and_unwrapped() -> None:
    """Lists, unions and scalars."""
    roots: list[Any] = [list[int], int | str, int]
    for wanted in roots:
        sent = sendable(pydantic.TypeAdapter(wanted).json_schema(), "openai")
        assert sent.wrapped
        assert sent.schema["required"] == ["result"]
        assert sent.unwrap({"result": [1]}) == [1]
    assert sendable(Order.model_json_schema(), "openai").unwrap({"result": 1}) == {"result": 1}


def test_limits_are_counted_before_sending() -> None:
    """Levels, optional fields and unions."""
    optional = {f"f{at}": {"type": "integer"} for at in range(25)}
    assert "25 optional properties" in sendable({"type": "object", "properties": optional}, "anthropic").reasons[0]
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(11):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    assert "levels" in sendable(deep, "openai").reasons[0]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_schema_that_cannot_be_read_is_refused_with_its_path(profile: Profile) -> None:
    """Endless, unknown, or missing."""
    for schema, said in (
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "without end"),
        ({"properties": {"a": {"unheard": 1}}}, r"'unheard' at \$\.a"),
        ({"items": {"$ref": "#/x"}}, "nothing is there"),
    ):
        with pytest.raises(ConfigError, match=said):
            sendable(schema, profile)


NAMES = st.text("abcd", min_size=1, max_size=3)
LEAVES = st.sampled_from(
    [
        {"type": "string", "minLength": 1},
        {"type": "integer", "minimum": 0},
        {"type": ["string", "null"]},
        {"enum": ["a", "b"]},
        {"const": 1},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "string", "pattern": "^(?=a)"},
        {},
    ]
)


def fields(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(NAMES, inner, min_size=1, max_size=4).map(
        lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)[:1]}
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        fields(inner)
        | inner.map(lambda item: {"type": "array", "items": item, "maxItems": 3})
        | st.lists(inner, min_size=1, max_size=3).map(lambda options: {"oneOf": options})
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("profile", ENFORCING)
@given(schema=SCHEMAS)
@settings(max_examples=60, deadline=None)
def test_a_strict_schema_has_only_closed_objects_with_fields(profile: Profile, schema: dict[str, Any]) -> None:
    """Whatever went in: no empty object, no oneOf, no untyped place, and no keyword of the others."""
    sent = sendable(schema, profile)
    assert sent.strict != bool(sent.reasons)
    if not sent.strict:
        return
    for place in places(sent.schema):
        if place.get("type") == "object":
            assert place["properties"]
            assert place["additionalProperties"] is False
            assert profile != "openai" or place["required"] == list(place["properties"])
        assert not place.keys() & {"oneOf", "allOf", "minLength", "default", "title"}
        assert place.keys() & {"type", "anyOf", "enum", "const", "$ref"}
