"""Read streamed answers of OpenAI Chat Completions, and whatever else comes where a stream was asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from .._text.sse import Event, Parser
from ..errors import CallError, OutcomeUnknown
from ..types import Chunk, Usage
from . import classify
from .assembly import Assembly, chunks_of
from .lenient import count, read
from .openai_choice import GrowingChoice
from .openai_decode import (
    REPLY_DECODER,
    WireReply,
    broken,
    decode_json,
    disjoint,
    reported_cost,
    text_or_none,
)
from .protocol import Provider, Reply
from .sniff import Sniffer


class Decoder:
    """Turns the bytes of one stream into chunks; see `protocol.Decoder`.

    The stop of each choice is given out at the end of the stream: tool calls and usage may follow a finish_reason.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.id: str | None = None
        self.served_model: str | None = None
        self.usage: Usage | None = None
        self.cost_nano: int | None = None
        self.failure: CallError | None = None
        self.done = False
        self._sniffer = Sniffer()
        self._parser = Parser()
        self._choices: dict[int, GrowingChoice] = {}

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes and return the chunks that they complete.

        Raises: CallError for an error inside the stream, once the chunks before it were given out.
        """
        if self.failure is not None:
            raise self.failure
        if not self._sniffer.is_stream:
            data = self._sniffer.feed(data)
            if not data:
                return []
        chunks: list[Chunk] = []
        try:
            for event in self._parser.feed(data):
                self._event(event, chunks)
        except ValueError as error:
            self._fail(broken(self.provider, str(error)), chunks)
        except CallError as error:
            self._fail(error, chunks)
        return chunks

    def finish(self) -> list[Chunk]:
        """Say that the bytes ended.

        Raises: OutcomeUnknown when no finish_reason and no [DONE] came.
        """
        if self.failure is not None:
            raise self.failure
        if self._sniffer.is_document:
            return self._whole(self._sniffer.document())
        chunks: list[Chunk] = []
        if not self.done:
            cut = self._parser.open
            try:
                for event in self._parser.finish():
                    self._event(event, chunks)
            except CallError as error:
                if not (cut and error.provider_code == classify.NOT_JSON):  # a torn event says nothing
                    self.failure = error
        if not self.done and not any(choice.finished for choice in self._choices.values()):
            self.failure = self.failure or self._ended_early()
        if self.failure is not None:
            raise self.failure from None
        if not self.done:
            self._end(chunks)
        return chunks

    def _fail(self, error: CallError, chunks: list[Chunk]) -> None:
        self.failure = error
        if not chunks:
            raise error from None

    def _ended_early(self) -> CallError:
        if not self._choices:
            said = self._sniffer.head()
            what = f"the stream ended before its first event{said and ', after ' + repr(said)}"
        else:
            what = "the stream ended before a finish_reason or [DONE]"
        return OutcomeUnknown(
            f"{what}: the answer may be cut off, and paid", provider=self.provider.name, usage=self.usage
        )

    def _whole(self, body: bytes) -> list[Chunk]:
        reply = decode_json(body, self.provider)
        self.done = True
        self.id, self.served_model = reply.id, reply.served_model
        self.usage, self.cost_nano = reply.usage, reply.cost_nano
        return chunks_of(reply)

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


def decode_stream(body: bytes, provider: Provider) -> Reply:
    """Read a stream that came whole, where a JSON answer was asked for.

    Raises: CallError as the decoder does.
    """
    decoder = Decoder(provider)
    assembly = Assembly()
    assembly.add(decoder.feed(body))
    assembly.add(decoder.finish())
    return Reply(
        choices=assembly.choices(),
        usage=decoder.usage,
        id=decoder.id,
        served_model=decoder.served_model,
        cost_nano=decoder.cost_nano,
    )
