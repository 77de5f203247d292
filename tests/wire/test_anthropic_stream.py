"""Streams of Anthropic Messages: blocks in any split, usage overwritten field by field, the end announced."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import anthropic
from penstock.errors import CallError, InvalidRequest, OutcomeUnknown, Overloaded, RateLimited, ServerFault
from penstock.types import Choice, Opaque, Reasoning, Text, ToolCall, Usage

from .streams import ANTHROPIC, block, choices, data, error_of, message_end, message_start, read, text_block

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
PING = data({"type": "ping"}, "ping")
THINKING = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "h"},
    {"type": "thinking_delta", "thinking": "m"},
    {"type": "signature_delta", "signature": "sig=="},
)
START = message_start(
    input_tokens=10,
    cache_read_input_tokens=4,
    cache_creation_input_tokens=6,
    cache_creation={"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 5},
    output_tokens=1,
)
STREAM = (
    START
    + PING
    + THINKING
    + text_block(1, "Grüß ", "dich €")
    + block(2, TOOL, *({"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"city":', '"Köln"}')))
    + message_end("tool_use", output_tokens=9, output_tokens_details={"thinking_tokens": 2})
)


def one(body: bytes) -> Choice:
    """The only choice of a stream."""
    (choice,) = choices(body, ANTHROPIC)
    return choice


@pytest.mark.prove(13)
@given(size=st.integers(1, 500), end=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_gives_the_same_chunks(size: int, end: bytes) -> None:
    """Piece size and line ends change nothing."""
    assert read(STREAM.replace(b"\n", end), ANTHROPIC, size)[0] == read(STREAM, ANTHROPIC)[0]


def test_thinking_text_tools_usage_and_stop_come_out() -> None:
    """The plain case."""
    _, decoder = read(STREAM, ANTHROPIC)
    assert one(STREAM) == Choice(
        content=(
            Reasoning(text="hm", signature="sig=="),
            Text("Grüß dich €"),
            ToolCall(id="toolu_1", name="weather", arguments='{"city":"Köln"}'),
        ),
        stop_reason="tool_calls",
        raw_stop_reason="tool_use",
    )
    assert decoder.usage == Usage(input=10, cache_read=4, cache_write_5m=1, cache_write_1h=5, output=7, reasoning=2)
    assert (decoder.id, decoder.served_model, decoder.done) == ("msg_1", "claude-x", True)


@pytest.mark.prove(13)
def test_the_same_message_unstreamed_is_the_same() -> None:
    """Tool calls, signatures and usage do not depend on streaming."""
    message = {
        "type": "message",
        "id": "msg_1",
        "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig=="},
            {"type": "text", "text": "Grüß dich €"},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Köln"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 10, "output_tokens": 9},
    }
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    assert anthropic.decode(body, ANTHROPIC).choices == (one(STREAM),)
    assert choices(body, ANTHROPIC, 3) == (one(STREAM),)


def test_message_delta_overwrites_usage_field_by_field() -> None:
    """Counts that it lacks stay as message_start gave them."""
    _, decoder = read(START + message_end(input_tokens=12, output_tokens=3, cache_creation_input_tokens=8), ANTHROPIC)
    assert decoder.usage == Usage(input=12, cache_read=4, cache_write_5m=3, cache_write_1h=5, output=3)


@pytest.mark.parametrize("cut", range(0, len(STREAM) - 30, 113))
def test_a_stream_without_message_stop_has_an_unknown_outcome(cut: int) -> None:
    """Wherever it is cut, and the usage so far goes with the error."""
    _, error = error_of(STREAM[:cut], ANTHROPIC)
    assert isinstance(error, OutcomeUnknown)
    assert "before message_stop" in error.message or "before its first event" in error.message
    assert error.usage is None or error.usage.input == 10


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", Overloaded),
        ("rate_limit_error", RateLimited),
        ("api_error", ServerFault),
        ("invalid_request_error", InvalidRequest),
    ],
)
@pytest.mark.parametrize("size", [0, 1])
def test_an_error_event_comes_after_the_chunks_before_it(kind: str, expected: type, size: int) -> None:
    """The error's type decides the class; the HTTP status was 200."""
    body = data({"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "req_1"}, "error")
    chunks, error = error_of(START + text_block(0, "a") + body, ANTHROPIC, size)
    assert [chunk.text for chunk in chunks if chunk.kind == "text"] == ["a"]
    assert isinstance(error, expected)
    assert isinstance(error, CallError)
    assert error.request_id == "req_1"
    assert error.status is None


def test_a_second_message_start_is_ignored() -> None:
    """Proxies splice streams; the first id and usage hold."""
    _, decoder = read(START + START.replace(b"msg_1", b"msg_2") + message_end(output_tokens=2), ANTHROPIC)
    assert decoder.id == "msg_1"


@pytest.mark.prove(13)
@pytest.mark.parametrize(
    ("start", "pieces", "expected"),
    [
        ({}, [], "{}"),
        ({}, [""], "{}"),
        ({"a": 1}, [], '{"a": 1}'),
        ({"a": 1}, ['{"b": 2}'], '{"b": 2}'),
    ],
)
def test_tool_input_comes_from_the_deltas_or_the_start(start: object, pieces: list[str], expected: str) -> None:
    """Empty means {}; a start that has it all is used where no deltas follow."""
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    (call,) = one(START + block(0, {**TOOL, "input": start}, *deltas) + message_end("tool_use")).content
    assert isinstance(call, ToolCall)
    assert call.arguments == expected


def test_a_programmatic_caller_goes_with_the_call() -> None:
    """It has to be sent back; a direct one says nothing."""
    caller = {"type": "code_execution", "tool_id": "srv_1"}
    (call,) = one(START + block(0, {**TOOL, "caller": caller}) + message_end("tool_use")).content
    assert call == ToolCall(id="toolu_1", name="weather", extra={"caller": caller})
    (call,) = one(START + block(0, {**TOOL, "caller": {"type": "direct"}}) + message_end("tool_use")).content
    assert call == ToolCall(id="toolu_1", name="weather")


def test_what_only_the_provider_understands_is_kept_whole() -> None:
    """Server tools with their streamed input, their results, compaction, redacted thinking."""
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    body = (
        START
        + block(0, search, {"type": "input_json_delta", "partial_json": '{"query":"x"}'})
        + block(1, result)
        + block(2, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "su"},
                {"type": "compaction_delta", "content": "m"})
        + block(3, {"type": "redacted_thinking", "data": "enc"})
        + block(4, {**search, "id": "t"}, {"type": "input_json_delta", "partial_json": '{"cut'})
        + message_end()
    )  # fmt: skip
    assert one(body).content == (
        Opaque(kind="server_tool_use", data={**search, "input": {"query": "x"}}),
        Opaque(kind="web_search_tool_result", data=result),
        Opaque(kind="compaction", data={"type": "compaction", "content": "sum"}),
        Reasoning(redacted="enc"),
        Opaque(kind="server_tool_use", data={**search, "id": "t", "input": '{"cut'}),
    )


def test_citations_follow_their_text() -> None:
    """As a part of their own, so that they can be sent back."""
    cited: list[dict[str, Any]] = [
        {"type": "text_delta", "text": "a"},
        {"type": "citations_delta", "citation": {"cited_text": "x"}},
    ]
    body = START + block(0, {"type": "text", "text": "", "citations": []}, *cited) + text_block(1, "b") + message_end()
    notes = Opaque(kind="citations", data={"citations": [{"cited_text": "x"}]})
    assert one(body).content == (Text("a"), notes, Text("b"))


def test_blocks_may_begin_with_content() -> None:
    """A proxy may put text into the start."""
    body = START + block(0, {"type": "thinking", "thinking": "h"}) + block(1, {"type": "text", "text": "a"})
    assert one(body + message_end()).content == (Reasoning(text="h"), Text("a"))


def test_lost_starts_and_stops_lose_no_text() -> None:
    """Deltas without a start, blocks without a stop, and a start in place of a stop."""
    orphan = data({"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "a"}})
    empty = data({"type": "content_block_delta", "index": 7})
    begun = data({"type": "content_block_start", "index": 0, "content_block": TOOL})
    again = data({"type": "content_block_start", "index": 0, "content_block": {**TOOL, "id": "toolu_2"}})
    lost = data({"type": "content_block_delta", "index": 8, "delta": {"type": "signature_delta", "signature": "s"}})
    stray = data({"type": "content_block_stop", "index": 9})
    choice = one(START + orphan + empty + lost + begun + again + stray + message_end("tool_use"))
    assert [part.id for part in choice.content if isinstance(part, ToolCall)] == ["toolu_1", "toolu_2"]
    assert choice.content[0] == Text("a")


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "context_length"),
        ("pause_turn", "paused"),
        ("refusal", "refusal"),
        ("something_new", "other"),
        (None, "unknown"),
    ],
)
def test_stop_reasons_are_normalised(raw: str | None, normal: str) -> None:
    """By the table at the top of the wire; the provider's word stays beside it."""
    choice = one(START + text_block(0, "a") + message_end(raw))
    assert (choice.stop_reason, choice.raw_stop_reason) == (normal, raw)


