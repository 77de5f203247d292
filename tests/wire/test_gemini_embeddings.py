"""Gemini beside its answers: vectors of texts, and prompts that are only counted."""

import json

import pytest

from penstock._wire import gemini, gemini_count, gemini_embeddings
from penstock._wire.protocol import Provider
from penstock.embeddings import EmbedRequest
from penstock.errors import ServerFault
from penstock.types import Message, Request, Tool, Usage

GEMINI = Provider(name="gemini", wire="gemini", auth="x-goog-api-key", embeddings="gemini")
WEATHER = Tool(name="weather", description="now", parameters={"type": "object", "properties": {"city": {}}})


def test_texts_go_out_in_one_batch() -> None:
    """Each with what it is for, and with extra."""
    asked = EmbedRequest(
        model="gemini-embedding-001",
        messages=(),
        texts=("a", "b"),
        input_type="search_query",
        dimensions=2,
        extra={"title": "t"},
    )
    outbound = gemini_embeddings.encode(asked, GEMINI, stream=False)
    assert outbound.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    one = {
        "model": "models/gemini-embedding-001",
        "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 2,
        "title": "t",
    }
    assert json.loads(outbound.body) == {
        "requests": [one | {"content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    }
    body = {"embeddings": [{"values": [1, 0.5]}, {"values": [0.5, 1]}]}
    found = gemini_embeddings.decode(json.dumps(body).encode(), GEMINI)
    assert (found.size, list(found.floats), found.usage) == (2, [1.0, 0.5, 0.5, 1.0], None)
    body["usageMetadata"] = {"promptTokenCount": 3}  # type: ignore[assignment]
    assert gemini_embeddings.decode(json.dumps(body).encode(), GEMINI).usage == Usage(input=3)
    for bad in (b"", b"{}", b'{"embeddings": [{"values": [1]}, {"values": [1, 2]}]}'):
        with pytest.raises(ServerFault):
            gemini_embeddings.decode(bad, GEMINI)


def test_a_prompt_is_counted_with_all_that_belongs_to_it() -> None:
    """System, tools and all, as it would be sent."""
    messages = (Message("system", "be brief"), Message("user", "hi"))
    asked = Request(model="gemini-2.5-flash", messages=messages, tools=(WEATHER,))
    outbound = gemini_count.encode(asked, GEMINI)
    assert outbound.path == "/v1beta/models/gemini-2.5-flash:countTokens"
    assert json.loads(outbound.body) == {
        "generateContentRequest": {
            "model": "models/gemini-2.5-flash",
            **json.loads(gemini.encode(asked, GEMINI, stream=False).body),
        }
    }
    assert gemini_count.decode(b'{"totalTokens": 12, "promptTokensDetails": []}', GEMINI) == 12
    with pytest.raises(ServerFault):
        gemini_count.decode(b"{}", GEMINI)
