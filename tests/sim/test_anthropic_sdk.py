"""The official Anthropic SDK against the simulator: a stranger that must find nothing strange."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

import anthropic
import httpx2
import pytest
from anthropic.types import MessageParam, ToolParam
from pydantic import BaseModel, Field

from penstock.sim import SimServer

MODEL = "claude-haiku-4-5"
ASK: list[MessageParam] = [{"role": "user", "content": "What happened? ERROR [db] connection refused"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city"],
    },
}
CITED = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
Order = Callable[[str], None]


class Cause(BaseModel):
    service: str
    confidence: float = Field(ge=0, le=1)


class Incident(BaseModel):
    title: str
    severity: Literal["low", "medium", "high", "critical"]
    causes: list[Cause]
    ticket: str | None = None
    count: int = Field(ge=1, le=5)


@pytest.fixture
def old(sim: SimServer) -> Iterator[anthropic.Anthropic]:
    headers = {"anthropic-version": "2023-06-01", "x-api-key": "sk-ant-test"}
    with anthropic.Anthropic(base_url=sim.url, api_key="k", max_retries=0, default_headers=headers) as client:
        yield client


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_plain_call_answers_with_text_and_usage(claude: anthropic.Anthropic) -> None:
    """An answer of the default version has text, a stop reason, usage and a request id."""
    answer = claude.messages.create(model=MODEL, max_tokens=500, messages=ASK, system="You are an SRE.")
    assert "db" in text_of(answer)
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer._request_id


def test_the_old_version_still_takes_sampling_parameters(old: anthropic.Anthropic) -> None:
    """Under 2023-06-01 a temperature is accepted and x-api-key is the key."""
    answer = old.messages.create(model=MODEL, max_tokens=500, messages=ASK, extra_body={"temperature": 0.3})
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_the_new_version_rejects_sampling_parameters(claude: anthropic.Anthropic, name: str) -> None:
    """Under 2026-10-21 sampling parameters are an error even at their defaults."""
    with pytest.raises(anthropic.BadRequestError, match=name):
        claude.messages.create(model=MODEL, max_tokens=50, messages=ASK, extra_body={name: 1})


def test_system_messages_inside_messages_need_the_new_version(
    claude: anthropic.Anthropic, old: anthropic.Anthropic
) -> None:
    """The role system in messages is fine now and was an error before."""
    messages: Any = [{"role": "user", "content": "hello"}, {"role": "system", "content": "Be brief."}, *ASK]
    assert claude.messages.create(model=MODEL, max_tokens=50, messages=messages).content
    with pytest.raises(anthropic.BadRequestError, match="Unexpected role"):
        old.messages.create(model=MODEL, max_tokens=50, messages=messages)


def test_a_stream_accumulates_to_the_plain_answer(claude: anthropic.Anthropic) -> None:
    """The SDK's stream helper ends with the same message and usage as a plain call."""
    whole = claude.messages.create(model=MODEL, max_tokens=500, messages=ASK)
    with claude.messages.stream(model=MODEL, max_tokens=500, messages=ASK) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == text_of(whole) == text_of(final)
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens
    assert final.stop_reason == "end_turn"


def test_raw_events_come_in_the_documented_order(claude: anthropic.Anthropic) -> None:
    """message_start comes first, then a block, then message_delta and message_stop."""
    kinds = [event.type for event in claude.messages.create(model=MODEL, max_tokens=50, messages=ASK, stream=True)]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_the_async_client_gets_the_same_answers(sim: SimServer) -> None:
    """Sync and async clients hear the same, also while streaming."""

    async def main() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(base_url=sim.url, api_key="k", max_retries=0) as client:
            whole = await client.messages.create(model=MODEL, max_tokens=500, messages=ASK)
            async with client.messages.stream(model=MODEL, max_tokens=500, messages=ASK) as stream:
                return text_of(whole), "".join([text async for text in stream.text_stream])

    whole, streamed = asyncio.run(main())
    assert whole == streamed


def test_tokens_are_counted_as_they_are_billed(claude: anthropic.Anthropic) -> None:
    """count_tokens gives the input tokens of the call, and is free."""
    counted = claude.messages.count_tokens(model=MODEL, messages=ASK, system="You are an SRE.")
    answer = claude.messages.create(model=MODEL, max_tokens=50, messages=ASK, system="You are an SRE.")
    assert counted.input_tokens == answer.usage.input_tokens


