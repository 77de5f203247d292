"""Read whole answers of OpenAI Chat Completions and of the many servers that speak it, each a little differently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec

from ..types import (
    Audio,
    Choice,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    StopReason,
    Text,
    ToolCall,
    Usage,
    to_nano,
)
from . import classify
from .lenient import BOM, count, read
from .protocol import Provider, Reply

STOP_REASONS: Final[dict[str, StopReason]] = {
    "stop": "stop",
    "eos": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "context_length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}
_CUT_SHORT: Final = frozenset({"length", "context_length", "content_filter", "error"})
"""Reasons that tool calls do not overrule: the call itself may have been cut."""

NANO_PER_XAI_TICK: Final = 10
"""xAI bills in ticks of 1e-10 dollars, so ten of them are a nano-dollar."""


class PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: Any = None
    cache_write_tokens: Any = None
    audio_tokens: Any = None


class CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Any = None
    audio_tokens: Any = None


class WireUsage(msgspec.Struct):
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Any = None
    num_cached_tokens: Any = None
    reasoning_tokens: Any = None
    prompt_audio_seconds: Any = None
    cost: Any = None
    cost_details: Any = None
    is_byok: bool | None = None
    cost_in_usd_ticks: Any = None


class CostFields(Protocol):
    """What usage says of its cost, at the providers that do."""

    cost: Any
    cost_details: Any
    is_byok: bool | None
    cost_in_usd_ticks: Any


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class WireCall(msgspec.Struct):
    index: Any = None
    id: Any = None
    function: Function | None = None
    custom: Custom | None = None
    extra_content: dict[str, Any] | None = None


class WireMessage(msgspec.Struct):
    """A message or, in a stream, the piece of one."""

    content: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    reasoning_details: list[dict[str, Any]] | None = None
    tool_calls: list[WireCall] | None = None
    function_call: Function | None = None
    audio: dict[str, Any] | None = None
    annotations: list[Any] | None = None


class WireChoice(msgspec.Struct):
    index: Any = 0
    delta: WireMessage | None = None
    message: WireMessage | None = None
    finish_reason: Any = None
    logprobs: dict[str, Any] | None = None


class GroqExtra(msgspec.Struct):
    usage: WireUsage | None = None


class WireReply(msgspec.Struct):
    """A completion or, in a stream, a chunk of one."""

    id: Any = None
    model: Any = None
    choices: list[WireChoice] | None = None
    usage: WireUsage | None = None
    error: Any = None
    x_groq: GroqExtra | None = None


_NO_PROMPT_DETAILS: Final = PromptDetails()
_NO_DETAILS: Final = CompletionDetails()
REPLY_DECODER: Final = msgspec.json.Decoder(WireReply)


def decode_json(body: bytes, provider: Provider) -> Reply:
    """Read a JSON answer.

    Raises: CallError when it is an error after all, HTML, empty, or not of the protocol.
    """
    try:
        wire = read(REPLY_DECODER, body.removeprefix(BOM), WireReply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise classify.not_an_answer(body, provider) from None
    if wire.error or not wire.choices:
        error = classify.inside(body, provider)
        if error is not None:
            raise error
    if wire.choices is None:
        raise classify.not_an_answer(body, provider)
    reply_id = text_or_none(wire.id)
    usage = wire.usage or (wire.x_groq.usage if wire.x_groq else None)
    choices = wire.choices
    if len(choices) > 1:
        choices = sorted(choices, key=lambda choice: count(choice.index))
    return Reply(
        choices=tuple([whole_choice(choice, reply_id) for choice in choices]),
        usage=disjoint(usage, provider),
        id=reply_id,
        served_model=text_or_none(wire.model),
        cost_nano=reported_cost(usage),
    )


def whole_choice(choice: WireChoice, reply_id: str | None) -> Choice:
    """Read one choice of a whole answer."""
    message = choice.message or choice.delta or WireMessage()
    if type(message.content) is str and message.content and _is_plain(message):
        reason, raw = stop_reason(choice.finish_reason, False, False)
        return Choice(
            content=(Text(message.content),), stop_reason=reason, raw_stop_reason=raw, logprobs=choice.logprobs
        )
    number = count(choice.index)
    texts: list[str] = []
    thoughts = [thought(message)]
    opaque: list[Part] = []
    for kind, piece in pieces(message.content):
        if isinstance(piece, dict):
            opaque.append(Opaque(kind=kind, data=piece))
        else:
            (thoughts if kind == "reasoning" else texts).append(piece)
    parts: list[Part] = []
    text, thinking = "".join(texts), "".join(thoughts)
    if thinking or message.reasoning_details:
        parts.append(Reasoning(text=thinking, details=tuple(message.reasoning_details or ())))
    if text:
        parts.append(Text(text))
    if message.refusal:
        parts.append(Refusal(message.refusal))
    calls = [
        whole_call(call, synthetic_id(reply_id, number, position))
        for position, call in enumerate(message.tool_calls or ())
    ]
    if message.function_call and (message.function_call.name or message.function_call.arguments):
        call = WireCall(function=message.function_call)
        calls.append(whole_call(call, synthetic_id(reply_id, number, len(calls))))
    parts += calls
    if message.audio:
        parts.append(audio_part(message.audio))
    parts += opaque
    if message.annotations:
        parts.append(Opaque(kind="annotations", data={"annotations": message.annotations}))
    reason, raw = stop_reason(choice.finish_reason, bool(calls), bool(message.refusal))
    return Choice(content=tuple(parts), stop_reason=reason, raw_stop_reason=raw, logprobs=choice.logprobs)


def _is_plain(message: WireMessage) -> bool:
    """Whether the content is all that the message says: by far the most common answer."""
    return not (
        message.tool_calls
        or message.refusal
        or message.reasoning_content
        or message.reasoning
        or message.reasoning_details
        or message.function_call
        or message.audio
        or message.annotations
    )


def whole_call(call: WireCall, spare_id: str) -> ToolCall:
    """Read one tool call; `spare_id` is used where the server gave none."""
    found = call_id(call) or spare_id
    if call.custom is not None:
        return ToolCall(
            id=found,
            name=call.custom.name or "",
            arguments=call.custom.input or "",
            kind="custom",
            extra=call.extra_content,
        )
    function = call.function or Function()
    text = arguments_text(function.arguments)
    return ToolCall(
        id=found, name=function.name or "", arguments=text if text.strip() else "{}", extra=call.extra_content
    )


def call_id(call: WireCall) -> str | None:
    """Return the id that the server gave; the 'null' of one SDK and '' are none."""
    found = call.id
    if not found or found == "null":
        return None
    return str(found)


def synthetic_id(reply_id: str | None, choice: int, position: int) -> str:
    """Make an id for a tool call that has none: the same for the same reply, streamed or not."""
    tail = "".join(letter for letter in reply_id or "" if letter.isalnum())[-8:]
    return f"call_{tail or 'x'}_{choice}_{position}"


def arguments_text(value: Any) -> str:
    """Return tool arguments as JSON text; some servers send an object where the protocol has a string."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def thought(message: WireMessage) -> str:
    """Return the reasoning text, under whichever of its names it came; a server that sends two sends the same twice."""
    if message.reasoning_content:
        return message.reasoning_content
    if message.reasoning and isinstance(message.reasoning, str):
        return message.reasoning
    if message.reasoning_details:
        found = [detail.get("text") or detail.get("summary") for detail in message.reasoning_details]
        return "".join(text for text in found if isinstance(text, str))
    return ""


