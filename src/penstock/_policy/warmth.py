"""Which model holds a conversation in its provider's prompt cache, and until when."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..types import Usage

LEAST_TOKENS: Final = 1_024
"""Shorter prompts are not cached. Source: OpenAI and Anthropic, prompt caching (read 2026-11)."""

MOST_CONVERSATIONS: Final = 10_000
"""More are forgotten, those first that were used longest ago."""


class Warmth:
    """Remembers for each conversation the model that answered last, as long as its cache is likely to last."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether any conversation is remembered."""
        return bool(self._kept)

    def noticed(self, now: float, conversation: bytes, model: str, usage: Usage, lasts_s: float) -> None:
        """A model answered in a conversation."""
        if not is_cached(usage):
            self._kept.pop(conversation, None)
            return
        self._kept[conversation] = (model, now + lasts_s)
        self._kept.move_to_end(conversation)
        if len(self._kept) > MOST_CONVERSATIONS:
            self._kept.popitem(last=False)

    def model(self, now: float, conversation: bytes) -> str | None:
        """Return the model whose cache is warm, None where there is none."""
        found = self._kept.get(conversation)
        if found is None:
            return None
        if now >= found[1]:
            del self._kept[conversation]
            return None
        return found[0]


def is_cached(usage: Usage) -> bool:
    """Whether a prompt is in the provider's cache: it is long enough, or its usage says so."""
    return usage.prompt >= LEAST_TOKENS or bool(usage.cache_read or usage.cache_write)
