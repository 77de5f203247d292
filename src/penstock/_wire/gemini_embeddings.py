"""The wire of Gemini's embeddings.

    input           one request for each text, all in one batchEmbedContents
    input_type      as taskType: search_document → RETRIEVAL_DOCUMENT, search_query → RETRIEVAL_QUERY, others by name
    extra           goes into each of the requests
    vectors         lists of numbers, in the order of the requests
    usage           usageMetadata, which not every model sends; none is estimated

Source: google-genai SDK 3.6, models.py (read 2026-12).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..embeddings import EmbedRequest
from ..types import Request, Usage
from . import classify
from .body import write
from .embedded import Embedded, packed
from .gemini import auth_headers
from .gemini_encode import path_to
from .lenient import BOM, count
from .protocol import JSON, Outbound, Provider

__all__ = ["auth_headers", "decode", "encode"]

TASKS: Final = {
    "search_document": "RETRIEVAL_DOCUMENT",
    "search_query": "RETRIEVAL_QUERY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class _Embedding(msgspec.Struct, gc=False):
    values: list[float]


class _Used(msgspec.Struct, rename="camel", gc=False):
    prompt_token_count: Any = None
    total_token_count: Any = None


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Embedding]
    usage_metadata: _Used | None = None


_decoder: Final = msgspec.json.Decoder(_Answer)


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST …:batchEmbedContents`."""
    assert isinstance(request, EmbedRequest)
    assert not stream
    model = request.model if "/" in request.model else f"models/{request.model}"
    common: JSON = {"model": model}
    if request.input_type is not None:
        common["taskType"] = TASKS[request.input_type]
    if request.dimensions is not None:
        common["outputDimensionality"] = request.dimensions
    asked = [common | {"content": {"parts": [{"text": text}]}} | request.extra for text in request.texts]
    path = path_to(provider, request.model, "batchEmbedContents")
    return Outbound(path=path, body=write({"requests": asked}, request, provider))


def decode(body: bytes, provider: Provider) -> Embedded:
    """Read a whole 2xx answer.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    try:
        answer = _decoder.decode(body.removeprefix(BOM))
        size, floats = packed(each.values for each in answer.embeddings)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError):
        raise classify.inside(body, provider) or classify.not_an_answer(body, provider) from None
    used = answer.usage_metadata
    prompt = 0 if used is None else count(used.prompt_token_count) or count(used.total_token_count)
    return Embedded(choices=(), usage=Usage(input=prompt) if prompt else None, size=size, floats=floats)
