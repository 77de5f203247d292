"""The official Google Gen AI SDK against the simulator: a stranger that must find nothing strange."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from penstock.sim import Limits, SimConfig, SimServer

MODEL = "gemini-2.5-flash"
SIGNING = "gemini-3-flash-preview"
ASK = "What happened? ERROR [db] connection refused"
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="Current weather of a city",
            parameters_json_schema={
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        )
    ]
)
MANUAL = types.AutomaticFunctionCallingConfig(disable=True)
Order = Callable[[str], None]


class Incident(BaseModel):
    service: str
    minutes: int


def client_of(sim: SimServer) -> genai.Client:
    return genai.Client(api_key="k", vertexai=False, http_options=types.HttpOptions(base_url=sim.url))


@pytest.fixture(scope="module")
def one(server: SimServer) -> Iterator[genai.Client]:
    with client_of(server) as client:
        yield client


@pytest.fixture
def gem(sim: SimServer, one: genai.Client) -> genai.Client:
    return one


def config(**options: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(**options)


def test_a_plain_call_answers_with_text_and_usage(gem: genai.Client, sim: SimServer) -> None:
    """Thoughts are counted beside the answer, and the bill has both."""
    answer = gem.models.generate_content(model=MODEL, contents=ASK, config=config(system_instruction="You are an SRE."))
    assert "db" in (answer.text or "")
    usage: Any = answer.usage_metadata
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )
    row = sim.bill()["by_model"][MODEL]
    assert row["output_tokens"] == usage.candidates_token_count + usage.thoughts_token_count
    assert answer.candidates
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP


def test_a_stream_says_what_the_whole_answer_says(gem: genai.Client) -> None:
    """Piece by piece, the reason and the usage with the last."""
    whole = gem.models.generate_content(model=MODEL, contents=ASK)
    pieces = list(gem.models.generate_content_stream(model=MODEL, contents=ASK))
    assert "".join(piece.text or "" for piece in pieces) == whole.text
    last: Any = pieces[-1]
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    assert last.usage_metadata == whole.usage_metadata


def test_without_sse_a_stream_is_a_list(sim: SimServer) -> None:
    """As the real server answers."""
    url = f"{sim.url}/v1beta/models/{MODEL}:streamGenerateContent?key=k"
    answer = urllib3.request("POST", url, json={"contents": [{"parts": [{"text": ASK}]}]})
    pieces = json.loads(answer.data)
    assert len(pieces) > 3
    assert pieces[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
def test_async_client(sim: SimServer) -> None:
    """The same answers in the other colour."""

    async def ask() -> tuple[Any, list[Any]]:
        async with client_of(sim).aio as client:
            whole = await client.models.generate_content(model=MODEL, contents=ASK)
            stream = await client.models.generate_content_stream(model=MODEL, contents=ASK)
            return whole, [piece async for piece in stream]

    whole, pieces = asyncio.run(ask())
    assert "".join(piece.text or "" for piece in pieces) == whole.text


def test_tools_are_called_in_parallel_and_signed(gem: genai.Client) -> None:
    """Gemini 3 signs the first call, and wants the signature back."""
    asked = config(tools=[WEATHER], automatic_function_calling=MANUAL)
    prompt = types.Content(role="user", parts=[types.Part(text="Compare the weather in Paris and Rome")])
    first = gem.models.generate_content(model=SIGNING, contents=[prompt], config=asked)
    calls: Any = first.function_calls
    assert [call.args["city"] for call in calls] == ["Paris", "Rome"]
    turn: Any = (first.candidates or [])[0].content
    assert [bool(part.thought_signature) for part in turn.parts] == [True, False]
    results = types.Content(
        role="user",
        parts=[
            types.Part(
                function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "sunny"})
            )
            for call in calls
        ],
    )
    second = gem.models.generate_content(model=SIGNING, contents=[prompt, turn, results], config=asked)
    assert second.text
    unsigned: Any = turn.model_copy(deep=True)
    unsigned.parts[0].thought_signature = None
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        gem.models.generate_content(model=SIGNING, contents=[prompt, unsigned, results], config=asked)
    one = types.Content(role="user", parts=(results.parts or [])[:1])
    with pytest.raises(errors.ClientError, match="equal to the number of function call parts"):
        gem.models.generate_content(model=SIGNING, contents=[prompt, turn, one], config=asked)


def test_the_sdk_calls_functions_by_itself(gem: genai.Client) -> None:
    """Its own loop, with a Python function as the tool."""
    seen: list[str] = []

    def get_weather(city: str) -> str:
        """Current weather of a city."""
        seen.append(city)
        return "sunny"

    answer = gem.models.generate_content(
        model=MODEL, contents="The weather in Paris", config=config(tools=[get_weather])
    )
    assert seen == ["Paris"]
    assert answer.text


def test_thoughts_are_shown_when_asked_for(gem: genai.Client) -> None:
    """As parts of their own, whole and streamed."""
    shown = config(thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=64))
    whole: Any = gem.models.generate_content(model=MODEL, contents=ASK, config=shown)
    parts = whole.candidates[0].content.parts
    assert [bool(part.thought) for part in parts] == [True, False]
    pieces: Any = list(gem.models.generate_content_stream(model=MODEL, contents=ASK, config=shown))
    thought = "".join(part.text for piece in pieces for part in piece.parts or () if part.thought)
    assert thought == parts[0].text
    quiet: Any = gem.models.generate_content(
        model=MODEL, contents=ASK, config=config(thinking_config=types.ThinkingConfig(thinking_budget=0))
    )
    assert quiet.usage_metadata.thoughts_token_count is None


def test_json_keeps_to_a_schema(gem: genai.Client) -> None:
    """The SDK's own of a pydantic model, and a JSON Schema."""
    asked = config(response_mime_type="application/json", response_schema=Incident)
    answer = gem.models.generate_content(model=MODEL, contents=ASK, config=asked)
    assert isinstance(answer.parsed, Incident)
    asked = config(response_mime_type="application/json", response_json_schema=Incident.model_json_schema())
    answer = gem.models.generate_content(model=MODEL, contents=ASK, config=asked)
    assert Incident.model_validate_json(answer.text or "").service
    mixed = config(response_mime_type="application/json", tools=[WEATHER], automatic_function_calling=MANUAL)
    with pytest.raises(errors.ClientError, match="Function calling with a response mime type"):
        gem.models.generate_content(model=MODEL, contents=ASK, config=mixed)


