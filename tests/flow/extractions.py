"""One extraction driven in both colours from the same script, and answers in the shapes in which models give values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from penstock import AsyncClient, Client, Extracted
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport

from .colours import KEYS, QUICK


class Outcome(msgspec.Struct):
    """What an extraction came to: its result or error, the values that grew, and what client and transport hold."""

    client: Any
    transport: Any
    extracted: Extracted[Any] | None = None
    error: BaseException | None = None
    grown: list[Any] = []

    @property
    def result(self) -> Extracted[Any]:
        """The result of one that ended well."""
        if self.error is not None:
            raise self.error
        assert self.extracted is not None
        return self.extracted

    @property
    def bodies(self) -> list[Any]:
        """What was sent."""
        return [json.loads(sent.body) for sent in self.transport.sent]


def extract(
    colour: str, wanted: Any, answers: Iterable[Scripted], *, stream: bool = False, client: Any = None, **options: Any
) -> Outcome:
    """Make one extraction against a script; `client` are the client's settings."""
    settings = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, **(client or {})}
    options.setdefault("model", "openai:gpt-4o-mini")
    prompt = options.pop("prompt", "hi")
    if colour == "sync":
        transport = ScriptedTransport(answers)
        return _sync(Client(transport=transport, **settings), transport, wanted, prompt, stream, options)
    return asyncio.run(_async(settings, AsyncScriptedTransport(answers), wanted, prompt, stream, options))


def _sync(client: Client, transport: Any, wanted: Any, prompt: Any, stream: bool, options: Any) -> Outcome:
    outcome = Outcome(client, transport)
    try:
        if stream:
            with client.stream_extract(wanted, prompt, **options) as growing:
                outcome.grown.extend(growing)
            outcome.extracted = growing.extracted
        else:
            outcome.extracted = client.extract(wanted, prompt, **options)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
        outcome.error = error
    return outcome


async def _async(settings: Any, transport: Any, wanted: Any, prompt: Any, stream: bool, options: Any) -> Outcome:
    client = AsyncClient(transport=transport, **settings)
    outcome = Outcome(client, transport)
    try:
        if stream:
            async with client.stream_extract(wanted, prompt, **options) as growing:
                async for value in growing:
                    outcome.grown.append(value)
            outcome.extracted = growing.extracted
        else:
            outcome.extracted = await client.extract(wanted, prompt, **options)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
        outcome.error = error
    return outcome


def says(text: str, *, finish: str = "stop", refusal: str | None = None, calls: Iterable[str] = ()) -> Scripted:
    """Answer as OpenAI does: text, or calls of a tool with these arguments, or a refusal."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal}
    made = [
        {"id": f"call_{at}", "type": "function", "function": {"name": "Incident", "arguments": arguments}}
        for at, arguments in enumerate(calls)
    ]
    if made:
        message |= {"content": None, "tool_calls": made}
    body = {
        "id": "c1",
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return Scripted(body=json.dumps(body).encode())


def claude_says(text: str = "", *, stop: str = "end_turn", value: Any = None) -> Scripted:
    """Answer as Anthropic does: text, or one call of a tool with this value."""
    block = {"type": "text", "text": text}
    if value is not None:
        block = {"type": "tool_use", "id": "toolu_1", "name": "Incident", "input": value}
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "content": [block],
        "stop_reason": stop,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    return Scripted(body=json.dumps(body).encode())


def refuses(status: int, message: str, param: str | None = None) -> Scripted:
    """Refuse a request as OpenAI does."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return Scripted(status=status, body=json.dumps({"error": error}).encode())


def streams(*texts: str, finish: str = "stop") -> Scripted:
    """Say a text in pieces, as OpenAI streams do."""
    events: list[Any] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    events += [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    usage = {"prompt_tokens": 10, "completion_tokens": len(texts), "total_tokens": 10 + len(texts)}
    events.append({"choices": [], "usage": usage})
    told = [f"data: {json.dumps({'id': 'c1', 'model': 'gpt-4o-mini', **event})}\n\n".encode() for event in events]
    return Scripted(body=[*told, b"data: [DONE]\n\n"])
