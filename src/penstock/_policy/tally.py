"""Running totals of a client: calls, attempts, tokens and money, in all, by model and by tag."""

from __future__ import annotations

from decimal import Decimal
from operator import add
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from ..types import Attempt, Usage, to_usd

_BUCKETS = Usage.__struct_fields__
"""What a usage counts, in its order; `estimated` adds up to whether any part was."""

FOLD_AT: Final = 64
"""Calls that are taken down before they are added up: one after the other they cost half of one by one."""


TAGS_MOST: Final = 10_000
"""Values of tags that are told apart; of more the oldest are forgotten, as every task of an agent is one."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What was used. `cost_nano` sums the attempts whose price is known; `unpriced` counts those whose price is not.

    `attempts` counts HTTP exchanges, `retries` those beyond the first of a call, `rate_limited` answers of 429.
    `cached` counts calls answered by the cache, which cost nothing, and `saved_nano` sums what those answers had cost.
    `by_tag` has the newest 10,000 values of tags.
    """

    calls: int = 0
    failed: int = 0
    attempts: int = 0
    retries: int = 0
    rate_limited: int = 0
    usage: Usage = Usage()
    cost_nano: int = 0
    unpriced: int = 0
    cached: int = 0
    saved_nano: int = 0
    by_model: dict[str, Totals] = {}
    by_tag: dict[str, Totals] = {}

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            calls=self.calls + other.calls,
            failed=self.failed + other.failed,
            attempts=self.attempts + other.attempts,
            retries=self.retries + other.retries,
            rate_limited=self.rate_limited + other.rate_limited,
            usage=self.usage + other.usage,
            cost_nano=self.cost_nano + other.cost_nano,
            unpriced=self.unpriced + other.unpriced,
            cached=self.cached + other.cached,
            saved_nano=self.saved_nano + other.saved_nano,
        )

    @property
    def cost(self) -> Decimal:
        """Dollars of all attempts with a known price; look at `unpriced` before trusting it as a total."""
        return to_usd(self.cost_nano)


class _Tally:
    """The mutable side of `Totals`. One attempt costs a few additions; the sums are built when asked for."""

    __slots__ = (
        "_used",
        "attempts",
        "cached",
        "calls",
        "cost_nano",
        "failed",
        "rate_limited",
        "retries",
        "saved_nano",
        "unpriced",
    )

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0
        self.attempts = 0
        self.retries = 0
        self.rate_limited = 0
        self._used: list[int] = [0] * len(_BUCKETS)
        self.cost_nano = 0
        self.unpriced = 0
        self.cached = 0
        self.saved_nano = 0

    def attempt(self, attempt: Attempt) -> None:
        """Count one HTTP exchange."""
        self.attempts += 1
        self.retries += attempt.number > 1
        self.rate_limited += attempt.outcome == "rate_limited"
        used = attempt.usage
        if used is not None:
            self._used = list(map(add, self._used, astuple(used)))
        if attempt.cost_nano is not None:
            self.cost_nano += attempt.cost_nano
        else:
            self.unpriced += 1

    def call(self, ok: bool) -> None:
        """Count one finished call."""
        self.calls += 1
        self.failed += not ok

    def hit(self, saved_nano: int | None) -> None:
        """Count a call that the cache answered."""
        self.cached += 1
        self.saved_nano += saved_nano or 0

    def totals(self) -> Totals:
        """Return the sums as a frozen value."""
        used: dict[str, Any] = dict(zip(_BUCKETS, self._used, strict=True))
        used["estimated"] = used["estimated"] > 0
        return Totals(
            calls=self.calls,
            failed=self.failed,
            attempts=self.attempts,
            retries=self.retries,
            rate_limited=self.rate_limited,
            usage=Usage(**used),
            cost_nano=self.cost_nano,
            unpriced=self.unpriced,
            cached=self.cached,
            saved_nano=self.saved_nano,
        )


class Tallies:
    """The running totals of a client, by model and by tag. Its owner calls it from one thread at a time."""

    __slots__ = ("_by_model", "_by_tag", "_ended")

    def __init__(self) -> None:
        self._ended: list[tuple[dict[str, str], str, tuple[Attempt, ...], bool]] = []
        self._by_model: dict[str, _Tally] = {}
        self._by_tag: dict[str, _Tally] = {}

    def ended(self, tags: dict[str, str], model: str, attempts: tuple[Attempt, ...], *, ok: bool) -> None:
        """Count a call that ended; `model` ('provider:model') is charged with it when no attempt was made."""
        self._ended.append((tags, model, attempts, ok))
        if len(self._ended) >= FOLD_AT:
            self._fold()

    def hit(self, tags: dict[str, str], model: str, saved_nano: int | None) -> None:
        """Count a call that the cache answered."""
        _of(model, self._by_model).hit(saved_nano)
        for tag, value in tags.items():
            self._of_tag(f"{tag}={value}").hit(saved_nano)

    def totals(self) -> Totals:
        """Return the sums as a frozen value."""
        self._fold()
        by_model = {name: tally.totals() for name, tally in self._by_model.items()}
        by_tag = {name: tally.totals() for name, tally in self._by_tag.items()}
        return msgspec.structs.replace(sum(by_model.values(), Totals()), by_model=by_model, by_tag=by_tag)

    def _of_tag(self, name: str) -> _Tally:
        found = self._by_tag.get(name)
        if found is None:
            while len(self._by_tag) >= TAGS_MOST:
                del self._by_tag[next(iter(self._by_tag))]
            found = self._by_tag[name] = _Tally()
        return found

    def _fold(self) -> None:
        by_model = self._by_model
        for tags, model, attempts, ok in self._ended:
            of_tags = [self._of_tag(f"{tag}={value}") for tag, value in tags.items()] if tags else ()
            tally = None
            for attempt in attempts:
                model = f"{attempt.provider}:{attempt.model}"
                tally = by_model.get(model) or _of(model, by_model)
                if attempt.sent:
                    tally.attempt(attempt)
                    for each in of_tags:
                        each.attempt(attempt)
            (tally or _of(model, by_model)).call(ok)
            for each in of_tags:
                each.call(ok)
        self._ended.clear()


def _of(name: str, tallies: dict[str, _Tally]) -> _Tally:
    found = tallies.get(name)
    if found is None:
        found = tallies[name] = _Tally()
    return found
