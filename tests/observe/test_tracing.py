"""Spans, as the real OpenTelemetry SDK gets them."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from penstock import AsyncClient, Cache, Client, JSONSchema, Tool
from penstock.errors import MissingExtra
from penstock.events import CallEnded, CallStarted, Event, ToolCalled
from penstock.observe import Tracing
from penstock.observe.semconv import GENAI_VERSION, SCHEMA_URL
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from penstock.types import Usage
from tests.flow.colours import KEYS, QUICK, anthropic_reply, openai_error, openai_events, openai_reply
from tests.observe.watching import MODEL, watched

both = pytest.mark.parametrize("colour", ["sync", "async"])


class Spans:
    """A tracer provider that keeps what ended."""

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**settings)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("user")

    def watch(self, client: Any, **settings: Any) -> Spans:
        """Trace a client."""
        Tracing(client, tracer_provider=self.provider, **settings)
        return self

    @property
    def ended(self) -> list[ReadableSpan]:
        """All spans, in the order in which they ended."""
        return list(self.exporter.get_finished_spans())

    def named(self, start: str) -> list[ReadableSpan]:
        """The spans whose name begins so."""
        return [span for span in self.ended if span.name.startswith(start)]


@pytest.fixture
def spans() -> Spans:
    """Where spans go."""
    return Spans()


def said(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes."""
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int | None:
    """The id of the span above."""
    return None if span.parent is None else span.parent.span_id


@both
@pytest.mark.prove(26)
def test_a_call_is_a_span_by_the_conventions_with_one_below_for_each_attempt(colour: str, spans: Spans) -> None:
    """Names, kinds, attributes, units and errors as the named version has them."""
    answers = [openai_error(429, **{"retry-after-ms": "1"}), openai_reply()]
    watched(colour, answers, spans.watch, max_tokens=20, temperature=0.5, tags={"team": "sre"})
    first, second, call = spans.ended
    assert (call.name, call.kind, call.status.status_code) == ("chat gpt-4o-mini", SpanKind.CLIENT, StatusCode.UNSET)
    scope = call.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.schema_url) == ("penstock", SCHEMA_URL)
    assert GENAI_VERSION == "0.1.0"
    found = said(call)
    assert found.pop("penstock.call.id")
    found.pop("penstock.limiter.wait_s", None)  # there where it waited for the pause after the 429
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "server.address": "api.openai.com",
        "server.port": 443,
        "penstock.call.attempts": 2,
        "penstock.cost_usd": 4.5e-06,
        "penstock.tag.team": "sre",
    }
    assert call.context is not None
    assert [parent(first), parent(second)] == [call.context.span_id] * 2
    assert [span.name for span in (first, second)] == ["attempt gpt-4o-mini"] * 2
    assert (said(first)["error.type"], first.status.status_code) == ("rate_limited", StatusCode.ERROR)
    assert (said(first)["http.response.status_code"], said(first)["penstock.attempt.number"]) == (429, 1)
    assert said(second)["penstock.attempt.request_id"] == "req_1"
    assert second.status.status_code == StatusCode.UNSET


@both
def test_times_are_those_of_the_call(colour: str, spans: Spans) -> None:
    """An attempt lies within its call, the first token within both, and nothing has no length."""
    watched(colour, [Scripted(body=openai_events("a", "b"))], spans.watch, stream=True, max_tokens=20)
    attempt, call = spans.ended
    for span in (attempt, call):
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time < span.end_time
    assert call.start_time <= attempt.start_time  # type: ignore[operator]
    assert attempt.end_time == call.end_time
    event = call.events[0]
    assert event.name == "penstock.first_token"
    assert call.start_time < event.timestamp <= call.end_time  # type: ignore[operator]
    first_s = said(call)["gen_ai.response.time_to_first_chunk"]
    assert event.timestamp == pytest.approx(call.start_time + int(first_s * 1e9), abs=2_000)  # type: ignore[operator]
    assert said(call)["gen_ai.request.stream"] is True


def test_a_call_is_a_child_of_the_span_that_is_current_in_its_thread(spans: Spans) -> None:
    """Each thread has its own."""
    transport = ScriptedTransport([openai_reply() for _ in range(8)])
    client = Client(transport=transport, keys=KEYS, config=False, env={})
    spans.watch(client)

    def work(number: int) -> None:
        with spans.tracer.start_as_current_span(f"user {number}"):
            client.complete("hi", model=MODEL, tags={"number": str(number)})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    check_parents(spans, 8)


def test_a_call_is_a_child_of_the_span_that_is_current_in_its_task(spans: Spans) -> None:
    """Tasks side by side do not mix, and nothing stays current after a call."""

    async def work(client: AsyncClient, number: int) -> None:
        with spans.tracer.start_as_current_span(f"user {number}") as user:
            await client.complete("hi", model=MODEL, tags={"number": str(number)})
            with spans.tracer.start_as_current_span("after") as after:
                assert after.parent == user.get_span_context()  # type: ignore[attr-defined]

    async def crowd() -> None:
        transport = AsyncScriptedTransport([openai_reply() for _ in range(8)])
        async with AsyncClient(transport=transport, keys=KEYS, config=False, env={}) as client:
            spans.watch(client)
            await asyncio.gather(*[work(client, number) for number in range(8)])

    asyncio.run(crowd())
    check_parents(spans, 8)


