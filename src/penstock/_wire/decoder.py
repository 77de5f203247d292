"""What the stream decoders of all wires share: from bytes to events, and how a stream may end."""

from __future__ import annotations

from .._text.sse import Event, Parser
from ..errors import CallError, OutcomeUnknown, ServerFault
from ..types import Chunk, Usage
from . import classify
from .assembly import Assembly, chunks_of
from .protocol import Provider, Reply
from .sniff import Sniffer


class StreamDecoder:
    """A `protocol.Decoder` without the meaning of the events, which each wire adds.

    A document where a stream was asked for is read whole at its end. An error waits until the chunks that came before
    it in the same bytes were given out, so that any split of the bytes gives the same chunks.
    """

    last_word = "the last event"
    """What must come for the stream to be whole, in words."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.id: str | None = None
        self.served_model: str | None = None
        self.usage: Usage | None = None
        self.cost_nano: int | None = None
        self.failure: CallError | None = None
        self.done = False
        self._started = False
        self._next = 0
        self._sniffer = Sniffer()
        self._parser = Parser()

    def _event(self, event: Event, chunks: list[Chunk]) -> None:
        """Take one event and add what it says to `chunks`; set `done` with the last word."""
        raise NotImplementedError

    def _document(self, body: bytes) -> Reply:
        """Read a whole answer that came in place of a stream."""
        raise NotImplementedError

    def _began(self) -> bool:
        """Whether anything of an answer came."""
        return self._started

    def _new_index(self) -> int:
        """Return the index of the next part."""
        self._next += 1
        return self._next - 1

    def _complete(self) -> bool:
        """Whether the answer is whole although its last word did not come."""
        return False

    def _end(self, chunks: list[Chunk]) -> None:
        """Add what is said at the end of an answer."""

    @property
    def complete(self) -> bool:
        """Whether the whole answer is there, so that a connection which breaks now does no harm."""
        return self.done or self._complete()

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
            self._fail(ServerFault(str(error), provider=self.provider.name), chunks)
        except CallError as error:
            self._fail(error, chunks)
        return chunks

    def finish(self) -> list[Chunk]:
        """Say that the bytes ended.

        Raises: OutcomeUnknown when the last word did not come.
        """
        if self.failure is not None:
            raise self.failure
        if self._sniffer.is_document:
            return self._whole(self._document(self._sniffer.document()))
        chunks: list[Chunk] = []
        failure = None if self.done else self._flush(chunks)
        if failure is None and not self.done and not self._complete():
            failure = self._ended_early()
        if failure is not None:
            self.failure = failure
            raise failure from None
        if not self.done:
            self._end(chunks)
        return chunks

    def _flush(self, chunks: list[Chunk]) -> CallError | None:
        cut = self._parser.open
        try:
            for event in self._parser.finish():
                self._event(event, chunks)
        except CallError as error:
            if not (cut and error.provider_code == classify.NOT_JSON):  # a torn event says nothing
                return error
        return None

    def _fail(self, error: CallError, chunks: list[Chunk]) -> None:
        self.failure = error
        if not chunks:
            raise error from None

    def _ended_early(self) -> CallError:
        what = f"the stream ended before {self.last_word}"
        if not self._began():
            said = self._sniffer.head()
            what = f"the stream ended before its first event{said and ', after ' + repr(said)}"
        return OutcomeUnknown(
            f"{what}: the answer may be cut off, and paid", provider=self.provider.name, usage=self.usage
        )

    def _whole(self, reply: Reply) -> list[Chunk]:
        self.done = True
        self.id, self.served_model = reply.id, reply.served_model
        self.usage, self.cost_nano = reply.usage, reply.cost_nano
        return chunks_of(reply)


def read_whole(decoder: StreamDecoder, body: bytes) -> Reply:
    """Read a stream that came whole, where a single answer was asked for.

    Raises: CallError as the decoder does.
    """
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
