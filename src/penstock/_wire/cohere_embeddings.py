"""The wire of Cohere's v2 embeddings.

    input           `texts`, at most 96 in one request; `input_type` is demanded
    truncate        NONE, so that a text which is too long is refused and not cut off unseen
    vectors         lists of numbers, under embeddings.float
    usage           what is billed: meta.billed_units.input_tokens

Source: cohere SDK 7.3.1, v2/client.py embed (read 2026-12).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..embeddings import EmbedRequest
from ..types import Request, Usage
from . import classify
from .body import path_of, write
from .cohere import auth_headers
from .embedded import Embedded, packed
from .lenient import BOM, count
from .protocol import JSON, Outbound, Provider

__all__ = ["auth_headers", "decode", "encode"]


class _Billed(msgspec.Struct, gc=False):
    input_tokens: Any = None


class _Meta(msgspec.Struct):
    billed_units: _Billed | None = None


class _ByType(msgspec.Struct, rename={"floats": "float"}):
    floats: list[list[float]] | None = None


class _Answer(msgspec.Struct):
    embeddings: list[list[float]] | _ByType
    id: Any = None
    meta: _Meta | None = None


_decoder: Final = msgspec.json.Decoder(_Answer)


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST /v2/embed`; `extra` is merged last and wins."""
    assert isinstance(request, EmbedRequest)
    assert not stream
    body: JSON = {
        "model": request.model,
        "input_type": request.input_type,
        "texts": request.texts,
        "embedding_types": ["float"],
        "truncate": "NONE",
    }
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    body.update(request.extra)
    path = path_of(provider, "/v2/embed", request.model, own=provider.embeddings_path)
    return Outbound(path=path, body=write(body, request, provider))


def decode(body: bytes, provider: Provider) -> Embedded:
    """Read a whole 2xx answer.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    try:
        answer = _decoder.decode(body.removeprefix(BOM))
        found = answer.embeddings
        size, floats = packed((found.floats or ()) if isinstance(found, _ByType) else found)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError):
        raise classify.inside(body, provider) or classify.not_an_answer(body, provider) from None
    billed = answer.meta.billed_units if answer.meta else None
    prompt = count(billed.input_tokens) if billed else 0
    return Embedded(
        choices=(),
        usage=Usage(input=prompt) if prompt else None,
        id=answer.id if isinstance(answer.id, str) else None,
        size=size,
        floats=floats,
    )
