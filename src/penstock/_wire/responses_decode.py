"""Read whole answers of OpenAI Responses: a list of items, each of which is one part or several."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..errors import CallError, ServerFault
from ..types import Choice, Opaque, Part, Reasoning, Refusal, StopReason, Text, ToolCall, Usage
from . import classify
from .lenient import BOM, count, read
from .openai_decode import inside_prompt, reported_cost, synthetic_id, text_or_none
from .protocol import Provider, Reply

MESSAGE: Final = "message"
"""The kind of an `Opaque` part that says of the texts after it what their message item was: its id and phase."""

ITEM_ID: Final = "item_id"
"""Where `ToolCall.extra` keeps the id of the item, which is not that of the call."""

_INCOMPLETE: Final[dict[str, StopReason]] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "max_messages": "paused",
    "steered": "paused",
}
_UNDERWAY: Final = frozenset({"queued", "in_progress"})


class InputDetails(msgspec.Struct, gc=False):
    cached_tokens: Any = None
    cache_write_tokens: Any = None
    cache_write_tokens_details: dict[str, Any] | None = None


class OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Any = None


class WireUsage(msgspec.Struct):
    input_tokens: Any = None
    output_tokens: Any = None
    total_tokens: Any = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None
    cost: Any = None
    cost_details: Any = None
    is_byok: bool | None = None
    cost_in_usd_ticks: Any = None


class Incomplete(msgspec.Struct, gc=False):
    reason: str | None = None


class WireResponse(msgspec.Struct):
    """A response, whole or as an event of a stream carries it."""

    id: Any = None
    model: Any = None
    status: str | None = None
    output: list[msgspec.Raw] | None = None
    usage: WireUsage | None = None
    error: Any = None
    incomplete_details: Incomplete | None = None


class Piece(msgspec.Struct):
    """A content part of a message or of reasoning."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class Item(msgspec.Struct):
    """An item of the output, whole or as it starts."""

    type: str = ""
    id: Any = None
    call_id: Any = None
    name: str | None = None
    arguments: Any = None
    input: Any = None
    phase: str | None = None
    namespace: str | None = None
    caller: dict[str, Any] | None = None
    content: list[msgspec.Raw] | None = None
    summary: list[Piece] | None = None


RESPONSE_DECODER: Final = msgspec.json.Decoder(WireResponse)
ITEM_DECODER: Final = msgspec.json.Decoder(Item)
PIECE_DECODER: Final = msgspec.json.Decoder(Piece)


class Reading:
    """What is known while the items of one answer are read in their order."""

    __slots__ = ("calls", "logprobs", "paired", "refused", "spoke")

    def __init__(self) -> None:
        self.calls = 0
        self.refused = False
        self.spoke = False
        self.paired = False
        """Whether reasoning came: what follows it must then be sent back under its own id."""
        self.logprobs: list[Any] = []


def decode_json(body: bytes, provider: Provider) -> Reply:
    """Read a JSON answer.

    Raises: CallError when it is an error after all, HTML, empty, not of the protocol, or not finished.
    """
    try:
        wire = read(RESPONSE_DECODER, body.removeprefix(BOM), WireResponse)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise classify.not_an_answer(body, provider) from None
    error = failure(wire, provider)
    if error is None and wire.output is None:
        error = classify.inside(body, provider) or classify.not_an_answer(body, provider)
    if error is not None:
        raise error
    reading = Reading()
    reply_id = text_or_none(wire.id)
    parts: list[Part] = []
    for raw in wire.output or ():
        parts += parts_of(raw, reading, reply_id)
    reason, word = stop_reason(wire, reading)
    logprobs = {"content": reading.logprobs, "refusal": None} if reading.logprobs else None
    choice = Choice(content=tuple(parts), stop_reason=reason, raw_stop_reason=word, logprobs=logprobs)
    return Reply(
        choices=(choice,),
        usage=disjoint(wire.usage, provider),
        id=reply_id,
        served_model=text_or_none(wire.model),
        cost_nano=reported_cost(wire.usage),
    )


def failure(wire: WireResponse, provider: Provider) -> CallError | None:
    """Return the error of a response that failed, or that the server did not wait for; None for an answer."""
    if wire.error:
        found = classify.inside(msgspec.json.encode({"error": wire.error}), provider, certain=True)
    elif wire.status == "failed":
        found = ServerFault("the response failed, and the provider does not say why", provider=provider.name)
    elif wire.status in _UNDERWAY:
        found = ServerFault(
            f"the response is still {wire.status!r}: it is made in the background, and Penstock waits for none; "
            "leave background out",
            provider=provider.name,
        )
    else:
        return None
    assert found is not None
    found.usage = disjoint(wire.usage, provider)
    return found


def parts_of(raw: msgspec.Raw, reading: Reading, reply_id: str | None) -> list[Part]:
    """Read one whole item of the output."""
    try:
        item = read(ITEM_DECODER, raw, Item)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    match item.type:
        case "message":
            return _said(item, reading)
        case "function_call" | "custom_tool_call":
            reading.calls += 1
            return [call_of(item, reading, synthetic_id(reply_id, 0, reading.calls - 1))]
        case "reasoning":
            reading.paired = True
            return [Reasoning(text=thought(item), details=(item_data(raw),))]
        case "":
            return []
        case kind:
            return [Opaque(kind=kind, data=item_data(raw))]


