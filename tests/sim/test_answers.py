"""What the simulated model says: valid, sensible, the same for the same seed."""

import json
import re
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.sim import prompts, tokens
from penstock.sim.answers import Ask, Tool, Turn, answer
from penstock.sim.schemas import Filler, from_pattern

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def ask(prompt: str, **more: Any) -> Ask:
    return Ask(model="m", system="", turns=(Turn("user", prompt),), max_tokens=more.pop("max_tokens", 4000), **more)


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """A small independent validator: what is wrong with the value."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return problems(value, root["$defs"][name], root)
    if "const" in schema:
        return [] if value == schema["const"] else [f"{value!r} is not const"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{value!r} not in enum"]
    if "anyOf" in schema:
        return [] if any(not problems(value, option, root) for option in schema["anyOf"]) else [f"{value!r}: no option"]
    if "allOf" in schema:
        return [p for part in schema["allOf"] for p in problems(value, part, root)]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    fits = [k for k in kinds if isinstance(value, TYPES[k]) and (k == "boolean" or not isinstance(value, bool))]
    if not fits:
        return [f"{value!r} is not {kinds}"]
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        missing = [f"{name} is missing" for name in schema.get("required", ()) if name not in value]
        extra = [f"{name} is too much" for name in value if name not in properties]
        known = [(item, properties[name]) for name, item in value.items() if name in properties]
        return [*missing, *extra, *(p for item, part in known for p in problems(item, part, root))]
    if isinstance(value, list):
        size = [] if within(len(value), schema, "minItems", "maxItems") else [f"{len(value)} items"]
        return [*size, *(p for item in value for p in problems(item, schema["items"], root))]
    return simple_problems(value, schema)


def within(value: float, schema: dict[str, Any], low: str, high: str) -> bool:
    return bool(schema.get(low, -(10**9)) <= value <= schema.get(high, 10**9))


def simple_problems(value: Any, schema: dict[str, Any]) -> list[str]:
    if isinstance(value, str):
        if not within(len(value), schema, "minLength", "maxLength"):
            return [f"length {len(value)}"]
        return [] if re.search(schema.get("pattern", ""), value) else [f"{value!r} does not match"]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not within(value, schema, "minimum", "maximum"):
            return [f"{value} is out of bounds"]
        return [f"{value} is no multiple"] if value % schema.get("multipleOf", value or 1) else []
    return []


texts = st.sampled_from(["title", "service", "city", "severity", "x", "log_line", "confidence", "next_action"])


def bounded(low_key: str, high_key: str, most: int) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    return st.one_of(st.just({}), pairs.map(lambda pair: {low_key: pair[0], high_key: pair[1]}))


leaves: st.SearchStrategy[dict[str, Any]] = st.one_of(
    bounded("minLength", "maxLength", 60).map(lambda more: {"type": "string", **more}),
    st.sampled_from([r"^[A-Z]{3}-\d{2,5}$", r"^(low|high)$", r"^\w+@\w+\.com$", "^v?\\d+(\\.\\d+){2}$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    bounded("minimum", "maximum", 40).map(lambda more: {"type": "integer", **more}),
    st.integers(1, 9).map(lambda step: {"type": "integer", "multipleOf": step, "minimum": 5}),
    bounded("minimum", "maximum", 40).map(lambda more: {"type": "number", **more}),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 4}, {"type": ["string", "null"]}]),
    st.lists(st.sampled_from(["P1", "P2", "low", "high", "blue"]), min_size=1, unique=True).map(
        lambda options: {"enum": options}
    ),
    st.just({"$ref": "#/$defs/Cause"}),
)


def nest(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.dictionaries(texts, inner, max_size=4).flatmap(
        lambda properties: st.sets(st.sampled_from(sorted(properties)) if properties else st.nothing()).map(
            lambda required: {
                "type": "object",
                "properties": properties,
                "required": sorted(required),
                "additionalProperties": False,
            }
        )
    )
    arrays = st.tuples(inner, bounded("minItems", "maxItems", 4)).map(
        lambda pair: {"type": "array", "items": pair[0], **pair[1]}
    )
    options = st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": [*parts, {"type": "null"}]})
    return st.one_of(objects, arrays, options, inner.map(lambda part: {"allOf": [part]}))


CAUSE = {
    "type": "object",
    "properties": {"service": {"type": "string"}, "because": {"anyOf": [{"$ref": "#/$defs/Cause"}, {"type": "null"}]}},
    "required": ["service", "because"],
    "additionalProperties": False,
}


@settings(max_examples=200, deadline=None)
@given(schema=st.recursive(leaves, nest, max_leaves=10), prompt=st.sampled_from(["ERROR [db] timeout", "", "all ok"]))
def test_every_schema_gets_a_valid_instance(schema: dict[str, Any], prompt: str) -> None:
    """Whatever the schema, recursive references included, its instance is valid."""
    root = {**schema, "$defs": {"Cause": CAUSE}}
    value = Filler(root, prompt, Random(1)).fill()
    assert problems(value, schema, root) == []


@pytest.mark.parametrize("pattern", [r"^\d{3}-\d{4}$", r"[^a-z]+", r"(a|b)\1", r"^(?P<x>ab)+c?$", r"^\S+\s\w$"])
def test_patterns_get_matching_strings(pattern: str) -> None:
    """Usual regular expressions are met."""
    assert re.search(pattern, from_pattern(pattern, Random(3)))


@given(st.text(max_size=400))
def test_tokens_join_to_the_text_again(text: str) -> None:
    """Cutting into tokens loses nothing."""
    assert "".join(tokens.split(text)) == text
    assert len(tokens.split(text)) == tokens.count(text)


@given(st.integers(1, 200), st.integers(0, 5), st.booleans())
def test_answers_never_exceed_max_tokens(limit: int, seed: int, thinking: bool) -> None:
    """However small the limit, the answer obeys it and says that it was cut."""
    tool = Tool("page_oncall", {"type": "object", "properties": {"reason": {"type": "string"}}})
    for tools in ((), (tool,)):
        question = ask("What now? FATAL [db]", max_tokens=limit, tools=tools, reasoning_tokens=64 * thinking)
        reply = answer(question, seed)
        assert reply.tokens <= limit
        whole = answer(ask("What now? FATAL [db]", tools=tools, reasoning_tokens=64 * thinking), seed)
        assert (reply.stop == "length") == (whole.tokens > limit)


def test_answers_depend_on_seed_and_question_only() -> None:
    """The same seed and question give the same answer, another seed another one."""
    assert answer(ask("Explain [web] 502"), 1) == answer(ask("Explain [web] 502"), 1)
    assert len({answer(ask("Explain [web] 502"), seed).text for seed in range(10)}) > 5


def test_fixed_lengths_are_exact() -> None:
    """With a fixed length every free answer has that many tokens."""
    assert answer(ask("Explain [web] 502"), 1, length=333).tokens == 333


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("Classify as P1, P2 or P3: disk full", ["P1", "P2", "P3"]),
        ("Which one of the following: network, storage, auth?", ["network", "storage", "auth"]),
        ("Answer with SEV1 or SEV2.", ["SEV1", "SEV2"]),
        ("Pick the severity: low, medium or high", ["low", "medium", "high"]),
        ("Classify into exactly one of: network, disk.\nlog", ["network", "disk"]),
        ("Severity (critical/high/low)?\nlog", ["critical", "high", "low"]),
        ("Which team owns this: payments, platform or network? log", ["payments", "platform", "network"]),
        ("Classify the following log line as ERROR or OK: [db] started", ["ERROR", "OK"]),
        ("GET /a/b/c 200 (x86/64 build)", []),
        ("Error or not? x", ["Error", "Not an error"]),
        ("Summarise this incident for the board.", []),
    ],
)
def test_classes_are_found_in_the_prompt(prompt: str, options: list[str]) -> None:
    """The offered classes are read from the usual wordings."""
    assert prompts.classes(prompt) == options


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("connection to storage lost", "storage"),
        ("login denied, auth token expired", "auth"),
    ],
)
def test_a_topic_is_chosen_by_what_the_text_mentions(text: str, chosen: str) -> None:
    """Classes that are no severities are chosen by the words of the log."""
    assert prompts.choose(["network", "storage", "auth"], text, Random(0)) == chosen


def test_tool_arguments_are_json_of_the_schema() -> None:
    """A called tool gets arguments that its schema allows."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 7}}, "required": ["n"]}
    reply = answer(ask("restart", tools=(Tool("restart", schema),)), 0)
    assert [json.loads(call.arguments) for call in reply.calls] == [{"n": 7}]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True, "minItems": 2}, ["a", "b"]),
        ({"type": "array", "items": {"type": "integer", "maximum": 3}, "uniqueItems": True}, [3, 2]),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True}, [False, True]),
        (
            {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 3},
            [1, 2, 3],
        ),
        ({"type": "number", "exclusiveMinimum": 3, "multipleOf": 0.5}, 3.5),
        ({"type": "integer", "exclusiveMaximum": 3}, 2),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"key_1": 3}),
        ({"type": "object", "required": ["a"], "additionalProperties": {"const": 1}}, {"a": 1}),
        ({"type": "string", "format": "date"}, "2026-11-20"),
        ({"type": "string", "format": "ipv4"}, "10.0.3.17"),
        ({"type": "string", "minLength": 9, "maxLength": 9, "format": "date"}, "2026-11-2"),
        ({"oneOf": [{"type": "null"}, {"const": "x"}]}, "x"),
        ({"description": "{minimum: 5, maximum: 6}", "type": "integer"}, 5),
        ({"properties": {"city": {}}}, {"city": "Oslo"}),
        ({"type": "string", "pattern": "("}, "the service: In Oslo"),
    ],
)
def test_rarer_schemas_are_filled_too(schema: dict[str, Any], expected: Any) -> None:
    """Unique items, tuples, exclusive bounds, maps, formats and moved bounds get what they ask for."""
    assert Filler(schema, "In Oslo", Random(1)).fill() == expected


