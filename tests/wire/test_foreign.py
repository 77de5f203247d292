"""Requests that somebody else wrote: what they are, what they say, and how their answers are read beside."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock._wire import foreign, openai_chat, registry
from penstock._wire.foreign import ForeignWire
from penstock._wire.protocol import Outbound
from penstock.embeddings import EmbedRequest
from penstock.errors import CallError, InputError
from penstock.types import Usage

PATH = "/v1/chat/completions"
WORDS = "What happened? ERROR [db] connection refused. " * 40


def read(body: Any, path: str = PATH, query: str = "") -> foreign.Asked:
    known = foreign.kind_of(path)
    assert known is not None
    return foreign.read(path, query, msgspec.json.encode(body), *known)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/chat/completions", ("chat", "openai_chat")),
        ("/openai/deployments/mine/chat/completions", ("chat", "openai_chat")),
        ("/v1/responses", ("chat", "openai_responses")),
        ("/v1/messages", ("chat", "anthropic")),
        ("/v2/chat", ("chat", "cohere")),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", ("chat", "gemini")),
        ("/v1beta/models/gemini-embedding-001:batchEmbedContents", ("embed", "gemini")),
        ("/v1/embeddings", ("embed", "openai")),
        ("/v2/rerank", ("rerank", "cohere")),
        ("/v1/messages/count_tokens", None),
        ("/v1/images/generations", None),
        ("/v1/responses/resp_1/cancel", None),
        ("/v1/chat", None),
    ],
)
def test_a_path_says_what_is_asked(path: str, known: object) -> None:
    """Or that it is no call that Penstock knows."""
    assert foreign.kind_of(path) == known


def test_the_model_is_in_the_body_or_in_the_path() -> None:
    """As each protocol has it; without one it is an error that says so."""
    assert read({"model": "gpt-4o"}).model == "gpt-4o"
    assert read({}, "/openai/deployments/mine/chat/completions").model == "mine"
    assert read({}, "/v1beta/models/gemini-2.5-flash:generateContent").model == "gemini-2.5-flash"
    with pytest.raises(InputError, match="names no model"):
        read({"model": 4})
    with pytest.raises(InputError, match="alt=sse"):
        read({}, "/v1beta/models/gemini-2.5-flash:streamGenerateContent")


def test_output_is_bounded_by_whatever_name_it_has() -> None:
    """Else by what the model can at most, where a budget needs it."""
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        assert read({"model": "gpt-4o", name: 7}).max_tokens == 7
    gemini = read({"generationConfig": {"maxOutputTokens": 7, "temperature": 0}}, "/models/m:generateContent")
    assert gemini.max_tokens == 7
    assert gemini.request(bounded=True).temperature == 0
    asked = read({"model": "gpt-4o-mini"})
    assert asked.request(bounded=False).max_tokens is None
    assert asked.request(bounded=True).max_tokens == 16_384
    with pytest.raises(InputError, match="give it a max_tokens"):
        read({"model": "mystery"}).request(bounded=True)
    assert isinstance(read({"model": "e"}, "/v1/embeddings").request(bounded=True), EmbedRequest)


def test_a_prompt_is_counted_and_bounded() -> None:
    """By all that is written there, names of tools' parameters too; a picture by what pictures cost at most."""
    messages = [{"role": "user", "content": WORDS}]
    plain = read({"model": "gpt-4o", "messages": messages}).request(bounded=False)
    assert plain.input_tokens == pytest.approx(400, rel=0.3)
    assert plain.most_tokens >= len(WORDS)
    names = {f"a_rather_long_parameter_{number}": {"type": "string"} for number in range(100)}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": names}}}
    tools = read({"model": "gpt-4o", "messages": messages, "tools": [tool]}).request(bounded=False)
    assert tools.most_tokens - plain.most_tokens >= sum(map(len, names))
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    seen = read({"model": "gpt-4o", "messages": [{"role": "user", "content": [part]}]}).request(bounded=False)
    assert seen.input_tokens < 2_000
    assert 50_000 <= seen.most_tokens < 60_000
    kept = read({"model": "gpt-4o", "previous_response_id": "r1"}, "/v1/responses").request(bounded=False)
    assert kept.most_tokens >= 128_000


def wire() -> ForeignWire:
    return ForeignWire(openai_chat, Outbound(path=PATH, body=b"as it was"))


def test_an_answer_of_a_kind_that_we_do_not_know_is_the_clients_affair() -> None:
    """An error is not, and neither is what is no answer at all."""
    provider = registry.parse('[providers.x]\nwire = "openai_chat"\nbase_url = "http://x"', "test")["x"]
    assert wire().decode(b'{"object": "chat.deferred", "id": "d1"}', provider).choices == ()
    for body in (b'{"error": {"message": "no"}}', b"<html>", b""):
        with pytest.raises(CallError):
            wire().decode(body, provider)


def test_the_bytes_of_a_stream_are_kept_until_taken() -> None:
    """All of them, and what they say is read beside."""
    provider = registry.parse('[providers.x]\nwire = "openai_chat"\nbase_url = "http://x"', "test")["x"]
    own = wire()
    assert own.take() == b""
    decoder = own.decoder(provider)
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    first = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
    last = b"data: " + msgspec.json.encode({"choices": [], "usage": usage}) + b"\n\ndata: [DONE]\n\n"
    assert [chunk.text for chunk in decoder.feed(first) if chunk.kind == "text"] == ["Hi"]
    done = [own.done]
    decoder.feed(last[:9])
    decoder.feed(last[9:])
    decoder.finish()
    assert [*done, own.done] == [False, True]
    assert decoder.usage == Usage(input=3, output=2)
    assert own.take() == first + last
    assert own.take() == b""
