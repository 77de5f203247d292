"""Requests as Responses bodies: everything that the protocol can say is said, everything else refused."""

import functools
from typing import Any

import msgspec
import pydantic
import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from penstock._wire import openai_responses
from penstock._wire.protocol import Provider
from penstock.errors import UnsupportedParameter
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
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

ROW = Provider(name="openai-responses", account="openai", wire="openai_responses")
USER = (Message("user", "hi"),)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}


@functools.cache
def official() -> pydantic.TypeAdapter[Any]:
    """What the official SDK takes for a request."""
    kind: Any = ResponseCreateParamsStreaming | ResponseCreateParamsNonStreaming
    return pydantic.TypeAdapter(kind, config={"extra": "forbid"})


def body(stream: bool = False, **fields: Any) -> dict[str, Any]:
    """The body of a request, which the official SDK's types accept."""
    asked = Request(**{"model": "gpt-4o", "messages": USER, **fields})
    outbound = openai_responses.encode(asked, ROW, stream=stream)
    assert outbound.path == "/responses"
    found: dict[str, Any] = msgspec.json.decode(outbound.body)
    official().validate_python(found)
    return found


def items(*given: Message, **fields: Any) -> list[dict[str, Any]]:
    """The input of a body."""
    found: list[dict[str, Any]] = body(messages=given, **fields)["input"]
    return found


def answer(*parts: Part, **fields: Any) -> list[dict[str, Any]]:
    """The items of one turn of the assistant."""
    return items(Message("assistant", parts), **fields)


def test_a_plain_request_is_a_plain_body() -> None:
    """Nothing is sent that was not asked for."""
    assert body() == {"model": "gpt-4o", "input": [{"role": "user", "content": "hi"}]}


