"""The provider's prompt caches: which prefix was seen when."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from penstock.sim import tokens

_KEPT = 10_000
_FIRST = 1024
_STEP = 128


class Mark(NamedTuple):
    """A breakpoint: everything up to it, `tokens` long, may be cached for `ttl_s` seconds (0 at no breakpoint)."""

    digest: bytes
    tokens: int
    ttl_s: int


class PrefixCache:
    """Prefixes by digest with the time they expire; the least recently used of 10,000 goes first."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def read(self, digest: bytes, now: float) -> bool:
        """Whether that prefix is cached; a hit starts its lifetime anew."""
        found = self._until.get(digest)
        if found is None or found[0] <= now:
            return False
        self.write(digest, now, found[1])
        return True

    def write(self, digest: bytes, now: float, ttl_s: float) -> None:
        """Cache a prefix for `ttl_s` seconds from now."""
        self._until[digest] = (now + ttl_s, ttl_s)
        self._until.move_to_end(digest)
        while len(self._until) > _KEPT:
            self._until.popitem(last=False)


def automatic(cache: PrefixCache, scope: str, prompt: str, now: float, ttl_s: float) -> int:
    """OpenAI's way: prefixes of 1024 tokens and more, in steps of 128, are cached by themselves; returns the hit."""
    if len(prompt) < _FIRST:
        return 0
    pieces = tokens.split(prompt)
    if len(pieces) < _FIRST:
        return 0
    digest = blake2b(scope.encode(), digest_size=16)
    hit = at = 0
    for end in range(_FIRST, len(pieces) + 1, _STEP):
        digest.update("".join(pieces[at:end]).encode())
        at = end
        key = digest.digest()
        if cache.read(key, now):
            hit = end
        else:
            cache.write(key, now, ttl_s)
    return hit


def marked(
    cache: PrefixCache, marks: Sequence[Mark], minimum: int, now: float, *, commit: bool = True
) -> tuple[int, int, int]:
    """Anthropic's way: returns tokens read, written for 5 minutes and written for 1 hour at the marks.

    Without `commit` nothing is written, as for a request that may still be refused.
    """
    read = 0
    for mark in reversed(marks):
        if mark.tokens >= minimum and cache.read(mark.digest, now):
            read = mark.tokens
            break
    short = long = 0
    done = read
    for mark in marks:
        if mark.ttl_s and mark.tokens > done and mark.tokens >= minimum:
            if mark.ttl_s > 300:
                long += mark.tokens - done
            else:
                short += mark.tokens - done
            done = mark.tokens
        if commit and mark.ttl_s and mark.tokens >= minimum:
            cache.write(mark.digest, now, mark.ttl_s)
    return read, short, long