def test_data_without_event_lines_is_enough() -> None:
    """The type inside decides."""
    lines = [line for line in STREAM.split(b"\n") if not line.startswith(b"event:")]
    assert one(b"\n".join(lines)) == one(STREAM)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', Overloaded),
        (b"<html>502</html>", ServerFault),
        (START + b"data: {broken\n\n", ServerFault),
        (b"", OutcomeUnknown),
    ],
)
def test_what_is_no_stream_raises(body: bytes, expected: type) -> None:
    """A JSON error, a web page, broken JSON, and nothing at all."""
    assert isinstance(error_of(body, ANTHROPIC)[1], expected)


def test_a_failed_decoder_keeps_failing() -> None:
    """The error is raised by every later call."""
    decoder = anthropic.decoder(ANTHROPIC)
    decoder.feed(START + b"data: {broken\n\n")
    assert isinstance(decoder.failure, ServerFault)
    with pytest.raises(ServerFault):
        decoder.feed(b"x")
    with pytest.raises(ServerFault):
        decoder.finish()


def test_the_event_line_stands_in_for_a_missing_type() -> None:
    """Some gateways leave the type out of the data."""
    piece = {"index": 0, "delta": {"type": "text_delta", "text": "b"}}
    begun = data({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}})
    assert one(START + begun + data(piece, "content_block_delta") + message_end()).content == (Text("ab"),)


