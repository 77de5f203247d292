"""Cohere Chat v2: what goes out, what comes back, whole and in any split, and vectors and rankings."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import cohere, cohere_embeddings, cohere_rerank, registry
from penstock._wire.protocol import Provider
from penstock.embeddings import EmbedRequest
from penstock.errors import CallError, OutcomeUnknown, ServerFault, UnsupportedParameter
from penstock.reranking import Ranked, RerankRequest
from penstock.types import (
    Audio,
    Choice,
    Document,
    Image,
    JSONSchema,
    Message,
    Opaque,
    Reasoning,
    Request,
    Secret,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

from .streams import choices, data, error_of, read

COHERE = Provider(name="cohere", wire="cohere", base_url="https://x.example", limits="cohere", embeddings="cohere")
PLAN = {"type": "tool_plan"}
CITED = {"start": 0, "end": 4, "text": "Grüß", "sources": [{"type": "document", "id": "doc-0"}]}
WEATHER = Tool(name="weather", description="now", parameters={"type": "object", "properties": {"city": {}}})


def event(kind: str, **fields: Any) -> bytes:
    return data({"type": kind, **fields}, kind)


def said(kind: str, index: int | None = None, **message: Any) -> bytes:
    place = {} if index is None else {"index": index}
    return event(kind, **place, delta={"message": message})


def called(index: int, id: str, name: str, *pieces: str) -> bytes:
    begun = {"id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    middle = [said("tool-call-delta", index, tool_calls={"function": {"arguments": piece}}) for piece in pieces]
    return said("tool-call-start", index, tool_calls=begun) + b"".join(middle) + event("tool-call-end", index=index)


def end(reason: str | None = "COMPLETE", **fields: Any) -> bytes:
    used = {
        "billed_units": {"input_tokens": 7.0, "output_tokens": 5.0},
        "tokens": {"input_tokens": 69, "output_tokens": 6},
    }
    return event("message-end", delta={"finish_reason": reason, "usage": used, **fields})


START = event("message-start", id="reply-1", delta={"message": {"role": "assistant", "content": []}})
STREAM = (
    START
    + said("content-start", 0, content={"type": "thinking", "thinking": ""})
    + said("content-delta", 0, content={"thinking": "h"})
    + said("content-delta", 0, content={"thinking": "m"})
    + event("content-end", index=0)
    + said("content-start", 1, content={"type": "text", "text": ""})
    + said("content-delta", 1, content={"text": "Grüß "})
    + said("content-delta", 1, content={"text": "dich €"})
    + event("content-end", index=1)
    + said("citation-start", 0, citations=CITED)
    + event("citation-end", index=0)
    + said("tool-plan-delta", tool_plan="I look")
    + said("tool-plan-delta", tool_plan=" it up.")
    + called(0, "w_1", "weather", '{"city":', '"Köln"}')
    + called(1, "w_2", "clock")
    + end("TOOL_CALL")
    + b"data: [DONE]\n\n"
)


def sent(request: Request, *, stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(cohere.encode(request, COHERE, stream=stream).body)
    return body


def request(*messages: Message, **options: Any) -> Request:
    return Request(model="command-a-03-2025", messages=messages or (Message("user", "hi"),), **options)


# -- streams


@pytest.mark.prove(13)
@given(size=st.integers(1, 400), line=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_gives_the_same_chunks(size: int, line: bytes) -> None:
    """Piece size and line ends change nothing."""
    assert read(STREAM.replace(b"\n", line), COHERE, size)[0] == read(STREAM, COHERE)[0]


def test_everything_of_a_stream_comes_out() -> None:
    """Thoughts, text, a plan, calls, citations, what is billed, and the stop."""
    _, decoder = read(STREAM, COHERE)
    (choice,) = choices(STREAM, COHERE)
    assert choice == Choice(
        content=(
            Reasoning(text="hm"),
            Text("Grüß dich €"),
            Reasoning(text="I look it up.", details=(PLAN,)),
            ToolCall(id="w_1", name="weather", arguments='{"city":"Köln"}'),
            ToolCall(id="w_2", name="clock", arguments="{}"),
            Opaque(kind="cohere_citations", data={"citations": [CITED]}),
        ),
        stop_reason="tool_calls",
        raw_stop_reason="TOOL_CALL",
    )
    assert decoder.usage == Usage(input=7, output=5)
    assert (decoder.id, decoder.done) == ("reply-1", True)


def test_the_end_is_announced_and_done_may_be_missing() -> None:
    """message-end is the last word; without it the answer may be cut off."""
    assert choices(STREAM.removesuffix(b"data: [DONE]\n\n"), COHERE) == choices(STREAM, COHERE)
    cut = STREAM[: STREAM.index(b"event: message-end")]
    assert isinstance(error_of(cut, COHERE)[1], OutcomeUnknown)


def test_an_error_at_the_end_is_one() -> None:
    """With its words, and without what looks like a key."""
    _, failed = error_of(START + end("ERROR", error="model crashed, key sk-abcdefghij"), COHERE)
    assert isinstance(failed, ServerFault)
    assert "model crashed" in failed.message
    assert "abcdefghij" not in failed.message


def test_log_probabilities_are_gathered() -> None:
    """One after the other, under the choice."""
    piece = {"text": "a", "token_ids": [1], "logprobs": [-0.1]}
    body = (
        START + event("content-delta", index=0, delta={"message": {"content": {"text": "a"}}}, logprobs=piece) + end()
    )
    (choice,) = choices(body, COHERE)
    assert choice.logprobs == {"content": [piece]}


@given(st.binary(max_size=200), st.integers(0, 400))
def test_nothing_but_call_errors_is_raised(noise: bytes, at: int) -> None:
    """Whatever a server sends."""
    body = STREAM[:at] + noise + STREAM[at:]
    for reading in (lambda: choices(body, COHERE), lambda: cohere.decode(body, COHERE)):
        with contextlib.suppress(CallError):
            reading()


# -- whole answers


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("ERROR", "error"),
        ("TIMEOUT", "error"),
        ("WHATEVER", "other"),
        (None, "unknown"),
    ],
)
def test_stop_reasons(reason: str | None, stop: str) -> None:
    """In our words, the provider's own kept."""
    message = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    reply = cohere.decode(json.dumps({"id": "x", "message": message, "finish_reason": reason}).encode(), COHERE)
    assert (reply.choices[0].stop_reason, reply.choices[0].raw_stop_reason) == (stop, reason)
    assert reply.usage is None


