"""The wire of embeddings: what goes out by the provider's row, and what may come in."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._io.settings import load
from penstock._wire import embedded
from penstock._wire import openai_embeddings as wire
from penstock.embeddings import EmbedRequest
from penstock.errors import CallError, InvalidRequest, RateLimited, ServerFault, UnsupportedParameter

PROVIDERS = load(config=False, env={}).providers
OPENAI = PROVIDERS["openai"]
OFFER = sorted(name for name, row in PROVIDERS.items() if row.embeddings != "none" and row.wire == "openai_chat")


def body(provider: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """What is sent to a provider: its path and its body."""
    request = EmbedRequest(model="m", messages=(), texts=("a", "b"), **fields)
    sent = wire.encode(request, PROVIDERS[provider], stream=False)
    return sent.path, json.loads(sent.body)


def answer(*vectors: Any, indexes: list[Any] | None = None, **more: Any) -> bytes:
    """An answer of an embeddings server."""
    numbers = indexes or list(range(len(vectors)))
    data = [{"index": number, "embedding": vector} for number, vector in zip(numbers, vectors, strict=True)]
    return json.dumps({"object": "list", "data": data, "model": "m-1", **more}).encode()


def packed(*floats: float) -> str:
    return b64encode(struct.pack(f"<{len(floats)}f", *floats)).decode()


def test_the_providers_that_embed_are_known() -> None:
    """Those of the task, and any other row of Chat Completions."""
    assert {"openai", "azure", "mistral", "together", "fireworks", "ollama", "vllm", "lmstudio", "llamacpp"} <= set(
        OFFER
    )


@pytest.mark.parametrize("provider", OFFER)
def test_texts_go_out_as_a_list(provider: str) -> None:
    """To the path of the provider."""
    path, sent = body(provider)
    assert "/embeddings" in path
    assert "/chat" not in path
    assert (sent["model"], sent["input"]) == ("m", ["a", "b"])
    assert sent.get("encoding_format") in (None, "base64")


def test_base64_is_asked_for_where_it_is_taken() -> None:
    """By the row of the provider."""
    assert body("openai")[1]["encoding_format"] == "base64"
    assert "encoding_format" not in body("together")[1]


def test_azure_has_the_model_in_its_path() -> None:
    """As for chat."""
    assert body("azure")[0] == "/openai/deployments/m/embeddings?api-version=2024-10-21"


def test_parameters_go_out_by_the_names_of_the_provider() -> None:
    """And extras as they are."""
    _, sent = body("openai", dimensions=256, user="me", extra={"input_type": "query"})
    assert (sent["dimensions"], sent["user"], sent["input_type"]) == (256, "me", "query")
    assert body("mistral", dimensions=256)[1]["output_dimension"] == 256


@pytest.mark.parametrize("vectors", [([1.5, -2], [0, 4]), (packed(1.5, -2), packed(0, 4))], ids=["floats", "base64"])
def test_vectors_are_read_either_way(vectors: tuple[Any, ...]) -> None:
    """One after the other, with how long each is."""
    found = wire.decode(answer(*vectors, usage={"prompt_tokens": 3, "total_tokens": 3}), OPENAI)
    assert found.size == 2
    assert found.floats.tolist() == [1.5, -2, 0, 4]
    assert found.usage is not None
    assert found.usage.input == 3
    assert found.served_model == "m-1"


def test_vectors_are_put_into_the_order_of_the_texts() -> None:
    """By their numbers, or as they came where there are none."""
    assert wire.decode(answer([2.0], [1.0], indexes=[1, 0]), OPENAI).floats.tolist() == [1, 2]
    assert wire.decode(answer([2.0], [1.0], indexes=[None, None]), OPENAI).floats.tolist() == [2, 1]


@pytest.mark.parametrize(
    "data",
    [
        answer([1.0], [1.0, 2.0]),
        answer([], []),
        answer([1.0], [2.0], indexes=[0, 0]),
        answer([1.0], [2.0], indexes=[0, 7]),
        answer([1.0], [2.0], indexes=[0, None]),
        answer("no base64!"),
        answer(b64encode(b"12345").decode()),
        answer(["1.0"]),
        answer(None),
        b'{"data": [{"index": 0, "embedding": [1e400]}]}',
        b'{"data": []}',
        b'{"object": "list"}',
        b"",
        b"<html>proxy</html>",
        b"\xff\xfe",
    ],
)
def test_what_is_no_answer_is_the_servers_fault(data: bytes) -> None:
    """And is asked for again."""
    with pytest.raises(ServerFault):
        wire.decode(data, OPENAI)


def test_an_error_inside_a_success_is_that_error() -> None:
    """Whatever the status said."""
    inside = b'{"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}'
    with pytest.raises(RateLimited):
        wire.decode(inside, OPENAI)


@given(st.binary(max_size=80) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(msgspec.json.encode))
def test_garbage_raises_nothing_but_call_errors(data: bytes) -> None:
    """Any other exception would be our bug."""
    with pytest.raises(CallError):
        wire.decode(data, OPENAI)


def test_another_number_of_vectors_than_texts_is_the_servers_fault() -> None:
    """Nothing may be aligned with the wrong text."""
    request = EmbedRequest(model="m", messages=(), texts=("a", "b", "c"))
    with pytest.raises(ServerFault, match="3 texts were sent and 2 vectors came back"):
        wire.decode(answer([1.0], [2.0]), OPENAI).check_count(request)


@pytest.mark.parametrize("provider", ["anthropic", "groq", "deepseek", "xai", "perplexity"])
def test_a_provider_without_embeddings_says_so(provider: str) -> None:
    """Before anything is sent."""
    with pytest.raises(UnsupportedParameter, match=f"{provider} offers no embeddings"):
        embedded.check(PROVIDERS[provider], dimensions=None, user=None, model="m")


def test_a_parameter_that_a_provider_does_not_take_is_refused() -> None:
    """Nothing is dropped silently."""
    with pytest.raises(UnsupportedParameter, match="dimensions"):
        embedded.check(PROVIDERS["together"], dimensions=5, user=None, model="m")
    with pytest.raises(UnsupportedParameter, match="user"):
        embedded.check(PROVIDERS["mistral"], dimensions=None, user="me", model="m")


def test_half_a_character_is_refused_before_it_is_sent() -> None:
    """As for chat."""
    request = EmbedRequest(model="m", messages=(), texts=("\ud800",))
    with pytest.raises(InvalidRequest, match="half a character"):
        wire.encode(request, OPENAI, stream=False)