def test_an_error_in_the_last_unended_event_counts() -> None:
    """Its blank line may be missing."""
    body = START + b'data: {"type":"error","error":{"type":"overloaded_error","message":"m"}}'
    assert isinstance(error_of(body, ANTHROPIC)[1], Overloaded)


def test_nothing_after_message_stop_counts() -> None:
    """Also not a [DONE] that a gateway adds."""
    assert one(STREAM + b"data: [DONE]\n\n" + text_block(5, "late")) == one(STREAM)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "index", "delta", "content_block", "message", "usage", "text", "input", "citations", "thinking",
         "partial_json", "stop_reason", "input_tokens", "cache_creation", "id", "name", "caller"]), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip
KINDS = st.sampled_from(
    [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
)


@given(st.lists(st.tuples(KINDS, st.dictionaries(st.sampled_from(
    ["index", "delta", "content_block", "message", "usage", "error"]), JSON, max_size=3)), max_size=4))  # fmt: skip
def test_misshapen_json_raises_nothing_but_call_errors(values: list[tuple[str, dict[str, object]]]) -> None:
    """Any JSON where the protocol's belongs."""
    _, error = error_of(b"".join(data({"type": kind, **value}) for kind, value in values), ANTHROPIC)
    assert error is None or isinstance(error, CallError)
