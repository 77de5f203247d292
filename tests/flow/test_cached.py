"""A call with a cache in front, in both colours."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import msgspec
import pytest

from penstock import AsyncClient, Budget, Cache, Client
from penstock.errors import (
    BudgetExceeded,
    ClientClosed,
    ConfigError,
    InvalidRequest,
    OutcomeUnknown,
    StreamInterrupted,
)
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from penstock.types import Chunk

from .colours import KEYS, QUICK, anthropic_reply, openai_error, openai_events, openai_reply

both = pytest.mark.parametrize("colour", ["sync", "async"])


class One:
    """One client that makes one call after the other, in either colour."""

    def __init__(self, colour: str, answers: list[Scripted], **more: Any) -> None:
        settings: dict[str, Any] = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, "cache": Cache(), **more}
        self.transport: Any
        self.client: Any
        self.colour = colour
        if colour == "sync":
            self.transport = ScriptedTransport(answers)
            self.client = Client(transport=self.transport, **settings)
        else:
            self.transport = AsyncScriptedTransport(answers)
            self.client = AsyncClient(transport=self.transport, **settings)

    def ask(self, prompt: str = "hi", **options: Any) -> Any:
        """Make a call that may be cached, unless told otherwise."""
        options = {"model": "openai:gpt-4o-mini", "temperature": 0, **options}
        if self.colour == "sync":
            return self.client.complete(prompt, **options)
        return asyncio.run(self.client.complete(prompt, **options))

    def stream(self, prompt: str = "hi", **options: Any) -> tuple[list[Chunk], Any]:
        """Read a stream to its end."""
        options = {"model": "openai:gpt-4o-mini", "temperature": 0, **options}
        if self.colour == "sync":
            stream = self.client.stream(prompt, **options)
            chunks: list[Chunk] = list(stream)
            return chunks, stream.response

        async def read() -> Any:
            stream = self.client.stream(prompt, **options)
            return [chunk async for chunk in stream], stream.response

        told: tuple[list[Chunk], Any] = asyncio.run(read())
        return told

    @property
    def sent(self) -> int:
        """Requests that reached the provider."""
        return len(self.transport.sent)


@both
def test_the_same_question_is_paid_once(colour: str) -> None:
    """The second answer is the first one, at no cost, and the savings are told."""
    one = One(colour, [openai_reply("fine", prompt=1000, completion=100)], tags={"team": "a"})
    first, second = one.ask(), one.ask(tags={"team": "b"})
    assert one.sent == 1
    assert (first.cached, first.saved_nano, first.cost_nano) == (False, None, 210_000)
    assert (second.cached, second.saved_nano, second.cost_nano) == (True, 210_000, 0)
    assert (second.text, second.usage, second.raw, second.id) == (first.text, first.usage, first.raw, first.id)
    assert (second.attempts, second.tags) == ((), {"team": "b"})
    assert 0 <= second.latency_s < 1
    totals = one.client.usage()
    assert (totals.calls, totals.attempts, totals.cached) == (2, 1, 1)
    assert (totals.cost_nano, totals.saved_nano) == (210_000, 210_000)
    assert totals.by_tag["team=b"].cached == totals.by_model["openai:gpt-4o-mini"].cached == 1
    assert one.client.cache().entries == 1


@both
def test_a_stream_is_replayed_as_its_chunks(colour: str) -> None:
    """Chunk by chunk, with the times of the replay."""
    one = One(colour, [Scripted(body=openai_events("Hel", "lo"))])
    (chunks, first), (replayed, second) = one.stream(), one.stream()
    assert one.sent == 1
    assert replayed == chunks
    assert [chunk.text for chunk in replayed if chunk.text] == ["Hel", "lo"]
    assert second.choices == first.choices
    assert second.cached
    assert second.saved_nano == first.cost_nano
    assert 0 <= second.first_token_s <= second.latency_s < 1


@pytest.mark.prove(18)
@both
def test_a_stream_and_a_whole_answer_share_one_entry(colour: str) -> None:
    """In both directions."""
    one = One(colour, [Scripted(body=openai_events("Hel", "lo"))])
    one.stream()
    assert (one.ask().text, one.sent) == ("Hello", 1)
    other = One(colour, [openai_reply("hello")])
    other.ask()
    chunks, response = other.stream()
    assert ("".join(chunk.text for chunk in chunks), response.text, other.sent) == ("hello", "hello", 1)
    assert [chunk.kind for chunk in chunks] == ["text", "stop", "usage"]


def told(stop: str, **message: Any) -> Scripted:
    """Answer as OpenAI does, with a reason to stop."""
    body: dict[str, Any] = msgspec.json.decode(openai_reply().body)  # type: ignore[arg-type]
    body["choices"][0] |= {"finish_reason": stop}
    body["choices"][0]["message"] |= message
    return Scripted(body=json.dumps(body).encode())


CALLED = {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}


@pytest.mark.prove(18)
@both
@pytest.mark.parametrize(
    ("answer", "forced"),
    [
        (told("length"), True),
        (told("tool_calls", **CALLED), True),
        (told("content_filter"), False),
        (told("stop", refusal="I will not"), False),
        (told("something new"), False),
    ],
    ids=["length", "tool call", "filter", "refusal", "unknown"],
)
def test_what_is_not_whole_is_not_stored(colour: str, answer: Scripted, forced: bool) -> None:
    """What force has stored is for those who force."""
    one = One(colour, [answer] * 4)
    assert not one.ask().cached
    assert not one.ask().cached
    assert not one.ask(cache="force").cached
    assert one.ask(cache="force").cached == forced
    if forced:
        assert not one.ask().cached


@pytest.mark.prove(18)
@both
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_not_stored(colour: str, stream: bool) -> None:
    """The next call asks again."""
    answer = Scripted(body=openai_events("ok")) if stream else openai_reply("ok")
    one = One(colour, [openai_error(400), answer])
    ask: Any = one.stream if stream else one.ask
    with pytest.raises(InvalidRequest):
        ask()
    ask()
    assert one.sent == 2
    assert one.client.cache().flights == 0


@pytest.mark.prove(18)
@both
def test_a_stream_that_broke_or_was_left_is_not_stored(colour: str) -> None:
    """Half an answer is none."""
    broken = Scripted(body=[*openai_events("half", done=False), OutcomeUnknown("cut")])
    one = One(colour, [broken, Scripted(body=openai_events("a", "b")), openai_reply("whole")])
    with pytest.raises(StreamInterrupted):
        one.stream()
    if colour == "sync":
        with one.client.stream("hi", model="openai:gpt-4o-mini", temperature=0) as stream:
            assert next(stream).text == "a"
    else:

        async def leave() -> None:
            async with one.client.stream("hi", model="openai:gpt-4o-mini", temperature=0) as stream:
                async for _ in stream:
                    break

        asyncio.run(leave())
    assert one.ask().text == "whole"
    assert one.sent == 3


@both
def test_modes(colour: str) -> None:
    """What each of them reads and writes."""
    one = One(colour, [openai_reply(text) for text in "abcdefg"])
    assert one.ask(cache="read").text == "a"
    assert one.ask(cache="off").text == "b"
    assert one.ask().text == "c"
    assert one.ask(cache="read").text == "c"
    assert one.ask(cache="off").text == "d"
    assert one.ask().text == "c"
    assert one.ask(cache="refresh").text == "e"
    assert one.ask().text == "e"
    assert one.ask(cache="write").text == "f"
    assert one.ask(cache="force").text == "f"
    assert one.sent == 6


@both
def test_an_answer_drawn_by_chance_is_kept_only_where_forced(colour: str) -> None:
    """And asking for less is refused in one sentence."""
    one = One(colour, [openai_reply(text) for text in "abcd"])
    warm: dict[str, Any] = {"temperature": 0.7}
    assert [one.ask(**warm).text for _ in range(2)] == ["a", "b"]
    assert [one.ask(**warm, cache="force").text for _ in range(2)] == ["c", "c"]
    assert one.ask(**warm).text == "d"
    with pytest.raises(ConfigError, match="drawn by chance"):
        one.ask(**warm, cache="read")
    with pytest.raises(ConfigError, match="expected one of off, read"):
        one.ask(cache="maybe")


@both
def test_a_client_without_a_cache_says_how_to_get_one(colour: str) -> None:
    """Rather than paying twice in silence; 'off' asks for nothing."""
    one = One(colour, [openai_reply()], cache=None)
    assert one.ask(cache="off").text == "hello"
    assert one.client.cache() is None
    for mode in ("read", "write", "refresh", "force"):
        with pytest.raises(ConfigError, match=r"Client\(cache=Cache\(\)\)"):
            one.ask(cache=mode)


@both
def test_a_closed_client_answers_nothing(colour: str) -> None:
    """Not even what it knows by heart."""
    one = One(colour, [openai_reply()])
    one.ask()
    if colour == "sync":
        one.client.close()
    else:
        asyncio.run(one.client.close())
    with pytest.raises(ClientClosed):
        one.ask()


@both
def test_the_answer_of_a_fallback_is_not_that_of_the_model_asked(colour: str) -> None:
    """It is given, and not kept under the name of another."""
    overloaded = [openai_error(503)] * 3
    one = One(colour, [*overloaded, anthropic_reply("other"), openai_reply("own")])
    assert one.ask(fallbacks=["anthropic:claude-haiku-4-5"]).text == "other"
    assert one.ask().text == "own"
    assert one.ask(fallbacks=["anthropic:claude-haiku-4-5"]).text == "own"


@both
def test_what_cannot_be_written_fails_as_it_would_without_a_cache(colour: str) -> None:
    """With the attempt that was refused before it was sent."""
    errors = []
    for cache in (Cache(), None):
        with pytest.raises(InvalidRequest) as caught:
            One(colour, [], cache=cache).ask(model="anthropic:claude-haiku-4-5", frequency_penalty=0.5)
        errors.append((str(caught.value), len(caught.value.attempts)))
    assert errors[0] == errors[1]


@pytest.mark.prove(15)
@both
def test_a_stored_answer_needs_no_budget(colour: str) -> None:
    """Nothing is held for it."""
    one = One(colour, [openai_reply()], budget=Budget(total="0.006"))
    one.ask(max_tokens=5000)
    with pytest.raises(BudgetExceeded):
        one.ask("something else", max_tokens=50_000)
    assert one.ask(max_tokens=5000).cached


@pytest.mark.prove(19)
def test_a_thread_that_holds_a_stream_does_not_wait_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reader leads, so an identical call of the same thread takes over after a moment."""
    for module in ("_policy.flights", "_io.answers"):
        monkeypatch.setattr(f"penstock.{module}.PATIENCE_S", 0.02)
    one = One("sync", [Scripted(body=openai_events("a", "b")), openai_reply("own")])
    stream = one.client.stream("hi", model="openai:gpt-4o-mini", temperature=0)
    assert next(stream) is not None
    assert one.ask().text == "own"
    assert stream.finish().text == "ab"
    assert one.client.cache().flights == 0


