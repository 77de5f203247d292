"""`Client` and `AsyncClient`: options in, a driver out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

import msgspec

from ._flow.prompt import ExtractOptions, Options, Prompt, StreamOptions
from ._flow.texts import EmbedOptions
from ._io.base_client import BaseClient
from ._io.drive_async import AsyncRun
from ._io.drive_sync import SyncRun
from ._io.http import AsyncTransport, SyncTransport
from ._io.parking import AsyncGate, ThreadGate
from ._io.status import LaneStatus, Preview
from ._io.stream import AsyncStream, Stream
from ._policy.timeouts import Timeouts
from .embeddings import Embeddings
from .errors import ConfigError, NotFound
from .types import Response

if TYPE_CHECKING:
    from ._flow.effects import Lane
    from ._flow.extracted import Extracted
    from ._flow.rerank import RerankOptions
    from ._io.counting import TokenCount
    from ._io.drive_errand import Errands
    from ._io.extract_stream import AsyncExtractStream, ExtractStream
    from .reranking import Reranking

T = TypeVar("T")

__all__ = ["AsyncClient", "AsyncStream", "Client", "LaneStatus", "Preview", "Stream"]


class Client(BaseClient[ThreadGate, SyncTransport]):
    """The gate for threads: every method may be called from many threads at once.

    Use it in a `with` block, or close() it. Parameters are those of `AsyncClient`.
    """

    _gate_class = ThreadGate

    def _open(self, name: str | None) -> SyncTransport:
        connect_s = self._timeouts.connect_s
        if name in (None, "urllib3"):
            from ._io.transports.urllib3_ import Urllib3Transport

            return Urllib3Transport(connect_s=connect_s)
        if name == "httpx2":
            from ._io.transports.httpx2_ import Httpx2Transport

            return Httpx2Transport(connect_s=connect_s)
        raise ConfigError(f"transport {name!r} is not for Client; expected 'urllib3' or 'httpx2'")

    def _side_by_side(self, wanted: int) -> int:
        return wanted if hasattr(self._transport, "lines") else 1

    def _check_hedge(self) -> None:
        if not hasattr(self._transport, "lines"):
            raise ConfigError(
                "hedge: this transport cannot end what a thread waits for; use transport='urllib3', or an AsyncClient"
            )

    def complete(self, prompt: Prompt, **options: Unpack[Options]) -> Response:
        """Ask once and wait for the whole answer.

        `prompt` is a string, or messages as `Message`s or dicts in the shape of OpenAI or Anthropic.

        Raises: PenstockError; see errors for what each class asks you to do.
        """
        return SyncRun(self._order(prompt, options, stream=False), self._gate, self._transport, self._targets).finish()

    def embed(self, texts: str | Iterable[str], **options: Unpack[EmbedOptions]) -> Embeddings:
        """Turn texts into vectors, in as few requests as the provider's limits allow; equal texts are asked once.

        Raises: PenstockError, with what was answered before it in `embedded`; InputRejected names a bad text's index.
        """
        order, work, flow = self._embedding(texts, options)
        run = SyncRun(order, self._gate, self._transport, self._targets, flow)
        run.finish()
        return work.so_far(order, run.trail)

    def rerank(self, query: str, documents: Iterable[str], **options: Unpack[RerankOptions]) -> Reranking:
        """Order documents by how relevant they are to a query, the best first; `index` says which one each was.

        Raises: PenstockError; InputError names a document that is no text.
        """
        from ._flow.rerank import told  # loaded with the first ranking

        order = self._reranking(query, documents, options)
        run = SyncRun(order, self._gate, self._transport, self._targets)
        run.finish()
        return told(order, run.trail)

    def stream(self, prompt: Prompt, **options: Unpack[StreamOptions]) -> Stream:
        """Ask once and get the answer as it is produced; nothing is sent before it is read.

        Raises: PenstockError, also while the stream is read (StreamInterrupted once output was shown).
        """
        return Stream(SyncRun(self._order(prompt, options, stream=True), self._gate, self._transport, self._targets))

    @overload
    def extract(self, wanted: type[T], prompt: Prompt, **options: Unpack[ExtractOptions]) -> Extracted[T]: ...
    @overload
    def extract(self, wanted: Any, prompt: Prompt, **options: Unpack[ExtractOptions]) -> Extracted[Any]: ...
    def extract(self, wanted: Any, prompt: Prompt, **options: Unpack[ExtractOptions]) -> Extracted[Any]:
        """Ask for a value of a type, check it, and say what was mended and what it cost.

        `wanted` is what `parse` takes: a pydantic model, dataclass, TypedDict, Struct, enum, Literal, union, list or
        scalar type, or a JSON Schema. A value that does not fit is asked for again, with what does not fit, at most
        `reasks` times.

        Raises: ExtractionFailed when no answer fits; TruncatedOutput, ContentFiltered or ModelRefused at once;
        ConfigError for a type that cannot be expressed; PenstockError as `complete`.
        """
        run = self._extracting(wanted, prompt, options, stream=False)
        run.finish()
        return run.extracted

    @overload
    def stream_extract(
        self, wanted: type[T], prompt: Prompt, **options: Unpack[ExtractOptions]
    ) -> ExtractStream[T]: ...
    @overload
    def stream_extract(self, wanted: Any, prompt: Prompt, **options: Unpack[ExtractOptions]) -> ExtractStream[Any]: ...
    def stream_extract(self, wanted: Any, prompt: Prompt, **options: Unpack[ExtractOptions]) -> ExtractStream[Any]:
        """Ask as `extract` does, and get the value as it grows; nothing is sent before it is read.

        Raises: as `extract`, also while it is read.
        """
        from ._io.extract_stream import ExtractStream

        return ExtractStream(self._extracting(wanted, prompt, options, stream=True))

    def _extracting(self, wanted: Any, prompt: Prompt, options: ExtractOptions, *, stream: bool) -> SyncRun:
        made = self._extraction(wanted, prompt, options, stream=stream)
        return SyncRun(made.order, self._gate, self._transport, self._targets, extraction=made)

    def count_tokens(
        self, prompt: Prompt, *, source: Literal["auto", "provider", "local"] = "auto", **options: Unpack[Options]
    ) -> TokenCount:
        """Say how many tokens a prompt has for the model that would answer it.

        The provider is asked where it offers that, for nothing; else its tokenizer counts, or an estimate that learns
        from what the provider reports. `source` 'local' sends nothing, 'provider' accepts no other answer.

        Raises: ConfigError, InputError; PenstockError where the provider was asked.
        """
        counting = self._counting(prompt, source, options)
        if counting.here is not None:
            return counting.here
        run = SyncRun(counting.order, self._gate, self._transport, self._targets)
        try:
            run.finish()
        except NotFound as error:
            return counting.instead(error)
        return counting.told(run.trail)

    def close(self) -> None:
        """Refuse new calls and end those under way: each is settled and raises ClientClosed. Waits for none of them."""
        self._gate.close()
        self._transport.close()
        if self._gate.hub is not None:
            self._gate.hub.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class AsyncClient(BaseClient[AsyncGate, AsyncTransport]):
    """The gate for an event loop, with the same parameters and results as `Client`, awaited.

    Use it in an `async with` block, or close() it.
    """

    _gate_class = AsyncGate

    def _open(self, name: str | None) -> AsyncTransport:
        connect_s = self._timeouts.connect_s
        if name in (None, "aiohttp"):
            from ._io.transports.aiohttp_ import AiohttpTransport

            return AiohttpTransport(connect_s=connect_s)
        if name == "httpx2":
            from ._io.transports.httpx2_ import AsyncHttpx2Transport

            return AsyncHttpx2Transport(connect_s=connect_s)
        raise ConfigError(f"transport {name!r} is not for AsyncClient; expected 'aiohttp' or 'httpx2'")

    async def complete(self, prompt: Prompt, **options: Unpack[Options]) -> Response:
        """Ask once and wait for the whole answer.

        `prompt` is a string, or messages as `Message`s or dicts in the shape of OpenAI or Anthropic.

        Raises: PenstockError; see errors for what each class asks you to do.
        """
        return await self._begin(prompt, **options).finish()

    async def embed(self, texts: str | Iterable[str], **options: Unpack[EmbedOptions]) -> Embeddings:
        """Turn texts into vectors, in as few requests as the provider's limits allow; equal texts are asked once.

        Raises: PenstockError, with what was answered before it in `embedded`; InputRejected names a bad text's index.
        """
        run, so_far = self._begin_embedding(texts, **options)
        await run.finish()
        return so_far()

    async def rerank(self, query: str, documents: Iterable[str], **options: Unpack[RerankOptions]) -> Reranking:
        """Order documents by how relevant they are to a query, the best first; `index` says which one each was.

        Raises: PenstockError; InputError names a document that is no text.
        """
        from ._flow.rerank import told  # loaded with the first ranking

        order = self._reranking(query, documents, options)
        run = AsyncRun(order, self._gate, self._transport, self._targets)
        await run.finish()
        return told(order, run.trail)

    def _begin_embedding(
        self, texts: object, **options: Unpack[EmbedOptions]
    ) -> tuple[AsyncRun, Callable[[], Embeddings]]:
        """Make the call of `embed` ready for somebody who must know how far it is, and what came of it by then."""
        order, work, flow = self._embedding(texts, options)
        run = AsyncRun(order, self._gate, self._transport, self._targets, flow)
        return run, partial(work.so_far, order, run.trail)

    def _begin(self, prompt: Prompt, timeouts: Timeouts | None = None, **options: Unpack[Options]) -> AsyncRun:
        """Make the call of `complete` ready to be finished by somebody who must know how far it is."""
        order = self._order(prompt, options, stream=False)
        if timeouts is not None:
            order = msgspec.structs.replace(order, timeouts=timeouts)
        return AsyncRun(order, self._gate, self._transport, self._targets)

    def _errands(self, lane: Lane) -> Errands:
        """Return who goes to the provider of a lane with what is no call."""
        from ._io.drive_errand import Errands  # loaded with the first batch

        return Errands(self._gate, self._transport, self._targets[lane.door])

    def stream(self, prompt: Prompt, **options: Unpack[StreamOptions]) -> AsyncStream:
        """Ask once and get the answer as it is produced; nothing is sent before it is read.

        Raises: PenstockError, also while the stream is read (StreamInterrupted once output was shown).
        """
        order = self._order(prompt, options, stream=True)
        return AsyncStream(AsyncRun(order, self._gate, self._transport, self._targets))

    @overload
    async def extract(self, wanted: type[T], prompt: Prompt, **options: Unpack[ExtractOptions]) -> Extracted[T]: ...
    @overload
    async def extract(self, wanted: Any, prompt: Prompt, **options: Unpack[ExtractOptions]) -> Extracted[Any]: ...
    async def extract(self, wanted: Any, prompt: Prompt, **options: Unpack[ExtractOptions]) -> Extracted[Any]:
        """Ask for a value of a type, check it, and say what was mended and what it cost.

        `wanted` is what `parse` takes: a pydantic model, dataclass, TypedDict, Struct, enum, Literal, union, list or
        scalar type, or a JSON Schema. A value that does not fit is asked for again, with what does not fit, at most
        `reasks` times.

        Raises: ExtractionFailed when no answer fits; TruncatedOutput, ContentFiltered or ModelRefused at once;
        ConfigError for a type that cannot be expressed; PenstockError as `complete`.
        """
        run = self._extracting(wanted, prompt, options, stream=False)
        await run.finish()
        return run.extracted

    @overload
    def stream_extract(
        self, wanted: type[T], prompt: Prompt, **options: Unpack[ExtractOptions]
    ) -> AsyncExtractStream[T]: ...
    @overload
    def stream_extract(
        self, wanted: Any, prompt: Prompt, **options: Unpack[ExtractOptions]
    ) -> AsyncExtractStream[Any]: ...
    def stream_extract(self, wanted: Any, prompt: Prompt, **options: Unpack[ExtractOptions]) -> AsyncExtractStream[Any]:
        """Ask as `extract` does, and get the value as it grows; nothing is sent before it is read.

        Raises: as `extract`, also while it is read.
        """
        from ._io.extract_stream import AsyncExtractStream

        return AsyncExtractStream(self._extracting(wanted, prompt, options, stream=True))

    def _extracting(
        self,
        wanted: Any,
        prompt: Prompt,
        options: ExtractOptions,
        *,
        stream: bool,
        timeouts: Timeouts | None = None,
    ) -> AsyncRun:
        made = self._extraction(wanted, prompt, options, stream=stream, timeouts=timeouts)
        return AsyncRun(made.order, self._gate, self._transport, self._targets, extraction=made)

    async def count_tokens(
        self, prompt: Prompt, *, source: Literal["auto", "provider", "local"] = "auto", **options: Unpack[Options]
    ) -> TokenCount:
        """Say how many tokens a prompt has for the model that would answer it.

        The provider is asked where it offers that, for nothing; else its tokenizer counts, or an estimate that learns
        from what the provider reports. `source` 'local' sends nothing, 'provider' accepts no other answer.

        Raises: ConfigError, InputError; PenstockError where the provider was asked.
        """
        counting = self._counting(prompt, source, options)
        if counting.here is not None:
            return counting.here
        run = AsyncRun(counting.order, self._gate, self._transport, self._targets)
        try:
            await run.finish()
        except NotFound as error:
            return counting.instead(error)
        return counting.told(run.trail)

    async def close(self) -> None:
        """Refuse new calls and end those under way: each is settled and raises ClientClosed. Waits for none of them."""
        self._gate.close()
        await self._transport.close()
        if self._gate.hub is not None:
            from asyncio import to_thread  # a sync client loads no event loop

            await to_thread(self._gate.hub.close)  # what it waits for may need this loop

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()
