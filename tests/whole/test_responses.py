"""Calls over Responses against the simulator, in both colours: answers, tools, conversations kept here or there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Cache, Client, Limits, Message, Response, RetryPolicy, Tool, ToolResult
from penstock.errors import (
    BudgetExceeded,
    ConfigError,
    NotFound,
    RateLimited,
    ServerFault,
    StreamInterrupted,
    UnsupportedParameter,
)
from penstock.sim import SimServer

MODEL = "openai-responses:gpt-4o-mini"
THINKER = "openai-responses:gpt-5-mini"
ASK = "What happened? ERROR [db] connection refused"
WEATHER = Tool(
    name="get_weather",
    description="Current weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def settings(sim: SimServer) -> dict[str, Any]:
    return {"keys": {"openai": "k"}, "base_urls": {"openai": f"{sim.url}/v1"}, "config": False, "env": {}}


def ask(sim: SimServer, colour: str, prompt: Any = ASK, stream: bool = False, **options: Any) -> Response:
    if colour == "sync":
        with Client(**settings(sim)) as client:
            if not stream:
                return client.complete(prompt, **options)
            with client.stream(prompt, **options) as answer:
                return answer.finish()

    async def main() -> Response:
        async with AsyncClient(**settings(sim)) as client:
            if not stream:
                return await client.complete(prompt, **options)
            async with client.stream(prompt, **options) as answer:
                return await answer.finish()

    return asyncio.run(main())


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_answer_is_the_same_streamed_and_is_billed_to_the_cent(sim: SimServer, colour: str) -> None:
    """Text, stop reason and usage agree, and the server's bill is what the client says."""
    whole = ask(sim, colour, model=MODEL)
    streamed = ask(sim, colour, model=MODEL, stream=True)
    assert whole.stop_reason == streamed.stop_reason == "stop"
    assert whole.text == streamed.text
    assert "db" in whole.text
    assert whole.usage.completion == streamed.usage.completion
    assert whole.provider == "openai-responses"
    assert sim.settle()
    billed = sum(attempt["input_tokens"] + attempt["cache_read_tokens"] for attempt in sim.log())
    assert billed == whole.usage.prompt + streamed.usage.prompt
    assert whole.cost is not None


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_side_by_side_and_answered(sim: SimServer, stream: bool) -> None:
    """The results go back with the calls, and the answer uses them."""
    question = Message("user", "Weather in each of Paris, Rome and Oslo?")
    first = ask(sim, "sync", [question], stream, model=MODEL, tools=[WEATHER])
    assert first.stop_reason == "tool_calls"
    assert [call.input["city"] for call in first.tool_calls] == ["Paris", "Rome", "Oslo"]
    results = Message("tool", tuple(ToolResult(tool_call_id=call.id, content="21 °C") for call in first.tool_calls))
    second = ask(sim, "sync", [question, first.message, results], stream, model=MODEL, tools=[WEATHER])
    assert "21 °C" in second.text


@pytest.mark.parametrize("stream", [False, True])
def test_a_custom_tool_gets_free_text(sim: SimServer, stream: bool) -> None:
    """A dict of the provider's own is a tool, and its result finds its way back."""
    tools = [{"type": "custom", "name": "sql"}]
    first = ask(sim, "async", "Run it", stream, model=MODEL, tools=tools, tool_choice="sql")
    (call,) = first.tool_calls
    assert (call.kind, call.name) == ("custom", "sql")
    result = Message("tool", (ToolResult(tool_call_id=call.id, content="3 rows"),))
    second = ask(sim, "async", [Message("user", "Run it"), first.message, result], stream, model=MODEL, tools=tools)
    assert "3 rows" in second.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("store", [None, False])
def test_reasoning_goes_back_whether_the_server_keeps_it_or_not(
    sim: SimServer, stream: bool, store: bool | None
) -> None:
    """By its id where it is kept, encrypted where it is not; the strict server accepts either."""
    options: dict[str, Any] = {"model": THINKER, "store": store, "reasoning_effort": "low"}
    first = ask(sim, "sync", ASK, stream, **options)
    assert first.usage.reasoning > 0
    second = ask(sim, "sync", [Message("user", ASK), first.message, Message("user", "And now?")], stream, **options)
    assert second.stop_reason == "stop"


def test_what_the_model_thought_is_shown_when_asked_for(sim: SimServer) -> None:
    """A summary is reasoning, streamed as it comes."""
    shown = ask(sim, "sync", ASK, True, model=THINKER, thinking={"mode": "adaptive", "display": "summarized"})
    assert "signal" in shown.reasoning
    assert shown.text


def test_a_stored_answer_is_gone_on_from(sim: SimServer) -> None:
    """The new message alone is sent, and the server counts what it kept."""
    first = ask(sim, "sync", model=MODEL)
    second = ask(sim, "sync", "And now?", model=MODEL, extra={"previous_response_id": first.id})
    assert second.usage.prompt > first.usage.prompt


