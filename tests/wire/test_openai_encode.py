"""Requests as Chat Completions bodies: everything that the protocol can say is said, everything else refused."""

from typing import Any

import msgspec
import pytest

from penstock._wire import openai_chat
from penstock._wire.protocol import Provider
from penstock.errors import InvalidRequest, UnsupportedParameter
from penstock.types import (
    Audio,
    Document,
    Image,
    JSONSchema,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Secret,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

from .streams import OPENAI, PLAIN

GATEWAY = Provider(
    name="gateway",
    wire="openai_chat",
    takes=("top_k", "cache_control", "reasoning_details", "reasoning", "reasoning_body", "file_url", "tool_images"),
)
USER = (Message("user", "hi"),)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def body(provider: Provider = OPENAI, stream: bool = False, **fields: Any) -> dict[str, Any]:
    """The body of a request."""
    asked = Request(**{"model": "gpt-4o", "messages": USER, **fields})
    found: dict[str, Any] = msgspec.json.decode(openai_chat.encode(asked, provider, stream=stream).body)
    return found


def messages(*given: Message, provider: Provider = OPENAI) -> list[dict[str, Any]]:
    """The messages of a body."""
    found: list[dict[str, Any]] = body(provider, messages=given)["messages"]
    return found


def content(*parts: Part, provider: Provider = OPENAI) -> Any:
    """The content of one user message."""
    return messages(Message("user", parts), provider=provider)[0]["content"]


def test_a_plain_request_is_a_plain_body() -> None:
    """Nothing is sent that was not asked for."""
    assert body() == {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def test_every_parameter_of_the_protocol_is_written() -> None:
    """Under the protocol's own names."""
    same: dict[str, Any] = {
        "temperature": 0.5, "top_p": 0.9, "seed": 7, "n": 2, "frequency_penalty": 0.1, "presence_penalty": 0.2,
        "logit_bias": {"5": -100.0}, "logprobs": True, "top_logprobs": 3, "parallel_tool_calls": False,
        "verbosity": "low", "service_tier": "flex", "metadata": {"a": "b"}, "user": "u", "prompt_cache_key": "k",
        "prompt_cache_retention": "24h", "audio": {"voice": "v"}, "prediction": {"type": "content"}, "store": False,
        "reasoning_effort": "low",
    }  # fmt: skip
    found = body(**same, max_tokens=9, stop=("x", "y"), modalities=("text", "audio"))
    assert {name: found[name] for name in same} == same
    assert found["max_completion_tokens"] == 9
    assert found["stop"] == ["x", "y"]
    assert found["modalities"] == ["text", "audio"]


def test_every_field_of_a_request_is_written_or_refused() -> None:
    """A field that changes neither the body nor raises would be dropped silently."""
    values: dict[str, Any] = {
        "temperature": 0.5, "top_p": 0.5, "top_k": 5, "stop": ("x",), "seed": 1, "n": 2, "frequency_penalty": 1.0,
        "presence_penalty": 1.0, "logit_bias": {"1": 1.0}, "logprobs": True, "top_logprobs": 1, "max_tokens": 5,
        "tools": (Tool(name="f"),), "tool_choice": "none", "parallel_tool_calls": True, "response_format": "json",
        "reasoning_effort": "low", "thinking": Thinking(), "verbosity": "low", "service_tier": "auto",
        "metadata": {"a": "b"}, "user": "u", "prompt_cache": "5m", "prompt_cache_key": "k",
        "prompt_cache_retention": "24h", "modalities": ("text",), "audio": {"a": 1}, "prediction": {"a": 1},
        "store": True, "extra": {"zz": 1},
    }  # fmt: skip
    assert values.keys() | {"model", "messages"} == set(Request.__struct_fields__)
    for name, value in values.items():
        try:
            assert body(**{name: value}) != body(), name
        except UnsupportedParameter as error:
            assert error.param == name  # noqa: PT017  the loop says which


def test_max_tokens_goes_by_row_and_family() -> None:
    """Reasoning models at OpenAI take max_completion_tokens only."""
    assert body(PLAIN, max_tokens=5)["max_tokens"] == 5
    azure = Provider(name="azure", wire="openai_chat")
    assert body(azure, model="o3-mini", max_tokens=5)["max_completion_tokens"] == 5
    assert body(azure, model="my-deployment", max_tokens=5)["max_tokens"] == 5


def test_streams_ask_for_usage_where_the_server_takes_it() -> None:
    """Mistral refuses stream_options."""
    assert body(stream=True)["stream_options"] == {"include_usage": True}
    found = body(Provider(name="m", wire="openai_chat", stream_usage=False), stream=True)
    assert found["stream"] is True
    assert "stream_options" not in found


def test_extra_is_merged_last() -> None:
    """It wins over everything."""
    found = body(temperature=0.1, extra={"temperature": 0.2, "web_search_options": {}})
    assert found["temperature"] == 0.2
    assert found["web_search_options"] == {}


def test_tools_and_choices_are_written() -> None:
    """A tool without parameters takes an empty object."""
    tools = (Tool(name="f", description="d", parameters=SCHEMA, strict=True), Tool(name="g"))
    found = body(tools=tools, tool_choice="f")
    first, second = (tool["function"] for tool in found["tools"])
    assert first == {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
    assert second == {"name": "g", "parameters": {"type": "object", "properties": {}}}
    assert found["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body(tools=tools, tool_choice="required")["tool_choice"] == "required"


def test_response_formats_are_written() -> None:
    """Text, JSON, and a schema, where the provider has schemas."""
    assert body(response_format="text")["response_format"] == {"type": "text"}
    assert body(response_format="json")["response_format"] == {"type": "json_object"}
    wanted = JSONSchema(schema=SCHEMA, name="place", description="d")
    schema = {"name": "place", "schema": SCHEMA, "description": "d", "strict": True}
    assert body(response_format=wanted)["response_format"] == {"type": "json_schema", "json_schema": schema}
    with pytest.raises(UnsupportedParameter, match="response_format"):
        body(Provider(name="deepseek", wire="openai_chat", json_schema=False), response_format=wanted)


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_system_messages_have_the_role_of_the_row(role: Any) -> None:
    """Servers differ in what they call it, and some have none."""
    row = Provider(name="plain", wire="openai_chat", system_role=role)
    given = (Message("system", "a"), Message("system", (Text("b"), Text("c"))), Message("user", "d"))
    assert [message["role"] for message in messages(*given, provider=row)] == [role, role, "user"]


def test_parts_of_a_user_message_are_written() -> None:
    """Text, pictures, sound and files in the protocol's shapes."""
    anything = Provider(name="openai", wire="openai_chat", families=False)
    found = content(
        Text("see"),
        Image(url="https://x/y.png", detail="low"),
        Image(data="QUJD", media_type="image/jpeg"),
        Audio(data="QQ==", format="mp3"),
        Document(data="QQ==", title="a.pdf"),
        Document(file_id="file-1"),
        Document(text="plain", title="T"),
        provider=anything,
    )
    assert found == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QUJD"}},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "text", "text": "T\n\nplain"},
    ]
    assert content(Text("only")) == "only"
    assert content(Opaque(kind="video_url", data={"type": "video_url"})) == [{"type": "video_url"}]


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (Document(url="https://x"), "document.url"),
        (Document(text="x", citations=True), "citations"),
        (Document(text="x", context="c"), "context"),
        (Text("x", cache="5m"), "cache"),
        (Opaque(kind="server_tool_use", data={}), "server_tool_use"),
        (Opaque(kind="web_search_tool_result", data={}), "web_search_tool_result"),
        (ToolCall(id="a", name="f"), "ToolCall"),
        (Reasoning(text="hm"), "Reasoning"),
        (ToolResult(tool_call_id="a", content=(Image(url="u"),)), "tool result"),
    ],
)
def test_what_the_protocol_cannot_say_is_refused(part: Part, word: str) -> None:
    """Before anything is sent, naming the part."""
    with pytest.raises(UnsupportedParameter, match=word):
        content(part, Text("y"))


def test_an_answer_with_tool_calls_goes_back_as_it_came() -> None:
    """With refusals, custom calls and the provider's own fields; annotations and thoughts stay behind."""
    answer = Message(
        "assistant",
        (
            Reasoning(text="hm"),
            Text("a"),
            Text("b"),
            ToolCall(id="1", name="f", arguments='{"x":1}', extra={"google": 1}),
            ToolCall(id="2", name="sql", arguments="select", kind="custom"),
            Opaque(kind="annotations", data={}),
        ),
        name="bot",
    )
    assert messages(answer) == [
        {
            "role": "assistant",
            "name": "bot",
            "content": "ab",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'},
                 "extra_content": {"google": 1}},
                {"id": "2", "type": "custom", "custom": {"name": "sql", "input": "select"}},
            ],
        }
    ]  # fmt: skip
    assert messages(Message("assistant", (ToolCall(id="1", name="f"),)))[0]["content"] is None
    refused = messages(Message("assistant", (Refusal("no"),)))[0]
    assert (refused["content"], refused["refusal"]) == (None, "no")
    mixed = messages(Message("assistant", (Text("a"), Refusal("no"))))[0]["content"]
    assert mixed == [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]
    spoken = messages(Message("assistant", (Audio(id="au_1", transcript="x"),)))[0]
    assert spoken == {"role": "assistant", "audio": {"id": "au_1"}, "content": None}
    assert messages(Message("assistant", ()))[0]["content"] == ""


