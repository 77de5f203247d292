"""What a caller may write as a prompt, and what a wrong one is told."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import Image, Message, Text, Tool, ToolCall, ToolResult
from penstock._flow.prompt import request
from penstock.errors import ConfigError, InputError, PenstockError

LOOP: dict[str, Any] = {}
LOOP["self"] = LOOP


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        ("hi", (Message("user", "hi"),)),
        ("", (Message("user", ""),)),
        (Message("user", "hi"), (Message("user", "hi"),)),
        ([{"role": "developer", "content": "be brief"}], (Message("system", "be brief"),)),
        ([{"role": "user", "content": "x", "name": "bob"}], (Message("user", "x", "bob"),)),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}],
            (Message("user", (Text("a"), Text("b"))),),
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]}],
            (Message("user", (Image(data="QUJD", media_type="image/png"),)),),
        ),
        (
            [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]}],
            (Message("user", (Image(url="https://x"),)),),
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": "42"},
            ],
            (
                Message("assistant", (ToolCall(id="1", name="f"),)),
                Message("tool", (ToolResult(tool_call_id="1", content="42"),)),
            ),
        ),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "f", "input": "x"}}],
                }
            ],
            (Message("assistant", (ToolCall(id="1", name="f", arguments="x", kind="custom"),)),),
        ),
        (
            [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]}],
            (Message("assistant", (ToolCall(id="1", name="f", arguments='{"a":1}'),)),),
        ),
        (
            [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "42"}]}],
            (Message("user", (ToolResult(tool_call_id="1", content="42"),)),),
        ),
    ],
)
def test_prompts_are_read_as_openai_anthropic_and_penstock_write_them(prompt: Any, messages: Any) -> None:
    """Code that moves here keeps its messages."""
    assert request(prompt, {}).messages == messages


SQL = {"name": "sql", "description": "d"}


@pytest.mark.parametrize(
    ("given", "tool"),
    [
        ({"type": "custom", **SQL}, Tool(name="sql", native={"type": "custom", **SQL})),
        ({"type": "custom", "custom": SQL}, Tool(name="sql", native={"type": "custom", "custom": SQL})),
        ({"type": "web_search"}, Tool(name="web_search", native={"type": "web_search"})),
        (
            {"type": "web_search_20250305", "name": "web_search"},
            Tool(name="web_search", native={"type": "web_search_20250305", "name": "web_search"}),
        ),
        (
            {"type": "function", "name": "f", "parameters": {"type": "object"}},
            Tool(name="f", parameters={"type": "object"}),
        ),
        ({"name": "f", "input_schema": {"type": "object"}}, Tool(name="f", parameters={"type": "object"})),
    ],
)
def test_tools_are_read_as_openai_and_anthropic_write_them(given: Any, tool: Tool) -> None:
    """One that is no function is the provider's own, and is kept whole."""
    assert request("x", {"tools": [given]}).tools == (tool,)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (None, "NoneType"),
        (5, "int"),
        (b"bytes", "bytes"),
        ({"role": "user"}, "dict"),
        ([], "empty list"),
        ([5], "messages[0] is a int"),
        (["text"], "messages[0] is a str"),
        ([{"role": "user", "content": "ok"}, {"role": "zork", "content": "x"}], "messages[1].role"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "no content"),
        ([{"role": "user", "content": 5}], "content is a int"),
        ([{"role": "user", "content": "x", "name": 5}], "name is 5"),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "messages[0]"),
        ([{"role": "user", "content": [{"type": "text"}]}], "lacks 'text'"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}], "wrong type"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "content[0]"),
        ([{"role": "assistant", "tool_calls": 5}], "tool_calls is a int"),
        ([{"role": "assistant", "tool_calls": [{"id": "1"}]}], "tool_calls"),
        (
            [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": LOOP}]}],
            "wrong type",
        ),
        ([Message("user", 5)], "content is a int"),  # type: ignore[arg-type]
        (Message("zork", "x"), "role"),  # type: ignore[arg-type]
        ([Message("user", (Text(5),))], "messages[0]"),  # type: ignore[arg-type]
        ([Message("user", ("x",))], "messages[0]"),  # type: ignore[arg-type]
    ],
)
def test_a_prompt_that_cannot_be_read_is_told_with_its_place(prompt: Any, words: str) -> None:
    """One sentence, never a Python error from deep inside."""
    with pytest.raises(InputError) as raised:
        request(prompt, {})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"n": 8}, "give it as n"),
        ({"max_completion_tokens": 900}, "give it as max_tokens"),
        ({"model": "gpt-4o"}, "give it as model"),
        ({"service_tier": "priority"}, "give it as service_tier"),
        ({"stream": True}, "stream()"),
        ({"messages": []}, "first argument"),
    ],
)
def test_extra_cannot_say_what_has_a_name_of_its_own(extra: dict[str, Any], words: str) -> None:
    """What the gate does not see it can neither limit nor hold money for."""
    with pytest.raises(ConfigError) as raised:
        request("hi", {"extra": extra})
    assert words in str(raised.value)


def test_extra_carries_what_has_no_name_here() -> None:
    """Every parameter of a provider is reachable."""
    assert request("hi", {"extra": {"web_search_options": {}}}).extra == {"web_search_options": {}}


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        {"type": "json_schema", "name": "a", "schema": {"type": "object"}},
        {"schema": {"type": "object"}, "name": "a"},
    ],
)
def test_a_schema_is_read_in_every_common_shape(form: dict[str, Any]) -> None:
    """Chat Completions, Responses and our own."""
    read = request("hi", {"response_format": form}).response_format
    assert read is not None
    assert not isinstance(read, str)
    assert (read.name, read.schema) == ("a", {"type": "object"})


@pytest.mark.parametrize("form", [5, "xml", {"type": "zork"}, {"type": "json_schema", "json_schema": 5}])
def test_a_response_format_of_no_known_shape_is_refused(form: Any) -> None:
    """The sentence names the parameter."""
    with pytest.raises(PenstockError, match="response_format"):
        request("hi", {"response_format": form})