def test_the_unseen_part_of_a_stored_conversation_is_held_for(sim: SimServer) -> None:
    """A budget cannot see what the server kept, so it holds as much as the model can read."""
    small = Budget(total="0.001")
    with Client(**settings(sim), budget=small) as client:
        first = client.complete("Hi", model=MODEL, max_tokens=16)
        with pytest.raises(BudgetExceeded):
            client.complete("Go on", model=MODEL, max_tokens=16, extra={"previous_response_id": first.id})
    with Client(**settings(sim), budget=Budget(total="1")) as client:
        assert client.complete("Go on", model=MODEL, max_tokens=16, extra={"previous_response_id": first.id}).text


def test_the_same_question_is_answered_from_the_cache(sim: SimServer) -> None:
    """But not the one over the other wire, whose answer has other ids."""
    with Client(**settings(sim), cache=Cache()) as client:
        first = client.complete(ASK, model=MODEL, temperature=0)
        again = client.complete(ASK, model=MODEL, temperature=0)
        other = client.complete(ASK, model="openai:gpt-4o-mini", temperature=0)
    assert (first.cached, again.cached, other.cached) == (False, True, False)
    assert again.text == first.text


def test_both_wires_of_an_account_are_one_lane() -> None:
    """The limit holds for both together, and has one name."""
    with SimServer() as sim, Client(**settings(sim), limits={"openai-responses": Limits(rpm=600)}) as client:
        for model in (MODEL, "openai:gpt-4o-mini"):
            client.complete("Reply with exactly: pong", model=model, max_tokens=16)
        (lane,) = client.lanes()
        assert lane.limiter.dimensions[0].limit == 600
        assert client.usage().attempts == 2
    both = {"openai": Limits(rpm=1), "openai-responses": Limits(rpm=2)}
    with pytest.raises(ConfigError, match="same account"):
        Client(config=False, env={}, limits=both)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ('kind = "rate_limit"', RateLimited),
        ('kind = "html"', ServerFault),
        ('kind = "error_200"', ServerFault),
        ('kind = "error_event", after_chunks = 6', StreamInterrupted),
        ('kind = "truncate", after_chunks = 6', StreamInterrupted),
    ],
)
def test_what_goes_wrong_is_told_as_on_other_wires(sim: SimServer, fault: str, error: type[Exception]) -> None:
    """The same classes, in the middle of a stream too."""
    sim.play(f"[[rule]]\nfault = {{ {fault} }}\n")
    once = RetryPolicy(attempts=1, rate_limits=0)
    with Client(**settings(sim), retry=once) as client, pytest.raises(error), client.stream(ASK, model=MODEL) as answer:
        answer.finish()


def test_a_model_that_is_not_there_is_said(sim: SimServer) -> None:
    """Responses answers 400 where chat answers 404; here it is one class."""
    with pytest.raises(NotFound, match="gpt-0"):
        ask(sim, "sync", model="openai-responses:gpt-0")


def test_a_parameter_that_the_wire_does_not_have_costs_nothing(sim: SimServer) -> None:
    """Nothing was sent."""
    with pytest.raises(UnsupportedParameter, match="stop"):
        ask(sim, "sync", model=MODEL, stop="x")
    assert sim.log() == []


@pytest.mark.parametrize("provider", ["azure", "azure-v1", "azure-responses"])
@pytest.mark.parametrize("stream", [False, True])
def test_azure_is_spoken_to_in_both_styles_of_path(sim: SimServer, provider: str, stream: bool) -> None:
    """The deployment in the path with an api-version, or in the body without; its first chunk has no choices."""
    env = {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": sim.url}
    with Client(config=False, env=env) as client:
        model = f"{provider}:gpt-4o-mini"
        if stream:
            with client.stream(ASK, model=model) as answer:
                found = answer.finish()
        else:
            found = client.complete(ASK, model=model)
    assert "db" in found.text
    assert found.stop_reason == "stop"


def test_both_versions_of_the_anthropic_api_are_spoken_on_one_lane(sim: SimServer) -> None:
    """Each row sends its own version and credential; what only one takes is refused for the other."""
    chat = [Message("system", "be brief"), Message("user", "Hi"), Message("assistant", "Hello"), Message("user", ASK)]
    with Client(keys={"anthropic": "k"}, base_urls={"anthropic": sim.url}, config=False, env={}) as client:
        for row, options in (("anthropic", {"temperature": 0.5}), ("anthropic-2026-10-21", {}), ("anthropic", {})):
            assert "db" in client.complete(chat, model=f"{row}:claude-haiku-4-5", **options).text  # type: ignore[arg-type]
        turn = [*chat[:3], Message("system", "now in one word"), chat[3]]
        assert client.complete(turn, model="anthropic-2026-10-21:claude-haiku-4-5").text
        with pytest.raises(UnsupportedParameter, match="2026-10-21 rejects it"):
            client.complete(chat, model="anthropic-2026-10-21:claude-haiku-4-5", temperature=0.5)
        assert len(client.lanes()) == 1