def test_usage_is_what_is_billed() -> None:
    """And what was counted, where nothing is said of the bill; thoughts are part of the output."""

    def usage(**told: Any) -> Usage | None:
        body = {"message": {"content": []}, "finish_reason": "COMPLETE", "usage": told}
        return cohere.decode(json.dumps(body).encode(), COHERE).usage

    counted = {"input_tokens": 69, "output_tokens": 9, "reasoning_tokens": 4}
    assert usage(billed_units={"input_tokens": 7, "output_tokens": 8}, tokens=counted, cached_tokens=64) == Usage(
        input=7, output=4, reasoning=4
    )
    assert usage(tokens=counted) == Usage(input=69, output=5, reasoning=4)
    assert usage(billed_units={"search_units": 1}) is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ServerFault),
        (b"<html>busy</html>", ServerFault),
        (b'{"id": "x", "message": "no"}', ServerFault),
        (b'{"error": {"code": 503, "message": "overloaded"}}', CallError),
        (b"[]", ServerFault),
    ],
)
def test_what_is_no_answer_is_an_error(body: bytes, kind: type[Exception]) -> None:
    """Also inside a 200."""
    with pytest.raises(kind):
        cohere.decode(body, COHERE)


# -- requests


def test_a_conversation_goes_out_in_cohere_words() -> None:
    """And an answer goes back as it came: plan, thoughts, calls, citations."""
    (choice,) = choices(STREAM, COHERE)
    messages = (
        Message("system", "be brief"),
        Message("user", (Document(text="a log", title="log"), Text("what?"), Image(url="https://x.example/a.png"))),
        Message("assistant", choice.content),
        Message(
            "tool", (ToolResult(tool_call_id="w_1", content="sunny"), ToolResult(tool_call_id="w_2", is_error=True))
        ),
        Message("user", "and?"),
    )
    body = sent(Request(model="command-a-plus-05-2026", messages=messages, tools=(WEATHER,)), stream=True)
    assert body["stream"] is True
    assert body["documents"] == [{"id": "doc-0", "data": {"text": "a log", "title": "log"}}]
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what?"},
                {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Grüß dich €"}],
            "tool_plan": "I look it up.",
            "tool_calls": [
                {"id": "w_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}},
                {"id": "w_2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
            ],
            "citations": [CITED],
        },
        {"role": "tool", "tool_call_id": "w_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "w_2", "content": "Error: "},
        {"role": "user", "content": "and?"},
    ]


def test_results_may_be_texts_and_documents() -> None:
    """A failure is said in words; a picture cannot be."""
    call = Message("assistant", (ToolCall(id="a", name="b"),))

    def content(*parts: Any, **more: Any) -> Any:
        result = ToolResult(tool_call_id="a", content=parts, **more)
        return sent(request(call, Message("tool", (result,))))["messages"][1]["content"]

    found = Document(text="x", title="t")
    assert content(Text("y"), found) == [
        {"type": "text", "text": "y"},
        {"type": "document", "document": {"data": {"text": "x", "title": "t"}}},
    ]
    assert content(Text("y"), is_error=True)[0] == {"type": "text", "text": "Error:"}
    with pytest.raises(UnsupportedParameter):
        content(Image(url="https://x.example/a.png"))


def test_parameters_have_their_names() -> None:
    """Common ones by ours, the rest through extra, which wins."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    body = sent(
        request(
            max_tokens=9,
            temperature=0.1,
            top_p=0.5,
            top_k=3,
            seed=1,
            frequency_penalty=0.2,
            presence_penalty=0.3,
            logprobs=True,
            stop=("x",),
            response_format=JSONSchema(schema=schema),
            thinking=Thinking(mode="enabled", budget_tokens=2000),
            extra={"safety_mode": "STRICT", "k": 4},
        )
    )
    del body["messages"]
    assert body == {
        "model": "command-a-03-2025",
        "max_tokens": 9,
        "temperature": 0.1,
        "p": 0.5,
        "k": 4,
        "seed": 1,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.3,
        "logprobs": True,
        "stop_sequences": ["x"],
        "response_format": {"type": "json_object", "json_schema": schema},
        "thinking": {"type": "enabled", "token_budget": 2000},
        "safety_mode": "STRICT",
    }


def test_tools_are_forced_as_far_as_can_be_said() -> None:
    """All of them, none, or the only one there is."""
    other = Tool(name="other")
    assert sent(request(tools=(WEATHER,), tool_choice="weather"))["tool_choice"] == "REQUIRED"
    assert sent(request(tools=(WEATHER, other), tool_choice="required"))["tool_choice"] == "REQUIRED"
    assert sent(request(tools=(WEATHER,), tool_choice="none"))["tool_choice"] == "NONE"
    assert "tool_choice" not in sent(request(tools=(WEATHER,), tool_choice="auto"))
    assert sent(request(tools=(Tool(name="a", strict=True), other)))["strict_tools"] is True


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"n": 2}, "n"),
        ({"store": True}, "store"),
        ({"user": "me"}, "user"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"modalities": ("audio",)}, "modalities"),
        ({"thinking": Thinking()}, "thinking"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"tools": (Tool(name="a", cache="5m"),)}, "tools.cache"),
        ({"tools": (Tool(name="a", strict=True), Tool(name="b", strict=False))}, "tools.strict"),
        ({"tools": (Tool(name="search", native={"type": "web_search"}),)}, "tools"),
        ({"messages": (Message("user", (Audio(data=""),)),)}, "messages[0] (audio)"),
        ({"messages": (Message("user", "x", name="me"),)}, "messages.name"),
        ({"messages": (Message("user", (Text("x", cache="5m"),)),)}, "cache"),
        ({"messages": (Message("user", (Document(file_id="f"),)),)}, "messages (document)"),
        ({"messages": (Message("user", (Opaque(kind="server_tool_use", data={}),)),)}, "messages (server_tool_use)"),
        ({"messages": (Message("user", (Document(text="a"),)),), "response_format": "json"}, "response_format"),
    ],
)
def test_what_cannot_be_said_is_refused(options: dict[str, Any], name: str) -> None:
    """Naming the parameter."""
    fields: dict[str, Any] = {"model": "command-a-03-2025", "messages": (Message("user", "hi"),), **options}
    with pytest.raises(UnsupportedParameter) as caught:
        cohere.encode(Request(**fields), COHERE, stream=False)
    assert caught.value.param == name


def test_the_key_is_a_bearer() -> None:
    """In a header and nowhere else."""
    assert cohere.auth_headers(COHERE, Secret("k"))["authorization"] == "Bearer k"
    assert cohere.encode(request(), COHERE, stream=False).path == "/v2/chat"


# -- vectors and rankings


def test_texts_go_out_for_a_purpose_and_are_not_cut_off() -> None:
    """And vectors come back in either of the two shapes."""
    asked = EmbedRequest(
        model="embed-v4.0",
        messages=(),
        texts=("a", "b"),
        input_type="search_query",
        dimensions=2,
        extra={"priority": 1},
    )
    outbound = cohere_embeddings.encode(asked, COHERE, stream=False)
    assert outbound.path == "/v2/embed"
    assert json.loads(outbound.body) == {
        "model": "embed-v4.0",
        "input_type": "search_query",
        "texts": ["a", "b"],
        "embedding_types": ["float"],
        "truncate": "NONE",
        "output_dimension": 2,
        "priority": 1,
    }
    for vectors in ({"float": [[1.0, 0.5], [0.5, 1]]}, [[1.0, 0.5], [0.5, 1]]):
        body = {"id": "x", "embeddings": vectors, "meta": {"billed_units": {"input_tokens": 3}}}
        found = cohere_embeddings.decode(json.dumps(body).encode(), COHERE)
        assert (found.size, list(found.floats), found.usage) == (2, [1.0, 0.5, 0.5, 1.0], Usage(input=3))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"embeddings": {}}', b'{"embeddings": {"float": [[1], [1, 2]]}}', b'{"embeddings": [[]]}']
)
def test_what_holds_no_vectors_is_an_error(body: bytes) -> None:
    """Of the server."""
    with pytest.raises(ServerFault):
        cohere_embeddings.decode(body, COHERE)


def test_a_ranking_comes_by_places() -> None:
    """With the units that are billed; what was not asked for is an error."""
    asked = RerankRequest(model="r", messages=(), query="q", texts=("a", "b", "c"), top_n=2, max_tokens_per_doc=9)
    outbound = cohere_rerank.encode(asked, COHERE, stream=False)
    assert outbound.path == "/v2/rerank"
    assert json.loads(outbound.body) == {
        "model": "r",
        "query": "q",
        "documents": ["a", "b", "c"],
        "top_n": 2,
        "max_tokens_per_doc": 9,
    }

    def decoded(*places: int) -> cohere_rerank.Reranked:
        results = [{"index": place, "relevance_score": 0.5} for place in places]
        body = {"id": "x", "results": results, "meta": {"billed_units": {"search_units": 1.0}}}
        return cohere_rerank.decode(json.dumps(body).encode(), COHERE)

    found = decoded(2, 0)
    found.check_count(asked)
    assert (found.results, found.search_units) == ((Ranked(2, 0.5), Ranked(0, 0.5)), 1)
    for places in ((2, 2), (2, 3), (2,)):
        with pytest.raises(ServerFault):
            decoded(*places).check_count(asked)
    with pytest.raises(ServerFault):
        cohere_rerank.decode(b'{"results": [{"index": "a"}]}', COHERE)


def test_the_rows_say_who_ranks() -> None:
    """Cohere does; others refuse before anything is sent."""
    rows = registry.parse('[providers.a]\nwire = "cohere"\nbase_url = "https://a.example"\nrerank = "cohere"', "x")
    cohere_rerank.check(rows["a"], "m")
    with pytest.raises(UnsupportedParameter, match="offers no ranking"):
        cohere_rerank.check(COHERE, "m")
