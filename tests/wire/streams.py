"""Bytes of made-up streams, written from the protocol facts, and ways to read them."""

import json
from typing import Any

from penstock._wire import registry
from penstock._wire.assembly import Assembly
from penstock._wire.protocol import Decoder, Provider
from penstock.types import Choice, Chunk

OPENAI = Provider(name="openai", wire="openai_chat", max_tokens_field="max_completion_tokens")
PLAIN = Provider(name="plain", wire="openai_chat")
ANTHROPIC = Provider(name="anthropic", wire="anthropic", auth="x-api-key", limits="anthropic", cached_in_prompt=False)

DONE = b"data: [DONE]\n\n"


def data(value: Any, event: str = "") -> bytes:
    """One event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def delta(finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    """One chunk of a completion with one choice."""
    choice = {"index": index, "delta": fields, "finish_reason": finish}
    return data({"id": "chatcmpl-1", "model": "gpt-x-2026", "choices": [choice]})


def tool(index: int | None = 0, id: str | None = None, name: str | None = None, arguments: Any = None) -> bytes:
    """One chunk with a piece of a tool call; None leaves a field out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    call = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return delta(tool_calls=[call | {"function": function}])


def usage(prompt: int = 3, completion: int = 5, **fields: Any) -> bytes:
    """The last chunk, with the usage."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return data({"id": "chatcmpl-1", "choices": [], "usage": counts | fields})


def message_start(**counts: Any) -> bytes:
    """The first event of an Anthropic stream."""
    message = {"id": "msg_1", "type": "message", "model": "claude-x", "content": [], "usage": counts}
    return data({"type": "message_start", "message": message}, "message_start")


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """A whole content block of an Anthropic stream."""
    begun = data({"type": "content_block_start", "index": index, "content_block": start}, "content_block_start")
    middle = [data({"type": "content_block_delta", "index": index, "delta": one}) for one in deltas]
    return begun + b"".join(middle) + data({"type": "content_block_stop", "index": index}, "content_block_stop")


def message_end(reason: str | None = "end_turn", **counts: Any) -> bytes:
    """The last two events of an Anthropic stream."""
    end = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": counts}
    return data(end, "message_delta") + data({"type": "message_stop"}, "message_stop")


def text_block(index: int, *texts: str) -> bytes:
    """A text block of an Anthropic stream."""
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in texts))


def read(body: bytes, provider: Provider = OPENAI, size: int = 0) -> tuple[list[Chunk], Decoder]:
    """All chunks of a stream, fed in pieces of `size` bytes (0: at once)."""
    decoder = registry.wire(provider.wire).decoder(provider)
    chunks: list[Chunk] = []
    for start in range(0, len(body), size or len(body) or 1):
        chunks += decoder.feed(body[start : start + (size or len(body))])
    return chunks + decoder.finish(), decoder


def choices(body: bytes, provider: Provider = OPENAI, size: int = 0) -> tuple[Choice, ...]:
    """The choices that a stream amounts to."""
    assembly = Assembly()
    assembly.add(read(body, provider, size)[0])
    return assembly.choices()


def error_of(body: bytes, provider: Provider = OPENAI, size: int = 0) -> tuple[list[Chunk], Exception | None]:
    """The chunks before a stream's error, and the error."""
    decoder = registry.wire(provider.wire).decoder(provider)
    chunks: list[Chunk] = []
    try:
        for start in range(0, len(body), size or len(body) or 1):
            chunks += decoder.feed(body[start : start + (size or len(body))])
        chunks += decoder.finish()
    except Exception as error:  # noqa: BLE001  the test looks at whatever it is
        return chunks, error
    return chunks, decoder.failure
