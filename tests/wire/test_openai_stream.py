"""Streams of Chat Completions: every mischief of the servers that speak it, under any split."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._text import sse
from penstock._wire import openai_chat
from penstock.errors import (
    CallError,
    ContentFiltered,
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    ServerFault,
)
from penstock.types import Chunk, Reasoning, Text, ToolCall

from .streams import ANTHROPIC, DONE, OPENAI, choices, data, delta, error_of, read, tool, usage

HELLO = delta(role="assistant", content="") + delta(content="Grüß ") + delta(content="dich €") + delta("stop")
TWO_CALLS = (
    delta(content="Let me see.")
    + tool(0, "call_a", "weather", "")
    + tool(0, arguments='{"city":')
    + tool(0, arguments='"Köln"}')
    + tool(1, "call_b", "time", "{}")
    + delta("tool_calls")
)
PARTS = (
    delta(reasoning_content="hm")
    + HELLO
    + TWO_CALLS
    + data({"choices": [], "usage": None})
    + b": keepalive\n\n"
    + usage()
    + DONE
)


def calls(body: bytes) -> list[tuple[str, str, str]]:
    """The tool calls of the first choice."""
    (choice, *_) = choices(body + delta("tool_calls") + DONE)
    return [(part.id, part.name, part.arguments) for part in choice.content if isinstance(part, ToolCall)]


@pytest.mark.prove(13)
@given(size=st.integers(1, 400), end=st.sampled_from([b"\n", b"\r\n", b"\r"]), bom=st.booleans())
def test_any_split_gives_the_same_chunks(size: int, end: bytes, bom: bool) -> None:
    """Piece size, line ends and a BOM change nothing."""
    body = (b"\xef\xbb\xbf" if bom else b"") + PARTS.replace(b"\n", end)
    assert read(body, size=size)[0] == read(PARTS)[0]


def test_text_reasoning_tools_usage_and_stop_come_out() -> None:
    """The plain case."""
    chunks, decoder = read(PARTS)
    (choice,) = choices(PARTS)
    assert choice.content == (
        Reasoning(text="hm"),
        Text("Grüß dich €Let me see."),
        ToolCall(id="call_a", name="weather", arguments='{"city":"Köln"}'),
        ToolCall(id="call_b", name="time", arguments="{}"),
    )
    assert choice.stop_reason == "tool_calls"
    assert (decoder.id, decoder.served_model, decoder.done) == ("chatcmpl-1", "gpt-x-2026", True)
    assert decoder.usage is not None
    assert (decoder.usage.input, decoder.usage.output) == (3, 5)
    assert [chunk.kind for chunk in chunks][-2:] == ["usage", "stop"]


def test_indexes_never_go_back() -> None:
    """Text after a tool call is a new part."""
    body = delta(content="a") + tool(0, "i", "f", "{}") + delta(content="b") + delta("stop") + DONE
    indexes = [chunk.index for chunk in read(body)[0] if chunk.kind in {"text", "tool_call"}]
    assert indexes == [0, 1, 2]


@pytest.mark.parametrize("cut", range(0, len(PARTS), 97))
def test_a_cut_stream_is_never_taken_for_a_whole_one(cut: int) -> None:
    """Before the first finish_reason every cut raises OutcomeUnknown, and nothing but CallError ever comes."""
    _, error = error_of(PARTS[:cut])
    if b'"finish_reason": "stop"' not in PARTS[:cut]:
        assert isinstance(error, OutcomeUnknown)
        assert "ended" in str(error)
    assert error is None or isinstance(error, CallError)


def test_a_missing_done_is_fine_after_a_finish_reason() -> None:
    """The end of the bytes ends the stream, also inside the last event's blank line."""
    assert choices(HELLO)[0].stop_reason == "stop"
    assert choices(HELLO.rstrip())[0].stop_reason == "stop"


