"""Whole answers of Anthropic Messages."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import anthropic
from penstock.errors import CallError, Overloaded, ServerFault
from penstock.types import Opaque, Reasoning, Text, ToolCall, Usage

from .streams import ANTHROPIC, message_end, message_start, text_block


def message(*content: Any, stop: str | None = "end_turn", **fields: Any) -> bytes:
    """A whole answer."""
    body = {"type": "message", "id": "msg_1", "model": "claude-x", "content": content, "stop_reason": stop, **fields}
    return json.dumps(body).encode()


def parts(*content: Any) -> tuple[Any, ...]:
    """The content of an answer."""
    return anthropic.decode(message(*content), ANTHROPIC).choices[0].content


def test_every_block_becomes_its_part() -> None:
    """Arguments keep the JSON text exactly as it came; what is not ours to understand is kept whole."""
    server = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}
    found = parts(
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "text", "text": "a", "citations": None},
        {"type": "text", "text": "b", "citations": [{"x": 1}]},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": [1, 2]}},
        {"type": "tool_use", "id": "u", "name": "g", "input": {}, "caller": {"type": "direct"}},
        {"type": "tool_use", "id": "v", "name": "h", "caller": {"type": "code"}},
        server,
    )
    assert found == (
        Reasoning(text="hm", signature="s"),
        Reasoning(redacted="enc"),
        Text("a"),
        Text("b"),
        Opaque(kind="citations", data={"citations": [{"x": 1}]}),
        ToolCall(id="t", name="f", arguments='{"x": [1, 2]}'),
        ToolCall(id="u", name="g"),
        ToolCall(id="v", name="h", extra={"caller": {"type": "code"}}),
        Opaque(kind="server_tool_use", data=server),
    )


def test_what_is_no_block_is_left_out() -> None:
    """A number where a block belongs says nothing."""
    assert parts(5, {"type": "text", "text": "a"}) == (Text("a"),)


def test_id_model_and_stop_come_out() -> None:
    """Tool calls win over a reason that does not say the answer was cut."""
    found = anthropic.decode(message({"type": "text", "text": "a"}), ANTHROPIC)
    assert (found.id, found.served_model, found.usage) == ("msg_1", "claude-x", None)
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    for raw, normal in (
        ("end_turn", "tool_calls"),
        (None, "tool_calls"),
        ("max_tokens", "length"),
        ("odd", "tool_calls"),
    ):
        assert anthropic.decode(message(tool, stop=raw), ANTHROPIC).choices[0].stop_reason == normal


@pytest.mark.prove(14)
@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"input_tokens": 10, "output_tokens": 5}, Usage(input=10, output=5)),
        (
            {
                "input_tokens": 1,
                "output_tokens": 9,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                "output_tokens_details": {"thinking_tokens": 4},
            },
            Usage(input=1, cache_read=100, cache_write_5m=10, cache_write_1h=20, output=5, reasoning=4),
        ),
        (
            {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 7},
            Usage(input=1, cache_write_5m=7, output=1),
        ),
        (
            {"input_tokens": 1, "output_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 7}},
            Usage(input=1, cache_write_1h=7, output=1),
        ),
        ({"input_tokens": "1", "output_tokens": 2.0, "cache_read_input_tokens": None}, Usage(input=1, output=2)),
        ({"input_tokens": None, "output_tokens": None}, None),
        (
            {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {"thinking_tokens": 9}},
            Usage(input=1, reasoning=2),
        ),
    ],
)
def test_usage_is_disjoint(counts: dict[str, Any], expected: Usage | None) -> None:
    """input_tokens are without the cache, output_tokens with thinking."""
    assert anthropic.decode(message(usage=counts), ANTHROPIC).usage == expected


COUNT = st.integers(0, 10**6)


@pytest.mark.prove(14)
@given(fresh=COUNT, read=COUNT, short=COUNT, long=COUNT, output=COUNT, thinking=COUNT)
def test_buckets_add_up_to_what_each_field_says(
    fresh: int, read: int, short: int, long: int, output: int, thinking: int
) -> None:
    """Fresh input, cache reads and writes of either age are apart; thinking is inside the output."""
    counts = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": short + long,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": thinking},
    }
    found = anthropic.decode(message(usage=counts), ANTHROPIC).usage
    assert found is not None
    assert (found.input, found.cache_read, found.cache_write_5m, found.cache_write_1h) == (fresh, read, short, long)
    assert found.prompt == fresh + read + short + long
    assert (found.reasoning, found.completion) == (min(thinking, output), output)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', Overloaded),
        (b'{"error":"boom"}', ServerFault),
        (b'{"id":"x"}', ServerFault),
        (b"", ServerFault),
        (b"<html></html>", ServerFault),
        (b"nonsense", ServerFault),
    ],
)
def test_a_200_that_is_no_answer_raises(body: bytes, expected: type[CallError]) -> None:
    """An error inside, something else, nothing, a web page."""
    with pytest.raises(expected):
        anthropic.decode(body, ANTHROPIC)


def test_a_stream_in_place_of_json_is_read_as_the_answer() -> None:
    """Some proxies always stream."""
    body = message_start(input_tokens=3, output_tokens=1) + text_block(0, "a", "b") + message_end(output_tokens=2)
    found = anthropic.decode(body, ANTHROPIC)
    assert found.choices[0].content == (Text("ab"),)
    assert (found.usage, found.id) == (Usage(input=3, output=2), "msg_1")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "text", "input", "id", "name", "citations", "caller", "data"]),
            st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
        ),
        max_size=3,
    )
)
def test_misshapen_blocks_raise_nothing_but_call_errors(blocks: list[dict[str, Any]]) -> None:
    """Blocks of any shape give some parts."""
    try:
        anthropic.decode(message(*blocks), ANTHROPIC)
    except CallError:
        return
