"""Read streamed answers of Anthropic Messages, and whatever else comes where a stream was asked for."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .._text.sse import Event
from ..types import Chunk, Opaque, Reasoning, ToolCall
from . import classify
from .anthropic_decode import (
    BLOCK_DECODER,
    NOTHING,
    Block,
    OutputDetails,
    WireMessage,
    WireUsage,
    caller_of,
    decode_json,
    disjoint,
    input_of,
    stop_reason,
    text_or_none,
)
from .anthropic_messages import CITATIONS
from .decoder import StreamDecoder
from .lenient import count, read
from .protocol import Provider, Reply


class Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None
    stop_reason: str | None = None


class StreamEvent(msgspec.Struct):
    type: str | None = None
    index: Any = None
    delta: Delta | None = None
    content_block: msgspec.Raw = NOTHING
    message: WireMessage | None = None
    usage: WireUsage | None = None
    error: Any = None


EVENT_DECODER: Final = msgspec.json.Decoder(StreamEvent)


class _Open:
    """A content block that has started and not stopped."""

    __slots__ = ("arguments", "block", "citations", "index", "other", "raw", "signature")

    def __init__(self, block: Block, raw: msgspec.Raw, index: int) -> None:
        self.block = block
        self.raw = raw
        self.index = index
        self.signature = block.signature or ""
        self.citations: list[Any] = list(block.citations or ())
        self.arguments: list[str] = []
        self.other: dict[str, Any] = {}


class Decoder(StreamDecoder):
    """Turns the bytes of one stream into chunks; see `protocol.Decoder`."""

    last_word = "message_stop"

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._counts = WireUsage()
        self._open: dict[int, _Open] = {}
        self._has_calls = False
        self._stop: str | None = None

    def _document(self, body: bytes) -> Reply:
        return decode_json(body, self.provider)

    def _event(self, event: Event, chunks: list[Chunk]) -> None:
        data = event.data
        if self.done or not data or data.startswith((b":", b"[DONE]")):
            return
        try:
            wire = read(EVENT_DECODER, data, StreamEvent)
            if wire.type == "content_block_delta":
                self._delta(wire, data, chunks)
            else:
                self._other(wire, event, chunks)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise classify.not_json(data, self.provider) from None

    def _other(self, wire: StreamEvent, event: Event, chunks: list[Chunk]) -> None:
        kind = wire.type or event.event
        if wire.error or kind == "error":
            error = classify.inside(event.data, self.provider, certain=True)
            assert error is not None
            raise error
        match kind:
            case "content_block_delta":
                self._delta(wire, event.data, chunks)
            case "message_start" if not self._started and wire.message is not None:
                self._started = True
                self.id, self.served_model = text_or_none(wire.message.id), text_or_none(wire.message.model)
                self._count(wire.message.usage, chunks)
            case "content_block_start" if bytes(wire.content_block).startswith(b"{"):
                self._start(count(wire.index), wire.content_block, chunks)
            case "content_block_stop":
                self._close(count(wire.index), chunks)
            case "message_delta":
                if wire.delta is not None:
                    self._stop = wire.delta.stop_reason or self._stop
                self._count(wire.usage, chunks)
            case "message_stop":
                self._end(chunks)

    def _count(self, usage: WireUsage | None, chunks: list[Chunk]) -> None:
        """Overwrite what is known, field by field: the last word on each count wins."""
        if usage is None:
            return
        for name in usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None and value != OutputDetails():
                setattr(self._counts, name, value)
        known = disjoint(self._counts)
        if known is not None and known != self.usage:
            self.usage = known
            chunks.append(Chunk(kind="usage", usage=known))

    def _start(self, number: int, raw: msgspec.Raw, chunks: list[Chunk]) -> None:
        if number in self._open:
            self._close(number, chunks)
        raw = raw.copy()  # the event's bytes must not be kept alive, nor looked at once they are gone
        block = read(BLOCK_DECODER, raw, Block)
        opened = self._open[number] = _Open(block, raw, self._new_index())
        match block.type:
            case "text" if block.text:
                chunks.append(Chunk(kind="text", text=block.text, index=opened.index))
            case "thinking" if block.thinking:
                chunks.append(Chunk(kind="reasoning", text=block.thinking, index=opened.index))
            case "tool_use":
                self._has_calls = True
                chunks.append(Chunk(kind="tool_call", index=opened.index, id=block.id or "", name=block.name or ""))

    def _delta(self, event: StreamEvent, data: bytes, chunks: list[Chunk]) -> None:
        delta = event.delta
        number = event.index if type(event.index) is int else count(event.index)
        opened = self._open.get(number)
        if delta is None:
            return
        if opened is None:  # its start was lost on the way: text still counts, the rest has lost its meaning
            if not delta.text:
                return
            opened = self._open[number] = _Open(Block(type="text"), NOTHING, self._new_index())
        match delta.type:
            case "text_delta":
                if delta.text:
                    chunks.append(Chunk(kind="text", text=delta.text, index=opened.index))
            case "input_json_delta":
                if delta.partial_json:
                    opened.arguments.append(delta.partial_json)
                    if opened.block.type == "tool_use":
                        chunks.append(Chunk(kind="tool_call", text=delta.partial_json, index=opened.index))
            case "thinking_delta":
                if delta.thinking:
                    chunks.append(Chunk(kind="reasoning", text=delta.thinking, index=opened.index))
            case "signature_delta":
                opened.signature = delta.signature or opened.signature
            case "citations_delta":
                if delta.citation is not None:
                    opened.citations.append(delta.citation)
            case _:
                self._unknown_delta(opened, data)

    def _unknown_delta(self, opened: _Open, data: bytes) -> None:
        value = msgspec.json.decode(data)["delta"]
        for name, piece in value.items():
            known = opened.other.get(name)
            if isinstance(piece, str) and isinstance(known, str) and name != "type":
                opened.other[name] = known + piece
            elif name != "type" and (piece is not None or name not in opened.other):
                opened.other[name] = piece

    def _close(self, number: int, chunks: list[Chunk]) -> None:
        opened = self._open.pop(number, None)
        if opened is None:
            return
        block, index = opened.block, opened.index
        match block.type:
            case "text":
                if opened.citations:
                    part = Opaque(kind=CITATIONS, data={"citations": opened.citations})
                    chunks.append(Chunk(kind="part", part=part, index=self._new_index()))
            case "thinking":
                if opened.signature:
                    chunks.append(Chunk(kind="part", part=Reasoning(signature=opened.signature), index=index))
            case "redacted_thinking":
                chunks.append(Chunk(kind="part", part=Reasoning(redacted=block.data or ""), index=index))
            case "tool_use":
                given = input_of(block)
                if given and not opened.arguments:
                    chunks.append(Chunk(kind="tool_call", text=given, index=index))
                extra = caller_of(block)
                if extra is not None:
                    call = ToolCall(id=block.id or "", name=block.name or "", extra=extra)
                    chunks.append(Chunk(kind="part", part=call, index=index))
            case kind:
                data: dict[str, Any] = msgspec.json.decode(opened.raw) | opened.other
                if opened.arguments:
                    data["input"] = _json("".join(opened.arguments))
                chunks.append(Chunk(kind="part", part=Opaque(kind=kind, data=data), index=index))

    def _end(self, chunks: list[Chunk]) -> None:
        for number in sorted(self._open):
            self._close(number, chunks)
        self.done = True
        reason = stop_reason(self._stop, self._has_calls)
        chunks.append(Chunk(kind="stop", stop_reason=reason, raw_stop_reason=self._stop))


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
