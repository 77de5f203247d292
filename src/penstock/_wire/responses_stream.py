"""Read streamed answers of OpenAI Responses, and whatever else comes where a stream was asked for.

Deltas are shown as they come; the whole item that follows them is the last word: it fills in what a server left out.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .._text.sse import Event
from ..types import Chunk, ChunkKind, Opaque, Part, Reasoning, ToolCall
from . import classify
from .assembly import LOGPROBS
from .decoder import StreamDecoder
from .lenient import count, read
from .openai_decode import reported_cost, synthetic_id, text_or_none
from .protocol import Provider, Reply
from .responses_decode import (
    ITEM_DECODER,
    PIECE_DECODER,
    Item,
    Piece,
    Reading,
    WireResponse,
    call_extra,
    call_of,
    decode_json,
    disjoint,
    failure,
    item_data,
    message_note,
    notes,
    stop_reason,
    text_of,
    thought,
)

_NOTHING: Final = msgspec.Raw(b"")
_TEXTS: Final[dict[str, ChunkKind]] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
}
_ARGUMENTS: Final = frozenset({"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})
_CALLS: Final = frozenset({"function_call", "custom_tool_call"})


class StreamEvent(msgspec.Struct):
    type: str | None = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    delta: Any = None
    item: msgspec.Raw = _NOTHING
    part: msgspec.Raw = _NOTHING
    response: WireResponse | None = None
    error: Any = None
    code: Any = None


EVENT_DECODER: Final = msgspec.json.Decoder(StreamEvent)


class _Open:
    """An item under way: its parts by their place in it, and what was shown of each."""

    __slots__ = ("call", "closed", "indexes", "item", "pieces", "sections", "shown")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.pieces: set[int] = set()
        self.indexes: dict[tuple[str, int], int] = {}
        self.shown: dict[tuple[str, int], list[str]] = {}
        self.sections: set[tuple[str, int]] = set()
        self.call: ToolCall | None = None
        self.closed = False

    def rest(self, place: tuple[str, int], whole: str) -> str:
        """Return what of a whole text was not shown yet; nothing where what was shown reads otherwise."""
        shown = "".join(self.shown.get(place, ()))
        return whole[len(shown) :] if whole.startswith(shown) else ""


class Decoder(StreamDecoder):
    """Turns the bytes of one stream into chunks; see `protocol.Decoder`."""

    last_word = "response.completed"

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._items: dict[int, _Open] = {}
        self._reading = Reading()

    def _document(self, body: bytes) -> Reply:
        return decode_json(body, self.provider)

    def _event(self, event: Event, chunks: list[Chunk]) -> None:
        data = event.data
        if self.done or not data or data.startswith((b":", b"[DONE]")):
            return
        try:
            wire = read(EVENT_DECODER, data, StreamEvent)
            self._take(wire, wire.type or event.event or "", data, chunks)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise classify.not_json(data, self.provider) from None

    def _take(self, wire: StreamEvent, kind: str, data: bytes, chunks: list[Chunk]) -> None:
        self._started = self._started or kind.startswith("response.")
        shown = _TEXTS.get(kind)
        if shown is not None:
            self._text(wire, kind, shown, chunks)
        elif kind in _ARGUMENTS:
            self._arguments(wire, chunks)
        elif kind == "response.output_item.added":
            self._open(count(wire.output_index), wire.item, chunks)
        elif kind == "response.output_item.done":
            self._close(count(wire.output_index), wire.item, chunks)
        elif kind == "response.content_part.done":
            opened = self._items.get(count(wire.output_index))
            if opened is not None and opened.item.type == "message" and bytes(wire.part).startswith(b"{"):
                self._close_piece(opened, count(wire.content_index), wire.part, chunks)
        elif wire.response is not None:
            self._whole_response(wire.response, kind, chunks)
        elif kind == "error" or (wire.error and not kind.startswith("response.")):
            error = classify.inside(data, self.provider, certain=True)
            assert error is not None
            raise error

    def _whole_response(self, response: WireResponse, kind: str, chunks: list[Chunk]) -> None:
        self.id = self.id or text_or_none(response.id)
        self.served_model = text_or_none(response.model) or self.served_model
        usage = disjoint(response.usage, self.provider)
        if usage is not None and usage != self.usage:
            self.usage = usage
            chunks.append(Chunk(kind="usage", usage=usage))
        cost = reported_cost(response.usage)
        if cost is not None:
            self.cost_nano = cost
        if kind in _ENDS:
            response.status = response.status or kind.removeprefix("response.")
            self._finish(response, chunks)
        elif kind in {"response.failed", "response.cancelled"} or response.error:
            response.status = response.status if response.error else "failed"
            error = failure(response, self.provider)
            assert error is not None
            raise error

    def _finish(self, response: WireResponse, chunks: list[Chunk]) -> None:
        for number, raw in enumerate(response.output or ()):
            self._close(number, raw, chunks)
        if self._reading.logprobs:
            self._part(Opaque(kind=LOGPROBS, data={"content": self._reading.logprobs, "refusal": None}), chunks)
        reason, word = stop_reason(response, self._reading)
        chunks.append(Chunk(kind="stop", stop_reason=reason, raw_stop_reason=word))
        self.done = True

    def _part(self, part: Part, chunks: list[Chunk]) -> None:
        chunks.append(Chunk(kind="part", part=part, index=self._new_index()))

    def _open(self, number: int, raw: msgspec.Raw, chunks: list[Chunk]) -> _Open | None:
        if number in self._items or not bytes(raw).startswith(b"{"):
            return self._items.get(number)
        item = read(ITEM_DECODER, raw, Item)
        item.content = item.summary = None  # they would keep the bytes of the event alive, and come again at its end
        opened = self._items[number] = _Open(item)
        if item.type == "reasoning":
            self._reading.paired = True
        elif item.type in _CALLS:
            self._reading.calls += 1
            spare = synthetic_id(self.id, 0, self._reading.calls - 1)
            call = opened.call = call_of(item, self._reading, spare)
            index = opened.indexes["call", 0] = self._new_index()
            chunks.append(Chunk(kind="tool_call", index=index, id=call.id, name=call.name))
            given = text_of(item.input if call.kind == "custom" else item.arguments)
            if given:
                self._show(opened, ("call", 0), "tool_call", given, chunks)
        return opened

    def _text(self, wire: StreamEvent, kind: str, shown: ChunkKind, chunks: list[Chunk]) -> None:
        if not isinstance(wire.delta, str) or not wire.delta:
            return
        number = count(wire.output_index)
        opened = self._items.get(number)
        if opened is None:  # its start was lost on the way, or never sent
            opened = self._items[number] = _Open(Item(type="reasoning" if shown == "reasoning" else "message"))
        if shown == "reasoning":
            self._think(opened, (kind, count(wire.summary_index or wire.content_index)), wire.delta, chunks)
        else:
            self._say(opened, (shown, count(wire.content_index)), shown, wire.delta, chunks)

    def _say(self, opened: _Open, place: tuple[str, int], shown: ChunkKind, text: str, chunks: list[Chunk]) -> None:
        if place not in opened.indexes:
            note = message_note(opened.item, self._reading)
            if note is not None and not opened.indexes:
                self._part(note, chunks)
            opened.indexes[place] = self._new_index()
        if shown == "refusal":
            self._reading.refused = True
        else:
            self._reading.spoke = True
        self._show(opened, place, shown, text, chunks)

    def _think(self, opened: _Open, section: tuple[str, int], text: str, chunks: list[Chunk]) -> None:
        place = ("reasoning", 0)
        if place not in opened.indexes:
            opened.indexes[place] = self._new_index()
        if section not in opened.sections and opened.sections:
            text = "\n\n" + text
        opened.sections.add(section)
        self._show(opened, place, "reasoning", text, chunks)

    def _arguments(self, wire: StreamEvent, chunks: list[Chunk]) -> None:
        opened = self._items.get(count(wire.output_index))
        if opened is not None and opened.call is not None and wire.delta:
            self._show(opened, ("call", 0), "tool_call", text_of(wire.delta), chunks)

    def _show(self, opened: _Open, place: tuple[str, int], shown: ChunkKind, text: str, chunks: list[Chunk]) -> None:
        opened.shown.setdefault(place, []).append(text)
        chunks.append(Chunk(kind=shown, text=text, index=opened.indexes[place]))

    def _close(self, number: int, raw: msgspec.Raw, chunks: list[Chunk]) -> None:
        opened = self._open(number, raw, chunks)
        if opened is None or opened.closed or not bytes(raw).startswith(b"{"):
            return
        opened.closed = True
        item = read(ITEM_DECODER, raw, Item)
        match item.type:
            case "message":
                opened.item.id, opened.item.phase = item.id, item.phase
                self._close_message(opened, item, chunks)
            case "function_call" | "custom_tool_call":
                self._close_call(opened, item, chunks)
            case "reasoning":
                self._close_thought(opened, item, raw, chunks)
            case "":
                pass
            case kind:
                self._part(Opaque(kind=kind, data=item_data(raw)), chunks)

    def _close_message(self, opened: _Open, item: Item, chunks: list[Chunk]) -> None:
        for number, raw in enumerate(item.content or ()):
            self._close_piece(opened, number, raw, chunks)

    def _close_piece(self, opened: _Open, number: int, raw: msgspec.Raw, chunks: list[Chunk]) -> None:
        if number in opened.pieces:
            return
        opened.pieces.add(number)
        piece = read(PIECE_DECODER, raw, Piece)
        if piece.type in {"output_text", "text"}:
            rest = opened.rest(("text", number), piece.text or "")
            if rest:
                self._say(opened, ("text", number), "text", rest, chunks)
            for part in notes(piece, self._reading):
                self._part(part, chunks)
        elif piece.type == "refusal":
            rest = opened.rest(("refusal", number), piece.refusal or "")
            if rest:
                self._say(opened, ("refusal", number), "refusal", rest, chunks)
        elif piece.type:
            self._part(Opaque(kind=piece.type, data=msgspec.json.decode(raw)), chunks)

    def _close_call(self, opened: _Open, item: Item, chunks: list[Chunk]) -> None:
        call = opened.call
        if call is None:
            return
        rest = opened.rest(("call", 0), text_of(item.input if call.kind == "custom" else item.arguments))
        if rest:
            self._show(opened, ("call", 0), "tool_call", rest, chunks)
        extra = call_extra(item, self._reading) or call.extra
        if call.kind == "custom" or extra is not None:
            empty = "" if call.kind == "custom" else "{}"
            part = ToolCall(id=call.id, name=item.name or call.name, arguments=empty, kind=call.kind, extra=extra)
            chunks.append(Chunk(kind="part", part=part, index=opened.indexes["call", 0]))

    def _close_thought(self, opened: _Open, item: Item, raw: msgspec.Raw, chunks: list[Chunk]) -> None:
        place = ("reasoning", 0)
        rest = opened.rest(place, thought(item))
        index = opened.indexes.get(place)
        if index is None:
            index = opened.indexes[place] = self._new_index()
        if rest:
            self._show(opened, place, "reasoning", rest, chunks)
        chunks.append(Chunk(kind="part", part=Reasoning(details=(item_data(raw),)), index=index))
