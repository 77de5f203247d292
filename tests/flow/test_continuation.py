"""A stream that broke inside its text goes on where it stopped, where the caller asked for that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import BreakerSettings, Budget, Chunk, Response, Usage
from penstock._flow.seam import INSTRUCTION, OVERLAP_MIN, Joint
from penstock.errors import (
    ClientClosed,
    ConfigError,
    ConnectionFailed,
    OutcomeUnknown,
    PenstockError,
    StreamInterrupted,
)
from penstock.testing import Scripted
from penstock.types import Choice, Seam, Text

from .colours import Outcome, openai_error, openai_events, run

both = pytest.mark.parametrize("colour", ["sync", "async"])
CUT = OutcomeUnknown("cut")


def broken(*texts: str) -> Scripted:
    """Say `texts` and break."""
    return Scripted(body=[*openai_events(*texts, done=False), CUT])


def whole(*texts: str) -> Scripted:
    """Say `texts` and end."""
    return Scripted(body=openai_events(*texts))


def asked(outcome: Outcome, number: int) -> dict[str, Any]:
    """Return the body of a request."""
    body: dict[str, Any] = json.loads(outcome.transport.sent[number].body)
    return body


def shown(outcome: Outcome) -> str:
    """Return the text that the reader saw."""
    return "".join(chunk.text for chunk in outcome.chunks if chunk.kind == "text")


def go(colour: str, *answers: Scripted, continuations: int = 1, **options: Any) -> Outcome:
    """Stream with continuation."""
    return run(colour, answers, stream=True, continuations=continuations, **options)


@pytest.mark.prove(11)
@both
def test_a_broken_stream_is_continued_and_its_seam_is_marked(colour: str) -> None:
    """One answer in two parts: text, usage and cost are of both, and both attempts are told."""
    outcome = go(colour, broken("The pod was ki"), whole("lled for want", " of memory."), max_tokens=100)
    answer = outcome.response
    assert answer is not None, outcome.error
    assert answer.text == shown(outcome) == "The pod was killed for want of memory."
    assert answer.content == (Text(answer.text),)
    assert answer.seams == (Seam(14),)
    kinds = [(chunk.kind, chunk.index) for chunk in outcome.chunks if chunk.kind in ("text", "seam") and chunk.index]
    assert kinds == []  # the text goes on in its own part
    assert [chunk.kind for chunk in outcome.chunks if chunk.kind in ("text", "seam")][1] == "seam"
    first, second = answer.attempts
    assert (first.outcome, second.outcome) == ("stream_interrupted", "ok")
    assert first.usage is not None
    assert second.usage is not None
    assert answer.usage == first.usage + second.usage
    assert answer.usage.estimated
    assert answer.cost_nano == (first.cost_nano or 0) + (second.cost_nano or 0) == outcome.client.usage().cost_nano
    assert [chunk.usage for chunk in outcome.chunks if chunk.usage][-1] == answer.usage
    assert asked(outcome, 1)["max_completion_tokens"] == 100 - first.usage.output
    assert asked(outcome, 1)["messages"][-2:] == [
        {"role": "assistant", "content": "The pod was ki"},
        {"role": "user", "content": INSTRUCTION},
    ]
    assert outcome.transport.open == 0


@both
def test_without_being_asked_nothing_is_continued(colour: str) -> None:
    """The default is to raise."""
    outcome = run(colour, [broken("some"), whole("more")], stream=True)
    assert isinstance(outcome.error, StreamInterrupted)
    assert len(outcome.transport.sent) == 1


@both
@pytest.mark.parametrize(
    ("model", "prefill"),
    [("anthropic:claude-haiku-4-5", True), ("anthropic:claude-sonnet-4-6", False), ("anthropic:claude-opus-5", False)],
)
def test_a_model_that_takes_a_prefill_is_given_what_came(colour: str, model: str, prefill: bool) -> None:
    """The last turn is the answer's own beginning, without blanks at its end; other models are told what to do."""
    outcome = go(colour, anthropic("Hello  ", done=False), anthropic(" world"), model=model)
    assert outcome.response is not None, outcome.error
    assert outcome.response.text == "Hello  world"
    turns = asked(outcome, 1)["messages"]
    turn = turns[-1] if prefill else turns[-2]
    assert turn == {"role": "assistant", "content": "Hello"}
    assert outcome.response.seams == (Seam(7, " "),)


