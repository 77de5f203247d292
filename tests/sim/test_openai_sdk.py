"""The official OpenAI SDK against the simulator: a stranger that must find nothing strange."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel, Field

from penstock.sim import SimServer

MODEL = "gpt-4o-mini"
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What happened? ERROR [db] connection refused"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
Order = Callable[[str], None]


class Cause(BaseModel):
    service: str
    confidence: float = Field(ge=0, le=1)


class Incident(BaseModel):
    title: str
    severity: Literal["low", "medium", "high", "critical"]
    causes: list[Cause]
    ticket: str | None
    count: int = Field(ge=1, le=5)


def user(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_a_plain_call_answers_with_text_and_exact_usage(chat: openai.OpenAI) -> None:
    """A chat answer has text, a stop reason and usage that adds up."""
    answer = chat.chat.completions.create(model=MODEL, messages=ASK)
    assert answer.choices[0].finish_reason == "stop"
    assert "db" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Error or not? ERROR [db] refused", "Error"),
        ("Error or not? INFO [web] started in 3 s", "Not an error"),
        ("Classify the log line as P1, P2, P3 or P4. Answer with the class only.\nOOM killed: all users down", "P1"),
        ("Classify the log line as P1, P2, P3 or P4. Answer with the class only.\nINFO [web] heartbeat ok", "P4"),
        ("Classify the severity: critical, high, medium or low.\nupstream timeout after 30 s", "high"),
        ("Is this an incident, yes or no?\nFATAL panic: corrupted index", "yes"),
        ("Reply with exactly: pong", "pong"),
    ],
)
def test_a_question_with_classes_gets_one_of_them(chat: openai.OpenAI, prompt: str, expected: str) -> None:
    """A classification prompt is answered by the class that suits the log."""
    answer = chat.chat.completions.create(model=MODEL, messages=user(prompt))
    assert answer.choices[0].message.content == expected


def test_a_stream_adds_up_to_the_plain_answer_and_reports_usage_last(chat: openai.OpenAI) -> None:
    """Streamed deltas join to the same text, and the usage chunk comes last and only on request."""
    whole = chat.chat.completions.create(model=MODEL, messages=ASK)
    chunks = list(
        chat.chat.completions.create(model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    plain = list(chat.chat.completions.create(model=MODEL, messages=ASK, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in plain)
    assert plain[-1].choices[0].finish_reason == "stop"


def test_the_streaming_helper_sees_the_whole_answer(chat: openai.OpenAI) -> None:
    """The SDK's own stream helper accumulates a final completion."""
    with chat.chat.completions.stream(model=MODEL, messages=ASK) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].finish_reason == "stop"


def test_the_async_client_gets_the_same_answers(sim: SimServer) -> None:
    """Sync and async clients hear the same, also while streaming."""

    async def main() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as client:
            whole = await client.chat.completions.create(model=MODEL, messages=ASK)
            stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
            return whole.choices[0].message.content, "".join([c.choices[0].delta.content or "" async for c in stream])

    whole, streamed = asyncio.run(main())
    assert whole == streamed


def test_parse_returns_a_valid_instance(chat: openai.OpenAI) -> None:
    """A strict schema is answered by an instance that pydantic accepts."""
    answer = chat.chat.completions.parse(model=MODEL, messages=ASK, response_format=Incident)
    incident = answer.choices[0].message.parsed
    assert isinstance(incident, Incident)
    assert incident.severity == "high"
    assert incident.causes[0].service == "db"


def test_json_mode_answers_an_object(chat: openai.OpenAI) -> None:
    """JSON mode gives an object with the keys that the prompt names."""
    answer = chat.chat.completions.create(
        model=MODEL,
        messages=user("Reply in JSON with the keys severity and service. ERROR [cache] timeout"),
        response_format={"type": "json_object"},
    )
    assert json.loads(answer.choices[0].message.content or "") == {"severity": "high", "service": "cache"}


