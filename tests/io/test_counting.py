"""How many tokens a prompt has: asked, counted by tiktoken where its data is there, estimated and corrected."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client
from penstock._flow.gauge import LEAST, Gauge
from penstock._io import tokenizer
from penstock._text.tokens import estimate_request
from penstock.errors import AuthenticationFailed, ConfigError, NotFound
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from penstock.types import Message, Request
from tests.flow.colours import KEYS, QUICK, openai_error, openai_reply

COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])
MINI = "openai:gpt-4o-mini"
HAIKU = "anthropic:claude-haiku-4-5"


@pytest.fixture(autouse=True)
def no_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """tiktoken looks for its data in an empty folder, wherever the machine keeps some."""
    folder = tmp_path / "vocabularies"
    folder.mkdir()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    tokenizer._whole.cache_clear()
    tokenizer._count_with.cache_clear()
    yield
    tokenizer._whole.cache_clear()
    tokenizer._count_with.cache_clear()


def count(colour: str, answers: list[Scripted], **options: Any) -> tuple[Any, Any, Any]:
    """Count in a colour; returns the count, the client and the transport."""
    prompt = options.pop("prompt", "hello world")
    settings: Any = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, **options.pop("client", {})}
    if colour == "sync":
        transport: Any = ScriptedTransport(answers)
        with Client(transport=transport, **settings) as client:
            return client.count_tokens(prompt, **options), client, transport

    async def main() -> tuple[Any, Any, Any]:
        made = AsyncScriptedTransport(answers)
        async with AsyncClient(transport=made, **settings) as client:
            return await client.count_tokens(prompt, **options), client, made

    return asyncio.run(main())


def says(tokens: int) -> Scripted:
    """The provider counts."""
    return Scripted(body=json.dumps({"input_tokens": tokens}).encode())


@COLOURS
def test_the_provider_is_asked_where_it_counts(colour: str) -> None:
    """For nothing, also under a budget, and without touching the model's own lane."""
    found, client, transport = count(colour, [says(42)], model=HAIKU, client={"budget": Budget(total="0.000001")})
    assert (found.tokens, found.source, found.error, found.model) == (42, "provider", 0.0, HAIKU)
    assert transport.sent[0].url.endswith("/v1/messages/count_tokens")
    assert transport.open == 0
    assert client.usage().cost_nano == 0
    assert [lane.name for lane in client.lanes()] == []


@COLOURS
def test_a_failure_is_repeated_and_told_like_that_of_a_call(colour: str) -> None:
    """It goes the same way."""
    found, _, transport = count(colour, [openai_error(500), says(9)], model=MINI)
    assert (found.tokens, len(transport.sent)) == (9, 2)
    with pytest.raises(AuthenticationFailed):
        count(colour, [openai_error(401)], model=MINI)


@COLOURS
def test_a_server_without_the_endpoint_is_not_needed(colour: str) -> None:
    """Many speak a protocol and have no such endpoint: then the count is ours, and says so."""
    found, _, _ = count(colour, [openai_error(404)], model=MINI)
    assert found.source == "estimate"
    assert "cannot be asked" in (found.why or "")
    with pytest.raises(NotFound):
        count(colour, [openai_error(404)], model=MINI, source="provider")


@COLOURS
def test_nothing_is_sent_where_nobody_counts_or_nobody_is_to_be_asked(colour: str) -> None:
    """And the reason is told."""
    found, _, transport = count(colour, [], model="groq:llama-3.3-70b", client={"keys": {"groq": "k"}})
    assert (found.source, found.why, found.error) == ("estimate", "groq has no endpoint that counts", None)
    assert transport.sent == []
    assert count(colour, [], model=HAIKU, source="local")[0].why == "nothing was to be sent"
    with pytest.raises(ConfigError, match="cannot be asked"):
        count(colour, [], model="groq:x", source="provider", client={"keys": {"groq": "k"}})
    with pytest.raises(ConfigError, match="parameter 'source' is 'guess'"):
        count(colour, [], model=HAIKU, source="guess")