def test_an_event_torn_at_the_end_does_not_undo_a_whole_answer() -> None:
    """After a finish_reason the torn rest is dropped; before it, the answer may be cut."""
    assert choices(HELLO + usage()[:-9])[0].stop_reason == "stop"
    _, error = error_of(delta(content="a") + delta("stop")[:-9])
    assert isinstance(error, OutcomeUnknown)
    _, error = error_of(delta(content="a") + b'data: {"error": {"message": "m", "code": 429}}')
    assert isinstance(error, RateLimited)


def test_one_choice_that_ended_does_not_make_the_others_whole() -> None:
    """Where several were asked for, each must have said why it stops."""
    one = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'
    two = b'data: {"id": "c", "choices": [{"index": 1, "delta": {"content": "b"}}]}\n\n'
    _, error = error_of(one + two)
    assert isinstance(error, OutcomeUnknown)
    assert len(choices(one + two.replace(b'"b"}', b'"b"}, "finish_reason": "stop"'))) == 2


def test_an_endless_event_is_the_servers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser's bound becomes an error of its class, on either wire."""
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    for provider in (OPENAI, ANTHROPIC):
        _, error = error_of(b"data: " + b"x" * 200, provider)
        assert isinstance(error, ServerFault)
        assert "larger than 100 bytes" in error.message


def test_a_reported_cost_is_kept() -> None:
    """OpenRouter sends it with the usage."""
    assert read(HELLO + usage(cost=0.5) + DONE)[1].cost_nano == 500_000_000


def test_whatever_keys_reasoning_details_have_they_merge() -> None:
    """An index that is no number is a key like another."""
    (choice,) = choices(delta(reasoning_details=[{"index": {"a": 1}, "data": "x"}]) + delta("stop"))
    assert choice.content == (Reasoning(details=({"index": {"a": 1}, "data": "x"},)),)


def test_done_without_finish_reason_ends_unknown() -> None:
    """Ollama sends null on complete answers."""
    assert choices(delta(content="a") + DONE)[0].stop_reason == "unknown"
    assert choices(tool(0, "a", "f", "{}") + DONE)[0].stop_reason == "tool_calls"


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"upstream connect error"])
def test_a_stream_without_events_has_an_unknown_outcome(body: bytes) -> None:
    """It may have been paid, so it is not a success."""
    _, error = error_of(body)
    assert isinstance(error, OutcomeUnknown)
    assert "before its first event" in error.message


def test_the_first_finish_reason_wins_and_reading_goes_on() -> None:
    """Usage, content and a second reason may follow."""
    body = delta(content="a") + delta("length") + delta("stop") + delta(content="b") + usage() + DONE
    chunks, decoder = read(body)
    assert "".join(chunk.text for chunk in chunks if chunk.kind == "text") == "ab"
    assert choices(body)[0].stop_reason == "length"
    assert decoder.usage is not None


@pytest.mark.prove(13)
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (tool(None, "a", "f", "{}") + tool(None, "b", "g", "[]"), [("a", "f", "{}"), ("b", "g", "[]")]),
        (tool(None, "a", "f", "{") + tool(None, arguments="}"), [("a", "f", "{}")]),
        (tool(None, "a", "f", "{") + tool(None, None, "f", "}"), [("a", "f", "{}")]),
        (tool(0, None, "f", "{") + tool(0, None, "f", "}") + tool(0, "a"), [("a", "f", "{}")]),
        (tool(0, "a", "f", "{}") + tool(None, None, "g", "{}"), [("a", "f", "{}"), ("call_hatcmpl1_0_1", "g", "{}")]),
        (tool(None, "a", "f", "{") + tool(None, "a", "f", "}"), [("a", "f", "{}")]),
        (tool(0, "a", "f", "{}") + tool(0, "b", "f", "{}"), [("a", "f", "{}"), ("b", "f", "{}")]),
        (tool(1, "a", "f", "{}"), [("a", "f", "{}")]),
        (tool(0, "a", "f", "{") + tool(0, "a", "f", "}"), [("a", "f", "{}")]),
        (tool(0, "a", "f", {"x": 1}), [("a", "f", '{"x":1}')]),
        (tool(0, "a", "f"), [("a", "f", "{}")]),
        (tool(0, "a", None, "{") + tool(0, None, "f", "}"), [("a", "f", "{}")]),
        (tool(0, "", "f", "{") + tool(0, "a", None, "}"), [("a", "f", "{}")]),
        (
            tool(0, "a", "f", "{") + tool(1, "b", "g", "{") + tool(0, arguments="}") + tool(1, arguments="}"),
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
    ],
    ids=[
        "no index",
        "no index goes on",
        "no index, name again",
        "name again, id last",
        "no index, other name",
        "no index, id again",
        "same index",
        "index 1",
        "id and name again",
        "object",
        "no arguments",
        "late name",
        "late id",
        "interleaved",
    ],
)
def test_tool_calls_survive_index_and_id_mischief(body: bytes, expected: list[tuple[str, str, str]]) -> None:
    """Each of these was seen from a real server."""
    assert calls(body) == expected