def test_parameters_go_under_their_names_here() -> None:
    """What chat has at the top is nested in text and reasoning."""
    found = body(
        stream=True,
        model="gpt-5.4",
        max_tokens=99,
        parallel_tool_calls=False,
        service_tier="flex",
        metadata={"a": "b"},
        store=False,
        reasoning_effort="low",
        thinking=Thinking(display="summarized"),
        verbosity="low",
        response_format=JSONSchema(schema=SCHEMA, name="n", description="d"),
        extra={"truncation": "auto", "include": ["web_search_call.results"]},
    )
    del found["input"]
    form = {"type": "json_schema", "name": "n", "schema": SCHEMA, "description": "d", "strict": True}
    assert found == {
        "model": "gpt-5.4",
        "max_output_tokens": 99,
        "parallel_tool_calls": False,
        "service_tier": "flex",
        "metadata": {"a": "b"},
        "store": False,
        "text": {"format": form, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content", "web_search_call.results"],
        "stream": True,
        "truncation": "auto",
    }


def test_encrypted_reasoning_is_asked_for_only_where_it_is_needed() -> None:
    """A model that does not reason refuses to be asked, and a server that keeps answers needs none."""
    assert "include" not in body(model="gpt-5", store=True)
    assert "include" not in body(model="gpt-4o", store=False)
    assert "include" not in body(model="unknown", store=False)
    assert body(model="gpt-4o", logprobs=True)["include"] == ["message.output_text.logprobs"]


def test_tools_are_flat_and_say_whether_they_are_strict() -> None:
    """The server takes a function for strict where nothing is said."""
    weather = Tool(name="weather", description="d", parameters=SCHEMA)
    custom = Tool(name="sql", native={"type": "custom", "name": "sql"})
    search = Tool(name="web_search", native={"type": "web_search"})
    found = body(tools=(weather, custom, search), tool_choice="weather")
    assert found["tools"] == [
        {"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA, "strict": False},
        {"type": "custom", "name": "sql"},
        {"type": "web_search"},
    ]
    assert found["tool_choice"] == {"type": "function", "name": "weather"}
    assert body(tools=(custom,), tool_choice="sql")["tool_choice"] == {"type": "custom", "name": "sql"}
    draw = Tool(name="image_generation", native={"type": "image_generation"})
    assert body(tools=(draw,), tool_choice="image_generation")["tool_choice"] == {"type": "image_generation"}
    assert body(tools=(weather,), tool_choice="required")["tool_choice"] == "required"


def test_a_custom_tool_of_chat_is_flattened() -> None:
    """One tool can be written for both wires."""
    grammar = {"syntax": "lark", "definition": "start: /a/"}
    chat = {"type": "custom", "custom": {"name": "a", "format": {"type": "grammar", "grammar": grammar}}}
    found = body(tools=(Tool(name="a", native=chat),))["tools"]
    assert found == [{"type": "custom", "name": "a", "format": {"type": "grammar", **grammar}}]


def test_what_a_user_shows_is_input() -> None:
    """Texts, pictures and files have types of their own."""
    parts = (
        Text("look"),
        Image(url="https://x/a.png", detail="low"),
        Image(data="AAAA"),
        Document(text="words", title="T"),
        Document(url="https://x/a.pdf"),
        Document(file_id="file-1"),
        Document(data="AAAA", title="a.pdf"),
    )
    assert items(Message("user", parts))[0]["content"] == [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "https://x/a.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
        {"type": "input_text", "text": "T\n\nwords"},
        {"type": "input_file", "file_url": "https://x/a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
    ]


def test_an_answer_goes_back_as_its_items() -> None:
    """Texts side by side are one message; notes on an answer say nothing to the server."""
    note = Opaque(kind="annotations", data={"annotations": []})
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    found = answer(Opaque(kind="web_search_call", data=search), Text("a"), note, Text("b"), Refusal("no"))
    assert found == [search, {"role": "assistant", "content": "abno"}]
    known = answer(Opaque(kind="message", data={"id": "msg_1"}), Text("a"), Refusal("no"))[0]
    assert [piece["type"] for piece in known["content"]] == ["output_text", "refusal"]


def test_calls_and_results_are_items_of_their_own() -> None:
    """The result of a custom tool has a type of its own; an error is told in words."""
    calls = (ToolCall(id="c1", name="f", arguments="{}"), ToolCall(id="c2", name="g", arguments="x", kind="custom"))
    results = (ToolResult(tool_call_id="c1", content="no", is_error=True), ToolResult(tool_call_id="c2", content="ok"))
    assert items(Message("assistant", calls), Message("tool", results)) == [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "function_call_output", "call_id": "c1", "output": "Error: no"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"},
    ]
    picture = ToolResult(tool_call_id="c1", content=(Text("see"), Image(url="https://x/a.png")))
    assert items(Message("tool", (picture,)))[0]["output"][1]["type"] == "input_image"


def test_ids_go_back_only_to_a_server_that_keeps_them() -> None:
    """A stateless server looks for an id in vain; reasoning then needs its encrypted content."""
    parts = (
        Reasoning(text="hm", details=(THOUGHT,)),
        ToolCall(id="c1", name="f", extra={"item_id": "fc_1"}),
        Opaque(kind="message", data={"id": "msg_1", "phase": "commentary"}),
        Text("a"),
    )
    stored = answer(*parts)
    assert [item.get("id") for item in stored] == ["rs_1", "fc_1", "msg_1"]
    assert stored[2]["phase"] == "commentary"
    stateless = answer(*parts, store=False)
    assert [item.get("id") for item in stateless] == ["rs_1", None, None]
    assert stateless[2] == {"role": "assistant", "content": "a", "phase": "commentary"}
    bare = {name: value for name, value in THOUGHT.items() if name != "encrypted_content"}
    assert answer(Reasoning(details=(bare,)), Text("a"), store=False) == [{"role": "assistant", "content": "a"}]


def test_reasoning_of_other_protocols_is_left_out() -> None:
    """Neither Anthropic's signatures nor a gateway's details mean anything here."""
    others = (Reasoning(text="hm", signature="s"), Reasoning(details=({"type": "reasoning.text", "text": "hm"},)))
    assert answer(*others, Text("a")) == [{"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("stop", {"stop": ("x",)}),
        ("seed", {"seed": 1}),
        ("top_k", {"top_k": 1}),
        ("n", {"n": 2}),
        ("frequency_penalty", {"frequency_penalty": 0.5}),
        ("logit_bias", {"logit_bias": {"1": 1.0}}),
        ("modalities", {"modalities": ("audio",)}),
        ("prompt_cache", {"prompt_cache": "5m"}),
        ("background", {"extra": {"background": True}}),
        ("thinking", {"thinking": Thinking(mode="enabled", budget_tokens=2048)}),
        ("tools.cache", {"tools": (Tool(name="f", cache="5m"),)}),
        ("cache", {"messages": (Message("user", (Text("a", "5m"),)),)}),
        ("messages[0] (audio)", {"messages": (Message("user", (Audio(data="AA"),)),)}),
        ("messages.name", {"messages": (Message("user", "a", "bob"),)}),
        (
            "messages (thinking_tool_result)",
            {"messages": (Message("assistant", (Opaque(kind="thinking_tool_result", data={}),)),)},
        ),
        ("document.citations", {"messages": (Message("user", (Document(text="a", citations=True),)),)}),
        ("temperature", {"model": "gpt-5", "temperature": 0.2}),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_sent(param: str, fields: dict[str, Any]) -> None:
    """The error names provider, model and parameter."""
    with pytest.raises(UnsupportedParameter) as caught:
        body(**fields)
    assert (caught.value.provider, caught.value.param) == ("openai-responses", param)
    assert caught.value.model