def test_a_tool_is_called_and_its_result_is_used(chat: openai.OpenAI) -> None:
    """A tool call round trip ends in a text that uses the result."""
    messages = user("What is the weather in Lisbon?")
    first = chat.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    calls = first.choices[0].message.tool_calls or []
    assert len(calls) == 1
    assert calls[0].type == "function"
    assert json.loads(calls[0].function.arguments)["city"] == "Lisbon"
    reply: Any = first.choices[0].message.model_dump(exclude_none=True)
    second = chat.chat.completions.create(
        model=MODEL,
        messages=[*messages, reply, {"role": "tool", "tool_call_id": calls[0].id, "content": "21 degrees"}],
        tools=[WEATHER],
    )
    assert "21 degrees" in (second.choices[0].message.content or "")


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_in_parallel_for_a_list(chat: openai.OpenAI, streamed: bool) -> None:
    """A prompt that lists three cities gets three calls, streamed or not, unless parallel calls are off."""
    messages = user("Get the weather for each of Paris, Rome and Oslo")
    if streamed:
        with chat.chat.completions.stream(model=MODEL, messages=messages, tools=[WEATHER]) as stream:
            calls: Any = stream.get_final_completion().choices[0].message.tool_calls
    else:
        answer = chat.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
        calls = answer.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Rome", "Oslo"]
    assert len({call.id for call in calls}) == 3
    alone = chat.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER], parallel_tool_calls=False)
    assert len(alone.choices[0].message.tool_calls or []) == 1


