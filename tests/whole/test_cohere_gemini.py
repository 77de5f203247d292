"""Calls over Cohere's and Gemini's protocols against the simulator, in both colours: its bill has the last word."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Literal

import pytest

from penstock import (
    AsyncClient,
    Budget,
    Client,
    Document,
    Image,
    Limits,
    Message,
    Opaque,
    Response,
    RetryPolicy,
    Text,
    Thinking,
    Tool,
    ToolResult,
)
from penstock.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    ConfigError,
    InputError,
    InputRejected,
    NotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    UnsupportedParameter,
)
from penstock.events import CallEnded
from penstock.sim import Embedding, SimConfig, SimServer
from penstock.sim import Limits as SimLimits

COHERE, GEMINI, SIGNING = "cohere:command-a-03-2025", "gemini:gemini-2.5-flash", "gemini:gemini-3-flash-preview"
ASK = "What happened? ERROR [db] connection refused"
WEATHER = Tool(
    name="get_weather",
    description="Current weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
ONCE = RetryPolicy(attempts=1, unknown_outcomes=0, rate_limits=0)

colours = pytest.mark.parametrize("colour", ["sync", "async"])
providers = pytest.mark.parametrize("model", [COHERE, GEMINI])


@dataclasses.dataclass
class Incident:
    service: str
    severity: Literal["low", "high"]
    minutes: int


@pytest.fixture(scope="module")
def server() -> Iterator[SimServer]:
    with SimServer(SimConfig(embeddings=Embedding(poison="POISON"))) as running:
        yield running


def settings(sim: SimServer, **more: Any) -> dict[str, Any]:
    names = ("cohere", "gemini")
    return {
        "keys": dict.fromkeys(names, "k"),
        "base_urls": dict.fromkeys(names, sim.url),
        "config": False,
        "env": {},
        **more,
    }


def call(sim: SimServer, colour: str, do: Callable[[Any], Any], **more: Any) -> Any:
    """Make one call with a client of a colour; `do` gives what a `Client` answers, or an awaitable of it."""
    if colour == "sync":
        with Client(**settings(sim, **more)) as client:
            return do(client)

    async def main() -> Any:
        async with AsyncClient(**settings(sim, **more)) as client:
            found = do(client)
            return await found if isinstance(found, Awaitable) else found

    return asyncio.run(main())


def ask(sim: SimServer, colour: str, prompt: Any = ASK, *, client: Any = None, **options: Any) -> Response:
    answer: Response = call(sim, colour, lambda gate: gate.complete(prompt, **options), **(client or {}))
    return answer


def embed(gate: Any, options: dict[str, Any]) -> Any:
    return gate.embed("x", **options)


def rank(gate: Any, query: Any, documents: Any, options: dict[str, Any]) -> Any:
    return gate.rerank(query, documents, **options)


def streamed(sim: SimServer, colour: str, prompt: Any = ASK, *, client: Any = None, **options: Any) -> Response:
    def sync(gate: Client) -> Response:
        with gate.stream(prompt, **options) as answer:
            return answer.finish()

    async def other(gate: AsyncClient) -> Response:
        async with gate.stream(prompt, **options) as answer:
            return await answer.finish()

    found: Response = call(sim, colour, sync if colour == "sync" else other, **(client or {}))
    return found


@colours
@providers
def test_an_answer_costs_what_the_bill_says(sim: SimServer, colour: str, model: str) -> None:
    """Whole and streamed, to the last nano-dollar."""
    whole = ask(sim, colour, model=model, max_tokens=500)
    stream = streamed(sim, colour, model=model, max_tokens=500)
    assert "db" in whole.text
    assert (stream.text, stream.usage, stream.stop_reason) == (whole.text, whole.usage, "stop")
    assert sim.settle()
    assert sim.bill()["total_nano"] == (whole.cost_nano or 0) + (stream.cost_nano or 0)
    assert whole.cost_nano == stream.cost_nano
    assert bool(whole.usage.reasoning) == (model == GEMINI)


@colours
@pytest.mark.parametrize("model", [COHERE, GEMINI, SIGNING])
@pytest.mark.parametrize("way", [ask, streamed])
def test_tools_go_there_and_back(sim: SimServer, colour: str, model: str, way: Callable[..., Response]) -> None:
    """Parallel calls, their results in one turn, and whatever must go back with them: plans and signatures."""
    prompt = [Message("user", "Compare the weather in Paris and Rome")]
    first = way(sim, colour, prompt, model=model, tools=[WEATHER])
    assert first.stop_reason == "tool_calls"
    assert [one.input["city"] for one in first.tool_calls] == ["Paris", "Rome"]
    assert len({one.id for one in first.tool_calls}) == 2
    results = [ToolResult(tool_call_id=one.id, content='{"sky": "sunny"}') for one in first.tool_calls]
    second = way(sim, colour, [*prompt, first.message, Message("tool", tuple(results))], model=model, tools=[WEATHER])
    assert second.stop_reason == "stop"
    assert second.text


@colours
def test_a_conversation_moves_between_providers(sim: SimServer, colour: str) -> None:
    """Calls that another provider's model made are taken, also by a model that wants its signatures."""
    prompt = [Message("user", "The weather in Paris")]
    first = ask(sim, colour, prompt, model=COHERE, tools=[WEATHER])
    result = Message("tool", (ToolResult(tool_call_id=first.tool_calls[0].id, content="sunny"),))
    second = ask(sim, colour, [*prompt, first.message, result], model=SIGNING, tools=[WEATHER])
    third = ask(sim, colour, [*prompt, first.message, result, second.message, Message("user", "And?")], model=COHERE)
    assert second.text
    assert third.text


