"""Read whole answers of Anthropic Messages."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..types import Choice, Opaque, Part, Reasoning, StopReason, Text, ToolCall, Usage
from . import classify
from .anthropic_messages import CITATIONS
from .lenient import BOM, count, read
from .protocol import Provider, Reply

STOP_REASONS: Final[dict[str, StopReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "refusal": "refusal",
}


NOTHING: Final = msgspec.Raw()
"""Stands for a missing field; a Raw in a union with None is not read as such by msgspec."""


class CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: Any = None
    ephemeral_1h_input_tokens: Any = None


class OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: Any = None


class WireUsage(msgspec.Struct):
    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None


class WireMessage(msgspec.Struct):
    id: Any = None
    model: Any = None
    type: Any = None
    content: list[msgspec.Raw] | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None
    error: Any = None


class Block(msgspec.Struct):
    """A content block, whole or as it starts."""

    type: str = ""
    text: str | None = None
    citations: list[Any] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = NOTHING
    caller: dict[str, Any] | None = None


_EMPTY: Final = frozenset({"", "{}", "null"})
MESSAGE_DECODER: Final = msgspec.json.Decoder(WireMessage)
BLOCK_DECODER: Final = msgspec.json.Decoder(Block)


def decode_json(body: bytes, provider: Provider) -> Reply:
    """Read a JSON answer.

    Raises: CallError when it is an error after all, HTML, empty, or not of the protocol.
    """
    try:
        wire = read(MESSAGE_DECODER, body.removeprefix(BOM), WireMessage)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise classify.not_an_answer(body, provider) from None
    if wire.error or wire.type == "error" or wire.content is None:
        raise classify.inside(body, provider) or classify.not_an_answer(body, provider)
    content: list[Part] = []
    for raw in wire.content:
        content += parts_of(raw)
    has_calls = any(isinstance(part, ToolCall) for part in content)
    choice = Choice(
        content=tuple(content),
        stop_reason=stop_reason(wire.stop_reason, has_calls),
        raw_stop_reason=wire.stop_reason,
    )
    return Reply(
        choices=(choice,),
        usage=disjoint(wire.usage),
        id=text_or_none(wire.id),
        served_model=text_or_none(wire.model),
    )


def parts_of(raw: msgspec.Raw) -> list[Part]:
    """Read one whole content block: usually one part; cited text is followed by its citations."""
    try:
        block = read(BLOCK_DECODER, raw, Block)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    match block.type:
        case "text":
            text: list[Part] = [Text(block.text)] if block.text else []
            return text + ([Opaque(kind=CITATIONS, data={"citations": block.citations})] if block.citations else [])
        case "thinking":
            return [Reasoning(text=block.thinking or "", signature=block.signature or None)]
        case "redacted_thinking":
            return [Reasoning(redacted=block.data or "")]
        case "tool_use":
            return [
                ToolCall(
                    id=block.id or "",
                    name=block.name or "",
                    arguments=input_of(block) or "{}",
                    extra=caller_of(block),
                )
            ]
        case kind:
            return [Opaque(kind=kind, data=msgspec.json.decode(raw))]


def input_of(block: Block) -> str:
    """Return a tool's input as the JSON text that came, '' where it is empty."""
    text = bytes(block.input).decode("utf-8", "replace")
    return "" if text in _EMPTY else text


def caller_of(block: Block) -> dict[str, Any] | None:
    """Return who made a tool call where it was not the model itself: it must be sent back with the call."""
    if block.caller is None or block.caller.get("type") == "direct":
        return None
    return {"caller": block.caller}


def stop_reason(raw: str | None, has_calls: bool) -> StopReason:
    """Normalise a stop_reason: tool calls win where it does not say that the answer was cut short."""
    if raw is None:
        return "tool_calls" if has_calls else "unknown"
    reason = STOP_REASONS.get(raw, "other")
    return "tool_calls" if has_calls and reason in {"stop", "other"} else reason


def disjoint(wire: WireUsage | None) -> Usage | None:
    """Turn the counts into disjoint buckets: input_tokens is without cache reads and writes, output with thinking."""
    if wire is None or (wire.input_tokens is None and wire.output_tokens is None):
        return None
    split = wire.cache_creation or CacheCreation()
    hour = count(split.ephemeral_1h_input_tokens)
    five = count(split.ephemeral_5m_input_tokens)
    if wire.cache_creation_input_tokens is not None:
        written = count(wire.cache_creation_input_tokens)
        hour = min(hour, written)
        five = written - hour
    output = count(wire.output_tokens)
    details = wire.output_tokens_details or OutputDetails()
    thinking = min(count(details.thinking_tokens), output)
    return Usage(
        input=count(wire.input_tokens),
        cache_read=count(wire.cache_read_input_tokens),
        cache_write_5m=five,
        cache_write_1h=hour,
        output=output - thinking,
        reasoning=thinking,
    )


def text_or_none(value: Any) -> str | None:
    """Return a non-empty string, or None."""
    return value if isinstance(value, str) and value else None