def test_tool_choice_is_obeyed(chat: openai.OpenAI) -> None:
    """None forbids calls, a forced function ends with stop as the real one does."""
    none = chat.chat.completions.create(model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="none")
    assert not none.choices[0].message.tool_calls
    forced = chat.chat.completions.create(
        model=MODEL,
        messages=ASK,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    assert forced.choices[0].message.tool_calls
    assert forced.choices[0].finish_reason == "stop"


def test_several_choices_differ_and_are_all_counted(chat: openai.OpenAI) -> None:
    """With n=2 there are two answers and the usage covers both, streamed too."""
    answer = chat.chat.completions.create(model=MODEL, messages=ASK, n=2)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 2
    single = chat.chat.completions.create(model=MODEL, messages=ASK)
    assert answer.usage is not None
    assert single.usage is not None
    assert answer.usage.completion_tokens > single.usage.completion_tokens
    streamed = ["", ""]
    for chunk in chat.chat.completions.create(model=MODEL, messages=ASK, n=2, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_limits_on_the_answer_are_obeyed(chat: openai.OpenAI) -> None:
    """max_tokens cuts with length, a stop sequence ends before it."""
    cut = chat.chat.completions.create(model=MODEL, messages=ASK, max_tokens=5)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 5
    stopped = chat.chat.completions.create(model=MODEL, messages=ASK, stop=["."])
    assert "." not in (stopped.choices[0].message.content or "")


def test_reasoning_models_reason_and_refuse_old_parameters(chat: openai.OpenAI) -> None:
    """Reasoning tokens show in the usage; max_tokens and temperature are unsupported."""
    answer = chat.chat.completions.create(model="gpt-5-mini", messages=ASK, reasoning_effort="low")
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 64
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(model="gpt-5-mini", messages=ASK, max_tokens=10)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "max_tokens")
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(model="o3-mini", messages=ASK, temperature=0.2)
    assert (caught.value.code, caught.value.param) == ("unsupported_value", "temperature")


def test_a_long_repeated_prefix_is_cached(chat: openai.OpenAI) -> None:
    """The second call with the same 1024 tokens in front reports cached tokens."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Known incidents: " + "the database was slow again. " * 400},
        {"role": "user", "content": "Anything new?"},
    ]
    usages = [chat.chat.completions.create(model=MODEL, messages=messages).usage for _ in range(2)]
    cached = [u.prompt_tokens_details.cached_tokens for u in usages if u and u.prompt_tokens_details]
    assert cached[0] == 0
    assert (cached[1] or 0) >= 1024


def test_images_and_logprobs_are_understood(chat: openai.OpenAI) -> None:
    """An image costs prompt tokens and logprobs come per token."""
    url = {"url": "data:image/png;base64,AAAA"}
    content: Any = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": url}]
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": content}]
    answer = chat.chat.completions.create(model=MODEL, messages=messages, logprobs=True)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 85
    assert answer.choices[0].logprobs is not None
    assert len(answer.choices[0].logprobs.content or []) == answer.usage.completion_tokens


def test_models_are_listed_and_found(chat: openai.OpenAI) -> None:
    """The model list holds the known models; an unknown one is not found."""
    assert MODEL in [model.id for model in chat.models.list()]
    assert chat.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        chat.models.retrieve("gpt-99")


@pytest.mark.parametrize(
    ("options", "status", "code", "param"),
    [
        ({"model": "gpt-99"}, 404, "model_not_found", None),
        ({"messages": []}, 400, "empty_array", "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, 400, None, "messages.[0].role"),
        ({"temperature": "hot"}, 400, "invalid_type", "temperature"),
        ({"temperature": 3.5}, 400, "decimal_above_max_value", "temperature"),
        ({"extra_body": {"tempo": 1}}, 400, "unknown_parameter", "tempo"),
        ({"max_tokens": 10_000_000}, 400, "context_length_exceeded", "messages"),
        ({"max_tokens": 20_000}, 400, "invalid_value", "max_tokens"),
        ({"messages": [{"role": "user", "content": "word " * 140_000}]}, 400, "context_length_exceeded", "messages"),
        ({"response_format": {"type": "json_object"}}, 400, None, "messages"),
        ({"tool_choice": "auto"}, 400, None, "tool_choice"),
    ],
)
def test_bad_requests_are_refused_with_code_and_param(
    chat: openai.OpenAI, options: dict[str, Any], status: int, code: str | None, param: str | None
) -> None:
    """What the real server refuses is refused, with its status, code and param."""
    with pytest.raises(openai.APIStatusError) as caught:
        chat.chat.completions.create(**{"model": MODEL, "messages": ASK} | options)
    assert (caught.value.status_code, caught.value.code, caught.value.param) == (status, code, param)


@pytest.mark.parametrize("key", ["bad-key", "revoked-key"])
def test_a_bad_key_is_rejected_and_never_shown(sim: SimServer, key: str) -> None:
    """A rejected key gets 401 and appears nowhere."""
    with (
        openai.OpenAI(base_url=f"{sim.url}/v1", api_key=key, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model=MODEL, messages=ASK)
    assert caught.value.code == "invalid_api_key"
    assert key not in str(caught.value) + json.dumps(sim.log()) + json.dumps(sim.bill())


@pytest.mark.parametrize(
    ("inside", "error", "status"),
    [
        ('kind = "status", status = 400', openai.BadRequestError, 400),
        ('kind = "key_rejected"', openai.AuthenticationError, 401),
        ('kind = "permission"', openai.PermissionDeniedError, 403),
        ('kind = "status", status = 404', openai.NotFoundError, 404),
        ('kind = "status", status = 409', openai.ConflictError, 409),
        ('kind = "status", status = 422', openai.UnprocessableEntityError, 422),
        ('kind = "rate_limit", retry_after = "2"', openai.RateLimitError, 429),
        ('kind = "slow_down"', openai.RateLimitError, 429),
        ('kind = "quota"', openai.RateLimitError, 429),
        ('kind = "status", status = 500', openai.InternalServerError, 500),
        ('kind = "status", status = 502', openai.InternalServerError, 502),
        ('kind = "overloaded"', openai.InternalServerError, 503),
        ('kind = "status", status = 504', openai.InternalServerError, 504),
        ('kind = "status", status = 529', openai.InternalServerError, 529),
        ('kind = "html", status = 502', openai.InternalServerError, 502),
        ('kind = "content_filter", form = "error"', openai.BadRequestError, 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_error_status_raises_its_own_exception(
    chat: openai.OpenAI, sim: SimServer, fault: Order, inside: str, error: type[openai.APIStatusError], status: int,
    stream: bool,
) -> None:  # fmt: skip
    """Each ordered error arrives as the SDK's own class and costs nothing."""
    fault(inside)
    with pytest.raises(error) as caught:
        chat.chat.completions.create(model=MODEL, messages=ASK, stream=stream)
    assert type(caught.value) is error
    assert caught.value.status_code == status
    assert sim.bill()["total_nano"] == 0


def test_quota_and_limit_are_told_apart_by_code(chat: openai.OpenAI, fault: Order) -> None:
    """A 429 for money has its own code and a 429 for speed has a hint."""
    fault('kind = "quota", code = "credit_balance_exhausted"')
    with pytest.raises(openai.RateLimitError) as caught:
        chat.chat.completions.create(model=MODEL, messages=ASK)
    assert (caught.value.code, caught.value.type) == ("credit_balance_exhausted", "insufficient_quota")
    fault('kind = "rate_limit", hint = "1.5s"')
    with pytest.raises(openai.RateLimitError, match=r"Please try again in 1\.5s"):
        chat.chat.completions.create(model=MODEL, messages=ASK)


def test_the_sdks_own_retry_succeeds_after_retry_after_ms(sim: SimServer) -> None:
    """One 429 with retry-after-ms is survived by the SDK's retry, and only the answer is billed."""
    sim.play('[[rule]]\ntimes = 1\nfault = { kind = "rate_limit", retry_after_ms = "20", retry_after = "30" }\n')
    with openai.OpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=2) as client:
        assert client.chat.completions.create(model=MODEL, messages=ASK).choices[0].message.content
    assert [entry["status"] for entry in sim.log()] == [429, 200]
    assert [entry["billed_nano"] > 0 for entry in sim.log()] == [False, True]