@colours
def test_thoughts_are_shown_and_bounded(sim: SimServer, colour: str) -> None:
    """By a budget, an effort, or none at all."""
    shown = ask(sim, colour, model=GEMINI, thinking=Thinking(mode="enabled", budget_tokens=64))
    assert shown.reasoning
    assert shown.usage.reasoning == 64
    assert ask(sim, colour, model=SIGNING, reasoning_effort="low").usage.reasoning == 32
    assert ask(sim, colour, model=GEMINI, thinking=Thinking(mode="disabled")).usage.reasoning == 0
    thinker = "cohere:command-a-reasoning-08-2025"
    assert ask(sim, colour, model=thinker).reasoning
    assert streamed(sim, colour, model=thinker).reasoning
    assert not ask(sim, colour, model=thinker, thinking=Thinking(mode="disabled")).reasoning


@colours
def test_documents_are_cited(sim: SimServer, colour: str) -> None:
    """The citations are a part of the answer, and go back with it."""
    document = Document(text="the connection was refused", title="log", citations=True)
    prompt = [Message("user", (document, Text(ASK)))]
    for way in (ask, streamed):
        answer = way(sim, colour, prompt, model=COHERE)
        cited = next(part for part in answer.content if isinstance(part, Opaque))
        assert cited.kind == "cohere_citations"
        assert cited.data["citations"][0]["sources"][0]["document"]["title"] == "log"
        again = way(sim, colour, [*prompt, answer.message, Message("user", "And?")], model=COHERE)
        assert again.text


@colours
def test_pictures_and_files_go_where_they_can(sim: SimServer, colour: str) -> None:
    """Inline to Gemini; a model of text is not asked."""
    picture = Image(data=base64.b64encode(b"\x89PNG").decode(), media_type="image/png")
    answer = ask(sim, colour, [Message("user", (picture, Text("What is it?")))], model=GEMINI)
    assert answer.usage.prompt > 258
    for part in (picture, Document(url="https://x.example/a.pdf")):
        with pytest.raises(UnsupportedParameter):
            ask(sim, colour, [Message("user", (part, Text("What is it?")))], model=COHERE)
    assert sim.bill()["attempts"] == 1


@colours
@providers
@pytest.mark.parametrize("mode", ["native", "tool", "prompted"])
def test_a_value_of_a_type_comes_in_every_mode(sim: SimServer, colour: str, model: str, mode: str) -> None:
    """By the provider's own schema, by a tool, and by words."""
    found = call(sim, colour, lambda gate: gate.extract(Incident, ASK, model=model, mode=mode))
    assert isinstance(found.value, Incident)
    assert found.mode == mode


@colours
@providers
def test_a_value_grows_as_it_streams(sim: SimServer, colour: str, model: str) -> None:
    """And is whole at the end, the same as asked for at once."""
    whole = call(sim, colour, lambda gate: gate.extract(Incident, ASK, model=model))

    def sync(gate: Client) -> Any:
        with gate.stream_extract(Incident, ASK, model=model) as growing:
            return list(growing), growing.finish()

    async def other(gate: AsyncClient) -> Any:
        async with gate.stream_extract(Incident, ASK, model=model) as growing:
            return [value async for value in growing], await growing.finish()

    grown, final = call(sim, colour, sync if colour == "sync" else other)
    assert len(grown) > 1
    assert final.value == whole.value
    assert final.mode == "native"


@colours
@pytest.mark.parametrize("model", ["cohere:embed-v4.0", "gemini:gemini-embedding-001"])
def test_texts_become_vectors(sim: SimServer, colour: str, model: str) -> None:
    """In as few requests as the provider takes, at the price of the bill; a bad text is found."""
    texts = [f"ticket {number}" for number in range(250)]
    options: dict[str, Any] = {"model": model, "input_type": "search_document", "dimensions": 256}
    found = call(sim, colour, lambda gate: gate.embed(texts, **options))
    assert (len(found), found.dimensions, found.requests) == (250, 256, 3)
    assert sim.bill()["total_nano"] == found.cost_nano
    texts[117] = "POISON"
    with pytest.raises(InputRejected, match="index 117"):
        call(sim, colour, lambda gate: gate.embed(texts, **options))


