"""Feature by feature: what becomes of a model for each provider, and that the simulator takes what is sent.

Source: the table of schema transforms in the project's notes on structured output, with the official helpers of
openai 3.52 and anthropic 2.11 beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import pydantic
import pytest
from anthropic import transform_schema
from openai.lib._pydantic import to_strict_json_schema

from penstock._text.schema import Profile, Sendable, for_tool, rooted, sendable
from penstock.sim import strictness


class Map(pydantic.BaseModel):
    counts: dict[str, int]


class Extra(pydantic.BaseModel, extra="allow"):
    a: int


class Default(pydantic.BaseModel):
    a: str = "zz"


class Optional(pydantic.BaseModel):
    a: int | None = None
    b: int


class Ranged(pydantic.BaseModel):
    a: Annotated[int, pydantic.Field(ge=1, le=9)]
    b: Annotated[str, pydantic.Field(pattern="^x+$")]


class Around(pydantic.BaseModel):
    a: str

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> Any:
        return {**handler(core), "properties": {"a": {"type": "string", "pattern": "^(?=a)"}}}


class Lengths(pydantic.BaseModel):
    a: Annotated[str, pydantic.Field(min_length=2)]
    b: set[int]


class Tuple(pydantic.BaseModel):
    a: tuple[int, str]


class Anything(pydantic.BaseModel):
    a: list[Any]


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Pet(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]


class Const(pydantic.BaseModel):
    a: Literal["only"]


class Described(pydantic.BaseModel):
    cat: Annotated[Cat, pydantic.Field(description="the one on the sofa")]


class Either(pydantic.RootModel[Cat | Dog]):
    pass


class Node(pydantic.BaseModel):
    value: int
    next: Node | None = None


MODELS: dict[str, type[pydantic.BaseModel]] = {
    "dict[str, int]": Map,
    "extra='allow'": Extra,
    "default": Default,
    "Optional": Optional,
    "min, max, pattern": Ranged,
    "look-around": Around,
    "minLength, uniqueItems": Lengths,
    "tuple": Tuple,
    "list[Any]": Anything,
    "discriminated union": Pet,
    "const": Const,
    "$ref and description": Described,
    "root union": Either,
    "recursion": Node,
}
STRICT: dict[Profile, set[str]] = {
    # what no profile can say: maps, extra keys, tuples, untyped places
    "openai": set(MODELS) - {"dict[str, int]", "extra='allow'", "tuple", "list[Any]"},
    "anthropic": set(MODELS) - {"dict[str, int]", "extra='allow'", "tuple", "list[Any]", "recursion"},
    # one required field at least
    "cohere": set(MODELS) - {"dict[str, int]", "extra='allow'", "tuple", "list[Any]", "recursion", "default"},
    "gemini": set(MODELS) - {"dict[str, int]", "extra='allow'", "tuple", "list[Any]", "recursion"},
    "generic": set(),
}
JUDGES: dict[Profile, Callable[[Any], str | None]] = {
    "openai": strictness.openai,
    "anthropic": strictness.anthropic,
}


def sent(name: str, profile: Profile) -> Sendable:
    """What is sent of a model."""
    schema, _ = rooted(MODELS[name].model_json_schema())
    return sendable(schema, profile)


def places(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from places(part)


@pytest.mark.parametrize("profile", STRICT)
@pytest.mark.parametrize("name", MODELS)
def test_a_feature_is_strict_where_it_can_be_said(name: str, profile: Profile) -> None:
    """Else there is a reason with its path, and the schema is as it was."""
    made = sent(name, profile)
    assert made.strict == (name in STRICT[profile]), made.reasons
    assert bool(made.reasons) != made.strict
    if not made.strict:
        assert made.schema == rooted(MODELS[name].model_json_schema())[0]


@pytest.mark.parametrize("profile", JUDGES)
@pytest.mark.parametrize("name", MODELS)
def test_what_is_sent_as_strict_is_taken(name: str, profile: Profile) -> None:
    """By the simulator, which refuses what the provider is known to refuse."""
    made = sent(name, profile)
    if made.strict:
        assert JUDGES[profile](made.schema) is None


@pytest.mark.parametrize("name", MODELS)
def test_what_is_sent_for_a_tool_is_taken(name: str) -> None:
    """Where nothing is strict but a list has items and an object properties."""
    made = for_tool(rooted(MODELS[name].model_json_schema())[0])
    assert strictness.incomplete(made) is None
    assert made["type"] == "object"


HELPERS: dict[Profile, Callable[[Any], Any]] = {"openai": to_strict_json_schema, "anthropic": transform_schema}
HELPERS_FAIL = {
    ("openai", "dict[str, int]"),
    ("openai", "extra='allow'"),
    ("openai", "default"),
    ("openai", "minLength, uniqueItems"),
    ("openai", "list[Any]"),
    ("openai", "discriminated union"),
    ("openai", "root union"),
    ("openai", "look-around"),
    ("anthropic", "list[Any]"),
    ("anthropic", "recursion"),
}


@pytest.mark.parametrize("profile", HELPERS)
@pytest.mark.parametrize("name", MODELS)
def test_wherever_an_official_helper_makes_something_valid_so_do_we(name: str, profile: Profile) -> None:
    """Unless it changed the meaning: a map or a tuple that it made an empty object or an open list of."""
    try:
        theirs = HELPERS[profile](MODELS[name])
    except ValueError:
        theirs = None
    valid = theirs is not None and JUDGES[profile](theirs) is None
    assert valid == ((profile, name) not in HELPERS_FAIL)
    if valid and name not in ("dict[str, int]", "extra='allow'", "tuple"):
        assert sent(name, profile).strict


def test_each_rule_writes_what_it_says() -> None:
    """Field by field."""
    default = sent("default", "openai").schema
    assert default["required"] == ["a"]
    assert default["properties"]["a"]["anyOf"][1] == {"type": "null"}
    assert sent("default", "anthropic").schema["required"] == []
    assert '{default: "zz"}' in sent("default", "anthropic").schema["properties"]["a"]["description"]
    assert sent("Optional", "openai").schema["required"] == ["a", "b"]
    assert sent("Optional", "anthropic").schema["required"] == ["b"]
    ranged = sent("min, max, pattern", "openai")
    assert (ranged.lossy, ranged.schema["properties"]["a"]["maximum"]) == ((), 9)
    assert {lost.keyword for lost in sent("min, max, pattern", "anthropic").lossy} == {"minimum", "maximum"}
    assert [lost.keyword for lost in sent("look-around", "openai").lossy] == ["pattern"]
    assert {lost.keyword for lost in sent("minLength, uniqueItems", "openai").lossy} == {"minLength", "uniqueItems"}
    pet = sent("discriminated union", "openai").schema
    assert len(pet["properties"]["pet"]["anyOf"]) == 2
    assert not any("oneOf" in place or "discriminator" in place for place in places(pet))
    assert sent("const", "openai").schema["properties"]["a"]["const"] == "only"
    assert sent("const", "gemini").schema["properties"]["a"]["enum"] == ["only"]
    cat = sent("$ref and description", "openai").schema["properties"]["cat"]
    assert cat == {"anyOf": [{"$ref": "#/$defs/Cat"}], "description": "the one on the sofa"}
    assert sent("$ref and description", "cohere").schema["properties"]["cat"]["description"] == "the one on the sofa"
    assert sent("root union", "openai").schema["required"] == ["result"]
    assert "$ref" in str(sent("recursion", "openai").schema)


@pytest.mark.parametrize(
    ("schema", "wrapped"),
    [
        ({"type": "object", "properties": {"a": {}}}, False),
        ({"properties": {"a": {}}}, False),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, False),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, True),
        ({"type": ["object", "null"]}, True),
        ({"type": "object", "anyOf": [{"required": ["a"]}]}, True),
        ({"enum": ["a"]}, True),
        ({"type": "array", "items": {"$ref": "#"}}, True),
    ],
    ids=str,
)
def test_a_root_is_an_object_or_put_into_one(schema: dict[str, Any], wrapped: bool) -> None:
    """References keep leading to where they led."""
    made, was_wrapped = rooted(schema)
    assert (made.get("type", "object"), was_wrapped) == ("object", wrapped)
    if "#" in (place.get("$ref") for place in places(schema)):
        assert made["properties"]["result"]["items"]["$ref"] == "#/properties/result"
