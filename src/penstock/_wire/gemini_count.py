"""Gemini's countTokens: how many tokens a request would be, asked for without paying for an answer.

Source: google-genai SDK 3.6, models.py count_tokens (read 2026-12); https://ai.google.dev/api/tokens
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..types import Request
from . import classify
from .body import write
from .gemini_encode import body_of, path_to
from .lenient import BOM
from .protocol import Outbound, Provider


class _Answer(msgspec.Struct, rename="camel"):
    total_tokens: int


_decoder: Final = msgspec.json.Decoder(_Answer)


def encode(request: Request, provider: Provider) -> Outbound:
    """Write the request for `POST …:countTokens`: all that generateContent would be sent, so tools and system count.

    Raises: UnsupportedParameter as the wire itself.
    """
    name = request.model if "/" in request.model else f"models/{request.model}"
    whole: dict[str, Any] = {"generateContentRequest": {"model": name} | body_of(request, provider)}
    return Outbound(path=path_to(provider, request.model, "countTokens"), body=write(whole, request, provider))


def decode(body: bytes, provider: Provider) -> int:
    """Read a 2xx answer: the tokens of the whole prompt, cached ones among them.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    try:
        return _decoder.decode(body.removeprefix(BOM)).total_tokens
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise classify.inside(body, provider) or classify.not_an_answer(body, provider) from None
