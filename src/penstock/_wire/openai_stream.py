"""Read streamed answers of OpenAI Chat Completions, and whatever else comes where a stream was asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from .._text.sse import Event
from ..types import Chunk
from . import classify
from .decoder import StreamDecoder
from .lenient import count, read
from .openai_choice import GrowingChoice
from .openai_decode import (
    REPLY_DECODER,
    WireReply,
    decode_json,
    disjoint,
    reported_cost,
    text_or_none,
)
from .protocol import Provider, Reply


class Decoder(StreamDecoder):
    """Turns the bytes of one stream into chunks; see `protocol.Decoder`.

    The stop of each choice is given out at the end of the stream: tool calls and usage may follow a finish_reason.
    """

    last_word = "a finish_reason or [DONE]"

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._choices: dict[int, GrowingChoice] = {}

    def _began(self) -> bool:
        return bool(self._choices)

    def _complete(self) -> bool:
        return bool(self._choices) and all(choice.finished for choice in self._choices.values())

    def _document(self, body: bytes) -> Reply:
        return decode_json(body, self.provider)

    def _end(self, chunks: list[Chunk]) -> None:
        self.done = True
        for number in sorted(self._choices):
            chunks += self._choices[number].end(self.id)

    def _event(self, event: Event, chunks: list[Chunk]) -> None:
        data = event.data
        if self.done or not data or data.startswith(b":"):
            return
        if data.startswith(b"[DONE]"):
            self._end(chunks)
            return
        try:
            wire = read(REPLY_DECODER, data, WireReply)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise classify.not_json(data, self.provider) from None
        if not self.id:
            self.id = text_or_none(wire.id)
        if not self.served_model:
            self.served_model = text_or_none(wire.model)
        if wire.choices:
            for choice in wire.choices:
                number = choice.index if type(choice.index) is int else count(choice.index)
                growing = self._choices.get(number)
                if growing is None:
                    growing = self._choices[number] = GrowingChoice(number)
                growing.take(choice, self.id, chunks)
        if wire.usage is not None:
            self._count(wire.usage, chunks)
        elif wire.x_groq is not None and wire.x_groq.usage is not None:
            self._count(wire.x_groq.usage, chunks)
        if wire.error or event.event == "error" or (wire.choices is None and wire.usage is None):
            error = classify.inside(data, self.provider, certain=bool(wire.error) or event.event == "error")
            if error is not None:
                raise error

    def _count(self, wire: Any, chunks: list[Chunk]) -> None:
        usage = disjoint(wire, self.provider)
        if usage is not None and usage != self.usage:
            self.usage = usage
            chunks.append(Chunk(kind="usage", usage=usage))
        cost = reported_cost(wire)
        if cost is not None:
            self.cost_nano = cost
