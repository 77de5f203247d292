"""Whole answers of Chat Completions: content in every shape, usage in disjoint buckets, errors inside a 200."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import openai_chat
from penstock._wire.assembly import Assembly, chunks_of
from penstock._wire.openai_decode import stop_reason
from penstock._wire.protocol import Provider, Reply
from penstock.errors import CallError, ContentFiltered, QuotaExhausted, RateLimited, ServerFault
from penstock.types import Audio, Opaque, Reasoning, Refusal, Text, ToolCall, Usage

from .streams import DONE, OPENAI, choices, delta, tool, usage

XAI = Provider(name="xai", wire="openai_chat", reasoning_in_output=False)


def reply(message: Any, finish: str | None = "stop", provider: Provider = OPENAI, **fields: Any) -> Reply:
    """Decode an answer with one choice."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "model": "m-2026", "choices": [choice], **fields}
    return openai_chat.decode(json.dumps(body).encode(), provider)


def parts(message: Any) -> tuple[Any, ...]:
    """The content of an answer."""
    return reply(message).choices[0].content


def counted(provider: Provider = OPENAI, **counts: Any) -> Usage | None:
    """The usage of an answer with these counts."""
    return reply({"content": "a"}, provider=provider, usage=counts).usage


def test_text_id_model_and_stop_come_out() -> None:
    """The plain case, whitespace before the JSON included."""
    found = reply({"role": "assistant", "content": "hi"})
    assert (found.id, found.served_model, found.usage, found.cost_nano) == ("chatcmpl-1", "m-2026", None, None)
    assert found.choices[0].content == (Text("hi"),)
    assert (found.choices[0].stop_reason, found.choices[0].raw_stop_reason) == ("stop", "stop")
    body = b'\n         \n{"choices":[{"message":{"content":"hi"}}]}'
    assert openai_chat.decode(body, OPENAI).choices[0].content == (Text("hi"),)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (None, ()),
        ({"content": None, "tool_calls": None}, ()),
        ({"content": "", "tool_calls": []}, ()),
        (
            {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}, "b"]},
            (Reasoning(text="hm"), Text("ab")),
        ),
        ({"content": {"type": "text", "text": "a"}}, (Text("a"),)),
        ({"content": 5}, (Text("5"),)),
        (
            {"content": [{"type": "reference", "ids": [1]}]},
            (Opaque(kind="reference", data={"type": "reference", "ids": [1]}),),
        ),
        ({"content": "a", "reasoning_content": "hm", "reasoning": "hm"}, (Reasoning(text="hm"), Text("a"))),
        ({"content": "a", "reasoning": "hm"}, (Reasoning(text="hm"), Text("a"))),
        ({"content": "a", "reasoning": {"odd": 1}}, (Text("a"),)),
        (
            {"content": "a", "reasoning_details": [{"text": "h"}, {"summary": "m"}, {"data": "x"}]},
            (Reasoning(text="hm", details=({"text": "h"}, {"summary": "m"}, {"data": "x"})), Text("a")),
        ),
        ({"content": None, "refusal": "no"}, (Refusal("no"),)),
        ({"audio": {"id": "au", "data": "QQ==", "transcript": "t"}}, (Audio(data="QQ==", id="au", transcript="t"),)),
        (
            {"content": "a", "annotations": [{"x": 1}]},
            (Text("a"), Opaque(kind="annotations", data={"annotations": [{"x": 1}]})),
        ),
    ],
)
def test_content_comes_in_many_shapes(message: Any, expected: tuple[Any, ...]) -> None:
    """Null, empty, a list, numbers, reasoning under each name."""
    assert parts(message) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            {"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}},
            ToolCall(id="a", name="f", arguments='{"x":1}'),
        ),
        ({"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}, ToolCall(id="a", name="f")),
        (
            {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}},
            ToolCall(id="a", name="f", arguments='{"x":1}'),
        ),
        ({"id": "a", "function": {"name": "f"}}, ToolCall(id="a", name="f")),
        ({"id": None, "function": {"name": "f"}}, ToolCall(id="call_hatcmpl1_0_0", name="f")),
        ({"id": "null", "function": {"name": "f"}}, ToolCall(id="call_hatcmpl1_0_0", name="f")),
        ({"id": 7, "function": {"name": "f"}}, ToolCall(id="7", name="f")),
        (
            {"id": "a", "type": "custom", "custom": {"name": "sql", "input": "select"}},
            ToolCall(id="a", name="sql", arguments="select", kind="custom"),
        ),
        ({"id": "a", "function": {"name": "f"}, "extra_content": {"g": 1}}, ToolCall(id="a", name="f", extra={"g": 1})),
    ],
)
def test_tool_calls_come_in_many_shapes(call: Any, expected: ToolCall) -> None:
    """Without type, id or arguments, or with an object for arguments."""
    (choice,) = reply({"content": None, "tool_calls": [call]}).choices
    assert choice.content == (expected,)
    assert choice.stop_reason == "tool_calls"


