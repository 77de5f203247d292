"""What ranking documents by a query gives: their order and scores, and what it took."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from .embeddings import TextsRequest
from .types import Attempt, to_usd


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """One document: its place among those that were given, and how relevant it is, from 0 to 1."""

    index: int
    score: float


class Reranking(msgspec.Struct, frozen=True, kw_only=True):
    """Documents in the order of their relevance to a query, the best first, with what the ranking took.

    `search_units` is what the provider billed (None: it did not say), `cost_nano` the same in nano-dollars, None when a
    price is unknown. `latency_s` is the time from the call's start to its end.
    """

    provider: str
    model: str
    results: tuple[Ranked, ...]
    search_units: int | None = None
    cost_nano: int | None = None
    id: str | None = None
    attempts: tuple[Attempt, ...] = ()
    latency_s: float = 0.0
    tags: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Ranked:
        return self.results[index]

    @property
    def cost(self) -> Decimal | None:
        """Dollars, exact; None when the price of the model is unknown."""
        return None if self.cost_nano is None else to_usd(self.cost_nano)


class RerankRequest(TextsRequest, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What goes into one request for a ranking: `texts` are the documents, `top_n` how many of the best to return."""

    query: str = ""
    top_n: int | None = None
    max_tokens_per_doc: int | None = None