def test_a_schema_without_a_finite_instance_is_refused() -> None:
    """A schema that only contains itself is an error, not an endless loop."""
    for schema in ({"$ref": "#"}, {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}):
        with pytest.raises(RecursionError):
            Filler(schema, "", Random(1)).fill()


@pytest.mark.parametrize("kind", ["uuid", "email", "uri", "date-time"])
def test_formats_look_like_themselves(kind: str) -> None:
    """Known formats get text of their form."""
    shapes = {"uuid": r"[0-9a-f]{8}-", "email": "@", "uri": "^https://", "date-time": r"^\d{4}-\d\d-\d\dT"}
    assert re.search(shapes[kind], Filler({"type": "string", "format": kind}, "", Random(1)).fill())


def test_a_runbook_has_numbered_steps() -> None:
    """A request for a runbook is answered by steps about its subject."""
    text = answer(ask("Write a runbook for certificate expiry."), 0).text
    assert text.startswith("Runbook: certificate expiry\n1. ")


def test_every_tool_is_called_when_the_prompt_says_both() -> None:
    """Without a list of targets, both means both tools."""
    tools = tuple(Tool(name, {"type": "object"}) for name in ("get_logs", "get_metrics"))
    reply = answer(ask("Use both tools", tools=tools), 0)
    assert [call.name for call in reply.calls] == ["get_logs", "get_metrics"]