def anthropic(text: str, done: bool = True) -> Scripted:
    """Stream one text as Anthropic does."""
    start = {"id": "m", "model": "claude", "role": "assistant", "usage": {"input_tokens": 10, "output_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
    ]
    if done:
        events += [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
            {"type": "message_stop"},
        ]
    pieces: list[Any] = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    return Scripted(body=pieces if done else [*pieces, CUT])


@pytest.mark.prove(11)
@both
def test_a_text_that_is_repeated_is_taken_out_and_told(colour: str) -> None:
    """Models go back to the beginning of the sentence, or of the answer."""
    outcome = go(colour, broken("First. The pod was killed "), whole("The pod was", " killed for", " want of it."))
    assert outcome.response is not None, outcome.error
    assert outcome.response.text == shown(outcome) == "First. The pod was killed for want of it."
    assert outcome.response.seams == (Seam(26, "The pod was killed "),)
    assert [chunk.text for chunk in outcome.chunks if chunk.kind == "seam"] == ["The pod was killed "]


@both
@pytest.mark.parametrize("again", ["of", "killed and so", "The", "OOM: "])
def test_what_only_looks_like_a_repetition_is_shown(colour: str, again: str) -> None:
    """Also when the stream ends while it still could have been one."""
    outcome = go(colour, broken("OOM: The pod was killed of"), whole(*again))
    assert outcome.response is not None, outcome.error
    assert outcome.response.text == shown(outcome) == "OOM: The pod was killed of" + again


@pytest.mark.prove(11)
@both
def test_a_tool_call_is_never_continued(colour: str) -> None:
    """Half a call cannot be joined; the error has what came of it."""
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "grep", "arguments": '{"patt'}}
    event = json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    pieces: list[bytes | BaseException] = [
        *openai_events("Let me look. ", done=False),
        f"data: {event}\n\n".encode(),
        CUT,
    ]
    outcome = go(colour, Scripted(body=pieces), whole("never"))
    assert isinstance(outcome.error, StreamInterrupted)
    partial = outcome.error.partial
    assert partial.text == "Let me look. "
    (half,) = partial.tool_calls
    assert (half.id, half.name, half.arguments) == ("c1", "grep", '{"patt')
    with pytest.raises(ValueError, match="truncated"):
        _ = half.input
    assert len(outcome.transport.sent) == 1


@both
def test_text_after_a_tool_call_is_not_continued_either(colour: str) -> None:
    """The call would have to be joined as well."""
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "grep", "arguments": "{}"}}
    event = json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    pieces: list[bytes | BaseException] = [f"data: {event}\n\n".encode(), *openai_events("And then", done=False), CUT]
    outcome = go(colour, Scripted(body=pieces), whole("never"))
    assert isinstance(outcome.error, StreamInterrupted)
    assert len(outcome.transport.sent) == 1


@both
@pytest.mark.parametrize(
    ("pieces", "options"),
    [
        (openai_events("{", done=False), {"response_format": "json"}),
        (openai_events(" ", done=False), {}),
        (openai_events("a", done=False) + openai_events("b", done=False)[1:], {"continuations": 0}),
    ],
)
def test_what_cannot_be_joined_is_not_continued(colour: str, pieces: list[bytes], options: dict[str, Any]) -> None:
    """A structured answer, or none to speak of."""
    outcome = go(colour, Scripted(body=[*pieces, CUT]), whole("never"), **options)
    assert isinstance(outcome.error, StreamInterrupted)
    assert len(outcome.transport.sent) == 1


@both
def test_a_connection_that_breaks_after_the_last_word_of_the_model_does_no_harm(colour: str) -> None:
    """The stop reason came: the answer is whole, and only its usage must be estimated."""
    pieces: list[bytes | BaseException] = [*openai_events("all of it")[:-2], CUT]
    outcome = go(colour, Scripted(body=pieces), whole("never"))
    assert len(outcome.transport.sent) == 1
    assert outcome.response is not None, outcome.error
    assert (outcome.response.text, outcome.response.stop_reason) == ("all of it", "stop")
    assert outcome.response.usage.estimated
    assert outcome.response.seams == ()


@both
def test_continuations_are_bounded_and_the_error_has_all_parts(colour: str) -> None:
    """Two breaks and one continuation: one partial answer, with the usage and cost of both attempts."""
    outcome = go(colour, broken("one "), broken("two "), whole("three"))
    assert isinstance(outcome.error, StreamInterrupted)
    partial = outcome.error.partial
    assert partial.text == shown(outcome) == "one two "
    assert len(outcome.transport.sent) == 2
    assert partial.cost_nano == outcome.client.usage().cost_nano == outcome.error.cost_nano
    again = go(colour, broken("one "), broken("two "), whole("three"), continuations=2)
    assert again.response is not None, again.error
    assert again.response.text == "one two three"
    assert [seam.offset for seam in again.response.seams] == [4, 8]


@both
def test_a_continuation_that_breaks_before_its_first_output_is_retried_unseen(colour: str) -> None:
    """As the beginning of a stream is."""
    outcome = go(colour, broken("one "), Scripted(error=ConnectionFailed("refused")), whole("two"))
    assert outcome.response is not None, outcome.error
    assert outcome.response.text == "one two"
    assert [attempt.outcome for attempt in outcome.response.attempts] == ["stream_interrupted", "connection", "ok"]
    assert outcome.response.first_token_s is not None