def check_parents(spans: Spans, count: int) -> None:
    """Every call is below the span of its own user."""
    users = {span.name: span.context.span_id for span in spans.named("user") if span.context}
    calls = spans.named("chat")
    assert len(calls) == count
    assert all(parent(span) == users[f"user {said(span)['penstock.tag.number']}"] for span in calls)
    assert {span.context.trace_id for span in spans.named("attempt") if span.context} == {
        span.context.trace_id for span in calls if span.context
    }


@both
@pytest.mark.prove(25)
def test_content_and_keys_are_in_no_span_unless_asked_for(colour: str, spans: Spans) -> None:
    """Not in names, attributes, events or descriptions; also when the provider quotes the prompt in its error."""
    quoting = Scripted(status=400, body=json.dumps({"error": {"message": "CANARY is bad", "code": "x"}}).encode())
    keys = {"keys": {"openai": "sk-CANARY"}}

    def watch(client: Any) -> Spans:
        client.on(Event, repr, content=True, inline=True)  # somebody else asks for content
        return spans.watch(client)

    watched(colour, [openai_reply("CANARY")], watch, client=keys, system="CANARY", stop=["CANARY"])
    watched(colour, [quoting], spans.watch, client=keys, user="CANARY")
    assert len(spans.named("chat")) == 2
    assert "CANARY" not in "".join(span.to_json() for span in spans.ended)


