"""The wire of Cohere's v2 rerank.

    documents       texts; their order is the provider's answer, by index and relevance_score
    usage           no tokens: meta.billed_units.search_units is what is billed, a query with up to 100 documents each

Source: cohere SDK 7.3.1, v2/client.py rerank (read 2026-12).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..errors import ServerFault, UnsupportedParameter
from ..reranking import Ranked, RerankRequest
from ..types import Request, Usage
from . import classify
from .body import path_of, write
from .cohere import auth_headers
from .lenient import BOM, count
from .protocol import JSON, Outbound, Provider, Reply

__all__ = ["Reranked", "auth_headers", "check", "decode", "encode"]


class Reranked(Reply, frozen=True, kw_only=True, gc=False):
    """A whole answer, decoded: documents by their places, the most relevant first."""

    results: tuple[Ranked, ...]
    search_units: int | None

    def check_count(self, request: Request) -> None:
        """Raises: ServerFault when a place is not of a document, or stands twice, or some are missing."""
        assert isinstance(request, RerankRequest)
        places = {ranked.index for ranked in self.results}
        wanted = min(request.top_n or len(request.texts), len(request.texts))
        if len(places) != len(self.results) or not places <= set(range(len(request.texts))):
            raise ServerFault("the ranking names documents that were not sent, or some of them twice; try again")
        if len(places) != wanted:
            raise ServerFault(f"{wanted} documents were to be ranked and {len(places)} came back; try again")


class _Result(msgspec.Struct, gc=False):
    index: int
    relevance_score: float


class _Billed(msgspec.Struct, gc=False):
    search_units: Any = None


class _Meta(msgspec.Struct):
    billed_units: _Billed | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]
    id: Any = None
    meta: _Meta | None = None


_decoder: Final = msgspec.json.Decoder(_Answer)


def check(provider: Provider, model: str) -> None:
    """Raises: UnsupportedParameter for a provider that does not rank documents."""
    if not provider.rerank:
        raise UnsupportedParameter(
            f"{provider.name} offers no ranking of documents that Penstock can ask for; use another provider for it",
            provider=provider.name,
            model=model,
            param="rerank",
        )


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST /v2/rerank`; `extra` is merged last and wins."""
    assert isinstance(request, RerankRequest)
    assert not stream
    body: JSON = {"model": request.model, "query": request.query, "documents": request.texts}
    if request.top_n is not None:
        body["top_n"] = request.top_n
    if request.max_tokens_per_doc is not None:
        body["max_tokens_per_doc"] = request.max_tokens_per_doc
    body.update(request.extra)
    path = path_of(provider, "/v2/rerank", request.model, own="/v2/rerank")
    return Outbound(path=path, body=write(body, request, provider))


def decode(body: bytes, provider: Provider) -> Reranked:
    """Read a whole 2xx answer.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    try:
        answer = _decoder.decode(body.removeprefix(BOM))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise classify.inside(body, provider) or classify.not_an_answer(body, provider) from None
    billed = answer.meta.billed_units if answer.meta else None
    return Reranked(
        choices=(),
        usage=Usage(),  # it is not billed by tokens
        id=answer.id if isinstance(answer.id, str) else None,
        results=tuple([Ranked(result.index, result.relevance_score) for result in answer.results]),
        search_units=None if billed is None or billed.search_units is None else count(billed.search_units),
    )
