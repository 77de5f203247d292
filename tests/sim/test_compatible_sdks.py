"""The official SDKs of Mistral and Groq against the simulator: strangers that speak Chat Completions their own way."""

import json
from collections.abc import Iterator
from typing import Any

import groq
import pytest
from mistralai.client import Mistral
from mistralai.client import errors as mistral_errors

from penstock.sim import SimServer

MODEL = "gpt-4o-mini"
ASK = "What happened? ERROR [db] connection refused"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def mistral(sim: SimServer) -> Iterator[Mistral]:
    with Mistral(api_key="k", server_url=sim.url) as client:
        yield client


@pytest.fixture
def fast(sim: SimServer) -> Iterator[groq.Groq]:
    with groq.Groq(api_key="k", base_url=sim.url, max_retries=0) as client:
        yield client


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_mistral_gets_an_answer_and_the_same_as_a_stream(mistral: Mistral) -> None:
    """Text, stop reason and usage come out of the SDK's own types."""
    whole = mistral.chat.complete(model=MODEL, messages=user(ASK))
    assert whole.choices[0].finish_reason == "stop"
    used = whole.usage
    assert used.total_tokens == (used.prompt_tokens or 0) + (used.completion_tokens or 0)
    with mistral.chat.stream(model=MODEL, messages=user(ASK)) as events:
        text = "".join(choice.delta.content or "" for event in events for choice in event.data.choices)
    assert text == whole.choices[0].message.content  # type: ignore[union-attr]
    assert "db" in text


def test_mistral_calls_a_tool_and_is_told_the_result(mistral: Mistral) -> None:
    """The SDK's assistant message goes back as it came."""
    asked = user("Weather in Paris?")
    first = mistral.chat.complete(model=MODEL, messages=asked, tools=[WEATHER], tool_choice="required")
    message = first.choices[0].message
    assert message is not None
    assert message.tool_calls
    (call,) = message.tool_calls
    assert json.loads(str(call.function.arguments)).keys() == {"city"}
    result = {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": "21 °C"}
    second = mistral.chat.complete(model=MODEL, messages=[*asked, message, result], tools=[WEATHER])
    assert "21 °C" in str(second.choices[0].message.content)  # type: ignore[union-attr]


def test_mistral_sees_errors_and_limits(sim: SimServer, mistral: Mistral) -> None:
    """A status is an error of the SDK."""
    with pytest.raises(mistral_errors.SDKError) as caught:
        mistral.chat.complete(model="gpt-0", messages=user(ASK))
    assert caught.value.status_code == 404
    sim.play('[[rule]]\nfault = { kind = "rate_limit" }\n')
    with pytest.raises(mistral_errors.SDKError) as caught:
        mistral.chat.complete(model=MODEL, messages=user(ASK))
    assert caught.value.status_code == 429


def test_groq_gets_an_answer_and_the_same_as_a_stream(fast: groq.Groq) -> None:
    """Its path begins with /openai/v1."""
    whole = fast.chat.completions.create(model=MODEL, messages=user(ASK))
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    stream = fast.chat.completions.create(model=MODEL, messages=user(ASK), stream=True)
    text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert "db" in text


def test_groq_calls_tools_side_by_side(fast: groq.Groq) -> None:
    """Each call has arguments of its own, whole and streamed."""
    question = user("Weather in each of Paris, Rome and Oslo?")
    tools: Any = [WEATHER]
    whole = fast.chat.completions.create(model=MODEL, messages=question, tools=tools)
    calls = whole.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Rome", "Oslo"]
    stream = fast.chat.completions.create(model=MODEL, messages=question, tools=tools, stream=True)
    pieces: dict[int, str] = {}
    for chunk in stream:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                pieces[call.index] = pieces.get(call.index, "") + ((call.function and call.function.arguments) or "")
    assert [json.loads(text)["city"] for text in pieces.values()] == ["Paris", "Rome", "Oslo"]


def test_groq_holds_an_answer_to_a_schema(fast: groq.Groq) -> None:
    """response_format is that of OpenAI."""
    schema = {
        "type": "object",
        "properties": {"severity": {"type": "string", "enum": ["low", "high"]}},
        "required": ["severity"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    answer = fast.chat.completions.create(model=MODEL, messages=user(ASK), response_format=form)
    assert json.loads(answer.choices[0].message.content or "")["severity"] in {"low", "high"}


def test_groq_sees_errors_and_limits(sim: SimServer, fast: groq.Groq) -> None:
    """Each is a class of the SDK."""
    with pytest.raises(groq.NotFoundError):
        fast.chat.completions.create(model="gpt-0", messages=user(ASK))
    sim.play('[[rule]]\nfault = { kind = "rate_limit" }\n')
    with pytest.raises(groq.RateLimitError):
        fast.chat.completions.create(model=MODEL, messages=user(ASK))
