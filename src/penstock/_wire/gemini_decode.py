"""What Gemini answers, typed: parts, reasons to stop, and counts of tokens."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..types import Audio, Image, Opaque, Part, Reasoning, StopReason, Text, ToolCall, Usage
from .gemini_messages import NO_ID, SIGNATURE
from .lenient import count, read
from .openai_messages import GEMINI_PART

STOP_REASONS: Final[dict[str, StopReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER", "NO_IMAGE"),
        ),
        "content_filter",
    ),
    **dict.fromkeys(
        ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"),
        "tool_error",
    ),
    "OTHER": "error",
    "MALFORMED_RESPONSE": "error",
    "CONTINUATION": "paused",
}
_NUMBERS: Final = (
    *("", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
    "MALFORMED_FUNCTION_CALL",
)
"""Vertex AI's numbers of them, which its answers carry where enums are asked for as numbers."""

_NOTES: Final = {
    "grounding_metadata": "groundingMetadata",
    "url_context_metadata": "urlContextMetadata",
    "citation_metadata": "citationMetadata",
}


class Count(msgspec.Struct, rename="camel", gc=False):
    modality: Any = None
    token_count: Any = None


class WireUsage(msgspec.Struct, rename="camel"):
    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    prompt_tokens_details: list[Count] | None = None
    cache_tokens_details: list[Count] | None = None
    candidates_tokens_details: list[Count] | None = None


class Blob(msgspec.Struct, rename="camel"):
    mime_type: str | None = None
    data: str | None = None


class WireCall(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()


class WirePart(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: WireCall | None = None
    inline_data: Blob | None = None


class Content(msgspec.Struct):
    parts: list[msgspec.Raw] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: Content | None = None
    finish_reason: Any = None
    index: Any = None
    grounding_metadata: dict[str, Any] | None = None
    url_context_metadata: dict[str, Any] | None = None
    citation_metadata: dict[str, Any] | None = None
    logprobs_result: dict[str, Any] | None = None

    def notes(self) -> dict[str, Any]:
        """What the answer was grounded on, as far as it is told."""
        return {name: value for field, name in _NOTES.items() if (value := getattr(self, field))}


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: Any = None


class WireReply(msgspec.Struct, rename="camel"):
    """An answer or, in a stream, a chunk of one."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: WireUsage | None = None
    model_version: Any = None
    response_id: Any = None
    error: Any = None

    @property
    def blocked(self) -> str | None:
        """Why the prompt was blocked, None where it was not."""
        return reason_of(self.prompt_feedback.block_reason) if self.prompt_feedback else None


REPLY_DECODER: Final = msgspec.json.Decoder(WireReply)
PART_DECODER: Final = msgspec.json.Decoder(WirePart)


def read_part(raw: msgspec.Raw) -> WirePart:
    """Read one part; what is none is an empty one."""
    try:
        return read(PART_DECODER, raw, WirePart)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return WirePart()


def parts_of(part: WirePart, raw: msgspec.Raw, synthetic: str) -> list[Part]:
    """Turn one part into ours; a signature that is not of a function call follows as a part of its own."""
    signed: list[Part] = []
    if part.thought_signature:
        signed = [Opaque(kind=SIGNATURE, data={"thoughtSignature": part.thought_signature})]
    if part.function_call is not None:
        return [call_of(part, part.function_call, synthetic)]
    if part.text is not None:
        said: Part = Reasoning(text=part.text) if part.thought else Text(part.text)
        return [said, *signed] if part.text else signed
    blob = part.inline_data
    if blob is not None and blob.data:
        kind = blob.mime_type or ""
        if kind.startswith("image/"):
            return [Image(data=blob.data, media_type=kind), *signed]
        if kind.startswith("audio/"):
            return [Audio(data=blob.data, format=kind.removeprefix("audio/")), *signed]
    data = msgspec.json.decode(raw)
    return [Opaque(kind=GEMINI_PART, data=data)] if isinstance(data, dict) and data else []


def call_of(part: WirePart, call: WireCall, synthetic: str) -> ToolCall:
    """Return a function call, by its own id or the one that it gets for want of it."""
    arguments = bytes(call.args).decode("utf-8", "replace")
    return ToolCall(
        id=call.id or synthetic,
        name=call.name or "",
        arguments=arguments if arguments and arguments != "null" else "{}",
        extra={"thoughtSignature": part.thought_signature} if part.thought_signature else None,
    )


def no_id(reply_id: str | None, choice: int, position: int) -> str:
    """Make an id for a call that has none: the same for the same reply, streamed or not."""
    tail = "".join(letter for letter in reply_id or "" if letter.isalnum())[-8:]
    return f"{NO_ID}{tail or 'x'}_{choice}_{position}"


def reason_of(raw: Any) -> str | None:
    """Return a reason as the word that it is, also where it came as a number; None for none."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = _NUMBERS[raw] if 0 <= raw < len(_NUMBERS) else str(raw)
    return raw if isinstance(raw, str) and raw and not raw.endswith("_UNSPECIFIED") else None


def stop_reason(raw: str | None, has_calls: bool) -> StopReason:
    """Normalise a finishReason: tool calls win where it does not say that the answer was cut short."""
    if raw is None:
        return "tool_calls" if has_calls else "unknown"
    reason = STOP_REASONS.get(raw, "other")
    return "tool_calls" if has_calls and reason in {"stop", "other"} else reason


def disjoint(wire: WireUsage | None) -> Usage | None:
    """Turn the counts into disjoint buckets; None where the prompt was not counted."""
    if wire is None or wire.prompt_token_count is None:
        return None
    prompt, output = count(wire.prompt_token_count), count(wire.candidates_token_count)
    cached = min(count(wire.cached_content_token_count), prompt)
    heard = min(max(0, _sound(wire.prompt_tokens_details) - _sound(wire.cache_tokens_details)), prompt - cached)
    spoken = min(_sound(wire.candidates_tokens_details), output)
    return Usage(
        input=prompt - cached - heard + count(wire.tool_use_prompt_token_count),
        cache_read=cached,
        audio_in=heard,
        output=output - spoken,
        audio_out=spoken,
        reasoning=count(wire.thoughts_token_count),
    )


def _sound(details: list[Count] | None) -> int:
    return sum(count(detail.token_count) for detail in details or () if detail.modality == "AUDIO")


def text_or_none(value: Any) -> str | None:
    """Return a non-empty string, or None."""
    return value if isinstance(value, str) and value else None