@pytest.mark.parametrize("when", ["before_read", "after_body"])
def test_a_reset_is_a_connection_error(chat: openai.OpenAI, sim: SimServer, fault: Order, when: str) -> None:
    """A broken connection raises APIConnectionError; only work that was done is billed."""
    fault(f'kind = "reset", when = "{when}"')
    with pytest.raises(openai.APIConnectionError):
        chat.chat.completions.create(model=MODEL, messages=ASK)
    assert sim.settle()
    assert (sim.bill()["total_nano"] > 0) == (when == "after_body")


def test_a_stall_is_a_timeout(chat: openai.OpenAI, fault: Order) -> None:
    """Silence before the first byte raises APITimeoutError."""
    fault('kind = "stall"')
    with pytest.raises(openai.APITimeoutError):
        chat.with_options(timeout=0.1).chat.completions.create(model=MODEL, messages=ASK)


@pytest.mark.parametrize(
    ("inside", "error"),
    [
        ('kind = "reset", when = "mid_stream", after_chunks = 3', openai.APIConnectionError),
        ('kind = "reset", when = "mid_stream", how = "fin"', openai.APIConnectionError),
        ('kind = "error_event"', openai.APIError),
        ('kind = "error_event", after_chunks = 0', openai.APIError),
        ('kind = "malformed"', json.JSONDecodeError),
    ],
)
def test_a_stream_that_breaks_raises_midway(
    chat: openai.OpenAI, sim: SimServer, fault: Order, inside: str, error: type[Exception]
) -> None:
    """A break in the middle of a stream raises, and what was produced is billed."""
    fault(inside)
    stream = chat.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    with pytest.raises(error):
        list(stream)
    assert sim.settle()
    assert sim.bill()["total_nano"] > 0


