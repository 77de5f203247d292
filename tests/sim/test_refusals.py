"""What the real servers refuse is refused in their words: every check of both protocols, without a socket."""

from typing import Any

import msgspec
import pytest

from penstock.sim import SimConfig, SimRequest, Simulator
from penstock.sim.plan import Send

OPENAI: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
CLAUDE: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 2000,
    "messages": [{"role": "user", "content": "hello"}],
}
FUNCTION = {"name": "page", "parameters": {"type": "object", "properties": {"who": {"type": "string"}}}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "c1", "type": "function", "function": {"name": "page", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = {**OPEN, "additionalProperties": False}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "page", "input": {}}]}
PAGE = {"name": "page", "input_schema": {"type": "object"}}


def answer(path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    simulator = Simulator(SimConfig())
    encoded = msgspec.json.encode(body)
    plan = simulator.begin(SimRequest("POST", path, {"authorization": "Bearer k", **headers}, encoded), 1e9)
    sent = plan.steps[1]
    assert isinstance(sent, Send)
    return plan.status, msgspec.json.decode(sent.data)


def user(*parts: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def form(**spec: object) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": spec}}


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"model": None}, None, "must provide a model"),
        ({"model": 5}, "model", "expected a string, but got an integer"),
        ({"messages": None}, "messages", "expected an array of objects, but got null"),
        ({"messages": ["hi"]}, "messages[0]", "expected an object"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "got null"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "string or array of objects"),
        (user({"type": "poem"}), "messages[0].content[0].type", "Invalid value: 'poem'"),
        (user({"type": "image_url"}), "messages[0].content[0].image_url.url", "Missing required parameter"),
        ({"messages": [CALLED]}, "messages.[1].role", "did not have response messages: c1"),
        ({"messages": [CALLED, *OPENAI["messages"]]}, "messages.[1].role", "did not have response messages: c1"),
        ({"stream": 1}, "stream", "expected a boolean, but got an integer"),
        ({"max_tokens": True}, "max_tokens", "expected an integer, but got a boolean"),
        ({"n": 0}, "n", "integer below minimum value. Expected a value >= 1"),
        ({"stop": list("abcde")}, "stop", "maximum length 4"),
        ({"stream_options": {}}, "stream_options", "only allowed when 'stream' is enabled"),
        ({"top_logprobs": 2}, "top_logprobs", "only allowed when 'logprobs' is enabled"),
        ({"reasoning_effort": "low"}, "reasoning_effort", "does not reason"),
        ({"model": "o3", "reasoning_effort": "huge"}, "reasoning_effort", "does not support 'huge'"),
        ({"model": "o3", "stop": "x"}, "stop", "not supported with this model"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name", "Missing required parameter"),
        ({"tools": [{"function": {"name": "a b"}}]}, "tools[0].function.name", "does not match pattern"),
        (
            {"tools": [{"function": {"name": "a", "parameters": {"type": "array"}}}]},
            None,
            "Invalid schema for function",
        ),
        ({"tools": [{"function": {**FUNCTION, "strict": True}}]}, None, "'additionalProperties' is required"),
        ({"tools": [TOOL], "tool_choice": "perhaps"}, "tool_choice", "Supported values are"),
        ({"tools": [TOOL], "tool_choice": {"function": {"name": "x"}}}, "tool_choice", "not found in 'tools'"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "Invalid value: 'xml'"),
        (form(schema=CLOSED), "response_format.json_schema.name", "Missing required parameter"),
        (form(name="a b", schema=CLOSED), "response_format.json_schema.name", "does not match pattern"),
        (form(name="a"), "response_format.json_schema.schema", "Missing required parameter"),
        (form(name="a", schema=OPEN, strict=True), "response_format", "'additionalProperties' is required"),
        (form(name="a", schema={**CLOSED, "required": []}, strict=True), "response_format", "Missing 'a'"),
        (form(name="a", schema={"anyOf": [OPEN]}, strict=True), "response_format", "got 'type: \"anyOf\"'"),
        ({"max_completion_tokens": 20_000}, "max_completion_tokens", "supports at most 16384"),
    ],
)
def test_openai_names_the_parameter_that_is_wrong(change: dict[str, Any], param: str | None, words: str) -> None:
    """Every refusal is a 400 with the parameter and the words of the service."""
    status, body = answer("/v1/chat/completions", {**OPENAI, **change})
    assert status == 400
    assert words in body["error"]["message"]
    assert param is None or body["error"]["param"] == param
    assert body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "change",
    [
        {"stop": None, "temperature": None, "tools": None},
        {"messages": [*OPENAI["messages"], CALLED, {"role": "tool", "tool_call_id": "c1", "content": "ok"}]},
        {"tools": [TOOL], "tool_choice": "required", "stop": "x", "seed": 3, "user": "me", "metadata": {}},
        {"response_format": {"type": "text"}, "logit_bias": {}, "prediction": None},
        form(name="a", schema=OPEN),
        {"model": "gpt-5-nano", "temperature": 1, "reasoning_effort": "none"},
        user({"type": "text", "text": "x"}, {"type": "file", "file": {}}),
    ],
)
def test_openai_accepts_what_is_right(change: dict[str, Any]) -> None:
    """Nulls, tool results, every format and plain schemas without strict pass."""
    status, body = answer("/v1/chat/completions", {**OPENAI, **change})
    assert (status, body.get("error")) == (200, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": None}, "model: Field required"),
        ({"model": 5}, "model: Input should be a valid string"),
        ({"model": ""}, "model: String should have at least 1 character"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role: Input should be"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content: Input should be a valid list"),
        (user({"text": "x"}), "messages.0.content.0.type: Field required"),
        (user({"type": "poem"}), "Input tag 'poem'"),
        ({"messages": [*CLAUDE["messages"], USE]}, "without `tool_result` blocks immediately after: t1"),
        ({"messages": [USE, *CLAUDE["messages"]]}, "without `tool_result` blocks immediately after: t1"),
        ({"messages": [*CLAUDE["messages"], {"role": "assistant", "content": "It "}]}, "trailing whitespace"),
        ({"messages": [{"role": "assistant", "content": [{"type": "document"}]}]}, "not permitted in assistant"),
        ({"stop_sequences": [" "]}, "non-whitespace"),
        (user({"type": "text", "text": "x", "cache_control": {"type": "long"}}), "Input tag should be 'ephemeral'"),
        (user({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "2d"}}), "'5m' or '1h'"),
        (user(*[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5), "maximum of 4 blocks"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.custom.name: Field required"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "should match pattern"),
        ({"tools": [{"name": "a"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"name": "a", "input_schema": {"type": "array"}}]}, "Input should be 'object'"),
        ({"tools": [PAGE], "tool_choice": {"type": "maybe"}}, "Input tag 'maybe'"),
        ({"tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
        ({"tools": [PAGE], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "Input should be 'json_schema'"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "schema: Field required"),
        ({"output_config": {"format": {"type": "json_schema", "schema": OPEN}}}, "must be explicitly set to false"),
        ({"thinking": {"type": "loud"}}, "Input tag 'loud'"),
        ({"thinking": {"type": "enabled"}}, "budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "greater than `thinking.budget_tokens`"),
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "tools": [PAGE],
                "tool_choice": {"type": "any"},
            },
            "Thinking may not be enabled when tool_choice forces tool use",
        ),
    ],
)
def test_anthropic_says_where_and_what(change: dict[str, Any], words: str) -> None:
    """Every refusal is a 400 invalid_request_error that names the place."""
    status, body = answer("/v1/messages", {**CLAUDE, **change}, **{"anthropic-version": "2026-10-21"})
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert words in body["error"]["message"]
    assert body["request_id"].startswith("req_")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 2}, "range: 0..1"),
        ({"temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 1024}}, "may only be set to 1"),
    ],
)
def test_the_old_version_checks_its_own_parameters(change: dict[str, Any], words: str) -> None:
    """Under 2023-06-01 temperatures have a range and do not go with thinking."""
    status, body = answer("/v1/messages", {**CLAUDE, **change}, **{"anthropic-version": "2023-06-01"})
    assert (status, words in body["error"]["message"]) == (400, True)


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Be brief.", "metadata": {"user_id": "u"}, "service_tier": "auto", "stop_sequences": ["END"]},
        {"system": [{"type": "text", "text": "x"}], "cache_control": {"type": "ephemeral"}},
        {"tools": [PAGE], "tool_choice": {"type": "none"}, "thinking": {"type": "disabled"}},
        {"output_config": {"effort": "max", "format": {"type": "json_schema", "schema": CLOSED}}},
        user({"type": "image", "source": {}}, {"type": "document", "source": {"data": "abc"}}),
        {"messages": [*CLAUDE["messages"], {"role": "assistant", "content": "It"}]},
    ],
)
def test_anthropic_accepts_what_is_right(change: dict[str, Any]) -> None:
    """System blocks, images, prefill and every option pass."""
    status, body = answer("/v1/messages", {**CLAUDE, **change}, **{"anthropic-version": "2026-10-21"})
    assert (status, body.get("error")) == (200, None)