def test_estimates_learn_from_what_the_provider_reports() -> None:
    """Whole answers and streams alike; the correction and its error are told of each lane."""
    prompt = "one more word " * 100
    ours = estimate_request(Request(model="m", messages=(Message("user", prompt),)))
    answers = [openai_reply(prompt=ours * 2) for _ in range(6)]
    with Client(transport=ScriptedTransport(answers), keys=KEYS, config=False, env={}) as client:
        before = client.count_tokens(prompt, model=MINI, source="local")
        for _ in range(6):
            client.complete(prompt, model=MINI)
        after = client.count_tokens(prompt, model=MINI, source="local")
        (lane,) = client.lanes()
    assert (before.tokens, before.error) == (ours, None)
    assert after.tokens == ours * 2
    assert after.error is not None
    assert after.error < 0.2
    assert lane.tokens.ratio == pytest.approx(2.0)
    assert lane.tokens.error == after.error


def test_a_gauge_says_nothing_before_it_knows_something() -> None:
    """And follows a lane whose traffic changes."""
    gauge = Gauge()
    gauge.learn(LEAST * 3, LEAST - 1)
    assert (gauge.ratio, gauge.error) == (None, None)
    for _ in range(400):
        gauge.learn(1_000, 1_000)
    assert gauge.ratio == pytest.approx(1.0, abs=0.01)
    assert gauge.error is not None
    assert gauge.error < 0.01
    for _ in range(400):
        gauge.learn(1_500, 1_000)
    assert gauge.ratio == pytest.approx(1.5, abs=0.05)


def vocabulary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small vocabulary in the place of the real one, which nobody may copy into a test."""
    public = pytest.importorskip("tiktoken_ext.openai_public")
    words = [bytes([byte]) for byte in range(256)] + [b"he", b"ll", b"hell", b"hello"]
    data = b"".join(base64.b64encode(word) + b" %d\n" % rank for rank, word in enumerate(words))
    address = tokenizer.ADDRESS.format(name="o200k_base")
    (folder / hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()).write_bytes(data)
    monkeypatch.setitem(tokenizer.VOCABULARIES, "o200k_base", hashlib.sha256(data).hexdigest())

    def made() -> dict[str, Any]:
        ranks = {word: rank for rank, word in enumerate(words)}
        return {"name": "small", "pat_str": r"\w+|\s+", "mergeable_ranks": ranks, "special_tokens": {}}

    import tiktoken.registry

    monkeypatch.setitem(public.ENCODING_CONSTRUCTORS, "o200k_base", made)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    return data


def test_tiktoken_counts_where_its_data_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the vocabulary of the model; a chat adds what it always adds."""
    vocabulary(tmp_path / "vocabularies", monkeypatch)
    found, _, _ = count("sync", [], model=MINI, prompt="hello hello", source="local")
    assert (found.source, found.tokens) == ("tiktoken", 3 + 4 + 3)
    long, _, _ = count("sync", [], model=MINI, prompt="hello" * 30_000, source="local")
    assert long.tokens > 30_000


def test_data_that_is_damaged_is_not_used_and_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tiktoken would download it again; so it is not even asked."""
    folder = tmp_path / "vocabularies"
    vocabulary(folder, monkeypatch)
    (kept,) = folder.iterdir()
    kept.write_bytes(b"torn")
    assert count("sync", [], model=MINI, source="local")[0].source == "estimate"
    assert kept.read_bytes() == b"torn"


def test_a_model_with_another_tokenizer_is_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the data of OpenAI's is there."""
    vocabulary(tmp_path / "vocabularies", monkeypatch)
    assert count("sync", [], model=HAIKU, source="local")[0].source == "estimate"
    assert count("sync", [], model="openai:some-model", source="local")[0].source == "estimate"