@colours
def test_vectors_are_for_a_purpose(sim: SimServer, colour: str) -> None:
    """Cohere must be told which; who knows none refuses the word."""
    cases: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("cohere:embed-v4.0", {}, "give input_type='search_document'"),
        ("cohere:embed-v4.0", {"input_type": "search_query", "user": "me"}, "does not take 'user'"),
        ("openai:text-embedding-3-small", {"input_type": "search_query"}, "does not take 'input_type'"),
    )
    for model, options, words in cases:
        with pytest.raises(UnsupportedParameter, match=words):
            call(sim, colour, partial(embed, options={"model": model, **options}))
    with pytest.raises(ConfigError, match="expected one of search_document"):
        call(sim, colour, lambda gate: gate.embed("x", model="cohere:embed-v4.0", input_type="query"))
    assert sim.bill()["attempts"] == 0


@colours
def test_documents_are_ranked(sim: SimServer, colour: str) -> None:
    """The best first, by their places in what was given; it is told of as what it is."""
    heard: list[CallEnded] = []
    documents = ["a cat on a mat", "the database refused the connection", "a blue sky"]
    query = "why did the database refuse?"

    def listen_and_rank(gate: Any) -> Any:
        gate.on(CallEnded, heard.append, inline=True)
        return gate.rerank(query, documents, model="cohere:rerank-v3.5", top_n=2, tags={"a": "b"})

    found = call(sim, colour, listen_and_rank)
    assert [(event.operation, event.model) for event in heard] == [("rerank", "rerank-v3.5")]
    assert len(found) == 2
    assert found[0].index == 1
    assert found[0].score > found[1].score
    assert (found.search_units, found.cost, found.tags) == (1, None, {"a": "b"})
    assert [attempt.outcome for attempt in found.attempts] == ["ok"]


@colours
def test_a_ranking_goes_through_the_gate(sim: SimServer, colour: str) -> None:
    """Retried, refused by a budget that does not know its price, and never sent in vain."""
    sim.play('[[rule]]\nmatch = { nth = 1 }\nfault = { kind = "overloaded" }\n')

    usual: dict[str, Any] = {"query": "x", "documents": ["a", "b"], "options": {"model": "cohere:rerank-v3.5"}}
    found = call(sim, colour, partial(rank, **usual), retry=RetryPolicy(base_s=0.01))
    assert [attempt.outcome for attempt in found.attempts] == ["overloaded", "ok"]
    with pytest.raises(BudgetExceeded):
        call(sim, colour, partial(rank, **usual), budget=Budget(total="1.00"))
    attempts = sim.bill()["attempts"]
    for query, documents, options, kind in (
        ("", ["a"], {}, InputError),
        ("x", [], {}, InputError),
        ("x", ["a", " "], {}, InputError),
        ("x", "a", {}, InputError),
        ("x", ["a"], {"top_n": 0}, ConfigError),
        ("x", ["a"], {"topn": 1}, ConfigError),
        ("x", ["a"], {"model": "openai:gpt-4o"}, UnsupportedParameter),
    ):
        asked: dict[str, Any] = {"model": "cohere:rerank-v3.5", **options}
        with pytest.raises(kind):
            call(sim, colour, partial(rank, query=query, documents=documents, options=asked))
    assert sim.bill()["attempts"] == attempts


@colours
@providers
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ('kind = "key_rejected"', AuthenticationFailed),
        ('kind = "overloaded"', Overloaded),
        ('kind = "rate_limit"', RateLimited),
        ('kind = "quota"', QuotaExhausted),
        ('kind = "error_event"', Overloaded),
    ],
)
def test_faults_have_their_class(sim: SimServer, colour: str, model: str, fault: str, kind: type[Exception]) -> None:
    """Whatever shape a provider gives them."""
    sim.play(f"[[rule]]\nfault = {{ {fault} }}\n")
    with pytest.raises(kind):
        ask(sim, colour, model=model, client={"retry": ONCE})


@colours
@providers
def test_a_stream_that_breaks_keeps_what_came(sim: SimServer, colour: str, model: str) -> None:
    """By an error in its midst, or its end before the last word."""
    for fault in ('kind = "error_event", after_chunks = 6', 'kind = "truncate", after_chunks = 6'):
        sim.play(f"[[rule]]\nfault = {{ {fault} }}\n")
        with pytest.raises(StreamInterrupted) as caught:
            streamed(sim, colour, model=model)
        assert caught.value.partial.text