def test_the_legacy_function_call_is_a_tool_call() -> None:
    """It never had an id."""
    (call,) = parts({"content": None, "function_call": {"name": "f", "arguments": "{}"}})
    assert call == ToolCall(id="call_hatcmpl1_0_0", name="f")


@pytest.mark.parametrize(
    ("raw", "calls", "refusal", "normal"),
    [
        ("stop", False, False, "stop"),
        ("eos", False, False, "stop"),
        ("", False, False, "stop"),
        ("STOP", False, False, "stop"),
        ("length", False, False, "length"),
        ("content_filter", False, False, "content_filter"),
        ("function_call", False, False, "tool_calls"),
        ("model_length", False, False, "context_length"),
        ("stop", True, False, "tool_calls"),
        ("", True, False, "tool_calls"),
        (None, True, False, "tool_calls"),
        ("odd", True, False, "tool_calls"),
        ("length", True, False, "length"),
        ("content_filter", True, False, "content_filter"),
        ("odd", False, False, "other"),
        (None, False, False, "unknown"),
        ("stop", False, True, "refusal"),
        (1, False, False, "other"),
    ],
)
def test_stop_reasons_are_normalised(raw: Any, calls: bool, refusal: bool, normal: str) -> None:
    """Tool calls win, except over an answer that was cut short and whose calls may be cut too."""
    assert stop_reason(raw, calls, refusal) == (normal, None if raw is None else str(raw))


@pytest.mark.prove(14)
@pytest.mark.parametrize(
    ("provider", "counts", "expected"),
    [
        (OPENAI, {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(input=10, output=5)),
        (
            OPENAI,
            {
                "prompt_tokens": 10,
                "completion_tokens": 9,
                "total_tokens": 19,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 1},
            },
            Usage(input=2, cache_read=4, cache_write_30m=3, audio_in=1, output=2, reasoning=6, audio_out=1),
        ),
        (
            XAI,
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 22,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(input=10, output=5, reasoning=7),
        ),
        (
            OPENAI,
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 22,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(input=10, output=5, reasoning=7),
        ),
        (
            XAI,
            {
                "prompt_tokens": 10,
                "completion_tokens": 9,
                "total_tokens": 19,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(input=10, output=2, reasoning=7),
        ),
        (
            XAI,
            {"prompt_tokens": 10, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}},
            Usage(input=10, output=9, reasoning=7),
        ),
        (
            OPENAI,
            {"prompt_tokens": 10, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}},
            Usage(input=10, output=2, reasoning=7),
        ),
        (
            OPENAI,
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "completion_tokens_details": {"reasoning_tokens": 9},
            },
            Usage(input=10, output=0, reasoning=5),
        ),
        (
            OPENAI,
            {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
            Usage(input=35, output=12, reasoning=62),
        ),
        (
            OPENAI,
            {"prompt_tokens": 9, "completion_tokens": 248, "total_tokens": 632, "prompt_audio_seconds": 30},
            Usage(input=9, audio_in=375, output=248),
        ),
        (
            OPENAI,
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 161},
            },
            Usage(input=10, cache_read=161, output=5),
        ),
        (
            OPENAI,
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4},
            },
            Usage(input=2, cache_read=8, cache_write_30m=4, output=5),
        ),
        (
            OPENAI,
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 6},
            Usage(input=4, cache_read=6, output=5),
        ),
        (
            OPENAI,
            {"prompt_tokens": 10, "completion_tokens": 5, "num_cached_tokens": 6},
            Usage(input=4, cache_read=6, output=5),
        ),
        (OPENAI, {"prompt_tokens": 10, "completion_tokens": None, "total_tokens": 12}, Usage(input=10, output=2)),
        (OPENAI, {"prompt_tokens": "10", "completion_tokens": 5.0, "total_tokens": None}, Usage(input=10, output=5)),
        (OPENAI, {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}, None),
    ],
)
def test_usage_is_disjoint_by_each_providers_rule(
    provider: Provider, counts: dict[str, Any], expected: Usage | None
) -> None:
    """The total tells what is inside what; nulls, strings and floats are taken as they can be."""
    assert counted(provider, **counts) == expected


COUNT = st.integers(0, 10**6)


