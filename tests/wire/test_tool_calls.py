"""Tool calls, streamed in every way in which servers do it and cut anywhere, are those of the unstreamed answer."""

import json
from collections.abc import Iterable
from itertools import pairwise, zip_longest
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import registry
from penstock._wire.assembly import Assembly
from penstock._wire.protocol import Provider
from penstock.types import Choice, Usage

from .streams import ANTHROPIC, DONE, OPENAI, data, delta, message_end, message_start, tool, usage

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
INPUTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=3)
CALLS = st.lists(st.tuples(st.sampled_from(["f", "g"]), INPUTS), min_size=1, max_size=4)


def read_in_pieces(body: bytes, provider: Provider, data: st.DataObject) -> tuple[tuple[Choice, ...], Usage | None]:
    """What a stream amounts to whose bytes arrive cut anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12), label="cuts"))
    decoder, assembly = registry.wire(provider.wire).decoder(provider), Assembly()
    for start, end in pairwise([0, *cuts, len(body)]):
        assembly.add(decoder.feed(body[start:end]))
    assembly.add(decoder.finish())
    return assembly.choices(), decoder.usage


def text_of(value: Any) -> str:
    """JSON as the streams of these tests have it."""
    return json.dumps(value, ensure_ascii=False)


def pieces_of(text: str, data: st.DataObject) -> list[str]:
    """A text in up to four pieces, empty ones among them."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3), label="pieces"))
    return [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


def woven(streams: Iterable[list[bytes]]) -> bytes:
    """Events of several calls by turns."""
    return b"".join(event for events in zip_longest(*streams, fillvalue=b"") for event in events)


class Habits(msgspec.Struct):
    """How a server of Chat Completions writes its calls."""

    index: str = "right"
    id: str = "first"
    name: str = "first"
    arguments: str = "pieces"
    woven: bool = False


HABITS = st.one_of(
    st.builds(
        Habits,
        index=st.sampled_from(["right", "from one"]),
        id=st.sampled_from(["first", "every", "last", "missing", "null", "empty"]),
        woven=st.booleans(),
    ),
    st.builds(
        Habits,
        index=st.sampled_from(["right", "from one", "missing", "always 0"]),
        id=st.sampled_from(["first", "every"]),
        name=st.sampled_from(["first", "every"]),
    ),
    st.builds(
        Habits,
        index=st.sampled_from(["right", "from one", "missing", "always 0"]),
        id=st.sampled_from(["first", "missing", "null", "empty"]),
        arguments=st.sampled_from(["whole", "object"]),
    ),
    st.just(Habits(id="missing", name="every")),
)


def written(habits: Habits, number: int, name: str, value: dict[str, Any], data: st.DataObject) -> list[bytes]:
    """The events of one call."""
    text = text_of(value)
    shapes: dict[str, list[Any]] = {"pieces": pieces_of(text, data), "whole": [text], "object": [value]}
    arguments = shapes[habits.arguments]
    at = {"right": number, "from one": number + 1, "missing": None, "always 0": 0}[habits.index]
    known = {"missing": None, "null": "null", "empty": ""}.get(habits.id, f"call_{number}")
    if habits.name == "every" and habits.id == "missing":
        arguments = [piece for piece in arguments if piece]  # an empty one with a name might as well be the next call
    last = len(arguments) - 1
    return [
        tool(
            at,
            known if habits.id == "every" or i == (last if habits.id == "last" else 0) else None,
            name if habits.name == "every" or i == 0 else None,
            piece,
        )
        for i, piece in enumerate(arguments)
    ]


def unstreamed(habits: Habits, number: int, name: str, value: dict[str, Any]) -> dict[str, Any]:
    """The same call in a whole answer."""
    known = {"missing": None, "null": "null", "empty": ""}.get(habits.id, f"call_{number}")
    arguments = value if habits.arguments == "object" else text_of(value)
    return {"id": known, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.prove(13)
@given(habits=HABITS, calls=CALLS, text=st.sampled_from(["", "Let me see."]), data=st.data())
def test_streamed_calls_are_those_of_the_whole_answer(
    habits: Habits, calls: list[tuple[str, dict[str, Any]]], text: str, data: st.DataObject
) -> None:
    """Chat Completions: indexes right, wrong or missing, ids late, repeated or missing, arguments in pieces or not."""
    streams = [written(habits, number, *call, data) for number, call in enumerate(calls)]
    events = woven(streams) if habits.woven else b"".join(event for stream in streams for event in stream)
    body = (delta(content=text) if text else b"") + events + delta("tool_calls") + usage() + DONE
    message = {"content": text, "tool_calls": [unstreamed(habits, at, *call) for at, call in enumerate(calls)]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    counts = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    answer = {"id": "chatcmpl-1", "model": "gpt-x-2026", "choices": [choice], "usage": counts}
    whole = registry.wire(OPENAI.wire).decode(text_of(answer).encode(), OPENAI)
    assert read_in_pieces(body, OPENAI, data) == (whole.choices, whole.usage)
    assert len(whole.choices[0].content) == len(calls) + bool(text)


@pytest.mark.prove(13)
@given(
    calls=CALLS, at_once=st.booleans(), gaps=st.booleans(), by_turns=st.booleans(), stops=st.booleans(), data=st.data()
)
def test_streamed_blocks_are_those_of_the_whole_answer(
    calls: list[tuple[str, dict[str, Any]]], at_once: bool, gaps: bool, by_turns: bool, stops: bool, data: st.DataObject
) -> None:
    """Messages: input in the start or in pieces, indexes with gaps, blocks by turns, ends left out."""
    streams: list[list[bytes]] = []
    content: list[dict[str, Any]] = []
    for number, (name, value) in enumerate(calls):
        at = number * 3 if gaps else number
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": value}
        content.append(block)
        streams.append(block_events(at, block, [] if at_once else pieces_of(text_of(value), data), stops))
    counts = {"input_tokens": 3, "output_tokens": 5}
    events = woven(streams) if by_turns else b"".join(event for stream in streams for event in stream)
    body = message_start(input_tokens=3, output_tokens=1) + events + message_end("tool_use", output_tokens=5)
    answer = {"type": "message", "id": "msg_1", "model": "claude-x", "content": content, "stop_reason": "tool_use"}
    whole = registry.wire(ANTHROPIC.wire).decode(text_of(answer | {"usage": counts}).encode(), ANTHROPIC)
    assert read_in_pieces(body, ANTHROPIC, data) == (whole.choices, whole.usage)
    assert len(whole.choices[0].content) == len(calls)


def block_events(at: int, block: dict[str, Any], pieces: list[str], stops: bool) -> list[bytes]:
    """The events of one block: its start has the input, or pieces follow."""
    start = {**block, "input": {}} if pieces else block
    events = [{"type": "content_block_start", "index": at, "content_block": start}]
    events += [
        {"type": "content_block_delta", "index": at, "delta": {"type": "input_json_delta", "partial_json": piece}}
        for piece in pieces
    ]
    events += [{"type": "content_block_stop", "index": at}] if stops else []
    return [data(event, str(event["type"])) for event in events]
