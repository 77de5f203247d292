"""One call driven in both colours from the same script, so that every claim about the flow is a claim about both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from penstock import AsyncClient, Client, RetryPolicy
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from penstock.types import Chunk, Response

QUICK = RetryPolicy(base_s=0.001, not_sent_base_s=0.001)
KEYS = {"openai": "sk-canary-openai", "anthropic": "sk-canary-anthropic"}


class Outcome(msgspec.Struct):
    """What a call came to: its answer or error, the chunks shown, and what is left in client and transport."""

    client: Any
    transport: Any
    response: Response | None = None
    error: BaseException | None = None
    chunks: list[Chunk] = []


def run(
    colour: str, answers: Iterable[Scripted], *, stream: bool = False, client: Any = None, **options: Any
) -> Outcome:
    """Make one call against a script; `client` are the client's settings."""
    settings = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, **(client or {})}
    options.setdefault("model", "openai:gpt-4o-mini")
    if colour == "sync":
        transport = ScriptedTransport(answers)
        return _sync(Client(transport=transport, **settings), transport, stream, options)
    return asyncio.run(_async(settings, AsyncScriptedTransport(answers), stream, options))


def _sync(client: Client, transport: ScriptedTransport, stream: bool, options: dict[str, Any]) -> Outcome:
    outcome = Outcome(client, transport)
    try:
        if stream:
            with client.stream("hi", **options) as chunks:
                outcome.chunks.extend(chunks)
            outcome.response = chunks.response
        else:
            outcome.response = client.complete("hi", **options)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
        outcome.error = error
    return outcome


async def _async(
    settings: dict[str, Any], transport: AsyncScriptedTransport, stream: bool, options: dict[str, Any]
) -> Outcome:
    client = AsyncClient(transport=transport, **settings)
    outcome = Outcome(client, transport)
    try:
        if stream:
            async with client.stream("hi", **options) as chunks:
                async for chunk in chunks:
                    outcome.chunks.append(chunk)
            outcome.response = chunks.response
        else:
            outcome.response = await client.complete("hi", **options)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
        outcome.error = error
    return outcome


def openai_reply(text: str = "hello", *, prompt: int = 10, completion: int = 5, **headers: str) -> Scripted:
    """Answer as OpenAI does."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }
    return Scripted(body=json.dumps(body).encode(), headers={"X-Request-Id": "req_1", **headers})


def anthropic_reply(text: str = "hello") -> Scripted:
    """Answer as Anthropic does."""
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    return Scripted(body=json.dumps(body).encode(), headers={"request-id": "req_2"})


def openai_error(status: int, code: str = "", **headers: str) -> Scripted:
    """Fail as OpenAI does."""
    body = {"error": {"message": f"failed with {status}", "type": "error", "code": code, "param": None}}
    return Scripted(status=status, body=json.dumps(body).encode(), headers={**headers})


def openai_events(*texts: str, done: bool = True) -> list[bytes]:
    """Return the pieces of an OpenAI stream that says `texts`, one piece per event."""
    events: list[Any] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    events += [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    if done:
        usage = {"prompt_tokens": 10, "completion_tokens": len(texts), "total_tokens": 10 + len(texts)}
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        events.append({"choices": [], "usage": usage})
    told = [json.dumps({"id": "c1", "model": "gpt-4o-mini", **event}) for event in events]
    pieces = [f"data: {event}\n\n".encode() for event in told]
    return [*pieces, b"data: [DONE]\n\n"] if done else pieces