@both
def test_content_is_there_for_who_asks(colour: str, spans: Spans) -> None:
    """As JSON in the schema of the conventions, and the sentence of an error as the span's description."""

    def watch(client: Any) -> Spans:
        return spans.watch(client, content=True)

    quoting = Scripted(status=400, body=json.dumps({"error": {"message": "hi is bad", "code": "x"}}).encode())
    watched(colour, [openai_reply("hello"), quoting], watch, calls=2, system="be brief")
    good, bad = spans.named("chat")
    assert json.loads(said(good)["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "hi"}]}
    ]
    assert json.loads(said(good)["gen_ai.system_instructions"]) == [{"type": "text", "content": "be brief"}]
    assert json.loads(said(good)["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "hello"}], "finish_reason": "stop"}
    ]
    assert "hi is bad" in str(bad.status.description)
    assert said(bad)["error.type"] == "invalid_request"
    assert said(bad)["gen_ai.response.finish_reasons"] == ("error",)


def test_a_stream_that_is_left_early_is_no_error_and_still_ends(spans: Spans) -> None:
    """Also one that nobody ever read."""
    transport = ScriptedTransport([Scripted(body=openai_events("a", "b", "c"))])
    with Client(transport=transport, keys=KEYS, config=False, env={}) as client:
        tracing = Tracing(client, tracer_provider=spans.provider)
        with client.stream("hi", model=MODEL, max_tokens=9) as stream:
            next(iter(stream.text))
        unread = client.stream("hi", model=MODEL, max_tokens=9)
        del unread
        assert not tracing._open
    left, never = spans.named("chat")
    assert {span.status.status_code for span in (left, never)} == {StatusCode.UNSET}
    assert "error.type" not in said(left)
    assert said(left)["penstock.usage.estimated"] is True
    assert said(never)["penstock.call.attempts"] == 0


def test_a_fallback_is_named_as_who_answered(spans: Spans) -> None:
    """Provider and model of the answer are those of the lane that gave it."""
    answers = [openai_error(401), anthropic_reply()]
    watched("sync", answers, spans.watch, fallbacks=["anthropic:claude-haiku-4-5"], max_tokens=9)
    call = spans.named("chat")[0]
    assert said(call)["gen_ai.request.model"] == "gpt-4o-mini"
    assert said(call)["gen_ai.response.model"] == "claude-haiku-4-5-20251001"
    assert said(call)["gen_ai.provider.name"] == "anthropic"


def test_a_cached_answer_and_an_embedding_are_spans_too(spans: Spans) -> None:
    """Marked as what they are."""
    body = {"data": [{"index": 0, "embedding": [0.5]}], "model": "e", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    answers = [openai_reply(), Scripted(body=json.dumps(body).encode())]
    transport = ScriptedTransport(answers)
    with Client(transport=transport, keys=KEYS, config=False, env={}, cache=Cache()) as client:
        spans.watch(client)
        for _ in range(2):
            client.complete("hi", model=MODEL, temperature=0)
        client.embed(["hi"], model="openai:text-embedding-3-small", dimensions=1)
    asked, cached, embedded = spans.named("chat") + spans.named("embeddings")
    assert "penstock.call.cached" not in said(asked)
    assert said(cached)["penstock.call.cached"] is True
    assert embedded.name == "embeddings text-embedding-3-small"
    assert said(embedded)["gen_ai.operation.name"] == "embeddings"
    assert said(embedded)["gen_ai.embeddings.dimension.count"] == 1


def test_who_asks_for_json_is_said_to(spans: Spans) -> None:
    """And nothing of the schema."""
    schema = JSONSchema(schema={"type": "object", "description": "CANARY"})
    watched("sync", [openai_reply("{}")], spans.watch, response_format=schema)
    assert said(spans.named("chat")[0])["gen_ai.output.type"] == "json"
    assert "CANARY" not in spans.named("chat")[0].to_json()


def test_a_tool_that_ran_is_a_span_below_its_call(spans: Spans) -> None:
    """With arguments and result only where content is asked for."""
    for content in (False, True):
        with Client(transport=ScriptedTransport([]), keys=KEYS, config=False, env={}) as client:
            Tracing(client, tracer_provider=spans.provider, content=content)
            hub = client._gate.hub
            assert hub is not None
            same: dict[str, Any] = {"call_id": "c", "operation": "complete", "tags": {}}
            hub.emit(CallStarted(model=MODEL, at_s=1.0, **same))
            hub.emit(
                CallEnded(
                    asked=MODEL,
                    provider="openai",
                    model="gpt-4o-mini",
                    outcome="ok",
                    at_s=1.5,
                    latency_s=0.5,
                    stop_reason="tool_calls",
                    **same,
                )
            )
            hub.emit(
                ToolCalled(
                    call_id="c",
                    tool="look_up",
                    outcome="ok",
                    at_s=2.0,
                    latency_s=0.5,
                    tags={},
                    arguments="{}",
                    result="found",
                )
            )
    plain, full = spans.named("execute_tool look_up")
    assert (plain.start_time, plain.end_time, plain.kind) == (1_500_000_000, 2_000_000_000, SpanKind.INTERNAL)
    assert said(plain) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look_up",
        "gen_ai.tool.type": "function",
    }
    contexts = [call.context for call in spans.named("chat")]
    assert [parent(plain), parent(full)] == [context.span_id for context in contexts if context is not None]
    assert said(full)["gen_ai.tool.call.result"] == "found"


def test_a_row_of_a_batch_is_a_span_with_its_own_times(spans: Spans) -> None:
    """Nothing was heard of it before it came back."""
    with Client(transport=ScriptedTransport([]), keys=KEYS, config=False, env={}) as client:
        spans.watch(client)
        hub = client._gate.hub
        assert hub is not None
        hub.emit(
            CallEnded(
                call_id="r",
                operation="batch",
                asked=MODEL,
                provider="openai",
                model="gpt-4o-mini",
                outcome="ok",
                at_s=100.0,
                latency_s=60.0,
                tags={},
                usage=Usage(input=3, cache_read=2, reasoning=1),
            )
        )
    row = spans.ended[0]
    assert (row.start_time, row.end_time) == (40 * 10**9, 100 * 10**9)
    assert (said(row)["gen_ai.usage.input_tokens"], said(row)["gen_ai.usage.cache_read.input_tokens"]) == (5, 2)
    assert said(row)["gen_ai.usage.reasoning.output_tokens"] == 1


def test_what_is_not_sampled_costs_no_more_than_the_question() -> None:
    """No attempt spans, no attributes, nothing exported."""
    quiet = Spans(sampler=ALWAYS_OFF)
    watched("sync", [openai_reply()], quiet.watch)
    assert quiet.ended == []


def test_parts_of_messages_are_written_as_the_conventions_have_them() -> None:
    """Tool calls and results, reasoning, pictures without their bytes."""
    from penstock.observe.content import asked
    from penstock.types import Image, Message, Opaque, Reasoning, Request, Text, ToolCall, ToolResult

    parts: tuple[Any, ...] = (
        Text("a"),
        Image(url="https://x/y.png"),
        Image(data="AAAA", media_type="image/png"),
        Reasoning(text="hm"),
        ToolCall(id="1", name="f", arguments='{"x": 1}'),
        ToolResult(tool_call_id="1", content=(Text("r"),)),
        Opaque(kind="odd", data={"a": 1}),
    )
    request = Request(model="m", messages=(Message("user", parts),), tools=(Tool(name="f"),))
    assert json.loads(asked(request)["gen_ai.input.messages"])[0]["parts"] == [
        {"type": "text", "content": "a"},
        {"type": "uri", "modality": "image", "uri": "https://x/y.png"},
        {"type": "image"},
        {"type": "reasoning", "content": "hm"},
        {"type": "tool_call", "id": "1", "name": "f", "arguments": '{"x": 1}'},
        {"type": "tool_call_response", "id": "1", "response": [{"type": "text", "content": "r"}]},
        {"type": "odd"},
    ]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(MissingExtra, match=r"pip install 'penstock\[otel\]'"):
        Tracing()


def test_no_retry_is_lost_to_the_sdk(spans: Spans) -> None:
    """A tracer that fails hurts no call."""
    client = Client(transport=ScriptedTransport([openai_reply()]), keys=KEYS, config=False, env={}, retry=QUICK)
    tracing = Tracing(client, tracer_provider=spans.provider)
    tracing._tracer = None
    assert client.complete("hi", model=MODEL).text == "hello"
    client.close()
