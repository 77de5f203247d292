"""Read whole answers of Cohere Chat v2."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..types import Choice, Opaque, Part, Reasoning, StopReason, Text, ToolCall, Usage
from . import classify
from .cohere_messages import CITATIONS, PLAN
from .lenient import BOM, count, read
from .protocol import Provider, Reply

STOP_REASONS: Final[dict[str, StopReason]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "error",
    "TIMEOUT": "error",
}


class Tokens(msgspec.Struct, gc=False):
    input_tokens: Any = None
    output_tokens: Any = None
    reasoning_tokens: Any = None


class WireUsage(msgspec.Struct):
    billed_units: Tokens | None = None
    tokens: Tokens | None = None


class Item(msgspec.Struct):
    """A content item, whole or a piece of one."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class WireCall(msgspec.Struct):
    id: str | None = None
    function: Function | None = None


class WireMessage(msgspec.Struct):
    content: list[msgspec.Raw] | None = None
    tool_plan: str | None = None
    tool_calls: list[WireCall] | None = None
    citations: list[Any] | None = None


class WireReply(msgspec.Struct):
    id: Any = None
    message: WireMessage | None = None
    finish_reason: str | None = None
    usage: WireUsage | None = None
    logprobs: list[Any] | None = None
    error: Any = None


REPLY_DECODER: Final = msgspec.json.Decoder(WireReply)
ITEM_DECODER: Final = msgspec.json.Decoder(Item)


def decode_json(body: bytes, provider: Provider) -> Reply:
    """Read a JSON answer.

    Raises: CallError when it is an error after all, HTML, empty, or not of the protocol.
    """
    try:
        wire = read(REPLY_DECODER, body.removeprefix(BOM), WireReply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise classify.not_an_answer(body, provider) from None
    message = wire.message
    if message is None:
        raise classify.inside(body, provider) or classify.not_an_answer(body, provider)
    content: list[Part] = []
    if message.tool_plan:
        content.append(Reasoning(text=message.tool_plan, details=(PLAN,)))
    for raw in message.content or ():
        content += _part(raw)
    for call in message.tool_calls or ():
        function = call.function or Function()
        content.append(ToolCall(id=call.id or "", name=function.name or "", arguments=written(function.arguments)))
    if message.citations:
        content.append(cited(message.citations))
    choice = Choice(
        content=tuple(content),
        stop_reason=stop_reason(wire.finish_reason, bool(message.tool_calls)),
        raw_stop_reason=wire.finish_reason,
        logprobs=told(wire.logprobs),
    )
    return Reply(choices=(choice,), usage=billed(wire.usage), id=wire.id if isinstance(wire.id, str) else None)


def _part(raw: msgspec.Raw) -> list[Part]:
    try:
        item = read(ITEM_DECODER, raw, Item)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    if item.type == "thinking":
        return [Reasoning(text=item.thinking)] if item.thinking else []
    if item.type in (None, "text"):
        return [Text(item.text)] if item.text else []
    return [Opaque(kind=item.type, data=msgspec.json.decode(raw))]


def written(arguments: str | None) -> str:
    """Return the arguments of a call as its text, '{}' where it has none."""
    return arguments if arguments and arguments.strip() else "{}"


def cited(citations: list[Any]) -> Opaque:
    """Return the citations of an answer as a part of it."""
    return Opaque(kind=CITATIONS, data={"citations": citations})


def told(logprobs: list[Any] | None) -> dict[str, Any] | None:
    """Return log probabilities under the name that they have in a choice."""
    return {"content": logprobs} if logprobs else None


def stop_reason(raw: str | None, has_calls: bool) -> StopReason:
    """Normalise a finish_reason: tool calls win where it does not say that the answer was cut short."""
    reason = "unknown" if raw is None else STOP_REASONS.get(raw, "other")
    return "tool_calls" if has_calls and reason in {"stop", "other", "unknown"} else reason


def billed(wire: WireUsage | None) -> Usage | None:
    """Turn the counts into disjoint buckets of what is billed; None where nothing is counted."""
    if wire is None:
        return None
    tokens = wire.tokens or Tokens()
    bill = wire.billed_units or tokens
    if bill.input_tokens is None and bill.output_tokens is None:
        bill = tokens
    if bill.input_tokens is None and bill.output_tokens is None:
        return None
    output = count(bill.output_tokens)
    reasoning = min(count(tokens.reasoning_tokens), output)
    return Usage(input=count(bill.input_tokens), output=output - reasoning, reasoning=reasoning)