@pytest.mark.parametrize(
    "inside",
    ['kind = "crlf"', 'kind = "comments"', 'kind = "no_done"', 'kind = "slow_bytes", piece = 300, every_s = 0'],
)
def test_odd_but_legal_streams_are_read_in_full(chat: openai.OpenAI, fault: Order, inside: str) -> None:
    """CRLF, comments, a missing [DONE] and any split of bytes do not change the answer."""
    whole = chat.chat.completions.create(model=MODEL, messages=ASK).choices[0].message.content
    fault(inside)
    stream = chat.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole


def test_silent_faults_look_like_success(chat: openai.OpenAI, fault: Order) -> None:
    """Truncation, doubled events, HTML with 200 and an error in a 200 pass this SDK unnoticed, as in the wild."""
    whole = chat.chat.completions.create(model=MODEL, messages=ASK).choices[0].message.content or ""
    fault('kind = "truncate", after_chunks = 4')
    cut = "".join(
        chunk.choices[0].delta.content or ""
        for chunk in chat.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    )
    assert 0 < len(cut) < len(whole)
    assert whole.startswith(cut)
    fault('kind = "duplicate"')
    stream = chat.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    assert len("".join(chunk.choices[0].delta.content or "" for chunk in stream)) == 2 * len(whole)
    fault('kind = "html", status = 200')
    page: Any = chat.chat.completions.create(model=MODEL, messages=ASK)
    assert "<html>" in page
    fault('kind = "error_200"')
    assert chat.chat.completions.create(model=MODEL, messages=ASK).choices is None


def test_broken_bodies_break_the_parser(chat: openai.OpenAI, sim: SimServer, fault: Order) -> None:
    """An empty or garbled body of a 200 is no answer, but it is billed."""
    for inside in ('kind = "empty_body"', 'kind = "malformed"'):
        fault(inside)
        with pytest.raises(json.JSONDecodeError):
            chat.chat.completions.create(model=MODEL, messages=ASK)
    assert sim.settle()
    assert sim.bill()["by_model"][MODEL]["billed"] == 2


def test_usage_can_be_wrong_or_missing_while_the_bill_stays_true(
    chat: openai.OpenAI, sim: SimServer, fault: Order
) -> None:
    """The reported usage may lie; the bill does not."""
    truth = chat.chat.completions.create(model=MODEL, messages=ASK).usage
    fault('kind = "wrong_usage", factor = 3.0')
    wrong = chat.chat.completions.create(model=MODEL, messages=ASK).usage
    fault('kind = "no_usage"')
    assert chat.chat.completions.create(model=MODEL, messages=ASK).usage is None
    assert truth is not None
    assert wrong is not None
    assert wrong.completion_tokens == 3 * truth.completion_tokens
    assert len({entry["billed_nano"] for entry in sim.log()}) == 1


def test_a_content_filter_ends_the_answer_early(chat: openai.OpenAI, fault: Order) -> None:
    """The finish reason content_filter comes with half of the text."""
    whole = chat.chat.completions.create(model=MODEL, messages=ASK).choices[0].message.content or ""
    fault('kind = "content_filter"')
    answer = chat.chat.completions.create(model=MODEL, messages=ASK)
    assert answer.choices[0].finish_reason == "content_filter"
    assert whole.startswith(answer.choices[0].message.content or "")
    assert whole != answer.choices[0].message.content


def test_azure_clients_are_served_by_deployment(sim: SimServer, fault: Order) -> None:
    """Azure's address, key header, content filter and error codes work with the Azure client."""
    with openai.AzureOpenAI(azure_endpoint=sim.url, api_key="k", api_version="2024-10-21", max_retries=0) as client:
        whole = client.chat.completions.create(model=MODEL, messages=ASK).choices[0].message.content
        chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True))
        assert (chunks[0].choices, chunks[0].model) == ([], "")
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model="gpt-99", messages=ASK)
        assert missing.value.code == "DeploymentNotFound"
        fault('kind = "content_filter", form = "error"')
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=MODEL, messages=ASK)
        assert caught.value.code == "content_filter"
        body: Any = caught.value.body
        assert body["innererror"]["code"] == "ResponsibleAIPolicyViolation"
