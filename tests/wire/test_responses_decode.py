"""Answers of Responses, whole and streamed: the same content, however the bytes come; errors in every shape."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import openai_responses
from penstock._wire.protocol import Provider, Reply
from penstock.errors import (
    CallError,
    ContentFiltered,
    InvalidRequest,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    ServerFault,
)
from penstock.types import Choice, Opaque, Reasoning, Refusal, Text, ToolCall, Usage

from .streams import choices, data, error_of, read

ROW = Provider(name="openai-responses", account="openai", wire="openai_responses")
COUNTS = {
    "input_tokens": 100,
    "input_tokens_details": {
        "cached_tokens": 60,
        "cache_write_tokens": 30,
        "cache_write_tokens_details": {"ttl_12h_tokens": 10},
    },
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}


def text(value: str, **fields: Any) -> dict[str, Any]:
    """A piece of a message."""
    return {"type": "output_text", "text": value, "annotations": [], **fields}


def message(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A message item."""
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": list(content),
        **fields,
    }


def call(name: str = "f", arguments: str = '{"a":1}', **fields: Any) -> dict[str, Any]:
    """A function call item."""
    return {
        "type": "function_call",
        "id": f"fc_{name}",
        "call_id": f"c_{name}",
        "name": name,
        "arguments": arguments,
        **fields,
    }


CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c_sql", "name": "sql", "input": "select 1"}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
    "encrypted_content": "gAAA",
}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
CITED = text(
    "Grüß dich €",
    annotations=[{"type": "url_citation", "url": "https://x"}],
    logprobs=[{"token": "a", "logprob": -1.0}],
)
EVERYTHING: list[dict[str, Any]] = [
    THOUGHT,
    SEARCH,
    message(
        text(
            "Let me see.",
        ),
        phase="commentary",
    ),
    call(),
    call("g", ""),
    CUSTOM,
    message(CITED),
]


def whole(*items: dict[str, Any], status: str | None = "completed", **fields: Any) -> dict[str, Any]:
    """A response object."""
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "model": "gpt-x-2026",
        "output": list(items),
        "error": None,
        "incomplete_details": None,
        "usage": COUNTS,
        **fields,
    }


def decoded(value: Any) -> Reply:
    """Read an answer."""
    return openai_responses.decode(json.dumps(value).encode(), ROW)


def pieces(value: str) -> list[str]:
    """Text in pieces of four characters."""
    return [value[at : at + 4] for at in range(0, len(value), 4)]