@pytest.mark.parametrize("streamed", [False, True])
def test_thinking_comes_before_text_with_a_signature(claude: anthropic.Anthropic, streamed: bool) -> None:
    """Enabled thinking gives a signed thinking block that counts as output."""
    options: Any = {
        "model": MODEL,
        "max_tokens": 2000,
        "messages": ASK,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    if streamed:
        with claude.messages.stream(**options) as stream:
            answer: Any = stream.get_final_message()
    else:
        answer = claude.messages.create(**options)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking
    assert answer.content[0].signature
    assert answer.usage.output_tokens > answer.usage.output_tokens_details.thinking_tokens > 0


def test_thinking_can_be_adaptive_and_omitted(claude: anthropic.Anthropic) -> None:
    """Omitted thinking has a signature but no text."""
    thinking: Any = {"type": "adaptive", "display": "omitted"}
    answer = claude.messages.create(model=MODEL, max_tokens=2000, messages=ASK, thinking=thinking)
    assert answer.content[0].type == "thinking"
    assert answer.content[0].thinking == ""
    assert answer.content[0].signature


def test_a_tool_is_called_and_its_result_is_used(claude: anthropic.Anthropic) -> None:
    """A tool call round trip ends in a text that uses the result."""
    messages: list[MessageParam] = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    first = claude.messages.create(model=MODEL, max_tokens=500, messages=messages, tools=[WEATHER])
    assert first.stop_reason == "tool_use"
    call = first.content[0]
    assert call.type == "tool_use"
    assert call.input["city"] == "Lisbon"
    content: Any = [block.model_dump(exclude_none=True) for block in first.content]
    result: Any = [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}]
    messages += [{"role": "assistant", "content": content}, {"role": "user", "content": result}]
    second = claude.messages.create(model=MODEL, max_tokens=500, messages=messages, tools=[WEATHER])
    assert "21 degrees" in text_of(second)
    assert second.stop_reason == "end_turn"


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_in_parallel_for_a_list(claude: anthropic.Anthropic, streamed: bool) -> None:
    """A prompt that lists three cities gets three calls with their own ids, streamed or not."""
    options: Any = {
        "model": MODEL,
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "Get the weather for each of Paris, Rome and Oslo"}],
        "tools": [WEATHER],
    }
    if streamed:
        with claude.messages.stream(**options) as stream:
            answer: Any = stream.get_final_message()
    else:
        answer = claude.messages.create(**options)
    assert [block.input["city"] for block in answer.content] == ["Paris", "Rome", "Oslo"]
    assert len({block.id for block in answer.content}) == 3
    options["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    assert len(claude.messages.create(**options).content) == 1


def test_a_tool_without_arguments_gets_an_empty_object(claude: anthropic.Anthropic) -> None:
    """A call without arguments streams no JSON and ends as an empty object."""
    tool: ToolParam = {"name": "list_pods", "input_schema": {"type": "object", "properties": {}}}
    with claude.messages.stream(model=MODEL, max_tokens=500, messages=ASK, tools=[tool]) as stream:
        block = stream.get_final_message().content[0]
    assert block.type == "tool_use"
    assert block.input == {}


def test_a_schema_gets_a_valid_instance(claude: anthropic.Anthropic) -> None:
    """messages.parse returns an instance that pydantic accepts, bounds that the SDK moved included."""
    answer = claude.messages.parse(model=MODEL, max_tokens=500, messages=ASK, output_format=Incident)
    assert isinstance(answer.parsed_output, Incident)
    assert answer.parsed_output.severity == "high"


def test_cache_marks_write_first_and_read_later(claude: anthropic.Anthropic, sim: SimServer) -> None:
    """The first call writes the cache by its lifetime, the second reads it and is cheaper."""

    def ask(ttl: str) -> anthropic.types.Usage:
        control: Any = {"type": "ephemeral", "ttl": ttl}
        manual = f"Manual for {ttl}. " + "Restart the replica before the primary. " * 300
        return claude.messages.create(
            model=MODEL,
            max_tokens=50,
            messages=ASK,
            system=[{"type": "text", "text": manual, "cache_control": control}],
        ).usage

    for ttl in ("5m", "1h"):
        first, second = ask(ttl), ask(ttl)
        assert first.cache_creation is not None
        five, hour = first.cache_creation.ephemeral_5m_input_tokens, first.cache_creation.ephemeral_1h_input_tokens
        assert (five > 1000, hour > 1000) == (ttl == "5m", ttl == "1h")
        assert first.cache_read_input_tokens == 0
        assert second.cache_read_input_tokens == first.cache_creation_input_tokens
        assert second.cache_creation_input_tokens == 0
        assert second.input_tokens == first.input_tokens
    prices = [entry["billed_nano"] for entry in sim.log()]
    assert prices[0] < prices[2]
    assert prices[1] == prices[3] < prices[0]


def test_limits_on_the_answer_are_obeyed(claude: anthropic.Anthropic) -> None:
    """max_tokens cuts, and a stop sequence is named."""
    cut = claude.messages.create(model=MODEL, max_tokens=5, messages=ASK)
    assert cut.stop_reason == "max_tokens"
    assert cut.usage.output_tokens == 5
    stopped = claude.messages.create(model=MODEL, max_tokens=500, messages=ASK, stop_sequences=["."])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", ".")


def test_models_are_listed_and_found(claude: anthropic.Anthropic) -> None:
    """The model list holds the known models; an unknown one is not found."""
    assert MODEL in [model.id for model in claude.models.list()]
    assert claude.models.retrieve(MODEL).id == MODEL
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("claude-99")


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"model": "claude-99"}, 404, "model: claude-99"),
        ({"messages": []}, 400, "at least one message"),
        ({"max_tokens": 0}, 400, "greater than or equal to 1"),
        ({"max_tokens": 9_999_999, "timeout": 5}, 400, "maximum allowed number of output tokens"),
        ({"extra_body": {"tempo": 1}}, 400, "tempo: Extra inputs are not permitted"),
        ({"messages": [{"role": "user", "content": "word " * 210_000}]}, 400, "prompt is too long"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "non-empty"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, 400, "budget_tokens"),
        ({"model": "claude-sonnet-4-6", "messages": [*ASK, {"role": "assistant", "content": "It"}]}, 400, "prefill"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]},
            400,
            "tool_use_id",
        ),
        ({"messages": [{"role": "user", "content": [CITED]}]}, 400, "citations are not permitted"),
        ({"extra_headers": {"anthropic-version": "1999-01-01"}}, 400, "not a valid version"),
    ],
)
def test_bad_requests_are_refused_in_the_services_words(
    claude: anthropic.Anthropic, options: dict[str, Any], status: int, words: str
) -> None:
    """What the real server refuses is refused with its status and message."""
    request: dict[str, Any] = {"model": MODEL, "max_tokens": 50, "messages": ASK, **options}
    with pytest.raises(anthropic.APIStatusError, match=words) as caught:
        claude.messages.create(**request)
    assert caught.value.status_code == status
    assert caught.value.request_id


