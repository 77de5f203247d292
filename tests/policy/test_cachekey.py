"""Which questions are the same one."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import Client, Image, JSONSchema, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult
from penstock._flow.cached import _key
from penstock._policy.cachekey import cache_key
from penstock.errors import PenstockError

CANARY = "sk-canary-of-the-key"


def order(**options: Any) -> Any:
    """Return a call as a client orders it."""
    made = {"keys": {"openai": "k", "anthropic": "k"}, "config": False, "env": {}, **options.pop("client", {})}
    prompt = options.pop("prompt", "hi")
    stream = options.pop("stream", False)
    with Client(**made) as client:
        return client._order(prompt, options, stream=stream)  # type: ignore[arg-type]


def key(**options: Any) -> bytes:
    """Return the key of a call to its first lane."""
    asked = order(**{"model": "openai:gpt-4o-mini", **options})
    return _key(asked, asked.lanes[0])


VALUES: dict[str, tuple[Any, Any]] = {
    "max_tokens": (10, 11),
    "temperature": (0.0, 0.1),
    "top_p": (0.5, 0.5000000000000001),
    "top_k": (1, 2),
    "stop": (("a",), ("a", "b")),
    "seed": (1, 2),
    "n": (1, 2),
    "frequency_penalty": (0.1, 0.2),
    "presence_penalty": (0.1, 0.2),
    "logit_bias": ({"1": 1.0}, {"1": 2.0}),
    "logprobs": (True, False),
    "top_logprobs": (1, 2),
    "tools": ((Tool(name="f"),), (Tool(name="f", parameters={"type": "object", "properties": {"user": {}}}),)),
    "tool_choice": ("auto", "required"),
    "parallel_tool_calls": (True, False),
    "response_format": (JSONSchema(schema={"type": "object"}), JSONSchema(schema={"type": "array"})),
    "reasoning_effort": ("low", "high"),
    "thinking": (Thinking(mode="enabled", budget_tokens=1024), Thinking(mode="enabled", budget_tokens=2048)),
    "verbosity": ("low", "high"),
    "service_tier": ("auto", "flex"),
    "prompt_cache_retention": ("in_memory", "24h"),
    "modalities": (("text",), ("text", "audio")),
    "audio": ({"voice": "a", "format": "wav"}, {"voice": "b", "format": "wav"}),
    "prediction": ({"type": "content", "content": "a"}, {"type": "content", "content": "b"}),
    "store": (True, False),
    "extra": ({"x": 1}, {"x": 1.0}),
}
"""Two values of each parameter that can change the answer."""

SAME_ANSWER: dict[str, Any] = {
    "metadata": {"user_id": "u"},
    "user": "u",
    "prompt_cache": "5m",
    "prompt_cache_key": "k",
}
"""Parameters that cannot."""

MODELS = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "openai:gpt-5-mini"]
NEEDS: dict[str, dict[str, Any]] = {
    "tool_choice": {"tools": (Tool(name="f"),)},
    "parallel_tool_calls": {"tools": (Tool(name="f"),)},
    "top_logprobs": {"logprobs": True},
    "thinking": {"max_tokens": 4000},
}


def test_every_parameter_of_a_request_is_looked_at() -> None:
    """A new parameter has to be put among those that change the answer or those that cannot."""
    named = VALUES.keys() | SAME_ANSWER.keys() | {"model", "messages"}
    assert named == set(Request.__struct_fields__)


@pytest.mark.prove(18)
@pytest.mark.parametrize("name", VALUES)
def test_another_value_is_another_question(name: str) -> None:
    """Of each parameter, on each protocol that takes it; and so is leaving it out, where that is not the same."""
    one, other = VALUES[name]
    taken = 0
    for model in MODELS:
        try:
            keys = [key(model=model, **NEEDS.get(name, {}), **{name: value}) for value in (one, other)]
        except PenstockError:
            continue
        taken += 1
        assert keys[0] != keys[1]
    assert taken, f"no protocol takes both values of {name}"


@pytest.mark.prove(18)
@pytest.mark.parametrize("name", SAME_ANSWER)
def test_what_cannot_change_the_answer_does_not_change_the_key(name: str) -> None:
    """Who asks, and what the provider may reuse."""
    taken = 0
    for model in MODELS:
        try:
            marked = key(model=model, **{name: SAME_ANSWER[name]})
        except PenstockError:
            continue
        taken += 1
        assert marked == key(model=model)
    assert taken


@pytest.mark.prove(18)
@pytest.mark.parametrize("model", MODELS)
def test_a_stream_is_the_same_question(model: str) -> None:
    """And so it shares one stored answer with the whole reply."""
    assert key(model=model, stream=True) == key(model=model)


@pytest.mark.parametrize(
    "marked",
    [
        [Message("user", (Text("hi", "5m"),))],
        [Message("user", (Text("hi", "1h"),))],
        [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}],
    ],
)
def test_a_cache_mark_on_a_part_is_no_part_of_the_question(marked: Any) -> None:
    """Though the mark makes a block of what was a string."""
    assert key(model=MODELS[1], prompt=marked) == key(model=MODELS[1], prompt="hi")
    tools = [key(model=MODELS[1], tools=(Tool(name="f", cache=mark),)) for mark in (None, "5m", "1h")]
    assert len(set(tools)) == 1


def test_the_users_own_words_are_never_taken_for_marks() -> None:
    """A tool, a schema or an argument may have a field that is called like one."""

    def schema(kind: str) -> Any:
        return (Tool(name="f", parameters={"type": "object", "properties": {"cache_control": {"type": kind}}}),)

    def called(value: str) -> Any:
        call = ToolCall(id="1", name="f", arguments=f'{{"cache_control": "{value}", "user": "{value}"}}')
        return [Message("user", "x"), Message("assistant", (call,)), Message("tool", (ToolResult(tool_call_id="1"),))]

    for model in MODELS:
        assert key(model=model, tools=schema("string")) != key(model=model, tools=schema("number"))
        assert key(model=model, prompt=called("a")) != key(model=model, prompt=called("b"))


@pytest.mark.prove(18)
def test_another_place_is_another_question() -> None:
    """Provider, model, address, version of the protocol and whose key it is."""
    plain = {"model": "openai:gpt-4o-mini"}
    shared = {"base_urls": {"openrouter": "https://api.openai.com/v1"}, "keys": {"openrouter": "k"}}
    elsewhere = {"client": {"base_urls": {"openai": "http://127.0.0.1:1/v1"}}}
    somebody = {"client": {"keys": {"openai": CANARY, "anthropic": CANARY}}}
    keys = [
        key(**plain),
        key(model="openai:gpt-4o"),
        key(model="openrouter:gpt-4o-mini", client=shared),
        key(**plain, **elsewhere),
        key(**plain, **somebody),
    ]
    assert len(set(keys)) == len(keys)


def test_the_api_version_is_part_of_the_question_and_a_trace_header_is_not() -> None:
    """By the headers of the provider's row."""
    body, scope = b'{"model":"m"}', ("p",)
    old, new = ({"Anthropic-Version": version} for version in ("2023-06-01", "2026-01-01"))
    assert cache_key(body, scope, old) != cache_key(body, scope, new)
    traced = {**old, "TraceParent": "00-1", "Idempotency-Key": "2", "X-Request-Id": "3"}
    assert cache_key(body, scope, traced) == cache_key(body, scope, old)


