"""The official OpenAI SDK's Responses client against the simulator: a stranger that must find nothing strange."""

import json
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

from penstock.sim import SimServer

MODEL = "gpt-4o-mini"
THINKER = "gpt-5-mini"
ASK = "What happened? ERROR [db] connection refused"
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Current weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Incident(BaseModel):
    title: str
    services: list[str]


def test_a_plain_answer_has_text_and_usage_that_adds_up(chat: openai.OpenAI) -> None:
    """A response is completed, says something, and its tokens add up."""
    answer = chat.responses.create(model=MODEL, input=ASK)
    assert answer.status == "completed"
    assert "db" in answer.output_text
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_a_stream_adds_up_to_the_plain_answer(chat: openai.OpenAI) -> None:
    """The SDK's own accumulator reads the events into the response that a plain call gives."""
    plain = chat.responses.create(model=MODEL, input=ASK)
    with chat.responses.stream(model=MODEL, input=ASK) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == plain.output_text
    assert final.usage == plain.usage
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert "response.output_text.delta" in kinds


def test_calls_of_tools_are_made_and_answered(chat: openai.OpenAI) -> None:
    """Parallel calls come as items, and their results lead to an answer that uses them."""
    asked: list[Any] = [{"role": "user", "content": "Weather in each of Paris, Rome and Oslo?"}]
    first = chat.responses.create(model=MODEL, input=asked, tools=[WEATHER])
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Paris", "Rome", "Oslo"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "21 °C"} for call in calls]
    again = [*asked, *[item.model_dump() for item in first.output], *results]
    second = chat.responses.create(model=MODEL, input=again, tools=[WEATHER])
    assert "21 °C" in second.output_text


def test_a_streamed_call_is_that_of_the_plain_answer(chat: openai.OpenAI) -> None:
    """Arguments in pieces are the arguments."""
    with chat.responses.stream(model=MODEL, input="Weather in Paris?", tools=[WEATHER]) as stream:
        final = stream.get_final_response()
    call = final.output[0]
    assert call.type == "function_call"
    assert json.loads(call.arguments).keys() == {"city"}


def test_a_custom_tool_is_called_with_free_text(chat: openai.OpenAI) -> None:
    """What a custom tool is given is no JSON."""
    answer = chat.responses.create(
        model=MODEL, input="Run a query", tools=[{"type": "custom", "name": "sql"}], tool_choice="required"
    )
    call = answer.output[0]
    assert call.type == "custom_tool_call"
    assert call.name == "sql"


def test_a_stored_response_is_gone_on_from(chat: openai.OpenAI) -> None:
    """The next request sends its own message alone, and is charged for what was said before."""
    first = chat.responses.create(model=MODEL, input=ASK)
    second = chat.responses.create(model=MODEL, input="And now?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    stored = chat.responses.create(model=MODEL, input=ASK, store=False)
    with pytest.raises(openai.BadRequestError, match="not found"):
        chat.responses.create(model=MODEL, input="And now?", previous_response_id=stored.id)


def test_reasoning_goes_back_encrypted_or_by_its_id(chat: openai.OpenAI) -> None:
    """A stateless server takes reasoning only with its content, and only before what it led to."""
    include: Any = ["reasoning.encrypted_content"]
    said = chat.responses.create(model=THINKER, input=ASK, store=False, include=include, reasoning={"effort": "low"})
    thought = said.output[0]
    assert thought.type == "reasoning"
    assert thought.encrypted_content
    more: list[Any] = [{"role": "user", "content": ASK}, *[item.model_dump(exclude_none=True) for item in said.output]]
    more.append({"role": "user", "content": "And now?"})
    assert chat.responses.create(model=THINKER, input=more, store=False).status == "completed"
    del more[1]["encrypted_content"]
    with pytest.raises(openai.NotFoundError, match="Items are not persisted"):
        chat.responses.create(model=THINKER, input=more, store=False)
    alone: list[Any] = [thought.model_dump(exclude_none=True), {"role": "user", "content": "And now?"}]
    with pytest.raises(openai.BadRequestError, match="required following item"):
        chat.responses.create(model=THINKER, input=alone, store=False)


def test_a_type_is_parsed_by_the_sdk(chat: openai.OpenAI) -> None:
    """text.format holds the answer to the schema."""
    answer = chat.responses.parse(model=MODEL, input=ASK, text_format=Incident)
    assert isinstance(answer.output_parsed, Incident)


def test_an_answer_that_is_cut_says_so(chat: openai.OpenAI) -> None:
    """max_output_tokens ends it as incomplete, whole and streamed."""
    answer = chat.responses.create(model=MODEL, input=ASK, max_output_tokens=16)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    with chat.responses.stream(model=MODEL, input=ASK, max_output_tokens=16) as stream:
        kinds = [event.type for event in stream]
    assert kinds[-1] == "response.incomplete"


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"max_output_tokens": 3}, "max_output_tokens", "integer_below_min_value"),
        ({"messages": []}, "messages", "unknown_parameter"),
        ({"model": "gpt-0"}, "model", "model_not_found"),
        ({"model": THINKER, "temperature": 0}, "temperature", "unsupported_parameter"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort", "unsupported_parameter"),
        ({"include": ["everything"]}, "include[0]", "invalid_value"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"input": []}, "input", "missing_required_parameter"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "text"}]}]}, "input[0].content[0]", "invalid_value"),
        ({"previous_response_id": "resp_no"}, "previous_response_id", "previous_response_not_found"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "missing_required_parameter"),
    ],
)
def test_what_the_server_refuses(chat: openai.OpenAI, wrong: dict[str, Any], param: str, code: str) -> None:
    """Each is a 400 that names the parameter."""
    with pytest.raises(openai.BadRequestError) as caught:
        chat.post("/responses", cast_to=object, body={"model": MODEL, "input": ASK, **wrong})
    assert (caught.value.param, caught.value.code) == (param, code)


def test_results_and_calls_belong_together(chat: openai.OpenAI) -> None:
    """A result without its call is refused, and a call without its result."""
    call: Any = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    result: Any = {"type": "function_call_output", "call_id": "c2", "output": "x"}
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        chat.responses.create(model=MODEL, input=[call, result])
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        chat.responses.create(model=MODEL, input=[call])


def test_faults_and_limits_strike_here_too(sim: SimServer, chat: openai.OpenAI) -> None:
    """An error in the middle of a stream is its last event, and a 429 is an error of the SDK."""
    sim.play('[[rule]]\nfault = { kind = "error_event", after_chunks = 4 }\n')
    events = list(chat.responses.create(model=MODEL, input=ASK, stream=True))
    assert events[-1].type == "error"
    assert events[-1].code == "server_error"
    sim.play('[[rule]]\nfault = { kind = "rate_limit" }\n')
    with pytest.raises(openai.RateLimitError):
        chat.responses.create(model=MODEL, input=ASK)
