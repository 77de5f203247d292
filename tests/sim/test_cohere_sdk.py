"""The official Cohere SDK against the simulator: a stranger that must find nothing strange."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import cohere
import pytest
from cohere.core import ApiError

from penstock.sim import Limits, SimConfig, SimServer

MODEL = "command-a-03-2025"
ASK: Any = [{"role": "user", "content": "What happened? ERROR [db] connection refused"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
ONCE: Any = {"max_retries": 0}
Order = Callable[[str], None]


@pytest.fixture(scope="module")
def one(server: SimServer) -> Iterator[cohere.ClientV2]:
    with cohere.ClientV2(api_key="k", base_url=server.url) as client:
        yield client


@pytest.fixture
def co(sim: SimServer, one: cohere.ClientV2) -> cohere.ClientV2:
    return one


def text_of(message: Any) -> str:
    return "".join(item.text for item in message.content or () if item.type == "text")


def test_a_plain_call_answers_with_text_and_what_is_billed(co: cohere.ClientV2, sim: SimServer) -> None:
    """Cohere's own preamble is counted, and not billed."""
    answer = co.chat(model=MODEL, messages=ASK)
    assert "db" in text_of(answer.message)
    assert answer.finish_reason == "COMPLETE"
    usage = answer.usage
    assert usage is not None
    assert usage.billed_units is not None
    assert usage.tokens is not None
    billed, counted = usage.billed_units.input_tokens, usage.tokens.input_tokens
    assert billed is not None
    assert counted is not None
    assert 0 < billed < counted
    row = sim.bill()["by_model"][MODEL]
    assert (row["input_tokens"], row["output_tokens"]) == (billed, usage.billed_units.output_tokens)


def test_a_stream_says_what_the_whole_answer_says(co: cohere.ClientV2) -> None:
    """Piece by piece, with usage at the end."""
    whole = co.chat(model=MODEL, messages=ASK)
    events: list[Any] = list(co.chat_stream(model=MODEL, messages=ASK))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message-start", "content-start"]
    assert kinds[-1] == "message-end"
    said = "".join(event.delta.message.content.text for event in events if event.type == "content-delta")
    assert said == text_of(whole.message)
    assert events[-1].delta.finish_reason == "COMPLETE"
    assert events[-1].delta.usage.billed_units == whole.usage.billed_units if whole.usage else False


def test_async_client(sim: SimServer) -> None:
    """The same answers in the other colour."""

    async def ask() -> tuple[Any, list[Any]]:
        async with cohere.AsyncClientV2(api_key="k", base_url=sim.url) as client:
            whole = await client.chat(model=MODEL, messages=ASK)
            events = [event async for event in client.chat_stream(model=MODEL, messages=ASK)]
            return whole, events

    whole, events = asyncio.run(ask())
    said = "".join(event.delta.message.content.text for event in events if event.type == "content-delta")
    assert said == text_of(whole.message)


def test_tools_are_called_in_parallel_and_their_results_are_taken(co: cohere.ClientV2) -> None:
    """A plan, calls with ids, results by those ids, and an answer."""
    ask: Any = [{"role": "user", "content": "Compare the weather in Paris and Rome"}]
    first = co.chat(model=MODEL, messages=ask, tools=[WEATHER], strict_tools=True)
    assert first.finish_reason == "TOOL_CALL"
    calls: Any = first.message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Rome"]
    assert first.message.tool_plan
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    turn = {"role": "assistant", "tool_calls": calls, "tool_plan": first.message.tool_plan}
    talk: Any = [*ask, turn, *results]
    second = co.chat(model=MODEL, messages=talk, tools=[WEATHER])
    assert second.finish_reason == "COMPLETE"
    assert text_of(second.message)
    talk = [*ask, {**results[0], "tool_call_id": "x"}]
    with pytest.raises(ApiError, match="tool_call_id 'x' not found"):
        co.chat(model=MODEL, messages=talk, request_options=ONCE)


def test_streamed_tool_calls_are_whole_at_their_end(co: cohere.ClientV2) -> None:
    """Start, arguments in pieces, end."""
    ask: Any = [{"role": "user", "content": "The weather in Paris"}]
    events: list[Any] = list(co.chat_stream(model=MODEL, messages=ask, tools=[WEATHER], tool_choice="REQUIRED"))
    started = [event for event in events if event.type == "tool-call-start"]
    assert started[0].delta.message.tool_calls.function.name == "get_weather"
    pieces = [event.delta.message.tool_calls.function.arguments for event in events if event.type == "tool-call-delta"]
    assert json.loads("".join(pieces))["city"] == "Paris"
    assert events[-1].delta.finish_reason == "TOOL_CALL"


