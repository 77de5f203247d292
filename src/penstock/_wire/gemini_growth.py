"""Build an answer of Gemini from what comes of it: one document, or the chunks of a stream."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import CallError, OutcomeUnknown
from ..types import Chunk, ChunkKind, Opaque, Part, Reasoning, Text, ToolCall, Usage
from . import classify
from .assembly import LOGPROBS, Assembly
from .gemini_decode import (
    REPLY_DECODER,
    Candidate,
    WireReply,
    WireUsage,
    disjoint,
    no_id,
    parts_of,
    read_part,
    reason_of,
    stop_reason,
    text_or_none,
)
from .gemini_messages import GROUNDING
from .lenient import BOM, count, read
from .protocol import Provider, Reply


class _Growing:
    """One candidate as it grows. Text after anything else is a new part."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.reason: str | None = None
        self._next = 0
        self._open: ChunkKind | None = None
        self._calls = 0
        self._notes: dict[str, Any] = {}
        self._logprobs: dict[str, Any] = {}

    def take(self, candidate: Candidate, reply_id: str | None, chunks: list[Chunk]) -> None:
        for raw in (candidate.content.parts if candidate.content else None) or ():
            wire = read_part(raw)
            for part in parts_of(wire, raw, no_id(reply_id, self.number, self._calls)):
                match part:
                    case Text(text=text):
                        self._piece("text", text, chunks)
                    case Reasoning(text=text):
                        self._piece("reasoning", text, chunks)
                    case ToolCall():
                        self._calls += 1
                        self._call(part, chunks)
                    case _:
                        self._whole(part, chunks)
        self._notes |= candidate.notes()
        if candidate.logprobs_result:
            self._logprob(candidate.logprobs_result)
        self.reason = self.reason or reason_of(candidate.finish_reason)

    def _piece(self, kind: ChunkKind, text: str, chunks: list[Chunk]) -> None:
        if self._open != kind:
            self._open = kind
            self._next += 1
        chunks.append(Chunk(kind=kind, text=text, index=self._next - 1, choice=self.number))

    def _call(self, call: ToolCall, chunks: list[Chunk]) -> None:
        self._open = None
        named = Chunk(
            kind="tool_call", text=call.arguments, index=self._next, choice=self.number, id=call.id, name=call.name
        )
        chunks.append(named)
        if call.extra is not None:
            chunks.append(Chunk(kind="part", part=call, index=self._next, choice=self.number))
        self._next += 1

    def _whole(self, part: Part, chunks: list[Chunk]) -> None:
        self._open = None
        chunks.append(Chunk(kind="part", part=part, index=self._next, choice=self.number))
        self._next += 1

    def _logprob(self, told: dict[str, Any]) -> None:
        for name, value in told.items():
            known = self._logprobs.get(name)
            self._logprobs[name] = known + value if isinstance(known, list) and isinstance(value, list) else value

    def end(self, chunks: list[Chunk]) -> None:
        for kind, data in ((GROUNDING, self._notes), (LOGPROBS, self._logprobs)):
            if data:
                self._whole(Opaque(kind=kind, data=data), chunks)
        reason = stop_reason(self.reason, self._calls > 0)
        chunks.append(Chunk(kind="stop", choice=self.number, stop_reason=reason, raw_stop_reason=self.reason))


class Growth:
    """An answer as its chunks come, however they are framed.

    `began` says that there is an answer, or the word that there is none; `complete` that every candidate said why it
    ended, or that the prompt was blocked.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.id: str | None = None
        self.served_model: str | None = None
        self.usage: Usage | None = None
        self._blocked: str | None = None
        self._counts = WireUsage()
        self._growing: dict[int, _Growing] = {}

    @property
    def began(self) -> bool:
        return bool(self._growing or self._blocked)

    @property
    def complete(self) -> bool:
        return self.began and all(each.reason for each in self._growing.values())

    def take(self, wire: WireReply, data: bytes) -> list[Chunk]:
        """Take one chunk.

        Raises: CallError when it is an error.
        """
        if wire.error:
            error = classify.inside(data, self.provider, certain=True)
            assert error is not None
            raise error
        chunks: list[Chunk] = []
        self.id = self.id or text_or_none(wire.response_id)
        self.served_model = self.served_model or text_or_none(wire.model_version)
        self._blocked = self._blocked or wire.blocked
        for candidate in wire.candidates or ():
            number = count(candidate.index)
            self._growing.setdefault(number, _Growing(number)).take(candidate, self.id, chunks)
        if wire.usage_metadata is not None:
            self._count(wire.usage_metadata, chunks)
        return chunks

    def _count(self, usage: WireUsage, chunks: list[Chunk]) -> None:
        for name in usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(self._counts, name, value)
        known = disjoint(self._counts)
        if known is not None and known != self.usage:
            self.usage = known
            chunks.append(Chunk(kind="usage", usage=known))

    def end(self) -> list[Chunk]:
        """Return what is said at the end of the answer."""
        chunks: list[Chunk] = []
        for number in sorted(self._growing):
            self._growing[number].end(chunks)
        if not self._growing:
            chunks.append(Chunk(kind="stop", stop_reason="content_filter", raw_stop_reason=self._blocked))
        return chunks


def decode_json(body: bytes, provider: Provider) -> Reply:
    """Read a JSON answer.

    Raises: CallError when it is an error after all, HTML, empty, or not of the protocol.
    """
    return _reply([body.removeprefix(BOM)], body, provider, whole=True)


def decode_array(body: bytes, provider: Provider) -> Reply:
    """Read a stream that came as a list of chunks, as it does where events were not asked for.

    Raises: CallError as `decode_json`; OutcomeUnknown where the list ends before the answer does.
    """
    try:
        pieces = msgspec.json.decode(body.removeprefix(BOM), type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _no_answer(body, provider) from None
    return _reply([bytes(piece) for piece in pieces], body, provider, whole=False)


def _reply(pieces: list[bytes], body: bytes, provider: Provider, *, whole: bool) -> Reply:
    growth, assembly = Growth(provider), Assembly()
    try:
        for piece in pieces:
            assembly.add(growth.take(read(REPLY_DECODER, piece, WireReply), piece))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _no_answer(body, provider) from None
    if not growth.began:
        raise _no_answer(body, provider)
    if not (whole or growth.complete):
        raise OutcomeUnknown(
            "the list of chunks ended before a finishReason: the answer may be cut off, and paid",
            provider=provider.name,
            usage=growth.usage,
        )
    assembly.add(growth.end())
    return Reply(choices=assembly.choices(), usage=growth.usage, id=growth.id, served_model=growth.served_model)


def _no_answer(body: bytes, provider: Provider) -> CallError:
    return classify.inside(body, provider) or classify.not_an_answer(body, provider)
