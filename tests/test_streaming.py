"""Helpers around streams: callbacks in both colours, whole words on a terminal, and times."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import AsyncClient, Client, Response, ToolCall, Usage
from penstock.errors import OutcomeUnknown, StreamInterrupted
from penstock.streaming import TerminalWriter, Timing, process, process_async, timing
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from tests.flow.colours import KEYS, QUICK
from tests.flow.extractions import streams

COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])


def processed(colour: str, answers: list[Scripted], **callbacks: Any) -> tuple[Response, Any]:
    """A stream that was processed in a colour, and its transport."""
    settings: dict[str, Any] = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK}
    if colour == "sync":
        transport = ScriptedTransport(answers)
        client = Client(transport=transport, **settings)
        return process(client.stream("hi", model="openai:gpt-4o-mini"), **callbacks), transport

    async def main() -> tuple[Response, Any]:
        awaits = AsyncScriptedTransport(answers)
        async with AsyncClient(transport=awaits, **settings) as client:
            return await process_async(client.stream("hi", model="openai:gpt-4o-mini"), **callbacks), awaits

    return asyncio.run(main())


@COLOURS
def test_callbacks_hear_of_the_first_token_the_text_and_the_end(colour: str) -> None:
    """In that order, each piece once."""
    heard: list[tuple[str, Any]] = []
    names = ("on_first_token", "on_text", "on_end")
    callbacks = {name: lambda value, name=name: heard.append((name, value)) for name in names}
    response, _ = processed(colour, [streams("one ", "two")], **callbacks)
    assert [name for name, _ in heard] == ["on_first_token", "on_text", "on_text", "on_end"]
    assert heard[0][1] >= 0
    assert "".join(value for name, value in heard if name == "on_text") == response.text == "one two"
    assert heard[-1][1] is response


@COLOURS
def test_what_breaks_a_stream_is_told_and_raised(colour: str) -> None:
    """With what came before it."""
    whole = streams("one ", "two").body
    pieces = [whole] if isinstance(whole, bytes) else list(whole)
    data = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    cut = data[: data.index(b"two") - 40]
    heard: list[Any] = []
    with pytest.raises(StreamInterrupted) as caught:
        processed(colour, [Scripted(body=[cut, OutcomeUnknown("the line was cut")])], on_error=heard.append)
    assert heard == [caught.value]
    assert caught.value.partial.text == "one "


@COLOURS
def test_a_callback_that_raises_leaves_the_stream_settled(colour: str) -> None:
    """Its error is the caller's, and the connection is given back."""

    def fail(text: str) -> None:
        raise LookupError(text)

    transport: list[Any] = []
    with pytest.raises(LookupError, match="one"):
        transport.append(processed(colour, [streams("one ", "two")], on_text=fail)[1])


def test_a_callback_that_there_is_not_is_said() -> None:
    """With those that there are."""
    with pytest.raises(TypeError, match="'on_txt' is no callback; expected on_first_token, on_text"):
        processed("sync", [streams("x")], on_txt=print)


@COLOURS
def test_whole_tool_calls_are_told_at_the_end(colour: str) -> None:
    """With their arguments."""
    chunk = (
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":'
        b'{"name":"restart","arguments":"{\\"n\\":1}"}}]},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'
    )
    heard: list[ToolCall] = []
    processed(colour, [Scripted(body=chunk)], on_tool_call=heard.append)
    assert [(call.name, call.input) for call in heard] == [("restart", {"n": 1})]


@given(st.lists(st.text("ab \n", max_size=8), max_size=20))
def test_a_writer_writes_everything_and_ends_the_line(pieces: list[str]) -> None:
    """However the text came in pieces."""
    out = io.StringIO()
    with TerminalWriter(out) as writer:
        for piece in pieces:
            writer.write(piece)
    text = "".join(pieces)
    assert out.getvalue() == text + ("\n" if text and not text.endswith("\n") else "")


def test_a_writer_keeps_half_a_word() -> None:
    """Until it is whole."""
    out = io.StringIO()
    writer = TerminalWriter(out)
    writer.write("one tw")
    assert out.getvalue() == "one "
    writer.write("o th")
    assert out.getvalue() == "one two "
    writer.end()
    assert out.getvalue() == "one two th\n"


@given(st.lists(st.text("abc \n", max_size=12), max_size=30), st.integers(8, 30))
def test_a_writer_with_a_width_breaks_between_words(pieces: list[str], width: int) -> None:
    """No line is longer unless one word is; no word is lost or cut."""
    out = io.StringIO()
    with TerminalWriter(out, width=width, indent="  ") as writer:
        for piece in pieces:
            writer.write(piece)
    shown, text = out.getvalue(), "".join(pieces)
    assert shown.split() == text.split()
    longest = max(map(len, text.split()), default=0) + 2
    assert all(len(line) <= max(width, longest) for line in shown.splitlines())


def test_times_are_said_in_a_line() -> None:
    """The speed counts from the first token on; an answer that came at once has none."""
    answer = Response(provider="p", model="m", usage=Usage(output=101), latency_s=2.5, first_token_s=0.5)
    assert str(timing(answer)) == "first token 0.50 s, 2.50 s in all, 50 tokens/s"
    assert str(Timing(first_token_s=None, total_s=1.0, tokens=10)) == "1.00 s in all"
    assert Timing(first_token_s=0.5, total_s=0.501, tokens=10).tokens_per_s is None