@colours
def test_a_filtered_answer_says_so(sim: SimServer, colour: str) -> None:
    """And is no error: what came is there."""
    sim.play('[[rule]]\nfault = { kind = "content_filter" }\n')
    assert ask(sim, colour, model=GEMINI).stop_reason == "content_filter"
    assert streamed(sim, colour, model=GEMINI).stop_reason == "content_filter"


@colours
def test_a_quota_of_the_day_shuts_its_model_and_no_other(sim: SimServer, colour: str) -> None:
    """The account is well: another model of it answers at once."""
    sim.play('[[rule]]\nmatch = { model = "gemini-2.5-flash" }\nfault = { kind = "quota" }\n')

    def sync(gate: Client) -> tuple[Response, Any]:
        with pytest.raises(QuotaExhausted):
            gate.complete(ASK, model=GEMINI)
        return gate.complete(ASK, model=GEMINI, fallbacks=[SIGNING]), gate.lanes()

    async def other(gate: AsyncClient) -> tuple[Response, Any]:
        with pytest.raises(QuotaExhausted):
            await gate.complete(ASK, model=GEMINI)
        return await gate.complete(ASK, model=GEMINI, fallbacks=[SIGNING]), gate.lanes()

    answer, lanes = call(sim, colour, sync if colour == "sync" else other)
    assert [attempt.outcome for attempt in answer.attempts] == ["breaker_open", "ok"]
    assert {lane.name: (lane.breaker.state, lane.account.state) for lane in lanes} == {
        GEMINI: ("open", "closed"),
        SIGNING: ("closed", "closed"),
    }
    assert len(sim.log()) == 2


@colours
def test_the_wait_of_a_429_is_kept(colour: str) -> None:
    """Gemini says it in the body: the call waits that long and then goes through."""
    with SimServer(SimConfig(limits={"gemini": SimLimits(rpm=600, burst_requests=1)})) as sim:

        def both(gate: Client) -> list[Response]:
            return [gate.complete(ASK, model=GEMINI), gate.complete(ASK, model=GEMINI)]

        async def other(gate: AsyncClient) -> list[Response]:
            return [await gate.complete(ASK, model=GEMINI), await gate.complete(ASK, model=GEMINI)]

        answers = call(sim, colour, both if colour == "sync" else other)
    assert [attempt.outcome for attempt in answers[1].attempts] == ["rate_limited", "ok"]
    told = answers[1].attempts[0].retry_after_s
    assert told is not None
    assert 0 < told <= 0.1


@pytest.mark.slow
@colours
def test_a_known_limit_is_never_hit(colour: str) -> None:
    """With it set, or told in the headers of a trial key, nothing is refused."""
    with SimServer(SimConfig(limits={"cohere": SimLimits(rpm=1200, burst_requests=6)})) as sim:

        def many(gate: Client) -> None:
            for _ in range(12):
                gate.complete(ASK, model=COHERE)

        async def other(gate: AsyncClient) -> None:
            await asyncio.gather(*[gate.complete(ASK, model=COHERE) for _ in range(12)])

        call(sim, colour, many if colour == "sync" else other, limits=Limits(rpm=1200))
        assert {entry["status"] for entry in sim.log()} == {200}


@colours
@pytest.mark.parametrize(
    ("model", "options", "name"),
    [
        (COHERE, {"n": 2}, "n"),
        (COHERE, {"stop": list("abcdef")}, "stop"),
        (COHERE, {"reasoning_effort": "low"}, "reasoning_effort"),
        (COHERE, {"tools": [WEATHER], "response_format": "json"}, "response_format"),
        (COHERE, {"tools": [WEATHER, Tool(name="other")], "tool_choice": "other"}, "tool_choice"),
        (GEMINI, {"logit_bias": {"1": 1.0}}, "logit_bias"),
        (GEMINI, {"reasoning_effort": "max"}, "reasoning_effort"),
        (GEMINI, {"tools": [WEATHER], "response_format": "json"}, "response_format"),
        (GEMINI, {"thinking": Thinking(mode="adaptive"), "reasoning_effort": "low"}, "reasoning_effort"),
        (GEMINI, {"max_tokens": 100_000}, "max_tokens"),
    ],
)
def test_what_cannot_be_said_is_not_sent(sim: SimServer, colour: str, model: str, options: Any, name: str) -> None:
    """The error names provider, model and parameter, and nothing was paid."""
    with pytest.raises(UnsupportedParameter) as caught:
        ask(sim, colour, model=model, **options)
    error = caught.value
    assert (error.param, f"{error.provider}:{error.model}") == (name, model)
    assert sim.bill()["attempts"] == 0


@colours
@providers
def test_an_unknown_model_is_said(sim: SimServer, colour: str, model: str) -> None:
    """By the provider, in one class."""
    with pytest.raises(NotFound):
        ask(sim, colour, model=f"{model.partition(':')[0]}:nonesuch")