def test_documents_are_cited(co: cohere.ClientV2) -> None:
    """With the place in the text, and the document."""
    documents: Any = [{"id": "log", "data": {"text": "the connection was refused"}}, "cats"]
    answer = co.chat(model=MODEL, messages=ASK, documents=documents)
    cited: Any = (answer.message.citations or [])[0]
    assert text_of(answer.message)[cited.start : cited.end] == cited.text
    assert cited.sources[0].id == "log"
    streamed: list[Any] = list(co.chat_stream(model=MODEL, messages=ASK, documents=documents))
    assert [event.delta.message.citations.text for event in streamed if event.type == "citation-start"] == [cited.text]


def test_json_keeps_to_a_schema_and_goes_with_no_tools(co: cohere.ClientV2) -> None:
    """As the SDK's own notes say."""
    schema = {"type": "object", "properties": {"service": {"type": "string"}}, "required": ["service"]}
    wanted: Any = {"type": "json_object", "json_schema": schema}
    answer = co.chat(model=MODEL, messages=ASK, response_format=wanted)
    assert isinstance(json.loads(text_of(answer.message))["service"], str)
    with pytest.raises(ApiError, match="in combination with documents or tools"):
        co.chat(model=MODEL, messages=ASK, response_format=wanted, tools=[WEATHER], request_options=ONCE)
    bad: Any = {"type": "json_object", "json_schema": {**schema, "required": []}}
    with pytest.raises(ApiError, match="at least one required field"):
        co.chat(model=MODEL, messages=ASK, response_format=bad, request_options=ONCE)


def test_a_model_thinks_before_it_speaks(co: cohere.ClientV2) -> None:
    """Its thoughts come first, and can be turned off."""
    answer = co.chat(model="command-a-reasoning-08-2025", messages=ASK)
    content: Any = answer.message.content
    assert [item.type for item in content] == ["thinking", "text"]
    quiet = co.chat(model="command-a-reasoning-08-2025", messages=ASK, thinking=cohere.Thinking(type="disabled"))
    assert [item.type for item in quiet.message.content or ()] == ["text"]


def test_vectors_of_texts_that_share_words_are_near(co: cohere.ClientV2) -> None:
    """Of the length that was asked for."""
    texts = ["the database is down", "the database is slow", "a cat on a mat"]
    answer = co.embed(model="embed-v4.0", input_type="search_document", texts=texts, output_dimension=512)
    vectors: Any = answer.embeddings.float_
    one, two, three = vectors
    assert len(one) == 512

    def near(left: list[float], right: list[float]) -> float:
        return sum(a * b for a, b in zip(left, right, strict=True))

    assert near(one, two) > near(one, three)
    with pytest.raises(ApiError, match="at most 96"):
        co.embed(model="embed-v4.0", input_type="search_query", texts=["a"] * 97, request_options=ONCE)


def test_documents_are_ranked_by_a_query(co: cohere.ClientV2, sim: SimServer) -> None:
    """The best first, at a fee for each hundred documents."""
    documents = ["a cat on a mat", "the database refused the connection", "a blue sky"]
    answer = co.rerank(model="rerank-v3.5", query="why did the database refuse?", documents=documents, top_n=2)
    assert len(answer.results) == 2
    assert answer.results[0].index == 1
    assert sim.bill()["total_nano"] == 2_000_000


@pytest.mark.parametrize(
    ("inside", "status"),
    [
        ('kind = "rate_limit"', 429),
        ('kind = "key_rejected"', 401),
        ('kind = "overloaded"', 503),
        ('kind = "quota"', 429),
        ('kind = "status", status = 500', 500),
    ],
)
def test_faults_are_errors_of_the_sdk(co: cohere.ClientV2, fault: Order, inside: str, status: int) -> None:
    """With their status and a message."""
    fault(inside)
    with pytest.raises(ApiError) as caught:
        co.chat(model=MODEL, messages=ASK, request_options=ONCE)
    assert caught.value.status_code == status
    assert "message" in caught.value.body


def test_a_trial_key_is_told_its_calls_per_minute() -> None:
    """In headers while there are some, in words when there are none."""
    with (
        SimServer(SimConfig(limits={"cohere": Limits(rpm=20, burst_requests=1)})) as sim,
        cohere.ClientV2(api_key="k", base_url=sim.url) as client,
    ):
        raw = client.with_raw_response.chat(model=MODEL, messages=ASK)
        assert raw.headers["x-trial-endpoint-call-limit"] == "20"
        assert raw.headers["x-trial-endpoint-call-remaining"] == "0"
        with pytest.raises(ApiError, match="20 API calls / minute"):
            client.chat(model=MODEL, messages=ASK, request_options=ONCE)


def test_bad_requests_are_refused(co: cohere.ClientV2) -> None:
    """Before the model works."""
    for options, words in (
        ({"model": "nonesuch"}, "model 'nonesuch' not found"),
        ({"p": 1.5}, "p must be between"),
        ({"stop_sequences": list("abcdef")}, "at most 5"),
        ({"messages": []}, "non-empty list"),
    ):
        asked: Any = {"model": MODEL, "messages": ASK, **options}
        with pytest.raises(ApiError, match=words):
            co.chat(**asked, request_options=ONCE)
