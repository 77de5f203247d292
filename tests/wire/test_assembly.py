"""Chunks to choices and back."""

from hypothesis import given
from hypothesis import strategies as st

from penstock._wire.assembly import Assembly, chunks_of
from penstock._wire.protocol import Reply
from penstock.types import Audio, Choice, Chunk, Opaque, Reasoning, Refusal, Text, ToolCall, Usage

WORDS = st.text(min_size=1, max_size=8)
PARTS = st.one_of(
    st.builds(Text, WORDS),
    st.builds(Refusal, WORDS),
    st.builds(Reasoning, text=WORDS),
    st.builds(Reasoning, text=WORDS, signature=WORDS),
    st.builds(Reasoning, redacted=WORDS),
    st.builds(ToolCall, id=WORDS, name=WORDS, arguments=st.just('{"a": 1}') | st.just("{}")),
    st.builds(ToolCall, id=WORDS, name=WORDS, arguments=WORDS, kind=st.just("custom")),
    st.builds(Audio, data=WORDS),
    st.builds(Opaque, kind=WORDS.filter(lambda kind: kind != "logprobs"), data=st.just({"a": 1})),
)
CHOICES = st.builds(
    Choice,
    content=st.lists(PARTS, max_size=4).map(tuple),
    stop_reason=st.sampled_from(["stop", "length", "tool_calls"]),
    raw_stop_reason=st.none() | WORDS,
    logprobs=st.none() | st.just({"content": []}),
)


@given(st.lists(CHOICES, max_size=3), st.none() | st.just(Usage(input=1)))
def test_a_reply_told_as_chunks_is_the_same_reply(choices: list[Choice], usage: Usage | None) -> None:
    """Nothing is lost or added on the way."""
    assembly = Assembly()
    assembly.add(chunks_of(Reply(choices=tuple(choices), usage=usage)))
    assert assembly.choices() == tuple(choices)
    assert assembly.usage == usage
    taken = Assembly()
    taken.take(choices)
    assert taken.choices() == tuple(choices)


def test_pieces_are_joined_by_index_and_choice() -> None:
    """Interleaved calls and choices stay apart."""
    assembly = Assembly()
    assembly.add(
        [
            Chunk(kind="text", text="a"),
            Chunk(kind="tool_call", index=1, id="i", name="f", text="{"),
            Chunk(kind="tool_call", index=2, id="j", name="g"),
            Chunk(kind="text", text="x", choice=1),
            Chunk(kind="tool_call", index=1, text="}"),
            Chunk(kind="text", text="b"),
        ]
    )
    assert assembly.has_output
    assert assembly.text_so_far == "ab"
    first, second = assembly.choices()
    assert first.content == (Text("ab"), ToolCall(id="i", name="f"), ToolCall(id="j", name="g"))
    assert first.stop_reason == "unknown"
    assert second.content == (Text("x"),)


def test_a_part_completes_the_pieces_of_its_index() -> None:
    """A signature goes to its thinking, a kind to its call; text that came stays."""
    assembly = Assembly()
    assembly.add(
        [
            Chunk(kind="reasoning", text="hm"),
            Chunk(kind="part", part=Reasoning(signature="s")),
            Chunk(kind="tool_call", index=1, id="i", name="sql", text="select"),
            Chunk(kind="part", index=1, part=ToolCall(id="i", name="sql", arguments="", kind="custom")),
        ]
    )
    (choice,) = assembly.choices()
    assert choice.content == (
        Reasoning(text="hm", signature="s"),
        ToolCall(id="i", name="sql", arguments="select", kind="custom"),
    )


def test_the_first_stop_and_the_last_usage_count() -> None:
    """Neither is output."""
    assembly = Assembly()
    assembly.add([Chunk(kind="stop", stop_reason="length"), Chunk(kind="stop", stop_reason="stop")])
    assembly.add([Chunk(kind="usage", usage=Usage(input=1)), Chunk(kind="usage", usage=Usage(input=2))])
    assert not assembly.has_output
    assert assembly.choices() == (Choice(stop_reason="length"),)
    assert assembly.usage == Usage(input=2)
    assert assembly.text_so_far == ""


def test_empty_pieces_make_no_part() -> None:
    """A role chunk says nothing."""
    assembly = Assembly()
    assembly.add([Chunk(kind="text"), Chunk(kind="stop", stop_reason="stop")])
    assert assembly.choices() == (Choice(stop_reason="stop"),)