def events_of(at: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of one item, as the server sends them."""
    begun = {**item, "status": "in_progress"}
    middle: list[dict[str, Any]] = []
    match item["type"]:
        case "message":
            begun["content"] = []
            for number, part in enumerate(item["content"]):
                place = {"content_index": number}
                kind, name = ("refusal", "refusal") if part["type"] == "refusal" else ("output_text", "text")
                middle.append({"type": "response.content_part.added", **place, "part": {**part, name: ""}})
                middle += [{"type": f"response.{kind}.delta", **place, "delta": piece} for piece in pieces(part[name])]
                middle.append({"type": f"response.{kind}.done", **place, name: part[name]})
                middle.append({"type": "response.content_part.done", **place, "part": part})
        case "function_call":
            begun["arguments"] = ""
            middle += [
                {"type": "response.function_call_arguments.delta", "delta": one} for one in pieces(item["arguments"])
            ]
        case "custom_tool_call":
            begun["input"] = ""
            middle += [{"type": "response.custom_tool_call_input.delta", "delta": one} for one in pieces(item["input"])]
        case "reasoning":
            begun["summary"] = []
            for number, part in enumerate(item["summary"]):
                middle += [
                    {"type": "response.reasoning_summary_text.delta", "summary_index": number, "delta": one}
                    for one in pieces(part["text"])
                ]
    events = [
        {"type": "response.output_item.added", "item": begun},
        *middle,
        {"type": "response.output_item.done", "item": item},
    ]
    return [{**event, "output_index": at} for event in events]


def streamed(response: dict[str, Any], *, deltas: bool = True) -> bytes:
    """A response as a stream; without deltas, of whole items only."""
    head = {**response, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": head},
        {"type": "keepalive", "sequence_number": 2},
    ]
    for at, item in enumerate(response["output"]):
        told = events_of(at, item)
        events += told if deltas else told[-1:]
    events.append({"type": f"response.{response['status']}", "response": response})
    return b"".join(data({**event, "sequence_number": number}, event["type"]) for number, event in enumerate(events))


def test_everything_that_an_answer_can_hold() -> None:
    """Each item is its part or parts; what must go back with it is kept."""
    (choice,) = decoded(whole(*EVERYTHING)).choices
    assert choice.content == (
        Reasoning(text="First.\n\nThen.", details=(THOUGHT,)),
        Opaque(kind="web_search_call", data=SEARCH),
        Opaque(kind="message", data={"id": "msg_1", "phase": "commentary"}),
        Text("Let me see."),
        ToolCall(id="c_f", name="f", arguments='{"a":1}', extra={"item_id": "fc_f"}),
        ToolCall(id="c_g", name="g", arguments="{}", extra={"item_id": "fc_g"}),
        ToolCall(id="c_sql", name="sql", arguments="select 1", kind="custom", extra={"item_id": "ctc_1"}),
        Opaque(kind="message", data={"id": "msg_1"}),
        Text("Grüß dich €"),
        Opaque(kind="annotations", data={"annotations": CITED["annotations"]}),
    )
    assert choice.stop_reason == "tool_calls"
    assert choice.logprobs == {"content": CITED["logprobs"], "refusal": None}


@pytest.mark.prove(13)
@pytest.mark.parametrize("deltas", [True, False])
def test_a_stream_is_the_answer(deltas: bool) -> None:
    """Told in pieces, or in whole items by a server that sends no deltas."""
    response = whole(*EVERYTHING)
    assert choices(streamed(response, deltas=deltas), ROW) == decoded(response).choices


@pytest.mark.prove(13)
@given(size=st.integers(1, 900), end=st.sampled_from([b"\n", b"\r\n", b"\r"]), done=st.booleans())
def test_any_split_gives_the_same_chunks(size: int, end: bytes, done: bool) -> None:
    """Piece size, line ends and a [DONE] that OpenRouter adds change nothing."""
    body = streamed(whole(*EVERYTHING))
    assert read((body + (b"data: [DONE]\n\n" if done else b"")).replace(b"\n", end), ROW, size)[0] == read(body, ROW)[0]


def test_a_stream_that_holds_its_items_back_is_read_from_its_end() -> None:
    """Nothing but the last event is needed."""
    response = whole(message(text("hi")))
    body = data({"type": "response.completed", "response": response}, "response.completed")
    assert choices(body, ROW) == decoded(response).choices


def test_a_plain_answer_is_one_text() -> None:
    """Without reasoning and phase nothing else needs to go back."""
    found = decoded(whole(message(text("hi"))))
    assert found.choices == (Choice(content=(Text("hi"),), stop_reason="stop", raw_stop_reason="completed"),)
    assert (found.id, found.served_model) == ("resp_1", "gpt-x-2026")


def test_usage_is_in_disjoint_buckets() -> None:
    """Cache reads and writes are in the input, reasoning in the output."""
    usage = Usage(input=10, cache_read=60, cache_write_30m=20, cache_write_12h=10, output=15, reasoning=5)
    assert decoded(whole()).usage == usage
    assert usage.total == COUNTS["total_tokens"]
    assert read(streamed(whole()), ROW)[1].usage == usage
    assert decoded(whole(usage=None)).usage is None
    ticks = decoded(whole(usage={"input_tokens": 1, "output_tokens": 1, "cost_in_usd_ticks": 25}))
    assert ticks.cost_nano == 3


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            ("length", "max_output_tokens"),
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            ("content_filter", "content_filter"),
        ),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, ("paused", "steered")),
        ({"status": "incomplete", "incomplete_details": {"reason": "new"}}, ("other", "new")),
        ({"status": "incomplete"}, ("other", "incomplete")),
        ({"status": "cancelled"}, ("error", "cancelled")),
        ({"status": None}, ("unknown", None)),
        ({}, ("stop", "completed")),
    ],
)
def test_why_it_ended(fields: dict[str, Any], expected: tuple[str, str | None]) -> None:
    """Status and reason become one normalised word; the server's own is kept."""
    (choice,) = decoded(whole(message(text("a")), **fields)).choices
    assert (choice.stop_reason, choice.raw_stop_reason) == expected


def test_a_call_that_was_cut_is_no_call() -> None:
    """The limit of the answer wins over the call in it."""
    cut = whole(call(arguments='{"a'), status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert decoded(cut).choices[0].stop_reason == "length"


def test_a_refusal_is_one() -> None:
    """Its words are kept apart from text, whole and streamed."""
    response = whole(message({"type": "refusal", "refusal": "I cannot."}))
    (choice,) = decoded(response).choices
    assert (choice.content, choice.stop_reason) == ((Refusal("I cannot."),), "refusal")
    assert choices(streamed(response), ROW) == (choice,)


FAILURES = [
    ({"code": "server_error", "message": "oops"}, ServerFault),
    ({"code": "rate_limit_exceeded", "message": "slow"}, RateLimited),
    ({"code": "insufficient_quota", "message": "top up"}, QuotaExhausted),
    ({"code": "invalid_prompt", "message": "no"}, InvalidRequest),
    ({"code": "image_content_policy_violation", "message": "no"}, ContentFiltered),
    ({"code": "bio_policy", "message": "no"}, ContentFiltered),
    ({"code": "failed_to_download_image", "message": "no"}, InvalidRequest),
]


@pytest.mark.parametrize(("error", "expected"), FAILURES)
def test_a_response_that_failed_is_its_error(error: dict[str, str], expected: type[CallError]) -> None:
    """Whole, at the end of a stream, and as an event of it in both shapes."""
    failed = whole(status="failed", error=error)
    with pytest.raises(expected) as caught:
        decoded(failed)
    assert error["message"] in str(caught.value)
    flat = {"type": "error", "sequence_number": 3, "param": None, **error}
    nested = {"type": "error", "sequence_number": 3, "error": {"type": "x", "param": None, **error}}
    begun = data({"type": "response.output_text.delta", "output_index": 0, "delta": "a"})
    for event in ({"type": "response.failed", "response": failed}, flat, nested):
        chunks, found = error_of(begun + data(event), ROW)
        assert type(found) is expected
        assert chunks[0].text == "a"


def test_usage_of_a_failed_response_is_known() -> None:
    """It may be paid."""
    with pytest.raises(ServerFault) as caught:
        decoded(whole(status="failed", error=None))
    assert caught.value.usage is not None


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_made_in_the_background_is_refused(status: str) -> None:
    """Nobody would fetch it."""
    with pytest.raises(ServerFault, match="background"):
        decoded(whole(status=status))


def test_another_protocol_is_named_as_such() -> None:
    """A web page, a chat completion, an error in a 200, and nothing at all."""
    for body in (b"<html><title>502</title></html>", b'{"choices": []}', b"", b"[]", b"true"):
        with pytest.raises(ServerFault, match="check the base URL"):
            openai_responses.decode(body, ROW)
    with pytest.raises(RateLimited):
        decoded({"error": {"message": "slow", "code": "rate_limit_exceeded"}})


def test_a_stream_that_breaks_off_is_an_unknown_outcome() -> None:
    """Only response.completed and response.incomplete end it."""
    body = streamed(whole(message(text("hello there"))))
    cut = body[: body.rindex(b"event: response.completed")]
    chunks, found = error_of(cut, ROW)
    assert isinstance(found, OutcomeUnknown)
    assert "".join(chunk.text for chunk in chunks) == "hello there"
    assert isinstance(error_of(b"", ROW)[1], OutcomeUnknown)


@given(st.lists(st.sampled_from(EVERYTHING), max_size=6), st.sampled_from(["completed", "incomplete"]))
def test_any_order_of_items_reads_the_same_streamed(items: list[dict[str, Any]], status: str) -> None:
    """The decoder of streams and that of whole answers agree."""
    response = whole(*items, status=status)
    assert choices(streamed(response), ROW) == decoded(response).choices


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "item",
                        "response",
                        "delta",
                        "output_index",
                        "output",
                        "content",
                        "error",
                        "part",
                        "status",
                        "usage",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_nothing_but_an_error_of_ours_comes_of_nonsense(value: Any) -> None:
    """Whatever JSON a server sends."""
    for kind in ("response.output_item.added", "response.output_item.done", "response.completed", "error", ""):
        event = {**value, "type": kind} if isinstance(value, dict) else value
        _, found = error_of(data(event), ROW)
        assert found is None or isinstance(found, CallError)
    with contextlib.suppress(CallError):
        decoded(value)