def test_candidates_pictures_and_stops(gem: genai.Client) -> None:
    """Several answers of one request; bytes beside words; an answer that is cut."""
    picture = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    answer: Any = gem.models.generate_content(
        model=MODEL, contents=[picture, "What is it?"], config=config(candidate_count=2, max_output_tokens=300)
    )
    assert [candidate.index or 0 for candidate in answer.candidates] == [0, 1]
    assert answer.usage_metadata.prompt_token_count > 258
    cut: Any = gem.models.generate_content(model="gemini-2.0-flash", contents=ASK, config=config(max_output_tokens=5))
    assert cut.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def test_vectors_and_counts(gem: genai.Client, sim: SimServer) -> None:
    """Many texts in one request, and a prompt counted for nothing."""
    answer: Any = gem.models.embed_content(
        model="gemini-embedding-001",
        contents=["the database is down", "a cat"],
        config=types.EmbedContentConfig(task_type="RETRIEVAL_DOCUMENT", output_dimensionality=768),
    )
    assert [len(each.values) for each in answer.embeddings] == [768, 768]
    counted = gem.models.count_tokens(model=MODEL, contents=ASK)
    asked: Any = gem.models.generate_content(model=MODEL, contents=ASK)
    assert counted.total_tokens == asked.usage_metadata.prompt_token_count
    assert sim.bill()["by_model"][MODEL]["billed"] == 1
    assert MODEL in [(model.name or "").removeprefix("models/") for model in gem.models.list()]


@pytest.mark.parametrize(
    ("inside", "status", "word"),
    [
        ('kind = "rate_limit"', 429, "PerMinute"),
        ('kind = "quota"', 429, "PerDay"),
        ('kind = "key_rejected"', 400, "API_KEY_INVALID"),
        ('kind = "permission"', 403, "PERMISSION_DENIED"),
        ('kind = "overloaded"', 503, "UNAVAILABLE"),
        ('kind = "status", status = 500', 500, "INTERNAL"),
    ],
)
def test_faults_are_errors_of_the_sdk(gem: genai.Client, fault: Order, inside: str, status: int, word: str) -> None:
    """With Google's own words for the kind of error and the quota."""
    fault(inside)
    with pytest.raises(errors.APIError) as caught:
        gem.models.generate_content(model=MODEL, contents=ASK)
    assert caught.value.code == status
    assert word in str(caught.value.details)


def test_a_filtered_answer_says_so(gem: genai.Client, fault: Order) -> None:
    """In the reason why it ended."""
    fault('kind = "content_filter"')
    answer: Any = gem.models.generate_content(model=MODEL, contents=ASK)
    assert answer.candidates[0].finish_reason == types.FinishReason.SAFETY


def test_a_limit_says_how_long_to_wait() -> None:
    """In the details of the 429, and in its words."""
    with SimServer(SimConfig(limits={"gemini": Limits(rpm=30, burst_requests=1)})) as sim, client_of(sim) as client:
        client.models.generate_content(model=MODEL, contents=ASK)
        with pytest.raises(errors.ClientError, match="Please retry in") as caught:
            client.models.generate_content(model=MODEL, contents=ASK)
        details: Any = caught.value.details
        kinds = {each["@type"].rpartition(".")[2]: each for each in details["error"]["details"]}
        assert 0 < float(kinds["RetryInfo"]["retryDelay"].removesuffix("s")) <= 2


def test_bad_requests_are_refused(gem: genai.Client) -> None:
    """Before the model works."""
    for model, asked, words in (
        ("nonesuch", config(), "models/nonesuch is not found"),
        (MODEL, config(temperature=3.0), "temperature must be in the range"),
        (MODEL, config(stop_sequences=list("abcdef")), "at most 5"),
        (MODEL, config(thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)), "Thinking level"),
    ):
        with pytest.raises(errors.ClientError, match=words):
            gem.models.generate_content(model=model, contents=ASK, config=asked)
