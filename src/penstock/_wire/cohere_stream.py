"""Read streamed answers of Cohere Chat v2, and whatever else comes where a stream was asked for."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .._text.sse import Event
from ..errors import ServerFault
from ..types import Chunk, ChunkKind, Opaque, Reasoning
from . import classify
from .assembly import LOGPROBS
from .cohere_decode import (
    Function,
    Item,
    WireCall,
    WireUsage,
    billed,
    cited,
    decode_json,
    stop_reason,
    told,
)
from .cohere_messages import PLAN
from .decoder import StreamDecoder
from .lenient import count, read
from .protocol import Provider, Reply
from .said import sentence


class Said(msgspec.Struct):
    """The piece of a message that an event carries."""

    content: Item | None = None
    tool_plan: str | None = None
    tool_calls: WireCall | None = None
    citations: dict[str, Any] | None = None


class Delta(msgspec.Struct):
    message: Said | None = None
    finish_reason: str | None = None
    usage: WireUsage | None = None
    error: str | None = None


class StreamEvent(msgspec.Struct):
    type: str | None = None
    id: Any = None
    index: Any = None
    delta: Delta | None = None
    logprobs: dict[str, Any] | None = None
    message: Any = None


EVENT_DECODER: Final = msgspec.json.Decoder(StreamEvent)


class Decoder(StreamDecoder):
    """Turns the bytes of one stream into chunks; see `protocol.Decoder`."""

    last_word = "message-end"

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._open: tuple[str, int] | None = None
        self._at = 0
        self._plan: int | None = None
        self._calls: dict[int, int] = {}
        self._citations: list[Any] = []
        self._logprobs: list[Any] = []

    def _document(self, body: bytes) -> Reply:
        return decode_json(body, self.provider)

    def _event(self, event: Event, chunks: list[Chunk]) -> None:
        data = event.data
        if self.done or not data or data.startswith((b":", b"[DONE]")):
            return
        try:
            wire = read(EVENT_DECODER, data, StreamEvent)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise classify.not_json(data, self.provider) from None
        kind = wire.type or event.event
        if kind == "error" or (wire.type is None and not event.event):
            error = classify.inside(data, self.provider, certain=kind == "error" or wire.message is not None)
            if error is not None:
                raise error
        self._started = True
        said = (wire.delta.message if wire.delta else None) or Said()
        match kind:
            case "message-start":
                self.id = wire.id if isinstance(wire.id, str) and wire.id else None
            case "content-start" | "content-delta":
                self._content(count(wire.index), said.content or Item(), chunks)
                if wire.logprobs:
                    self._logprobs.append(wire.logprobs)
            case "tool-plan-delta" if said.tool_plan:
                self._plan = self._piece("plan", 0, "reasoning", said.tool_plan, chunks)
            case "tool-call-start" | "tool-call-delta":
                self._tool(count(wire.index), said.tool_calls or WireCall(), chunks)
            case "citation-start" if said.citations:
                self._citations.append(said.citations)
            case "message-end":
                self._finish(wire.delta or Delta(), chunks)

    def _content(self, number: int, item: Item, chunks: list[Chunk]) -> None:
        if item.thinking:
            self._piece("thinking", number, "reasoning", item.thinking, chunks)
        if item.text:
            self._piece("text", number, "text", item.text, chunks)

    def _piece(self, what: str, number: int, kind: ChunkKind, text: str, chunks: list[Chunk]) -> int:
        """Add a piece of text to the part that grows, or begin the next one; return the part's index."""
        if self._open != (what, number):
            self._open = (what, number)
            self._at = self._new_index()
        chunks.append(Chunk(kind=kind, text=text, index=self._at))
        return self._at

    def _tool(self, number: int, wire: WireCall, chunks: list[Chunk]) -> None:
        function = wire.function or Function()
        text = function.arguments or ""
        index = self._calls.get(number)
        if index is None or (wire.id and function.name):
            self._open = None
            index = self._calls[number] = self._new_index()
            chunks.append(Chunk(kind="tool_call", text=text, index=index, id=wire.id or "", name=function.name or ""))
        elif text:
            chunks.append(Chunk(kind="tool_call", text=text, index=index))

    def _finish(self, delta: Delta, chunks: list[Chunk]) -> None:
        if delta.error:
            raise ServerFault(
                f"the stream ended with an error: {sentence(delta.error)}; try again", provider=self.provider.name
            )
        usage = billed(delta.usage)
        if usage is not None:
            self.usage = usage
            chunks.append(Chunk(kind="usage", usage=usage))
        self.done = True
        if self._plan is not None:
            chunks.append(Chunk(kind="part", part=Reasoning(details=(PLAN,)), index=self._plan))
        if self._citations:
            chunks.append(Chunk(kind="part", part=cited(self._citations), index=self._new_index()))
        logprobs = told(self._logprobs)
        if logprobs is not None:
            chunks.append(Chunk(kind="part", part=Opaque(kind=LOGPROBS, data=logprobs), index=self._new_index()))
        reason = stop_reason(delta.finish_reason, bool(self._calls))
        chunks.append(Chunk(kind="stop", stop_reason=reason, raw_stop_reason=delta.finish_reason))
