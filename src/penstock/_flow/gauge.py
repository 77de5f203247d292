"""How far our count of tokens is from a lane's own, learned from the answers whose usage the provider reported."""

from __future__ import annotations

from typing import Final

LEAST: Final = 200
"""Tokens counted before the ratio is believed."""

MOST: Final = 100_000
"""Tokens after which older answers weigh half, so that a lane whose traffic changes is followed."""


class Gauge:
    """The ratio of reported to counted tokens, 1 until enough were counted."""

    __slots__ = ("_counted", "_off", "_told")

    def __init__(self) -> None:
        self._counted = 0.0
        self._told = 0.0
        self._off = 0.0

    def learn(self, told: int, counted: int) -> None:
        """Note what the provider reported for what we counted, and how far off our guess was before that."""
        self._off += abs(told - self.scaled(counted))
        self._told += told
        self._counted += counted
        if self._counted > MOST:
            self._told, self._counted, self._off = self._told / 2, self._counted / 2, self._off / 2

    @property
    def ratio(self) -> float | None:
        """Tokens that the provider reports for one that we count, None until enough were counted."""
        return None if self._counted < LEAST else self._told / self._counted

    @property
    def error(self) -> float | None:
        """How far off the guesses of late were, as a part of what was reported; None until enough were counted."""
        return None if self._counted < LEAST or not self._told else self._off / self._told

    def scaled(self, counted: int) -> int:
        """Return the tokens that the provider would report for what we counted."""
        return counted if self._counted < LEAST else round(counted * self._told / self._counted)


class Gauges:
    """Those of one lane: for what is sent to it and for what it writes."""

    __slots__ = ("prompt", "text")

    def __init__(self) -> None:
        self.prompt = Gauge()
        self.text = Gauge()