@both
def test_a_continuation_falls_back_to_the_next_model(colour: str) -> None:
    """The rest may come from another provider."""
    answers = (broken("one "), openai_error(401), anthropic("two"))
    outcome = go(colour, *answers, fallbacks=["anthropic:claude-haiku-4-5"])
    assert outcome.response is not None, outcome.error
    assert outcome.response.text == "one two"
    assert outcome.response.provider == "anthropic"


@both
def test_a_continuation_that_is_refused_raises_what_came(colour: str) -> None:
    """The caller asked for an answer: the error is that its stream broke, and its cause why it did not go on."""
    outcome = go(colour, broken("one "), openai_error(400))
    assert isinstance(outcome.error, StreamInterrupted)
    assert isinstance(outcome.error.__cause__, PenstockError)
    assert outcome.error.partial.text == "one "
    assert len(outcome.error.attempts) == 2


@both
def test_a_client_that_is_closed_under_a_continuation_says_so(colour: str) -> None:
    """What came is on the stream; nothing broke but by the caller's own hand."""
    outcome = go(colour, broken("one "), Scripted(error=ClientClosed("closed")))
    assert isinstance(outcome.error, ClientClosed)
    assert len(outcome.error.attempts) == 2


@both
def test_a_continuation_stays_inside_the_budget(colour: str) -> None:
    """It holds its own worst case; where that does not fit, what came is raised and nothing more is sent."""
    budget = Budget(total="0.00005")
    outcome = go(colour, broken("one " * 10), whole("two"), client={"budget": budget}, max_tokens=11)
    assert isinstance(outcome.error, StreamInterrupted)
    assert "budget" in str(outcome.error)
    assert len(outcome.transport.sent) == 1
    assert all(scope.held_nano == 0 for scope in outcome.client.budget().scopes)


@both
def test_a_continuation_stays_inside_the_retry_budget(colour: str) -> None:
    """An outage of streams is not multiplied: after 35 continuations there are no more."""
    outcome = go(
        colour,
        *[broken(f"{i} ") for i in range(40)],
        continuations=40,
        client={"breaker": BreakerSettings(min_calls=99)},
    )
    assert isinstance(outcome.error, StreamInterrupted)
    assert "retry budget" in str(outcome.error)
    assert len(outcome.transport.sent) == 36


@both
@pytest.mark.parametrize("times", [-1, 1.5, True, "1"])
def test_a_wrong_number_of_continuations_is_named(colour: str, times: Any) -> None:
    """Before anything is sent."""
    outcome = go(colour, whole("x"), continuations=times)
    assert isinstance(outcome.error, ConfigError)
    assert "continuations" in str(outcome.error)


@both
def test_only_streams_are_continued(colour: str) -> None:
    """A whole answer that broke was never shown, so it is repeated."""
    outcome = run(colour, [whole("x")], continuations=1)
    assert isinstance(outcome.error, ConfigError)
    assert "stream()" in str(outcome.error)


TEXTS = st.text("ab cdefg\n", max_size=60)


@settings(max_examples=200, deadline=None)
@given(before=TEXTS.filter(bool), after=TEXTS, back=st.integers(0, 60), cuts=st.lists(st.integers(1, 7), min_size=1))
def test_the_chunks_and_the_whole_agree_and_no_long_repetition_is_shown(
    before: str, after: str, back: int, cuts: list[int]
) -> None:
    """However the next part is cut into chunks, and however far it goes back."""
    repeated = before[len(before) - back :] if back <= len(before) else ""
    said = repeated + after
    joint = Joint()
    joint.fit([Chunk(kind="text", text=before)])
    joint.cut(Response(provider="p", model="m", choices=(Choice(content=(Text(before),)),), usage=Usage(input=1)))
    pieces: list[str] = []
    at = 0
    while at < len(said):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(said[at : at + size])
        at += size
    chunks = [chunk for piece in pieces for chunk in joint.fit([Chunk(kind="text", text=piece)])]
    chunks += joint.fit([Chunk(kind="stop", stop_reason="stop")])
    part = Response(
        provider="p", model="m", choices=(Choice(content=(Text(said),) if said else (), stop_reason="stop"),)
    )
    joined = joint.whole(part)
    assert joined is not None
    assert joined.text == before + "".join(chunk.text for chunk in chunks if chunk.kind == "text")
    removed = joined.seams[0].removed if joined.seams else ""
    assert said == removed + joined.text[len(before) :]
    assert [chunk.text for chunk in chunks if chunk.kind == "seam"] == [seam.removed for seam in joined.seams]
    if len(repeated) >= OVERLAP_MIN and len(set(repeated)) >= 4:
        assert len(removed) >= len(repeated)