def _said(item: Item, reading: Reading) -> list[Part]:
    parts: list[Part] = []
    for raw in item.content or ():
        piece = read(PIECE_DECODER, raw, Piece)
        if piece.type in {"output_text", "text"}:
            if piece.text:
                parts.append(Text(piece.text))
                reading.spoke = True
            parts += notes(piece, reading)
        elif piece.type == "refusal":
            reading.refused = True
            parts.append(Refusal(piece.refusal or ""))
        elif piece.type:
            parts.append(Opaque(kind=piece.type, data=msgspec.json.decode(raw)))
    note = message_note(item, reading)
    return [note, *parts] if note is not None and parts else parts


def notes(piece: Piece, reading: Reading) -> list[Part]:
    """Return the annotations of a text, and keep its log probabilities."""
    if piece.logprobs:
        reading.logprobs += piece.logprobs
    return [Opaque(kind="annotations", data={"annotations": piece.annotations})] if piece.annotations else []


def message_note(item: Item, reading: Reading) -> Opaque | None:
    """Return what must go back with the text of a message item: its phase, and its id where reasoning precedes it."""
    data: dict[str, Any] = {}
    if reading.paired and text_or_none(item.id):
        data["id"] = item.id
    if item.phase is not None:
        data["phase"] = item.phase
    return Opaque(kind=MESSAGE, data=data) if data else None


def call_of(item: Item, reading: Reading, spare_id: str) -> ToolCall:
    """Read a tool call; its own extra fields are kept, since they must go back with it."""
    found = text_or_none(item.call_id) or text_or_none(item.id) or spare_id
    extra = call_extra(item, reading)
    if item.type == "custom_tool_call":
        return ToolCall(id=found, name=item.name or "", arguments=text_of(item.input), kind="custom", extra=extra)
    arguments = text_of(item.arguments)
    return ToolCall(id=found, name=item.name or "", arguments=arguments if arguments.strip() else "{}", extra=extra)


def call_extra(item: Item, reading: Reading) -> dict[str, Any] | None:
    """Return what a call needs beside name and arguments when it is sent back."""
    extra: dict[str, Any] = {}
    if reading.paired and text_or_none(item.id):
        extra[ITEM_ID] = item.id
    if item.namespace is not None:
        extra["namespace"] = item.namespace
    if item.caller is not None and item.caller.get("type") != "direct":
        extra["caller"] = item.caller
    return extra or None


def text_of(value: Any) -> str:
    """Return arguments as text; some servers send an object where the protocol has a string."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def thought(item: Item) -> str:
    """Return what a reasoning item shows: its summary, then its text, where the server gives any."""
    texts = [piece.text for piece in item.summary or () if piece.text]
    pieces = (read(PIECE_DECODER, raw, Piece) for raw in item.content or ())
    return "\n\n".join([*texts, *[piece.text for piece in pieces if piece.text]])


def item_data(raw: msgspec.Raw) -> dict[str, Any]:
    """Return an item as it must be sent back: `status` says only how far the server was."""
    data: dict[str, Any] = msgspec.json.decode(raw)
    if data.get("status") is None or data.get("type") == "reasoning":
        data.pop("status", None)
    return data


def stop_reason(wire: WireResponse, reading: Reading) -> tuple[StopReason, str | None]:
    """Normalise how a response ended: its tool calls win unless it was cut short."""
    if wire.status == "incomplete" or (wire.incomplete_details and wire.incomplete_details.reason):
        word = wire.incomplete_details.reason if wire.incomplete_details else None
        return _INCOMPLETE.get(word or "", "other"), word or wire.status
    if wire.status == "cancelled":
        return "error", wire.status
    if reading.calls:
        return "tool_calls", wire.status
    if wire.status is None:
        return "unknown", None
    if wire.status != "completed":
        return "other", wire.status
    return ("refusal" if reading.refused and not reading.spoke else "stop"), wire.status


def disjoint(wire: WireUsage | None, provider: Provider) -> Usage | None:
    """Turn the counts into disjoint buckets: cached tokens are in the input, reasoning in the output."""
    if wire is None or (wire.input_tokens is None and wire.output_tokens is None):
        return None
    prompt, output = count(wire.input_tokens), count(wire.output_tokens)
    into, out = wire.input_tokens_details or InputDetails(), wire.output_tokens_details or OutputDetails()
    read_, written = count(into.cached_tokens), count(into.cache_write_tokens)
    inside = inside_prompt(prompt, read_, written, provider)
    long = min(count((into.cache_write_tokens_details or {}).get("ttl_12h_tokens")), written)
    reasoning = min(count(out.reasoning_tokens), output)
    return Usage(
        input=prompt - inside,
        cache_read=read_,
        cache_write_30m=written - long,
        cache_write_12h=long,
        output=output - reasoning,
        reasoning=reasoning,
    )
