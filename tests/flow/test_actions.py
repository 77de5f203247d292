"""What a model without tool calls writes, read as actions; and conversations that are made shorter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._flow.actions import FORMATS, BadAction, Turn, asks_again, instructions, read_turn
from penstock._flow.reduction import reduced, with_summary
from penstock._flow.showing import Showing
from penstock._flow.tools import tool
from penstock.types import Chunk, Message, Text, ToolCall, ToolResult


def look(host: str) -> str:
    """Look at a host."""
    return host


WRITTEN: dict[str, tuple[str, list[tuple[str, str]], Any]] = {
    "json": ('{"action": "look", "arguments": {"host": "a"}}', [("look", '{"host":"a"}')], None),
    "a fence and prose": (
        'Sure!\n```json\n{"tool": "look", "args": {"host": "a"}}\n```',
        [("look", '{"host":"a"}')],
        None,
    ),
    "single quotes": ("{'action': 'look', 'arguments': {'host': 'a'}}", [("look", '{"host":"a"}')], None),
    "many": (
        '{"actions": [{"action": "look", "arguments": {"host": "a"}}, {"name": "look", "arguments": {"host": "b"}}]}',
        [("look", '{"host":"a"}'), ("look", '{"host":"b"}')],
        None,
    ),
    "arguments as a string": (
        '{"action": "look", "arguments": "{\\"host\\": \\"a\\"}"}',
        [("look", '{"host": "a"}')],
        None,
    ),
    "no arguments": ('{"action": "look"}', [("look", "{}")], None),
    "both": ('{"action": "look", "arguments": {}, "answer": "maybe"}', [("look", "{}")], None),
    "tags": ("<action>look</action><arguments><host>a</host></arguments>", [("look", '{"host":"a"}')], None),
    "lines": ('thought: hm\naction: look\narguments: {"host": "a"}', [("look", '{"host": "a"}')], None),
    "react": ('Thought: hm\nAction: look\nAction Input: {"host": "a"}', [("look", '{"host":"a"}')], None),
    "an answer": ('{"thought": "hm", "answer": "yes"}', [], "yes"),
    "an answer of a shape": ('{"answer": {"percent": 95}}', [], {"percent": 95}),
    "an answer of lines": ("answer: yes\nand more", [], "yes\nand more"),
    "after thinking": ('<think>{"answer": "no"}</think>{"answer": "yes"}', [], "yes"),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_an_action_is_read_however_it_is_written(way: str) -> None:
    """Calls with their arguments, or an answer."""
    text, calls, answer = WRITTEN[way]
    turn = read_turn(text, 3)
    assert [(call.name, call.arguments.replace(": ", ":")) for call in turn.calls] == [
        (name, arguments.replace(": ", ":")) for name, arguments in calls
    ]
    assert turn.has_answer == (answer is not None)
    assert turn.answer == answer
    assert len({call.id for call in turn.calls}) == len(calls)


@pytest.mark.parametrize(
    "text", ["", "Let me think.", '{"thought": "hm"}', '{"answer": ""}', "[1, 2]", '{"answer": "ye']
)
def test_what_is_no_action_is_said_so(text: str) -> None:
    """In words that the model can do something with."""
    with pytest.raises(BadAction) as caught:
        read_turn(text, 1)
    assert str(caught.value)


@given(st.text() | st.sampled_from([text for text, _, _ in WRITTEN.values()]).flatmap(lambda text: st.just(text[::-1])))
def test_whatever_a_model_writes_is_a_turn_or_no_action(text: str) -> None:
    """Never another exception."""
    turn = Turn()
    try:
        turn = read_turn(text, 1)
    except BadAction:
        return
    assert bool(turn.calls) != turn.has_answer


@pytest.mark.parametrize("form", FORMATS)
def test_the_example_that_a_model_is_shown_is_one_that_is_read(form: Any) -> None:
    """Both of them, out of what it is told after a mistake."""
    told = asks_again("it is prose", form)
    act, end = told.split("Use a tool like this:\n")[1].split("\nor give the answer like this:\n")
    assert read_turn(act, 1).calls[0].name == "TOOL"
    assert read_turn(end, 1).answer == "THE ANSWER"
    assert "look: Look at a host." in instructions([tool(look)], form, "")


@pytest.mark.parametrize("protocol", FORMATS)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_reader_sees_thought_and_answer_and_not_the_marks(protocol: Any, size: int) -> None:
    """However the stream is cut, all of both, once."""
    text = {
        "json": '{"thought": "I know it \\u00fcber all", "answer": "The disk is full of \\"logs\\"."}',
        "xml": '<thought>I know it über all</thought><answer>The disk is full of "logs".</answer>',
        "lines": 'thought: I know it über all\nanswer: The disk is full of "logs".',
    }[protocol]
    showing = Showing(protocol, 1)
    chunks = [Chunk(kind="text", text=text[at : at + size]) for at in range(0, len(text), size)]
    events = [event for chunk in chunks for event in showing.events([chunk])]
    events += showing.events([Chunk(kind="stop", stop_reason="stop")])
    said = {kind: "".join(event.text for event in events if event.kind == kind) for kind in ("reasoning", "text")}
    assert said == {"reasoning": "I know it über all", "text": 'The disk is full of "logs".'}


def conversation(*sizes: int) -> list[Message]:
    """Uses of a tool whose results have so many characters."""
    found = [Message("user", "hi")]
    for number, size in enumerate(sizes):
        found.append(Message("assistant", (ToolCall(id=str(number), name="look"),)))
        found.append(Message("tool", (ToolResult(tool_call_id=str(number), content="x" * size),)))
    return found


def size_of(messages: Any) -> int:
    """Characters of all results."""
    return sum(len(part.content) for message in messages for part in message.parts if isinstance(part, ToolResult))


@given(st.lists(st.integers(0, 5000), max_size=6))
def test_half_of_what_tools_said_makes_room_and_every_call_keeps_a_result(sizes: list[int]) -> None:
    """The oldest first; and it is said how much."""
    messages = conversation(*sizes)
    made = reduced(messages)
    large = [size for size in sizes if size > 200]
    if not large:
        assert made is None
        return
    assert made is not None
    assert [message.role for message in made.messages] == [message.role for message in messages]
    assert size_of(made.messages) <= size_of(messages) - sum(large) / 2 + 100 * (len(large) + 2) + 200
    assert made.note
    if made.dropped:
        assert "a summary" in with_summary(made, "all is well").note


def test_a_result_that_was_dropped_is_not_dropped_again() -> None:
    """The next ones are, until nothing is left to drop."""
    made = reduced(conversation(1000, 1000, 1000, 1000))
    assert made is not None
    assert len(made.dropped) == 2
    again = reduced(made.messages)
    assert again is not None
    assert len(again.dropped) == 1


def test_results_of_text_are_made_shorter_too() -> None:
    """As parts, and as messages of the text protocol."""
    parts = [Message("tool", (ToolResult(tool_call_id="1", content=(Text("x" * 1000),)),)), *conversation(1000)[1:]]
    made = reduced(parts)
    assert made is not None
    assert made.dropped == ("x" * 1000,)
    written = [
        Message("user", "Result of the tool look:\n" + "x" * 1000),
        Message("user", "Result of the tool look:\ny"),
    ]
    made = reduced(written)
    assert made is not None
    assert made.messages[0].content != written[0].content
    assert str(made.messages[0].content).startswith("Result of the tool look:\n")