@pytest.mark.prove(25)
def test_no_credential_is_in_a_key() -> None:
    """The tenant is told by a digest of its key, inside another digest."""
    made = key(client={"keys": {"openai": CANARY}})
    assert len(made) == 20
    assert CANARY.encode() not in made


LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    LEAVES | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(["messages", "tools", "system", "x", "user", "stream", "metadata"]), JSON)


def of(body: Any) -> bytes:
    """Return the key of a body."""
    return cache_key(msgspec.json.encode(body), ("p",), {})


def shuffled(value: Any) -> Any:
    """Return the same JSON with every object written backwards."""
    match value:
        case dict():
            return {name: shuffled(value[name]) for name in reversed(value)}
        case list():
            return [shuffled(item) for item in value]
    return value


@pytest.mark.prove(18)
@settings(max_examples=60, deadline=None)
@given(BODIES)
def test_the_order_of_fields_does_not_matter(body: dict[str, Any]) -> None:
    """At any depth."""
    assert of(shuffled(body)) == of(body)


def changed(value: Any, new: Any, data: st.DataObject) -> Any:
    """Return the same JSON with one place, at any depth, set to something new."""
    if not isinstance(value, dict | list) or not value or data.draw(st.booleans()):
        return new
    at = data.draw(st.sampled_from([*value] if isinstance(value, dict) else range(len(value))))
    other = copy.copy(value)
    other[at] = changed(value[at], new, data)
    return other


def told(body: dict[str, Any]) -> str:
    """Write a body by other means than the key does, without the fields that cannot change the answer."""
    kept = {name: value for name, value in body.items() if name not in ("user", "stream", "metadata")}
    return json.dumps(kept, sort_keys=True)


@pytest.mark.prove(18)
@settings(max_examples=120, deadline=None)
@given(BODIES, st.sampled_from(["messages", "tools", "system", "x", "user", "stream"]), JSON, st.data())
def test_two_bodies_have_one_key_exactly_when_they_say_the_same(
    body: dict[str, Any], name: str, new: Any, data: st.DataObject
) -> None:
    """One field is changed, added, or changed somewhere inside; 1, 1.0 and true are three values."""
    other = {**body, name: changed(body.get(name), new, data)}
    assert (of(other) == of(body)) == (told(other) == told(body))


def test_an_image_of_megabytes_has_a_short_key() -> None:
    """Big bytes are hashed with the rest."""
    one, other = (
        key(prompt=[Message("user", (Image(data="QUJD" * size, media_type="image/png"),))]) for size in (9, 10)
    )
    assert len(one) == len(other) == 20
    assert one != other