def pieces(content: Any) -> Iterator[tuple[str, str | dict[str, Any]]]:
    """Flatten content that is a string, null, or a list of parts into (kind, text or the part itself)."""
    if isinstance(content, str):
        yield "text", content
    elif isinstance(content, list):
        for item in content:
            if isinstance(item, str):
                yield "text", item
            elif isinstance(item, dict):
                yield _piece(item)
    elif isinstance(content, dict):
        yield _piece(content)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield "text", str(content)


def _piece(item: dict[str, Any]) -> tuple[str, str | dict[str, Any]]:
    kind = str(item.get("type") or "text")
    if kind in {"thinking", "reasoning"}:
        inner = item.get(kind) or item.get("text") or ""
        return "reasoning", "".join(text for _, text in pieces(inner) if isinstance(text, str))
    text = item.get("text")
    if kind in {"text", "output_text"} and isinstance(text, str):
        return "text", text
    return kind, item


def audio_part(audio: dict[str, Any]) -> Audio:
    """Read the audio of an answer; its format is the one that was asked for, and not repeated by the server."""
    return Audio(
        data=str(audio.get("data") or ""),
        format=str(audio.get("format") or "wav"),
        id=text_or_none(audio.get("id")),
        transcript=text_or_none(audio.get("transcript")),
    )