def test_a_missing_version_or_max_tokens_is_a_bad_request(sim: SimServer) -> None:
    """Without the version header or max_tokens the answer is 400."""
    headers = {"authorization": "Bearer k"}
    body = {"model": MODEL, "max_tokens": 5, "messages": ASK}
    with httpx2.Client(base_url=sim.url, headers=headers) as client:
        assert "header is required" in client.post("/v1/messages", json=body).text
        body.pop("max_tokens")
        answer = client.post("/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"})
    assert (answer.status_code, "max_tokens: Field required" in answer.text) == (400, True)


def test_a_bad_key_is_rejected(sim: SimServer) -> None:
    """A rejected key gets 401 with the error type."""
    with (
        anthropic.Anthropic(base_url=sim.url, api_key="bad-key", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError) as caught,
    ):
        client.messages.create(model=MODEL, max_tokens=50, messages=ASK)
    assert caught.value.type == "authentication_error"


@pytest.mark.parametrize(
    ("inside", "error", "kind"),
    [
        ('kind = "status", status = 400', anthropic.BadRequestError, "invalid_request_error"),
        ('kind = "key_rejected"', anthropic.AuthenticationError, "authentication_error"),
        ('kind = "quota", status = 402', anthropic.PaymentRequiredError, "billing_error"),
        ('kind = "permission"', anthropic.PermissionDeniedError, "permission_error"),
        ('kind = "status", status = 404', anthropic.NotFoundError, "not_found_error"),
        ('kind = "status", status = 409', anthropic.ConflictError, "conflict_error"),
        ('kind = "status", status = 413', anthropic.ContentTooLargeError, "request_too_large"),
        ('kind = "status", status = 422', anthropic.UnprocessableEntityError, "invalid_request_error"),
        ('kind = "rate_limit", retry_after = "2"', anthropic.RateLimitError, "rate_limit_error"),
        ('kind = "quota"', anthropic.RateLimitError, "rate_limit_error"),
        ('kind = "status", status = 500', anthropic.InternalServerError, "api_error"),
        ('kind = "status", status = 503', anthropic.ServiceUnavailableError, "api_error"),
        ('kind = "status", status = 504', anthropic.GatewayTimeoutError, "timeout_error"),
        ('kind = "overloaded"', anthropic.OverloadedError, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_error_status_raises_its_own_exception(
    claude: anthropic.Anthropic, sim: SimServer, fault: Order, inside: str, error: type[anthropic.APIStatusError],
    kind: str, stream: bool,
) -> None:  # fmt: skip
    """Each ordered error arrives as the SDK's own class and costs nothing."""
    fault(inside)
    with pytest.raises(error) as caught:
        claude.messages.create(model=MODEL, max_tokens=50, messages=ASK, stream=stream)
    assert caught.value.type == kind
    assert sim.bill()["total_nano"] == 0


def test_money_and_speed_are_told_apart_by_error_code(claude: anthropic.Anthropic, fault: Order) -> None:
    """A spend limit and a ramp limit are both 429 and differ in details.error_code."""
    codes = []
    for inside in ('kind = "quota"', 'kind = "slow_down"', 'kind = "quota", code = "contract_spend_limit_reached"'):
        fault(inside)
        with pytest.raises(anthropic.RateLimitError) as caught:
            claude.messages.create(model=MODEL, max_tokens=50, messages=ASK)
        codes.append(caught.value.error_code)
    assert codes == ["enforced_spend_limit_reached", "ramp_limit_exceeded", "contract_spend_limit_reached"]


def test_the_sdks_own_retry_succeeds_after_an_overload(sim: SimServer) -> None:
    """One 529 with retry-after-ms is survived by the SDK's retry."""
    sim.play('[[rule]]\ntimes = 1\nfault = { kind = "overloaded", retry_after_ms = "20" }\n')
    with anthropic.Anthropic(base_url=sim.url, api_key="k", max_retries=2) as client:
        assert client.messages.create(model=MODEL, max_tokens=50, messages=ASK).content
    assert [entry["status"] for entry in sim.log()] == [529, 200]


def test_a_reset_is_a_connection_error_and_a_stall_a_timeout(claude: anthropic.Anthropic, fault: Order) -> None:
    """Broken and silent connections raise the SDK's own connection errors."""
    fault('kind = "reset"')
    with pytest.raises(anthropic.APIConnectionError):
        claude.messages.create(model=MODEL, max_tokens=50, messages=ASK)
    fault('kind = "stall"')
    with pytest.raises(anthropic.APITimeoutError):
        claude.with_options(timeout=0.1).messages.create(model=MODEL, max_tokens=50, messages=ASK)


def test_a_stream_that_turns_into_an_error_raises_with_status_200(
    claude: anthropic.Anthropic, sim: SimServer, fault: Order
) -> None:
    """An error event in the middle raises APIStatusError(200) as the real one does, and is billed so far."""
    fault('kind = "error_event", after_chunks = 5')
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(claude.messages.create(model=MODEL, max_tokens=500, messages=ASK, stream=True))
    assert (caught.value.status_code, caught.value.type) == (200, "overloaded_error")
    assert sim.settle()
    assert 0 < sim.log()[0]["output_tokens"] < 20


@pytest.mark.parametrize(
    ("inside", "error"),
    [
        ('kind = "reset", when = "mid_stream"', (anthropic.APIConnectionError, httpx2.TransportError)),
        ('kind = "malformed"', json.JSONDecodeError),
    ],
)
def test_a_stream_that_breaks_raises_midway(
    claude: anthropic.Anthropic, fault: Order, inside: str, error: type[Exception]
) -> None:
    """A break in the middle of a stream raises (this SDK lets the transport's error through)."""
    fault(inside)
    with pytest.raises(error):
        list(claude.messages.create(model=MODEL, max_tokens=500, messages=ASK, stream=True))


@pytest.mark.parametrize("inside", ['kind = "crlf"', 'kind = "comments", every = 2', 'kind = "no_done"'])
def test_odd_but_legal_streams_are_read_in_full(claude: anthropic.Anthropic, fault: Order, inside: str) -> None:
    """CRLF, comments and a missing message_stop do not change the answer."""
    whole = text_of(claude.messages.create(model=MODEL, max_tokens=500, messages=ASK))
    fault(inside)
    with claude.messages.stream(model=MODEL, max_tokens=500, messages=ASK) as stream:
        assert "".join(stream.text_stream) == whole


def test_a_refusal_says_so(claude: anthropic.Anthropic, fault: Order) -> None:
    """A content filter is a refusal with its category."""
    fault('kind = "content_filter"')
    answer = claude.messages.create(model=MODEL, max_tokens=500, messages=ASK)
    assert answer.stop_reason == "refusal"
    assert answer.stop_details is not None
    assert answer.stop_details.category == "general_harms"
