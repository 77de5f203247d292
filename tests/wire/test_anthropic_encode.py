"""Requests as Anthropic Messages bodies: hoisted, merged, marked; everything else refused."""

from typing import Any

import msgspec
import pytest

from penstock._wire import anthropic
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

from .streams import ANTHROPIC

USER = (Message("user", "hi"),)
MARK = {"cache_control": {"type": "ephemeral"}}
NEWEST = Provider(name="anthropic", wire="anthropic", auth="bearer", headers={"anthropic-version": "2026-10-21"})


def body(provider: Provider = ANTHROPIC, stream: bool = False, **fields: Any) -> dict[str, Any]:
    """The body of a request."""
    asked = Request(**{"model": "claude-haiku-4-5", "messages": USER, **fields})
    found: dict[str, Any] = msgspec.json.decode(anthropic.encode(asked, provider, stream=stream).body)
    return found


def turns(*given: Message) -> list[dict[str, Any]]:
    """The messages of a body."""
    found: list[dict[str, Any]] = body(messages=given)["messages"]
    return found


def content(*parts: Part) -> Any:
    """The content of one user turn."""
    return turns(Message("user", parts))[0]["content"]


def test_a_plain_request_is_a_plain_body() -> None:
    """max_tokens is demanded by the protocol, so a documented default stands in."""
    assert body() == {
        "model": "claude-haiku-4-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert body(stream=True)["stream"] is True
    assert anthropic.encode(Request(model="m", messages=USER), ANTHROPIC, stream=False).path == "/v1/messages"


def test_every_field_of_a_request_is_written_or_refused() -> None:
    """A field that changes neither the body nor raises would be dropped silently."""
    values: dict[str, Any] = {
        "temperature": 0.5, "top_p": 0.5, "top_k": 5, "stop": ("x",), "seed": 1, "n": 2, "frequency_penalty": 1.0,
        "presence_penalty": 1.0, "logit_bias": {"1": 1.0}, "logprobs": True, "top_logprobs": 1, "max_tokens": 5,
        "tools": (Tool(name="f"),), "tool_choice": "none", "response_format": "json", "reasoning_effort": "low",
        "thinking": Thinking(), "verbosity": "low", "service_tier": "auto", "metadata": {"a": "b"}, "user": "u",
        "prompt_cache": "5m", "prompt_cache_key": "k", "prompt_cache_retention": "24h", "modalities": ("audio",),
        "audio": {"a": 1}, "prediction": {"a": 1}, "store": True, "extra": {"zz": 1},
    }  # fmt: skip
    assert values.keys() | {"model", "messages", "parallel_tool_calls"} == set(Request.__struct_fields__)
    for name, value in values.items():
        try:
            assert body(**{name: value}) != body(), name
        except UnsupportedParameter as error:
            assert error.param == name  # noqa: PT017  the loop says which


@pytest.mark.parametrize("field", [{"n": 1}, {"logprobs": False}, {"store": False}, {"modalities": ("text",)}])
def test_what_only_repeats_the_protocol_is_accepted(field: dict[str, Any]) -> None:
    """One text answer that is not stored is what it always gives."""
    assert body(**field) == body()


def test_parameters_get_their_names_here() -> None:
    """Stop sequences, the user, caching, tiers and effort."""
    found = body(
        temperature=0.2, top_p=0.9, top_k=5, stop=("x",), user="u", prompt_cache="1h", service_tier="auto",
        reasoning_effort="high", response_format=JSONSchema(schema={"type": "object"}), max_tokens=7,
    )  # fmt: skip
    assert (found["temperature"], found["top_p"], found["top_k"], found["max_tokens"]) == (0.2, 0.9, 5, 7)
    assert found["stop_sequences"] == ["x"]
    assert found["metadata"] == {"user_id": "u"}
    assert found["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert found["service_tier"] == "auto"
    output = {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert found["output_config"] == output
    assert body(metadata={"user_id": "u"})["metadata"] == {"user_id": "u"}
    assert body(extra={"container": "c", "max_tokens": 9})["max_tokens"] == 9


def test_the_default_max_tokens_leaves_room_for_thinking_and_fits_the_model() -> None:
    """At most the model's own limit."""
    assert body(thinking=Thinking(mode="enabled", budget_tokens=2000))["max_tokens"] == 6096
    assert body(thinking=Thinking(mode="enabled", budget_tokens=63_000))["max_tokens"] == 64_000
    assert body(model="unheard-of")["max_tokens"] == 4096


def test_thinking_and_effort_none_are_written() -> None:
    """Effort none means not to think."""
    wanted = Thinking(mode="enabled", budget_tokens=2000, display="omitted")
    assert body(thinking=wanted)["thinking"] == {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}
    assert body(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    with pytest.raises(UnsupportedParameter, match="reasoning_effort"):
        body(reasoning_effort="minimal")


def test_tools_and_choices_are_written() -> None:
    """Parallel use is part of the choice here."""
    tools = (Tool(name="f", description="d", strict=True, cache="5m"), Tool(name="g", parameters={"type": "object"}))
    found = body(tools=tools, tool_choice="required", parallel_tool_calls=False)
    empty = {"type": "object", "properties": {}}
    assert found["tools"] == [
        {"name": "f", "description": "d", "input_schema": empty, "strict": True, **MARK},
        {"name": "g", "input_schema": {"type": "object"}},
    ]
    assert found["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert body(tools=tools, tool_choice="g")["tool_choice"] == {"type": "tool", "name": "g"}
    assert body(tools=tools, tool_choice="none", parallel_tool_calls=False)["tool_choice"] == {"type": "none"}
    assert body(tools=tools, parallel_tool_calls=True)["tool_choice"]["disable_parallel_tool_use"] is False


def test_system_messages_are_hoisted() -> None:
    """One plain text stays a string; several, or marked ones, are blocks."""
    found = body(messages=(Message("system", "be brief"), *USER))
    assert (found["system"], len(found["messages"])) == ("be brief", 1)
    found = body(messages=(Message("system", (Text("a", cache="5m"),)), *USER, Message("system", "b")))
    assert found["system"] == [{"type": "text", "text": "a", **MARK}, {"type": "text", "text": "b"}]
    with pytest.raises(UnsupportedParameter, match="system"):
        body(messages=(Message("system", (Image(url="u"),)), *USER))


def test_roles_alternate_and_tool_results_come_first() -> None:
    """Neighbours are merged, empty texts left out."""
    found = turns(
        Message("user", "a"),
        Message("assistant", (Text(""), ToolCall(id="call.1", name="f", arguments=""))),
        Message("user", "wait"),
        Message("tool", (ToolResult(tool_call_id="call.1", content="42", is_error=True, cache="5m"),)),
        Message("assistant", ""),
    )
    assert [turn["role"] for turn in found] == ["user", "assistant", "user"]
    assert found[1]["content"] == [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "42", "is_error": True, **MARK}
    assert found[2]["content"] == [result, {"type": "text", "text": "wait"}]


def test_parts_are_written_in_the_protocols_shapes() -> None:
    """Pictures, documents, and tool results with parts."""
    found = content(
        Text("see", cache="1h"),
        Image(url="https://x"),
        Image(data="QQ==", media_type="image/webp", detail="auto"),
        Document(data="QQ==", title="t", context="c", citations=True, cache="5m"),
        Document(text="plain"),
        Document(url="https://x"),
        Document(file_id="f"),
        Opaque(kind="container_upload", data={"type": "container_upload"}),
    )
    assert found == [
        {"type": "text", "text": "see", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "image", "source": {"type": "url", "url": "https://x"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "QQ=="}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="},
         "title": "t", "context": "c", "citations": {"enabled": True}, **MARK},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
        {"type": "document", "source": {"type": "url", "url": "https://x"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "container_upload"},
    ]  # fmt: skip
    (result,) = content(ToolResult(tool_call_id="a", content=(Text("x"), Image(url="u"))))
    assert [block["type"] for block in result["content"]] == ["text", "image"]


def test_an_answer_goes_back_as_it_came() -> None:
    """Thinking with its signature, citations on their text; what others thought stays behind."""
    parts = (
        Reasoning(text="hm", signature="s"),
        Reasoning(redacted="enc"),
        Reasoning(text="another provider's"),
        Text("a"),
        Opaque(kind="citations", data={"citations": [1]}),
        Refusal("no"),
        Opaque(kind="annotations", data={}),
        ToolCall(id="t", name="f", arguments='{"x": 1}', extra={"caller": {"type": "c"}}),
    )
    (turn,) = turns(Message("assistant", parts))
    assert turn["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "text", "text": "a", "citations": [1]},
        {"type": "text", "text": "no"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}, "caller": {"type": "c"}},
    ]
    assert turns(*USER, Message("assistant", (Opaque(kind="citations", data={}),))) == turns(*USER)


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (Audio(data="QQ=="), "sound"),
        (Image(url="u", detail="low"), "detail"),
        (ToolCall(id="a", name="f", arguments="x", kind="custom"), "custom"),
    ],
)
def test_what_the_protocol_cannot_say_is_refused(part: Part, word: str) -> None:
    """Before anything is sent."""
    with pytest.raises(UnsupportedParameter, match=word):
        content(part)
    with pytest.raises(UnsupportedParameter, match="names of speakers"):
        turns(Message("user", "x", name="bob"))


@pytest.mark.parametrize("arguments", ["{broken", "[1]", '"x"'])
def test_arguments_that_are_no_object_are_an_invalid_request(arguments: str) -> None:
    """The protocol has an object there; guessing would change what the model said."""
    with pytest.raises(InvalidRequest, match="no JSON object"):
        turns(Message("assistant", (ToolCall(id="a", name="f", arguments=arguments),)))


def test_sampling_is_refused_where_the_version_or_the_model_rejects_it() -> None:
    """The first version takes it, the newest not even at its default; some models under neither."""
    sampling: list[dict[str, Any]] = [{"temperature": 1.0}, {"top_p": 0.5}, {"top_k": 3}]
    for field in sampling:
        with pytest.raises(UnsupportedParameter, match="2026-10-21"):
            body(NEWEST, **field)
    with pytest.raises(UnsupportedParameter, match="claude-opus-4-"):
        body(model="claude-opus-4-7", temperature=0.5)
    assert "temperature" not in body(model="claude-opus-4-7", temperature=1.0)


def test_version_and_credential_go_together() -> None:
    """x-api-key with the first version, Bearer where a row says so."""
    assert anthropic.auth_headers(ANTHROPIC, Secret("k")) == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": "k",
    }
    newest = anthropic.auth_headers(NEWEST, Secret("k"))
    assert (newest["authorization"], newest["anthropic-version"]) == ("Bearer k", "2026-10-21")
    assert "x-api-key" not in newest
    assert "x-api-key" not in anthropic.auth_headers(ANTHROPIC, None)


def test_system_messages_stay_in_their_place_where_the_version_takes_them() -> None:
    """The first ones are the system prompt under either; later ones were hoisted, and are turns now."""
    conversation = (
        Message("system", "be brief"),
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("system", "now in German"),
        Message("user", "go on"),
    )
    old = body(messages=conversation)
    assert [part["text"] for part in old["system"]] == ["be brief", "now in German"]
    assert [turn["role"] for turn in old["messages"]] == ["user", "assistant", "user"]
    new = body(NEWEST, messages=conversation)
    assert new["system"] == "be brief"
    assert new["messages"][2] == {"role": "system", "content": "now in German"}


def test_what_the_newest_version_no_longer_takes_is_refused() -> None:
    """Documents in the assistant's turn, and citations on the user's text."""
    page = Message("assistant", (Document(text="words"),))
    cited = Message("user", (Text("a"), Opaque(kind="citations", data={"citations": [1]})))
    for message, word in ((page, "documents"), (cited, "citations")):
        assert body(messages=(*USER, message))["messages"]
        with pytest.raises(UnsupportedParameter, match=f"2026-10-21 takes no {word}"):
            body(NEWEST, messages=(*USER, message))


def test_a_version_of_the_future_is_taken_for_the_newest() -> None:
    """Its own date is what errors say."""
    future = msgspec.structs.replace(NEWEST, headers={"anthropic-version": "2027-01-01"})
    with pytest.raises(UnsupportedParameter, match="2027-01-01 rejects it"):
        body(future, temperature=0.5)
