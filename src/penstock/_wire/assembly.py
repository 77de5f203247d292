"""Chunks to choices and back: what a stream says so far, and a whole reply told as chunks."""

from __future__ import annotations

from collections.abc import Iterable

from ..types import (
    Choice,
    Chunk,
    ChunkKind,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    StopReason,
    Text,
    ToolCall,
    Usage,
)
from .protocol import Reply

LOGPROBS = "logprobs"
"""The kind of an `Opaque` part chunk that carries a choice's log probabilities; it becomes `Choice.logprobs`."""


class _Piece:
    """One content part as it grows."""

    __slots__ = ("id", "kind", "name", "part", "texts")

    def __init__(self, kind: ChunkKind) -> None:
        self.kind = kind
        self.texts: list[str] = []
        self.id: str | None = None
        self.name: str | None = None
        self.part: Part | None = None

    def whole(self) -> Part | None:
        text = "".join(self.texts)
        match self.part:
            case Reasoning() as part:
                return Reasoning(
                    text=part.text or text, signature=part.signature, redacted=part.redacted, details=part.details
                )
            case ToolCall() as part:
                arguments = text if self.texts else part.arguments
                return ToolCall(id=part.id, name=part.name, arguments=arguments, kind=part.kind, extra=part.extra)
            case None:
                pass
            case part:
                return part
        if self.kind == "tool_call":
            return ToolCall(id=self.id or "", name=self.name or "", arguments=text if text.strip() else "{}")
        if not text:
            return None
        if self.kind == "text":
            return Text(text)
        return Reasoning(text=text) if self.kind == "reasoning" else Refusal(text)


class Assembly:
    """Folds chunks into choices, cheaply: text is joined only when asked for.

    `has_output` says whether anything came that a user could have seen; `usage` is the newest one reported.
    """

    __slots__ = ("_last", "_last_choice", "_last_index", "_pieces", "_stops", "has_output", "usage")

    def __init__(self) -> None:
        self._pieces: dict[int, dict[int, _Piece]] = {}
        self._stops: dict[int, tuple[StopReason, str | None]] = {}
        self._last: _Piece | None = None
        self._last_choice = self._last_index = -1
        self.has_output = False
        self.usage: Usage | None = None

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Take the next chunks of a stream."""
        for chunk in chunks:
            if chunk.kind == "usage":
                self.usage = chunk.usage
            elif chunk.kind == "stop":
                self._stops.setdefault(chunk.choice, (chunk.stop_reason or "unknown", chunk.raw_stop_reason))
            else:
                self._take(chunk)

    def take(self, choices: Iterable[Choice]) -> None:
        """Take whole choices, as a reply has them."""
        for number, choice in enumerate(choices):
            self.add(_told(choice, number))

    def choices(self) -> tuple[Choice, ...]:
        """Return what came so far as choices; one that has not ended yet has the stop reason 'unknown'."""
        return tuple(self._choice(number) for number in sorted(self._pieces.keys() | self._stops.keys()))

    @property
    def text_so_far(self) -> str:
        """The text of the first choice so far."""
        pieces = self._pieces.get(0, {})
        return "".join("".join(piece.texts) for piece in pieces.values() if piece.kind == "text")

    def _take(self, chunk: Chunk) -> None:
        if chunk.index == self._last_index and chunk.choice == self._last_choice and self._last is not None:
            piece = self._last
        else:
            pieces = self._pieces.setdefault(chunk.choice, {})
            piece = pieces.setdefault(chunk.index, _Piece(chunk.kind))
            self._last, self._last_choice, self._last_index = piece, chunk.choice, chunk.index
        if chunk.kind == "part":
            piece.part = chunk.part
        else:
            if chunk.text:
                piece.texts.append(chunk.text)
            piece.id = piece.id or chunk.id
            piece.name = piece.name or chunk.name
        self.has_output = True

    def _choice(self, number: int) -> Choice:
        content: list[Part] = []
        logprobs = None
        pieces = self._pieces.get(number, {})
        for index in sorted(pieces):
            part = pieces[index].whole()
            if isinstance(part, Opaque) and part.kind == LOGPROBS:
                logprobs = part.data
            elif part is not None:
                content.append(part)
        reason, raw = self._stops.get(number, ("unknown", None))
        return Choice(content=tuple(content), stop_reason=reason, raw_stop_reason=raw, logprobs=logprobs)


def chunks_of(reply: Reply) -> list[Chunk]:
    """Tell a whole reply as the chunks of a stream."""
    chunks = [chunk for number, choice in enumerate(reply.choices) for chunk in _told(choice, number)]
    if reply.usage is not None:
        chunks.append(Chunk(kind="usage", usage=reply.usage))
    return chunks


def _told(choice: Choice, number: int) -> list[Chunk]:
    chunks: list[Chunk] = []
    index = -1
    for index, part in enumerate(choice.content):
        match part:
            case Text(text=text, cache=None):
                chunks.append(Chunk(kind="text", text=text, index=index, choice=number))
            case Refusal(text=text):
                chunks.append(Chunk(kind="refusal", text=text, index=index, choice=number))
            case Reasoning(text=text, signature=None, redacted=None, details=()):
                chunks.append(Chunk(kind="reasoning", text=text, index=index, choice=number))
            case ToolCall(kind="function", extra=None):
                chunks.append(
                    Chunk(kind="tool_call", text=part.arguments, index=index, choice=number, id=part.id, name=part.name)
                )
            case _:
                chunks.append(Chunk(kind="part", part=part, index=index, choice=number))
    if isinstance(choice.logprobs, dict):
        data = Opaque(kind=LOGPROBS, data=choice.logprobs)
        chunks.append(Chunk(kind="part", part=data, index=index + 1, choice=number))
    stop = Chunk(kind="stop", choice=number, stop_reason=choice.stop_reason, raw_stop_reason=choice.raw_stop_reason)
    return [*chunks, stop]
