"""The responses that a server keeps, so that a later request can go on from one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.sim.answers import Turn

KEPT_MOST = 10_000
"""Responses kept; the oldest goes first."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One response: the conversation up to and with it, the tool calls that wait for their results, its items' ids."""

    turns: tuple[Turn, ...]
    open_calls: Mapping[str, str] = field(default_factory=dict)
    items: frozenset[str] = frozenset()


class ResponseStore:
    """Responses by credential and id."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Kept] = {}
        self._items: set[tuple[str, str]] = set()

    def keep(self, credential: str, ident: str, response: Kept) -> None:
        """Keep a response."""
        if len(self._kept) >= KEPT_MOST:
            (owner, _), oldest = next(iter(self._kept.items()))
            del self._kept[next(iter(self._kept))]
            self._items -= {(owner, item) for item in oldest.items}
        self._kept[credential, ident] = response
        self._items |= {(credential, item) for item in response.items}

    def find(self, credential: str, ident: str) -> Kept | None:
        """The response with this id, if this credential may see it."""
        return self._kept.get((credential, ident))

    def has_item(self, credential: str, ident: str) -> bool:
        """Whether an item is that of a kept response."""
        return (credential, ident) in self._items