@pytest.mark.prove(19)
def test_a_task_that_holds_a_stream_does_not_wait_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on a loop, where nobody else may run meanwhile."""
    for module in ("_policy.flights", "_io.answers"):
        monkeypatch.setattr(f"penstock.{module}.PATIENCE_S", 0.02)
    one = One("async", [Scripted(body=openai_events("a", "b")), openai_reply("own")])

    async def main() -> tuple[str, str]:
        stream = one.client.stream("hi", model="openai:gpt-4o-mini", temperature=0)
        async for _ in stream:
            break
        own = await one.client.complete("hi", model="openai:gpt-4o-mini", temperature=0)
        return own.text, (await stream.finish()).text

    assert asyncio.run(main()) == ("own", "ab")


def test_a_stream_dropped_unread_leaves_its_flight() -> None:
    """Also when only the collector finds it."""
    one = One("sync", [Scripted(body=openai_events("a", "b")), openai_reply("next")])
    stream = one.client.stream("hi", model="openai:gpt-4o-mini", temperature=0)
    next(stream)
    assert one.client.cache().flights == 1
    del stream
    gc.collect()
    assert one.client.cache().flights == 0
    assert one.ask().text == "next"


def test_a_replay_left_early_tells_what_was_shown() -> None:
    """As every stream does, and it is no failure that costs."""
    one = One("sync", [Scripted(body=openai_events("a", "b"))])
    one.stream()
    with one.client.stream("hi", model="openai:gpt-4o-mini", temperature=0) as stream:
        next(stream)
    assert stream.partial.text == "ab"
    assert stream.partial.cost_nano == 0
    assert one.client.usage().attempts == 1
