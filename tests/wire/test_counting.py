"""The endpoints that count tokens: what goes out to each, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock import Image, JSONSchema, Message, Text, Tool, ToolCall, ToolResult
from penstock._io.settings import load
from penstock._wire.counting import countable, decode, encode
from penstock._wire.protocol import CountRequest
from penstock.errors import CallError, ServerFault

PROVIDERS = load(config=False, env={}).providers
TOOL = Tool(name="look", description="looks", parameters={"type": "object", "properties": {}})


def sent(provider: str, **more: Any) -> tuple[str, Any]:
    """Path and body of a count."""
    request = CountRequest(model="m", **{"messages": (Message("system", "be brief"), Message("user", "hi")), **more})
    outbound = encode(request, PROVIDERS[provider], stream=False)
    return outbound.path, json.loads(outbound.body)


def test_anthropic_counts_a_message_without_what_says_how_to_answer() -> None:
    """The body of the message is the one that would be sent."""
    path, body = sent("anthropic", max_tokens=50, temperature=0.5, stop=("x",), tools=(TOOL,))
    assert path == "/v1/messages/count_tokens"
    assert body.keys() == {"model", "messages", "system", "tools"}
    schema = JSONSchema(schema={"type": "object"})
    assert "output_config" in sent("anthropic", response_format=schema)[1]


def test_openai_counts_items() -> None:
    """Texts, tools, calls and results of tools."""
    turns = (
        Message("user", (Text("a"), Text("b"))),
        Message("assistant", (ToolCall(id="c1", name="look", arguments="{}"),)),
        Message("tool", (ToolResult(tool_call_id="c1", content="seen"),)),
    )
    path, body = sent("openai", messages=turns, tools=(TOOL,))
    assert path == "/responses/input_tokens"
    assert body["input"] == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "seen"},
    ]
    assert body["tools"][0]["name"] == "look"


def test_what_cannot_be_asked_says_why() -> None:
    """No endpoint, or no text."""
    request = CountRequest(model="m", messages=(Message("user", (Image(url="https://example.com/a.png"),)),))
    assert countable(request, PROVIDERS["anthropic"]) is None
    assert "not text" in (countable(request, PROVIDERS["openai"]) or "")
    assert countable(request, PROVIDERS["groq"]) == "groq has no endpoint that counts"


def test_the_count_is_read_and_costs_nothing() -> None:
    """From either provider."""
    found = decode(b'{"object": "response.input_tokens", "input_tokens": 7}', PROVIDERS["openai"])
    assert (found.tokens, found.cost_nano) == (7, 0)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"input_tokens": "7"}', b'{"input_tokens": -1}', b'{"input_tokens": true}', b"\xff"]
)
def test_an_answer_without_a_count_is_the_servers_fault(body: bytes) -> None:
    """And no other exception."""
    with pytest.raises(ServerFault):
        decode(body, PROVIDERS["anthropic"])


def test_an_error_in_the_body_is_that_error() -> None:
    """Some servers say it with status 200."""
    with pytest.raises(CallError):
        decode(b'{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}', PROVIDERS["anthropic"])
