"""Answers of an embeddings server in a script, and one call of `embed` driven in both colours."""

from __future__ import annotations

import asyncio
import json
from array import array
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from penstock import AsyncClient, Client, Embeddings
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from tests.flow.colours import KEYS, QUICK

MODEL = "openai:text-embedding-3-small"
COLOURS = ("sync", "async")


class Outcome(msgspec.Struct):
    """What a call came to, and what is left in client and transport."""

    client: Any
    transport: Any
    result: Embeddings | None = None
    error: BaseException | None = None

    @property
    def inputs(self) -> list[list[str]]:
        """The texts of each request that went out."""
        return [json.loads(sent.body)["input"] for sent in self.transport.sent]


def vector(text: str) -> list[float]:
    """Make a vector that tells which text it is of."""
    return [float(len(text)), float(sum(text.encode()) % 1000), 1.0]


def answer(texts: Iterable[str], *, base64: bool = True, tokens: int = 10) -> Scripted:
    """Answer as OpenAI does."""
    data: list[Any] = []
    for index, text in enumerate(texts):
        floats: Any = vector(text)
        if base64:
            floats = b64encode(array("f", floats).tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": floats})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}
    return Scripted(body=json.dumps(body).encode(), headers={"x-request-id": "req_1"})


def refusal(message: str = "Invalid 'input[0]'", status: int = 400, code: str = "invalid_value") -> Scripted:
    """Refuse as OpenAI does."""
    error = {"message": message, "type": "invalid_request_error", "param": "input", "code": code}
    return Scripted(status=status, body=json.dumps({"error": error}).encode())


Rule = Callable[[list[str]], Scripted]


class _Server:
    """A script that looks at what is asked."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._bodies: list[bytes] = []

    def hear(self, body: bytes) -> None:
        self._bodies.append(body)

    def __iter__(self) -> _Server:
        return self

    def __next__(self) -> Scripted:
        return self._rule(json.loads(self._bodies.pop(0))["input"])


class _Ruled:
    """The side of a scripted transport that tells the script what it is asked."""

    def __init__(self, rule: Rule) -> None:
        self._server = _Server(rule)
        super().__init__(self._server)  # type: ignore[call-arg]

    def next(self, target: Any, outbound: Any) -> Scripted:
        self._server.hear(outbound.body)
        found: Scripted = super().next(target, outbound)  # type: ignore[misc]
        return found


class _SyncTransport(_Ruled, ScriptedTransport):
    pass


class _AsyncTransport(_Ruled, AsyncScriptedTransport):
    pass


def embed(colour: str, rule: Rule, texts: Any, *, client: Any = None, **options: Any) -> Outcome:
    """Make one call of `embed` to a server that answers by a rule; `client` are the client's settings."""
    settings = {"keys": {**KEYS, "mistral": "key"}, "config": False, "env": {}, "retry": QUICK, **(client or {})}
    options.setdefault("model", MODEL)
    if colour == "sync":
        transport = _SyncTransport(rule)
        outcome = Outcome(Client(transport=transport, **settings), transport)
        try:
            outcome.result = outcome.client.embed(texts, **options)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            outcome.error = error
        return outcome
    return asyncio.run(_async(settings, _AsyncTransport(rule), texts, options))


async def _async(settings: Any, transport: _AsyncTransport, texts: Any, options: Any) -> Outcome:
    outcome = Outcome(AsyncClient(transport=transport, **settings), transport)
    try:
        outcome.result = await outcome.client.embed(texts, **options)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
        outcome.error = error
    return outcome
