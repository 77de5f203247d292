"""An answer told twice is shown once."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock._flow.shown import Diverged, Shown
from penstock._wire.assembly import Assembly, chunks_of
from penstock._wire.protocol import Reply
from penstock.types import Choice, Chunk, Reasoning, Text, ToolCall, Usage

ANSWER = Reply(
    choices=(
        Choice(
            content=(
                Reasoning(text="let me see"),
                Text("Hello, world"),
                ToolCall(id="c1", name="f", arguments='{"a": 1}'),
                Reasoning(text="signed", signature="s"),
            ),
            stop_reason="stop",
        ),
        Choice(content=(Text("Good day"),), stop_reason="length"),
    ),
    usage=Usage(input=1, output=2),
)


def pieces(cuts: list[int]) -> list[Chunk]:
    """Tell the answer in chunks, the texts cut at these widths."""
    out: list[Chunk] = []
    widths = iter(cuts * 100)
    for chunk in chunks_of(ANSWER):
        text, first = chunk.text, True
        while first or text:
            width = next(widths) if text else 0
            if chunk.kind in ("text", "reasoning", "refusal", "tool_call"):
                named = (chunk.id, chunk.name) if first else (None, None)
                piece = msgspec.structs.replace(chunk, text=text[:width], id=named[0], name=named[1])
            else:
                piece = chunk
            out.append(piece)
            text, first = text[width:], False
    return out


CUTS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@pytest.mark.prove(11, 19)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CUTS, st.integers(0, 40)), max_size=3), CUTS)
def test_whoever_was_cut_off_sees_one_whole_answer(tellings: list[tuple[list[int], int]], last: list[int]) -> None:
    """Told anew any number of times, cut anywhere: each piece of text once and nothing missing."""
    shown, seen = Shown(), Assembly()
    count: list[Chunk] = []
    for cuts, stop in tellings:
        shown.again()
        for chunk in pieces(cuts)[:stop]:
            fresh = shown.fresh([chunk])
            count += fresh
            seen.add(fresh)
    shown.again()
    fresh = shown.fresh(pieces(last))
    seen.add(fresh)
    assert seen.choices() == ANSWER.choices == shown.choices()
    written = sum(len(chunk.text) for chunk in [*count, *fresh])
    assert written == sum(len(chunk.text) for chunk in chunks_of(ANSWER))


def text(words: str, index: int = 0, **more: str) -> Chunk:
    """A piece of text."""
    return Chunk(kind="text", text=words, index=index, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ([text("Hello")], [text("Hallo")]),
        ([text("Hello")], [text("He"), text("ll"), text("a")]),
        ([text("Hello")], [Chunk(kind="reasoning", text="Hello")]),
        ([text("Hello")], [text("He"), Chunk(kind="stop", stop_reason="stop")]),
        ([text("a"), text("b", 1)], [text("a"), Chunk(kind="stop", stop_reason="stop")]),
        ([text("a"), Chunk(kind="stop", stop_reason="stop")], [text("a"), Chunk(kind="stop", stop_reason="length")]),
        ([Chunk(kind="tool_call", id="1", name="f")], [Chunk(kind="tool_call", id="2", name="f")]),
        ([Chunk(kind="part", part=Text("a"))], [Chunk(kind="part", part=Text("b"))]),
    ],
)
def test_another_answer_is_noticed(first: list[Chunk], then: list[Chunk]) -> None:
    """Before anything of it is shown: what was shown cannot be taken back."""
    shown = Shown()
    assert shown.fresh(first) == first
    shown.again()
    *same, other = then
    assert shown.fresh(same) == []
    with pytest.raises(Diverged):
        shown.fresh([other])