def stop_reason(raw: Any, has_calls: bool, has_refusal: bool) -> tuple[StopReason, str | None]:
    """Normalise a finish_reason: tool calls win over any reason that does not say the answer was cut short."""
    word = None if raw is None else str(raw)
    reason: StopReason = "unknown" if word is None else STOP_REASONS.get(word.lower(), "other")
    if has_calls and reason not in _CUT_SHORT:
        return "tool_calls", word
    if has_refusal and reason == "stop":
        return "refusal", word
    return reason, word


def disjoint(wire: WireUsage | None, provider: Provider) -> Usage | None:
    """Turn a provider's counts into disjoint buckets; the total tells what is inside what, where it can.

    Cached tokens larger than the prompt cannot be inside it (Grok on Azure); reasoning is outside the completion where
    only that adds up to the total (xAI); a total above its parts is hidden thinking, or sound at Mistral.
    """
    if wire is None or (wire.prompt_tokens is None and wire.completion_tokens is None and not wire.total_tokens):
        return None
    prompt, total = count(wire.prompt_tokens), count(wire.total_tokens)
    completion = count(wire.completion_tokens)
    if wire.completion_tokens is None:
        completion = max(total - prompt, 0)
    into, out = wire.prompt_tokens_details or _NO_PROMPT_DETAILS, wire.completion_tokens_details or _NO_DETAILS
    cached = into.cached_tokens or wire.prompt_cache_hit_tokens or wire.num_cached_tokens
    thought = out.reasoning_tokens or wire.reasoning_tokens
    if prompt + completion == total and not (
        cached or thought or into.cache_write_tokens or into.audio_tokens or out.audio_tokens
    ):
        return Usage(input=prompt, output=completion)
    read_ = count(cached) if cached else 0
    written = count(into.cache_write_tokens) if into.cache_write_tokens else 0
    reasoning = count(thought) if thought else 0
    audio_in = count(into.audio_tokens) if into.audio_tokens else 0
    inside = inside_prompt(prompt, read_, written, provider)
    audio_in = min(audio_in, prompt - inside)
    fresh = prompt - inside - audio_in
    excess = total - prompt - completion
    if excess > 0 and reasoning == 0:
        if wire.prompt_audio_seconds is not None:
            audio_in += excess
        else:
            reasoning, completion = excess, completion + excess
    elif reasoning and _outside_completion(reasoning, completion, excess, provider):
        completion += reasoning
    reasoning = min(reasoning, completion)
    audio_out = min(count(out.audio_tokens), completion - reasoning) if out.audio_tokens else 0
    return Usage(
        input=fresh,
        cache_read=read_,
        cache_write_30m=written,
        audio_in=audio_in,
        output=completion - audio_out - reasoning,
        reasoning=reasoning,
        audio_out=audio_out,
    )


def inside_prompt(prompt: int, read_: int, written: int, provider: Provider) -> int:
    """Return how many of the prompt's tokens are cache reads and writes; what is more than the prompt is not in it."""
    if not provider.cached_in_prompt or read_ > prompt:
        return 0
    return read_ + written if read_ + written <= prompt else read_


def _outside_completion(reasoning: int, completion: int, excess: int, provider: Provider) -> bool:
    if excess == reasoning:
        return True
    if excess == 0:
        return False
    return not provider.reasoning_in_output or reasoning > completion


def reported_cost(wire: CostFields | None) -> int | None:
    """Return the cost that the provider itself reports, in nano-dollars (OpenRouter, Vercel, Perplexity, xAI)."""
    if wire is None or (wire.cost is None and wire.cost_in_usd_ticks is None):
        return None
    if wire.cost_in_usd_ticks is not None:
        ticks = count(wire.cost_in_usd_ticks)
        return -(-ticks // NANO_PER_XAI_TICK)
    cost = wire.cost.get("total_cost") if isinstance(wire.cost, dict) else wire.cost
    if cost is None or isinstance(cost, bool | list | dict):
        return None
    upstream = wire.cost_details.get("upstream_inference_cost") if isinstance(wire.cost_details, dict) else None
    try:
        nano = to_nano(cost)
        if wire.is_byok and upstream is not None:  # with the user's own key the gateway's cost is only its fee
            nano += to_nano(upstream)
    except ValueError:
        return None
    return nano if nano >= 0 else None


def text_or_none(value: Any) -> str | None:
    """Return a non-empty string, or None."""
    return value if isinstance(value, str) and value else None
