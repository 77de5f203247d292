"""Read streamed answers of Gemini, and whatever else comes where a stream was asked for."""

from __future__ import annotations

import msgspec

from .._text.sse import Event
from ..types import Chunk
from . import classify
from .decoder import StreamDecoder
from .gemini_decode import REPLY_DECODER, WireReply
from .gemini_growth import Growth, decode_array, decode_json
from .lenient import read
from .protocol import Provider, Reply


class Decoder(StreamDecoder):
    """Turns the bytes of one stream into chunks; see `protocol.Decoder`."""

    last_word = "a finishReason"

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._growth = Growth(provider)

    def _began(self) -> bool:
        return self._growth.began

    def _complete(self) -> bool:
        return self._growth.complete

    def _document(self, body: bytes) -> Reply:
        read_it = decode_array if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" else decode_json
        return read_it(body, self.provider)

    def _event(self, event: Event, chunks: list[Chunk]) -> None:
        data = event.data
        if not data or data.startswith((b":", b"[DONE]")):
            return
        try:
            wire = read(REPLY_DECODER, data, WireReply)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise classify.not_json(data, self.provider) from None
        growth = self._growth
        chunks += growth.take(wire, data)
        self.id, self.served_model, self.usage = growth.id, growth.served_model, growth.usage

    def _end(self, chunks: list[Chunk]) -> None:
        chunks += self._growth.end()
