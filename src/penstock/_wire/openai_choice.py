"""One choice of a streamed completion as it grows: which part a piece belongs to, and what is still held back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ..types import Audio, Chunk, ChunkKind, Opaque, Part, Reasoning, ToolCall
from .assembly import LOGPROBS
from .lenient import count
from .openai_decode import (
    WireCall,
    WireChoice,
    WireMessage,
    arguments_text,
    call_id,
    pieces,
    stop_reason,
    synthetic_id,
    text_or_none,
    thought,
)

_LEGACY: Final = -1
"""The key of the one call that the old `function_call` field can make."""


class _Call:
    """A tool call under way; nothing of it is given out before its name and id are known."""

    __slots__ = ("arguments", "extra", "id", "index", "kind", "name", "position", "started")

    def __init__(self, index: int, position: int) -> None:
        self.index = index
        self.position = position
        self.id: str | None = None
        self.name: str | None = None
        self.kind = "function"
        self.extra: dict[str, Any] | None = None
        self.arguments: list[str] = []
        self.started = False


class GrowingChoice:
    """Turns the deltas of one choice into chunks.

    Part indexes are handed out as parts appear: text that follows a tool call is a new part.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.finish_reason: Any = None
        self.finished = False
        self._next = 0
        self._open: tuple[ChunkKind, int] | None = None
        self._calls: list[_Call] = []
        self._by_key: dict[int, _Call] = {}
        self._last: _Call | None = None
        self._refused = False
        self._thought_at: int | None = None
        self._details: dict[str, dict[str, Any]] = {}
        self._audio: dict[str, Any] = {}
        self._annotations: list[Any] = []
        self._logprobs: dict[str, Any] = {}

    def take(self, choice: WireChoice, reply_id: str | None, chunks: list[Chunk]) -> None:
        """Take one delta, adding the chunks that it completes."""
        delta = choice.delta or choice.message
        if delta is not None:
            content = delta.content
            if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
                self._think(delta, chunks)
            if content:
                if type(content) is str:
                    self._piece("text", content, chunks)
                else:
                    self._list(content, chunks)
            if delta.refusal:
                self._refused = True
                self._piece("refusal", delta.refusal, chunks)
            if delta.tool_calls:
                for position, call in enumerate(delta.tool_calls):
                    self._tool(call, position, reply_id, chunks)
            if delta.function_call is not None:
                self._tool(WireCall(index=_LEGACY, function=delta.function_call), 0, reply_id, chunks)
            if delta.audio:
                self._hear(delta.audio)
            if delta.annotations:
                self._annotations += delta.annotations
        if choice.logprobs:
            self._note_logprobs(choice.logprobs)
        if choice.finish_reason is not None:
            if self.finish_reason is None:
                self.finish_reason = choice.finish_reason
            self.finished = True

    def end(self, reply_id: str | None) -> list[Chunk]:
        """Return what was held back, and the stop."""
        chunks: list[Chunk] = []
        for call in self._calls:
            if not call.started:
                self._start(call, reply_id, chunks)
            if call.kind == "custom" or call.extra is not None:
                part = ToolCall(
                    id=call.id or "",
                    name=call.name or "",
                    arguments="" if call.kind == "custom" else "{}",
                    kind="custom" if call.kind == "custom" else "function",
                    extra=call.extra,
                )
                chunks.append(Chunk(kind="part", part=part, index=call.index, choice=self.number))
        if self._details:
            details = Reasoning(details=tuple(self._details.values()))
            index = self._new_index() if self._thought_at is None else self._thought_at
            chunks.append(Chunk(kind="part", part=details, index=index, choice=self.number))
        self._end_parts(chunks)
        reason, raw = stop_reason(self.finish_reason, bool(self._calls), self._refused)
        chunks.append(Chunk(kind="stop", choice=self.number, stop_reason=reason, raw_stop_reason=raw))
        return chunks

    def _end_parts(self, chunks: list[Chunk]) -> None:
        if self._audio:
            audio = Audio(
                data="".join(self._audio.get("data", ())),
                format=str(self._audio.get("format") or "wav"),
                id=text_or_none(self._audio.get("id")),
                transcript="".join(self._audio.get("transcript", ())) or None,
            )
            chunks.append(self._whole(audio))
        if self._annotations:
            chunks.append(self._whole(Opaque(kind="annotations", data={"annotations": self._annotations})))
        if self._logprobs:
            chunks.append(self._whole(Opaque(kind=LOGPROBS, data=self._logprobs)))

    def _whole(self, part: Part) -> Chunk:
        return Chunk(kind="part", part=part, index=self._new_index(), choice=self.number)

    def _new_index(self) -> int:
        index = self._next
        self._next += 1
        return index

    def _piece(self, kind: ChunkKind, text: str, chunks: list[Chunk]) -> int:
        if self._open is not None and self._open[0] == kind:
            index = self._open[1]
        else:
            index = self._new_index()
            self._open = (kind, index)
        chunks.append(Chunk(kind=kind, text=text, index=index, choice=self.number))
        return index

    def _list(self, content: Any, chunks: list[Chunk]) -> None:
        for kind, piece in pieces(content):
            if isinstance(piece, dict):
                self._open = None
                chunks.append(self._whole(Opaque(kind=kind, data=piece)))
            elif piece:
                self._piece("reasoning" if kind == "reasoning" else "text", piece, chunks)

    def _think(self, delta: WireMessage, chunks: list[Chunk]) -> None:
        text = thought(delta)
        if text:
            index = self._piece("reasoning", text, chunks)
            self._thought_at = index if self._thought_at is None else self._thought_at
        for position, detail in enumerate(delta.reasoning_details or ()):
            self._merge(f"{detail.get('index', position)} {detail.get('type')}", detail)

    def _merge(self, key: str, detail: dict[str, Any]) -> None:
        known = self._details.setdefault(key, {})
        for name, value in detail.items():
            if name in {"text", "summary", "data"} and isinstance(value, str) and isinstance(known.get(name), str):
                known[name] += value
            elif value is not None or name not in known:
                known[name] = value

    def _hear(self, audio: dict[str, Any]) -> None:
        for name, value in audio.items():
            if name in {"data", "transcript"}:
                if isinstance(value, str):
                    self._audio.setdefault(name, []).append(value)
            elif value is not None:
                self._audio.setdefault(name, value)

    def _note_logprobs(self, logprobs: dict[str, Any]) -> None:
        for name, value in logprobs.items():
            if isinstance(value, list) and isinstance(self._logprobs.get(name), list):
                self._logprobs[name] = self._logprobs[name] + value
            elif value is not None or name not in self._logprobs:
                self._logprobs[name] = value

    def _tool(self, wire: WireCall, position: int, reply_id: str | None, chunks: list[Chunk]) -> None:
        name = wire.function.name if wire.function else wire.custom.name if wire.custom else None
        call = self._find(wire, name, position)
        call.id = call.id or call_id(wire)
        call.name = call.name or name
        if wire.custom is not None:
            call.kind = "custom"
        if wire.extra_content:
            call.extra = {**(call.extra or {}), **wire.extra_content}
        text = (wire.custom.input or "") if wire.custom else ""
        if wire.function is not None:
            text = arguments_text(wire.function.arguments)
        if text:
            call.arguments.append(text)
        if call.started:
            if text:
                chunks.append(Chunk(kind="tool_call", text=text, index=call.index, choice=self.number))
        elif call.id and call.name:
            self._start(call, reply_id, chunks)

    def _find(self, wire: WireCall, name: str | None, position: int) -> _Call:
        """Choose the call that a piece belongs to.

        A new id is a new call, whatever the index says; without an index, an id or a second name starts one; a name
        that comes again on the same index, without any id, starts one where the arguments so far are whole.
        """
        given = call_id(wire)
        key = None if wire.index is None else _LEGACY if wire.index == _LEGACY else count(wire.index)
        known = self._last if key is None else self._by_key.get(key)
        if key is None and given is not None:
            known = next((call for call in self._calls if call.id == given), None)
        if known is None:
            return self._new_call(key)
        if given is not None:
            return known if known.id is None or known.id == given else self._new_call(key)
        if name and known.name and known.id is None:
            if name != known.name or _is_json(known.arguments):
                return self._new_call(key)
        elif key is None and name and known.name and (position > 0 or name != known.name):
            return self._new_call(key)
        return known

    def _new_call(self, key: int | None) -> _Call:
        call = _Call(self._new_index(), len(self._calls))
        self._open = None
        self._calls.append(call)
        self._last = call
        if key is not None:
            self._by_key[key] = call
        return call

    def _start(self, call: _Call, reply_id: str | None, chunks: list[Chunk]) -> None:
        call.started = True
        call.id = call.id or synthetic_id(reply_id, self.number, call.position)
        text = "".join(call.arguments)
        chunks.append(
            Chunk(
                kind="tool_call",
                text=text,
                index=call.index,
                choice=self.number,
                id=call.id,
                name=call.name or "",
            )
        )


def _is_json(texts: Iterable[str]) -> bool:
    text = "".join(texts)
    if not text.strip():
        return False
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True
