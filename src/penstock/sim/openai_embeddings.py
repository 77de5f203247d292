"""OpenAI's embeddings as their server speaks them: what it refuses, how it counts, and vectors that tell texts apart.

A vector is the sum of a few directions for each word of its text, normalised, so that texts which share words are near.

Source: openai-python 3.52 types/embedding_create_params.py; error wordings as quoted in public issues, 2026-11.
"""

from __future__ import annotations

import base64
import functools
import math
import re
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from penstock.sim import tokens
from penstock.sim.config import Embedding, Model
from penstock.sim.plan import Reject, Usage

USUAL_DIMENSIONS = 1536

_WORD = re.compile(r"\w+|[^\w\s]")
_DIRECTIONS = 16
_KNOWN = {"model", "input", "encoding_format", "dimensions", "user"}
_INVALID = "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
_FIXED = re.compile(r"ada-002$")


@dataclass(frozen=True, slots=True)
class EmbeddingAsk:
    """A checked request: its texts, how long each vector is to be and how it is written; `whole` is the model's own."""

    texts: tuple[str, ...]
    dimensions: int
    whole: int
    base64: bool
    prompt_tokens: int
    charge: int


def _bad(message: str, param: str | None = "input", code: str | None = "invalid_value", kind: str = "") -> Reject:
    return Reject(400, message, param=param, code=code, kind=kind or "invalid_request_error")


def check(body: Mapping[str, Any], name: str, model: Model, settings: Embedding) -> EmbeddingAsk:
    """Check a request body as the real server does and read the texts out of it.

    Raises: Reject with the status, code and param that OpenAI answers.
    """
    if not model.dimensions:
        raise Reject(403, "You are not allowed to generate embeddings from this model")
    unknown = next((key for key in body if key not in _KNOWN), None)
    if unknown is not None:
        raise _bad(f"Unrecognized request argument supplied: {unknown}", None, None)
    texts = _texts(body.get("input"), settings)
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise _bad(f"Invalid value: '{form}'. Supported values are: 'float' and 'base64'.", "encoding_format")
    counts = [tokens.count(text) for text in texts]
    longest = max(counts)
    if longest > settings.input_tokens:
        raise _bad(
            f"This model's maximum context length is {settings.input_tokens} tokens, however you requested {longest} "
            f"tokens ({longest} in your prompt; 0 for the completion). "
            "Please reduce your prompt; or completion length.",
            None,
            None,
        )
    total = sum(counts)
    if total > settings.tokens:
        kind = "max_tokens_per_request"
        raise _bad(f"Requested {total} tokens, max {settings.tokens} tokens per request", None, kind, kind)
    if settings.poison and any(settings.poison in text for text in texts):
        raise _bad(_INVALID)
    return EmbeddingAsk(
        texts=texts,
        dimensions=_dimensions(body.get("dimensions"), name, model.dimensions),
        whole=model.dimensions,
        base64=form == "base64",
        prompt_tokens=total,
        charge=tokens.estimate(sum(map(len, texts))),
    )


def _texts(given: object, settings: Embedding) -> tuple[str, ...]:
    if given is None:
        raise _bad("you must provide an input parameter", None, None)
    items = [given] if isinstance(given, str) or _is_tokens(given) else given
    if not isinstance(items, list) or not items:
        raise _bad(_INVALID)
    if len(items) > settings.inputs:
        raise _bad(
            f"Invalid 'input': array too long. Expected an array with maximum length {settings.inputs}, but got an "
            f"array with length {len(items)} instead.",
            "input",
            "array_above_max_length",
        )
    if not all((isinstance(item, str) and item) or _is_tokens(item) for item in items):
        raise _bad(_INVALID)
    return tuple([item if isinstance(item, str) else " ".join(map(str, item)) for item in items])


def _is_tokens(value: object) -> bool:
    """Whether an input is given as the numbers of its tokens."""
    return isinstance(value, list) and bool(value) and all(type(number) is int for number in value)


def _dimensions(asked: object, name: str, whole: int) -> int:
    if asked is None:
        return whole
    if _FIXED.search(name):
        raise _bad("This model does not support specifying dimensions.", None, None)
    if type(asked) is not int or asked < 1:
        raise _bad(f"{asked!r} is less than the minimum of 1 - 'dimensions'", None, None)
    if asked > whole:
        raise _bad(f"Invalid value for 'dimensions' = {asked}. Must be less than or equal to {whole}.", None, None)
    return asked


@functools.lru_cache(maxsize=65_536)
def _directions(word: str, whole: int) -> tuple[tuple[int, float], ...]:
    """A few places of a vector and what the word adds there."""
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4 * _DIRECTIONS).digest()
    found = []
    for number in range(_DIRECTIONS):
        bits = int.from_bytes(digest[4 * number : 4 * number + 4], "big")
        share = (bits >> 1) / 2**31
        # A quarter of the places are crowded at the front, so that shortened vectors tell texts apart too.
        at = int(whole**share) if number % 4 == 0 else int(whole * share)
        found.append((min(at, whole - 1), 1.0 if bits & 1 else -1.0))
    return tuple(found)


def vector(text: str, whole: int, dimensions: int | None = None) -> array[float]:
    """The unit vector of a text, 32-bit floats; shortened to its first `dimensions` as the real models do."""
    floats = array("f", bytes(4 * whole))
    floats[0] = 0.25  # in all texts, so that none is nothing
    touched = {0}
    for word in _WORD.findall(text.lower()):
        for at, sign in _directions(word, whole):
            floats[at] += sign
            touched.add(at)
    if dimensions is not None and dimensions < whole:
        del floats[dimensions:]
        touched = {at for at in touched if at < dimensions}
    length = math.sqrt(sum(floats[at] ** 2 for at in touched)) or 1.0
    for at in touched:
        floats[at] /= length
    return floats


def write(ask: EmbeddingAsk, model: str, usage: Usage | None) -> bytes:
    """The body of an answer."""
    data = [
        {"object": "embedding", "index": index, "embedding": _written(vector(text, ask.whole, ask.dimensions), ask)}
        for index, text in enumerate(ask.texts)
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": model}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage.prompt, "total_tokens": usage.prompt}
    return msgspec.json.encode(body)


def _written(floats: array[float], ask: EmbeddingAsk) -> str | Sequence[float]:
    if not ask.base64:
        return floats.tolist()
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