@pytest.mark.prove(14)
@given(prompt=COUNT, cached=COUNT, written=COUNT, audio=COUNT, completion=COUNT, thinking=COUNT, spoken=COUNT)
def test_buckets_add_up_to_the_total(
    prompt: int, cached: int, written: int, audio: int, completion: int, thinking: int, spoken: int
) -> None:
    """Where the parts can be inside, nothing is counted twice; no bucket is ever negative."""
    found = counted(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details={"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio},
        completion_tokens_details={"reasoning_tokens": thinking, "audio_tokens": spoken},
    )
    assert found is not None
    assert min(found.input, found.audio_in, found.output, found.reasoning, found.audio_out) >= 0
    assert found.completion == completion
    if cached + written <= prompt:
        assert found.prompt == prompt


@pytest.mark.prove(14)
@given(prompt=COUNT, cached=COUNT, completion=COUNT, thinking=COUNT)
def test_reasoning_beside_the_answer_adds_up_to_the_total(
    prompt: int, cached: int, completion: int, thinking: int
) -> None:
    """xAI counts reasoning beside completion_tokens: the three together are its total."""
    found = counted(
        XAI,
        prompt_tokens=prompt + cached,
        completion_tokens=completion,
        total_tokens=prompt + cached + completion + thinking,
        prompt_tokens_details={"cached_tokens": cached},
        completion_tokens_details={"reasoning_tokens": thinking},
    )
    assert found == Usage(input=prompt, cache_read=cached, output=completion, reasoning=thinking)
    assert found.total == prompt + cached + completion + thinking


@pytest.mark.parametrize(
    ("fields", "nano"),
    [
        ({"cost": 0.00014}, 140_000),
        ({"cost": "0.5"}, 500_000_000),
        ({"cost": {"total_cost": 0.006, "currency": "USD"}}, 6_000_000),
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 21_000_000),
        ({"cost": 0.001, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.02}}, 1_000_000),
        ({"cost_in_usd_ticks": 37_756_000}, 3_775_600),
        ({"cost_in_usd_ticks": 1}, 1),
        ({"cost": None}, None),
        ({"cost": "free"}, None),
        ({"cost": -1}, None),
        ({"cost": True}, None),
    ],
)
def test_a_reported_cost_is_exact(fields: dict[str, Any], nano: int | None) -> None:
    """OpenRouter, Perplexity and xAI say what they charge; nonsense is no cost."""
    counts = {"prompt_tokens": 1, "completion_tokens": 1, **fields}
    assert reply({"content": "a"}, usage=counts).cost_nano == nano


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"message":"slow down","code":429},"user_id":"u"}', RateLimited),
        (b'{"error":{"message":"m","code":"insufficient_quota"},"choices":null}', QuotaExhausted),
        (b'{"error":{"code":"content_filter","message":"m","status":400}}', ContentFiltered),
        (b'{"choices":[],"error":"boom"}', ServerFault),
        (b'{"object":"error","message":"m","code":500}', ServerFault),
        (b"{}", ServerFault),
        (b"", ServerFault),
        (b"[]", ServerFault),
        (b'"ok"', ServerFault),
        (b"<!DOCTYPE html><html><title>Welcome</title></html>", ServerFault),
        (b"\xff\xfe", ServerFault),
    ],
)
def test_a_200_that_is_no_answer_raises(body: bytes, expected: type[CallError]) -> None:
    """An error inside, an empty body, a web page, anything else."""
    with pytest.raises(expected) as caught:
        openai_chat.decode(body, OPENAI)
    assert caught.value.provider == "openai"


def test_an_empty_list_of_choices_is_an_empty_answer() -> None:
    """Odd, but no error."""
    assert openai_chat.decode(b'{"choices":[]}', OPENAI).choices == ()


def test_choices_are_ordered_by_their_index() -> None:
    """The first is the first asked for, wherever it stands."""
    both = [{"index": index, "message": {"content": str(index)}, "finish_reason": "stop"} for index in (1, 0)]
    found = openai_chat.decode(json.dumps({"choices": both}).encode(), OPENAI).choices
    assert [choice.content for choice in found] == [(Text("0"),), (Text("1"),)]


@pytest.mark.prove(13)
def test_streamed_and_whole_are_the_same() -> None:
    """Guarantee 13: assembly changes nothing."""
    message = {
        "content": "hi",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}}],
    }
    counts = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    whole = reply(message, "tool_calls", usage=counts)
    stream = delta(reasoning_content="h") + delta(reasoning_content="m") + delta(content="h") + delta(content="i")
    stream += tool(0, "a", "f", "") + tool(0, arguments='{"x"') + tool(0, arguments=":1}") + delta("tool_calls")
    assert choices(stream + usage() + DONE) == whole.choices
    assembly = Assembly()
    assembly.add(chunks_of(whole))
    assert assembly.choices() == whole.choices
    assert assembly.usage == whole.usage
