"""What every protocol of embeddings shares: who can be asked for vectors, and how they come back."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from ..embeddings import EmbedRequest
from ..errors import CallError, ServerFault, UnsupportedParameter
from ..types import Request
from .protocol import Provider, Reply

_SPOKEN_BY: Final = {"openai": "openai_chat", "cohere": "cohere", "gemini": "gemini"}
"""The wire that a provider of each protocol of embeddings has: without it a row says nothing of them."""


class Embedded(Reply, frozen=True, kw_only=True, gc=False):
    """A whole answer, decoded: vectors of `size` numbers one after the other, in the order of the texts."""

    size: int
    floats: array[float]

    def check_count(self, request: Request) -> None:
        """Raises: ServerFault when there is not exactly one vector per text."""
        asked = len(request.texts) if isinstance(request, EmbedRequest) else 0
        if len(self.floats) != asked * self.size:
            raise ServerFault(
                f"{asked} texts were sent and {len(self.floats) // self.size} vectors came back; try again"
            )


def check(
    provider: Provider, *, dimensions: int | None, user: str | None, model: str, input_type: str | None = None
) -> None:
    """Look whether a provider can embed, before anything is sent.

    Raises: UnsupportedParameter for a provider that offers no embeddings, or does not take a parameter or wants it.
    """
    if _SPOKEN_BY.get(provider.embeddings) != provider.wire:
        raise _refused(
            provider, model, "embed", "offers no embeddings that Penstock can ask for; use another provider for them"
        )
    if user is not None and ("user" in provider.unsupported or provider.embeddings != "openai"):
        raise _refused(provider, model, "user", "does not take 'user'; leave it out")
    if dimensions is not None and not provider.embeddings_dimensions:
        raise _refused(provider, model, "dimensions", "does not take 'dimensions'; leave it out")
    if input_type is not None and provider.embeddings == "openai":
        raise _refused(provider, model, "input_type", "does not take 'input_type'; leave it out")
    if input_type is None and provider.embeddings == "cohere":
        why = "embeds for a purpose: give input_type='search_document', or 'search_query' for what is searched with"
        raise _refused(provider, model, "input_type", why)


def _refused(provider: Provider, model: str, param: str, why: str) -> CallError:
    return UnsupportedParameter(f"{provider.name} {why}", provider=provider.name, model=model, param=param)


def packed(vectors: Iterable[Sequence[float]]) -> tuple[int, array[float]]:
    """Put vectors into one array, and return how long each is.

    Raises: ValueError when there is none, or they are not of one length, or empty; OverflowError for a number that no
    32-bit float holds.
    """
    floats = array("f")
    size = 0
    for vector in vectors:
        size = size or len(vector)
        if len(vector) != size:
            raise ValueError("vectors of different lengths")
        floats.extend(vector)
    if not floats:
        raise ValueError("no vectors")
    return size, floats
