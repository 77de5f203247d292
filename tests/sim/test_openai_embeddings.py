"""Embeddings of the simulator: the official SDK finds them as it expects, and refusals are those of OpenAI."""

import asyncio
import json
from typing import Any

import openai
import pytest

from penstock.sim import Embedding, Limits, SimConfig, SimRequest, SimServer, Simulator

SMALL = "text-embedding-3-small"


def ask(config: SimConfig, body: dict[str, Any], path: str = "/v1/embeddings", key: str = "sk-test") -> Any:
    """Send one request to a simulator without a network; returns its plan and its decoded body."""
    simulator = Simulator(config)
    request = SimRequest("POST", path, {"authorization": f"Bearer {key}"}, json.dumps(body).encode())
    plan = simulator.begin(request, 1_000.0)
    answer = json.loads(b"".join(step.data for step in plan.steps if hasattr(step, "data")))
    simulator.finish(plan, 1_000.0)
    return simulator, plan, answer


def refused(body: dict[str, Any], config: SimConfig | None = None) -> tuple[int, dict[str, Any]]:
    """The status and the error of a refused request."""
    _, plan, answer = ask(config or SimConfig(), {"model": SMALL, **body})
    return plan.status, answer["error"]


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_the_sdk_reads_base64_and_floats_alike(chat: openai.OpenAI) -> None:
    """It asks for base64 unless told otherwise, and the numbers are the same either way."""
    texts = ["the database is down", "a cat on a mat"]
    packed = chat.embeddings.create(model=SMALL, input=texts)
    plain = chat.embeddings.create(model=SMALL, input=texts, encoding_format="float")
    assert [datum.embedding for datum in packed.data] == [datum.embedding for datum in plain.data]
    assert [datum.index for datum in packed.data] == [0, 1]
    assert {len(datum.embedding) for datum in packed.data} == {1536}
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0


def test_the_async_sdk_is_answered(sim: SimServer) -> None:
    """A single text is a list of one."""

    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="sk", max_retries=0) as client:
            answer = await client.embeddings.create(model=SMALL, input="one text", dimensions=256)
        assert [len(datum.embedding) for datum in answer.data] == [256]

    asyncio.run(main())


def test_vectors_are_of_length_one_and_near_for_similar_texts(chat: openai.OpenAI) -> None:
    """Also when they are shortened."""
    texts = ["the db refused a connection", "a connection was refused by the db", "cats sleep on warm mats"]
    for size in (1536, 512):
        one, near, far = (
            datum.embedding for datum in chat.embeddings.create(model=SMALL, input=texts, dimensions=size).data
        )
        assert dot(one, one) == pytest.approx(1, abs=1e-5)
        assert dot(one, near) > 0.6 > 0.4 > dot(one, far)


def test_the_sdk_may_send_tokens(chat: openai.OpenAI) -> None:
    """As numbers, of one text or of several."""
    assert len(chat.embeddings.create(model=SMALL, input=[1, 2, 3]).data) == 1
    assert len(chat.embeddings.create(model=SMALL, input=[[1, 2], [3]]).data) == 2


def test_an_embedding_is_billed_by_its_input() -> None:
    """At two cents per million tokens."""
    simulator, plan, answer = ask(SimConfig(), {"model": SMALL, "input": ["word " * 100]})
    assert plan.status == 200
    assert simulator.bill.total_nano == answer["usage"]["prompt_tokens"] * 20


@pytest.mark.parametrize(
    ("body", "words", "code"),
    [
        ({"input": ["x"] * 2049}, "maximum length 2048", "array_above_max_length"),
        ({"input": ["word " * 8193]}, "maximum context length is 8192 tokens", None),
        ({"input": ["word " * 8000] * 38}, "max 300000 tokens per request", "max_tokens_per_request"),
        ({"input": ""}, "'$.input' is invalid", "invalid_value"),
        ({"input": ["fine", ""]}, "'$.input' is invalid", "invalid_value"),
        ({"input": ["fine", 3.5]}, "'$.input' is invalid", "invalid_value"),
        ({"input": []}, "'$.input' is invalid", "invalid_value"),
        ({}, "you must provide an input", None),
        ({"input": "x", "encoding_format": "hex"}, "'float' and 'base64'", "invalid_value"),
        ({"input": "x", "dimensions": 9999}, "less than or equal to 1536", None),
        ({"input": "x", "dimensions": 0}, "minimum of 1", None),
        ({"input": "x", "model": "text-embedding-ada-002", "dimensions": 8}, "does not support specifying", None),
        ({"input": "x", "temperature": 1}, "Unrecognized request argument", None),
    ],
)
def test_a_bad_request_is_refused_as_openai_does(body: dict[str, Any], words: str, code: str | None) -> None:
    """With status 400 and its own words."""
    status, error = refused(body)
    assert status == 400
    assert words in error["message"]
    assert error["code"] == code


def test_a_poisonous_text_refuses_its_whole_request() -> None:
    """And costs nothing; without it the same request passes."""
    config = SimConfig(embeddings=Embedding(poison="\x00BAD"))
    status, error = refused({"input": ["fine", "so \x00BAD"]}, config)
    assert (status, error["type"]) == (400, "invalid_request_error")
    simulator, plan, _ = ask(config, {"model": SMALL, "input": ["fine"]})
    assert plan.status == 200
    assert simulator.bill.total_nano > 0


def test_a_chat_model_embeds_nothing_and_the_other_way_round() -> None:
    """Each has its own endpoint."""
    _, plan, _ = ask(SimConfig(), {"model": "gpt-4o-mini", "input": "x"})
    assert plan.status == 403
    body = {"model": SMALL, "messages": [{"role": "user", "content": "x"}]}
    _, plan, answer = ask(SimConfig(), body, path="/v1/chat/completions")
    assert plan.status == 404
    assert "not a chat model" in answer["error"]["message"]


def test_an_unknown_model_embeds_where_any_model_is_accepted() -> None:
    """With vectors of the usual length."""
    body = {"model": "house-embedder", "input": "x"}
    assert ask(SimConfig(), body)[1].status == 404
    _, plan, answer = ask(SimConfig(any_model=True), body)
    assert plan.status == 200
    assert len(answer["data"][0]["embedding"]) == 1536


def test_limits_count_embeddings(sim: SimServer) -> None:
    """By requests and tokens, like chat."""
    with SimServer(SimConfig(limits={"openai": Limits(rpm=60, burst_requests=1)})) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk", max_retries=0)
        client.embeddings.create(model=SMALL, input="x")
        with pytest.raises(openai.RateLimitError):
            client.embeddings.create(model=SMALL, input="x")
        client.close()


def test_faults_strike_embeddings(sim: SimServer, chat: openai.OpenAI) -> None:
    """A server error is one, and is not billed."""
    sim.play('[[rule]]\nfault = { kind = "status", status = 500 }\ntimes = 1\n')
    with pytest.raises(openai.InternalServerError):
        chat.embeddings.create(model=SMALL, input="x")
    assert sim.bill()["total_nano"] == 0
    assert chat.embeddings.create(model=SMALL, input="x").data
