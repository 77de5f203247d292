"""The wire of OpenAI's embeddings, spoken by most servers of Chat Completions.

    input           always a list, also of one
    vectors         base64 of little-endian 32-bit floats, where the provider's row says that it takes
                    `encoding_format`, else lists of numbers; what comes is read either way
    order           by `index`; where the server gives none, as they came
    usage           prompt_tokens, or total_tokens where that is all there is; none is estimated
    dimensions      under the name of the provider's row

Source: openai-python 3.52 types/embedding_create_params.py, create_embedding_response.py; the floats of base64 are read
there with numpy's native float32, so little-endian.
"""

from __future__ import annotations

import sys
from array import array
from typing import Any, Final

import msgspec

from ..embeddings import EmbedRequest
from ..types import Request, Usage
from . import classify
from .body import path_of, write
from .embedded import Embedded
from .lenient import BOM, count
from .openai_chat import auth_headers
from .protocol import JSON, Outbound, Provider

__all__ = ["auth_headers", "decode", "encode"]

USUAL_PATH: Final = "/embeddings"


class _Datum(msgspec.Struct, gc=False):
    embedding: bytes | list[float]  # bytes are base64 in JSON
    index: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: Any = None
    total_tokens: Any = None


class _Answer(msgspec.Struct):
    data: list[_Datum]
    model: Any = None
    id: Any = None
    usage: _Usage | None = None


_decoder: Final = msgspec.json.Decoder(_Answer)


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST /embeddings`; `extra` is merged last and wins."""
    assert isinstance(request, EmbedRequest)
    assert not stream
    body: JSON = {"model": request.model, "input": request.texts}
    if provider.embeddings_base64:
        body["encoding_format"] = "base64"
    if request.dimensions is not None:
        body[provider.embeddings_dimensions] = request.dimensions
    if request.user is not None:
        body["user"] = request.user
    body.update(request.extra)
    path = path_of(provider, USUAL_PATH, request.model, own=provider.embeddings_path)
    return Outbound(path=path, body=write(body, request, provider))


def decode(body: bytes, provider: Provider) -> Embedded:
    """Read a whole 2xx answer.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    try:
        answer = _decoder.decode(body.removeprefix(BOM))
        data = _ordered(answer.data)
        size, floats = _floats(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError):
        raise classify.inside(body, provider) or classify.not_an_answer(body, provider) from None
    used = answer.usage
    prompt = 0 if used is None else count(used.prompt_tokens) or count(used.total_tokens)
    return Embedded(
        choices=(),
        usage=Usage(input=prompt) if prompt else None,
        id=answer.id if isinstance(answer.id, str) else None,
        served_model=answer.model if isinstance(answer.model, str) else None,
        size=size,
        floats=floats,
    )


def _ordered(data: list[_Datum]) -> list[_Datum]:
    """Return the vectors in the order of the texts.

    Raises: ValueError when there is none, or their numbers are not those of the texts.
    """
    if not data:
        raise ValueError("no vectors")
    numbers = [datum.index for datum in data]
    usual = list(range(len(data)))
    if numbers == usual or all(number is None for number in numbers):
        return data
    ordered: list[_Datum | None] = [None] * len(data)
    for datum in data:
        if datum.index is None or not 0 <= datum.index < len(data) or ordered[datum.index] is not None:
            raise ValueError("vectors that cannot be told apart")
        ordered[datum.index] = datum
    return [datum for datum in ordered if datum is not None]


def _floats(data: list[_Datum]) -> tuple[int, array[float]]:
    """Put all vectors into one array, and return how long each is.

    Raises: ValueError when they are not of one length, or empty.
    """
    pieces = [_packed(datum.embedding) for datum in data]
    size, odd = divmod(len(pieces[0]), 4)
    if odd or not size or any(len(piece) != 4 * size for piece in pieces):
        raise ValueError("vectors of different lengths")
    floats = array("f", b"".join(pieces))
    if sys.byteorder == "big":
        floats.byteswap()
    return size, floats


def _packed(vector: bytes | list[float]) -> bytes:
    """Return a vector as little-endian 32-bit floats."""
    if isinstance(vector, bytes):
        return vector
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()