@pytest.mark.prove(13)
def test_missing_ids_are_made_and_tell_calls_apart() -> None:
    """Whole calls without ids, all on index 0, or with the id 'null'."""
    found = calls(tool(0, "null", "f", '{"a":1}') + tool(0, "", "f", '{"a":2}') + tool(0, None, "g", "{}"))
    assert [call[1:] for call in found] == [("f", '{"a":1}'), ("f", '{"a":2}'), ("g", "{}")]
    assert len({call[0] for call in found}) == 3
    assert all(call[0].startswith("call_") for call in found)


@pytest.mark.prove(13)
def test_calls_of_one_delta_without_index_are_apart() -> None:
    """Gemini's compatible server sends parallel calls this way, without ids too."""
    one = {"function": {"name": "f", "arguments": "{}"}}
    assert len(calls(delta(tool_calls=[one, one]))) == 2


def test_the_legacy_function_call_is_a_tool_call() -> None:
    """Old servers have only this field."""
    body = delta(function_call={"name": "f", "arguments": '{"a"'}) + delta(function_call={"arguments": ":1}"})
    assert [call[1:] for call in calls(body)] == [("f", '{"a":1}')]


def test_custom_calls_and_extra_content_keep_their_kind() -> None:
    """A custom call's input need not be JSON, and Gemini's signatures must go back."""
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "select"}}
    signed = {"index": 1, "id": "b", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": 1}}
    (choice,) = choices(delta(tool_calls=[custom]) + delta(tool_calls=[signed]) + delta("tool_calls") + DONE)
    assert choice.content == (
        ToolCall(id="a", name="sql", arguments="select", kind="custom"),
        ToolCall(id="b", name="f", extra={"google": 1}),
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (data({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), RateLimited),
        (data({"error": {"message": "bad", "code": 400}}), InvalidRequest),
        (data({"message": "boom"}, "error"), ServerFault),
        (b"event: error\ndata: not json\n\n", ServerFault),
        (data({"error": "overloaded", "code": "overloaded"}), Overloaded),
        (data({"object": "error", "message": "boom", "code": 500}), ServerFault),
        (delta(content="c")[:-3] + b', "error": {"message": "x", "code": 502}}\n\n', ServerFault),
        (data({"error": {"message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}), ContentFiltered),
        (b"data: {broken\n\n", ServerFault),
        (b'data: ["a list"]\n\n', ServerFault),
    ],
)
@pytest.mark.parametrize("size", [0, 1])
def test_an_error_inside_comes_after_the_chunks_before_it(error: bytes, expected: type, size: int) -> None:
    """What was produced is given out first, however the bytes were split."""
    chunks, raised = error_of(delta(content="a") + delta(content="b") + error, size=size)
    assert [chunk.text for chunk in chunks][:2] == ["a", "b"]
    assert isinstance(raised, expected)


def test_a_failed_decoder_keeps_failing() -> None:
    """The error is kept in `failure` and raised by every later call."""
    decoder = openai_chat.decoder(OPENAI)
    assert decoder.feed(delta(content="a") + data({"error": {"message": "x"}})) == [Chunk(kind="text", text="a")]
    assert isinstance(decoder.failure, ServerFault)
    with pytest.raises(ServerFault):
        decoder.feed(b"x")
    with pytest.raises(ServerFault):
        decoder.finish()


@pytest.mark.parametrize("size", [0, 1])
def test_json_in_place_of_a_stream_is_read_as_the_answer(size: int) -> None:
    """Some proxies ignore stream=true; whitespace may come before."""
    body = {"id": "a", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}
    (choice,) = choices(b"\n   \n" + json.dumps(body).encode(), size=size)
    assert choice.content == (Text("hi"),)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": {"message": "no", "code": 429}}', RateLimited),
        (b"<html><body>Bad gateway</body></html>", ServerFault),
        (b'{"choices": 3}', ServerFault),
        (b'{"cut": ', ServerFault),
    ],
)
def test_a_document_that_is_no_answer_raises(body: bytes, expected: type) -> None:
    """An error body, a web page and nonsense each get their class."""
    assert isinstance(error_of(body, size=3)[1], expected)


def test_azures_empty_first_chunk_is_skipped() -> None:
    """Its id and model are empty, its choices too."""
    first = data({"id": "", "model": "", "choices": [], "prompt_filter_results": []})
    _, decoder = read(first + HELLO + DONE)
    assert (decoder.id, decoder.served_model) == ("chatcmpl-1", "gpt-x-2026")


def test_the_last_usage_wins_and_nulls_do_not() -> None:
    """Usage may come in several chunks, cumulative, with null counts, or under x_groq."""
    nulls = data({"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": None}})
    groq = data({"choices": [], "x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 1}}})
    body = HELLO + usage(1, 1) + usage(3, 5) + nulls
    chunks, decoder = read(body + DONE)
    assert decoder.usage is not None
    assert decoder.usage.total == 8
    assert len([chunk for chunk in chunks if chunk.kind == "usage"]) == 2
    assert read(HELLO + groq + DONE)[1].usage.input == 9  # type: ignore[union-attr]


def test_choices_are_kept_apart() -> None:
    """n > 1 comes interleaved."""
    body = b"".join(delta(index=index, content=text) for text in "ab" for index in (1, 0))
    body += delta("stop", 1) + delta("length", 0) + DONE
    first, second = choices(body)
    assert (first.content, first.stop_reason) == ((Text("ab"),), "length")
    assert (second.content, second.stop_reason) == ((Text("ab"),), "stop")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_found_under_each_name(name: str) -> None:
    """DeepSeek and xAI use one, Groq and vLLM the other."""
    first: dict[str, Any] = {name: "th"}
    body = delta(**first) + delta(**{**first, name: "ink", "content": ""}) + delta(content="a") + delta("stop")
    assert choices(body)[0].content == (Reasoning(text="think"), Text("a"))


def test_reasoning_details_are_merged_for_replay() -> None:
    """OpenRouter streams them in pieces by index, beside the same text in `reasoning`."""

    def piece(**fields: object) -> bytes:
        detail = {"type": "reasoning.text", "index": 0, **fields}
        return delta(reasoning=fields.get("text"), reasoning_details=[detail])

    (choice,) = choices(piece(text="th") + piece(text="ink", signature=None) + piece(signature="s") + delta("stop"))
    detail = {"type": "reasoning.text", "index": 0, "text": "think", "signature": "s"}
    assert choice.content == (Reasoning(text="think", details=(detail,)),)


def test_encrypted_reasoning_without_text_is_kept() -> None:
    """It has nothing to show and must go back all the same."""
    (choice,) = choices(delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "xx"}]) + delta("stop"))
    assert choice.content == (Reasoning(details=({"type": "reasoning.encrypted", "data": "xx"},)),)


def test_content_may_be_a_list_of_parts() -> None:
    """Mistral streams thinking this way."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    reference = {"type": "reference", "reference_ids": [1]}
    (choice,) = choices(delta(content=[thinking, {"type": "text", "text": "a"}, "b", reference]) + delta("stop"))
    assert choice.content[:2] == (Reasoning(text="hm"), Text("ab"))
    assert choice.content[2].kind == "reference"  # type: ignore[union-attr]


def test_refusal_audio_annotations_and_logprobs_are_kept() -> None:
    """Each becomes what the whole answer has."""
    logprobs = [{"content": [{"token": "a"}], "refusal": None}, {"content": [{"token": "b"}]}]
    deltas: list[dict[str, Any]] = [
        {"refusal": "I will "},
        {"refusal": "not"},
        {"audio": {"id": "au", "transcript": "ta", "data": "QU"}},
        {"audio": {"transcript": "ta", "data": "FB", "expires_at": 1}},
        {"annotations": [{"type": "url_citation"}]},
    ]
    body = b"".join(delta(**one) for one in deltas)
    for one in logprobs:
        body += data({"choices": [{"index": 0, "delta": {}, "logprobs": one, "finish_reason": None}]})
    (choice,) = choices(body + delta("stop") + DONE)
    refusal, audio, notes = choice.content
    assert refusal.text == "I will not"  # type: ignore[union-attr]
    assert (audio.data, audio.transcript, audio.id) == ("QUFB", "tata", "au")  # type: ignore[union-attr]
    assert notes.kind == "annotations"  # type: ignore[union-attr]
    assert choice.stop_reason == "refusal"
    assert choice.logprobs == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}


@pytest.mark.parametrize("noise", [b"data:\n\n", b"data: : PROCESSING\n\n", b": x\n\n", data({"type": "ping"}, "ping")])
def test_keepalives_of_every_kind_are_skipped(noise: bytes) -> None:
    """Empty data, comments sent as data, comments, and unknown events."""
    assert choices(noise + HELLO + noise + DONE + noise)[0].content == (Text("Grüß dich €"),)


def test_mistyped_unimportant_fields_do_not_matter() -> None:
    """Numbers as strings or floats, a list where an object belongs."""
    odd = {"index": "0", "delta": {"content": "a", "refusal": [], "audio": []}, "finish_reason": None, "logprobs": 3}
    body = data({"id": 7, "model": None, "choices": [odd], "usage": {"prompt_tokens": "3", "completion_tokens": 5.0}})
    _, decoder = read(body + delta("stop"))
    assert decoder.usage is not None
    assert (decoder.usage.input, decoder.usage.output) == (3, 5)
    assert choices(body + delta("stop"))[0].content == (Text("a"),)


@pytest.mark.prove(9)
@given(st.binary(max_size=100), st.booleans())
def test_garbage_raises_nothing_but_call_errors(noise: bytes, inside: bool) -> None:
    """Whatever a server sends, a decoder's other exceptions would be our bug."""
    _, error = error_of(b"data: {" + noise + b"}\n\n" if inside else HELLO + noise)
    assert error is None or isinstance(error, CallError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "index",
                    "usage",
                    "prompt_tokens",
                    "completion_tokens_details",
                    "reasoning_tokens",
                    "error",
                    "finish_reason",
                    "reasoning_details",
                    "audio",
                    "data",
                    "type",
                    "text",
                    "code",
                    "x_groq",
                    "logprobs",
                    "custom",
                    "function_call",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "error", "id"]), JSON, max_size=3), max_size=3))
def test_misshapen_json_raises_nothing_but_call_errors(values: list[object]) -> None:
    """Any JSON where the protocol's belongs, streamed or whole."""
    _, error = error_of(b"".join(data(value) for value in values) + DONE)
    assert error is None or isinstance(error, CallError)
    for value in values:
        with contextlib.suppress(CallError):
            openai_chat.decode(json.dumps(value).encode(), OPENAI)


def test_a_stream_in_place_of_json_is_read_as_the_answer() -> None:
    """Some proxies always stream."""
    reply = openai_chat.decode(b": hi\n\n" + PARTS, OPENAI)
    assert reply.choices == choices(PARTS)
    assert reply.usage is not None
    assert reply.id == "chatcmpl-1"