def test_tool_results_become_messages_of_their_own() -> None:
    """Before the rest of their message, an error marked in words since the protocol has no flag."""
    found = messages(
        Message(
            "user",
            (
                Text("next"),
                ToolResult(tool_call_id="1", content="42"),
                ToolResult(tool_call_id="2", content="boom", is_error=True),
                ToolResult(tool_call_id="3", content=(Text("a"), Text("b"))),
            ),
        ),
        Message("tool", (ToolResult(tool_call_id="4", content="Error: x", is_error=True),)),
    )
    assert [message["role"] for message in found] == ["tool", "tool", "tool", "user", "tool"]
    assert [message["content"] for message in found] == [
        "42",
        "Error: boom",
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "next",
        "Error: x",
    ]
    with pytest.raises(UnsupportedParameter, match="ToolResult"):
        messages(Message("tool", "42"))


def test_gateways_get_what_their_row_says() -> None:
    """Cache marks, top_k, thinking and reasoning to replay."""
    found = body(GATEWAY, top_k=5, prompt_cache="1h", thinking=Thinking(mode="enabled", budget_tokens=2000))
    assert (found["top_k"], found["cache_control"]) == (5, {"type": "ephemeral", "ttl": "1h"})
    assert found["reasoning"] == {"max_tokens": 2000}
    assert body(GATEWAY, thinking=Thinking(display="omitted"))["reasoning"] == {"enabled": True, "exclude": True}
    assert body(GATEWAY, tools=(Tool(name="f", cache="5m"),))["tools"][0]["cache_control"] == {"type": "ephemeral"}
    marked = content(Text("x", cache="5m"), provider=GATEWAY)
    assert marked == [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    url = content(Document(url="https://x/a.pdf"), provider=GATEWAY)[0]
    assert url["file"]["file_data"] == "https://x/a.pdf"
    thoughts = (Reasoning(text="a", details=({"type": "x"},)), Reasoning(text="b"), Text("c"))
    (written,) = messages(Message("assistant", thoughts), provider=GATEWAY)
    assert written == {"role": "assistant", "reasoning_details": [{"type": "x"}], "reasoning": "b", "content": "c"}


def test_deepseek_thinks_by_its_own_field() -> None:
    """It knows on and off, and nothing between."""
    deepseek = Provider(name="deepseek", wire="openai_chat", takes=("thinking", "reasoning_content"))
    assert body(deepseek, thinking=Thinking(mode="disabled"))["thinking"] == {"type": "disabled"}
    with pytest.raises(UnsupportedParameter, match="thinking"):
        body(deepseek, thinking=Thinking(mode="enabled", budget_tokens=2000))
    (written,) = messages(Message("assistant", (Reasoning(text="hm"), Text("a"))), provider=deepseek)
    assert written["reasoning_content"] == "hm"


@pytest.mark.parametrize("field", [{"top_k": 3}, {"thinking": Thinking()}, {"prompt_cache": "5m"}])
def test_other_protocols_parameters_are_refused(field: dict[str, Any]) -> None:
    """They are never dropped silently."""
    with pytest.raises(UnsupportedParameter) as caught:
        body(**field)
    assert caught.value.param == next(iter(field))
    assert (caught.value.provider, caught.value.model) == ("openai", "gpt-4o")
    with pytest.raises(UnsupportedParameter):
        body(tools=(Tool(name="f", cache="5m"),))


def test_what_json_cannot_say_is_an_invalid_request() -> None:
    """Half a character, a Python object: told in words, before sending."""
    with pytest.raises(InvalidRequest, match="half a character"):
        body(messages=(Message("user", "\ud800"),))
    with pytest.raises(InvalidRequest, match="JSON values"):
        body(extra={"x": object()})


def test_azure_has_its_path_and_query() -> None:
    """The deployment's name is part of the path, quoted."""
    azure = Provider(name="azure", wire="openai_chat", path="/openai/deployments/{model}/chat/completions", query="v=1")
    outbound = openai_chat.encode(Request(model="a b/c", messages=USER), azure, stream=False)
    assert outbound.path == "/openai/deployments/a%20b%2Fc/chat/completions?v=1"
    assert openai_chat.encode(Request(model="m", messages=USER), OPENAI, stream=False).path == "/chat/completions"


@pytest.mark.parametrize(
    ("auth", "header"),
    [("bearer", ("authorization", "Bearer k")), ("api-key", ("api-key", "k")), ("x-api-key", ("x-api-key", "k"))],
)
def test_the_credential_goes_where_the_row_says(auth: Any, header: tuple[str, str]) -> None:
    """And the row's own headers come on top."""
    provider = Provider(name="p", wire="openai_chat", auth=auth, headers={"x-title": "t"})
    found = openai_chat.auth_headers(provider, Secret("k"))
    assert found == {"content-type": "application/json", header[0]: header[1], "x-title": "t"}


def test_without_a_key_no_credential_is_sent() -> None:
    """Local servers need none."""
    assert openai_chat.auth_headers(PLAIN, None) == {"content-type": "application/json"}
    silent = Provider(name="p", wire="openai_chat", auth="none")
    assert openai_chat.auth_headers(silent, Secret("k")) == {"content-type": "application/json"}


def test_tools_of_the_providers_own_are_sent_as_they_are() -> None:
    """A custom tool in either of its shapes; OpenAI runs its own tools over Responses only, and that is said."""
    grammar = {"syntax": "lark", "definition": "start: /a/"}
    flat = {"type": "custom", "name": "sql", "format": {"type": "grammar", **grammar}}
    nested = {"type": "custom", "custom": {"name": "sql", "format": {"type": "grammar", "grammar": grammar}}}
    for native in (flat, nested):
        found = body(tools=(Tool(name="sql", native=native),), tool_choice="sql")
        assert found["tools"] == [nested]
        assert found["tool_choice"] == {"type": "custom", "custom": {"name": "sql"}}
    search = Tool(name="web_search", native={"type": "web_search"})
    assert body(PLAIN, tools=(search,))["tools"] == [{"type": "web_search"}]
    with pytest.raises(UnsupportedParameter, match="openai-responses takes it"):
        body(tools=(search,))


@pytest.mark.parametrize("kind", ["web_search_call", "mcp_list_tools", "computer_call_output", "thinking_tool_result"])
def test_content_of_another_protocol_is_refused(kind: str) -> None:
    """It would be refused by the server, after it was sent."""
    with pytest.raises(UnsupportedParameter, match="another protocol"):
        messages(Message("assistant", (Opaque(kind=kind, data={"type": kind}),)))


def test_what_responses_added_to_an_answer_is_left_out() -> None:
    """Ids and phases of its items say nothing here."""
    call = ToolCall(id="c", name="f", extra={"item_id": "fc_1", "google": {"a": 1}})
    thought = Reasoning(text="hm", details=({"type": "reasoning", "id": "rs_1"},))
    parts = (thought, Opaque(kind="message", data={"id": "msg_1"}), Text("a"), call)
    (found,) = messages(Message("assistant", parts), provider=GATEWAY)
    assert found["content"] == "a"
    assert found["reasoning"] == "hm"
    assert "reasoning_details" not in found
    assert found["tool_calls"][0]["extra_content"] == {"google": {"a": 1}}
