"""A small model of which prompts need the stronger model: `penstock route calibrate` writes it, the router reads it.

A logistic regression over the difficulty of a prompt and over the words and pairs of words in it: runs of letters that
stood in several prompts. So the file holds common words of the prompts that it was fitted to, and no text of any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, Final

import msgspec

from ..errors import ConfigError
from ..types import Tier
from .complexity import look

VERSION: Final = 1
WEIGHT_MOST: Final = 1e100
MOST_WORDS: Final = 160
PAIRED_WORDS: Final = 64
"""Of a prompt so many words are looked up, half of them from its end, and of the first ones each with the next too.

This bounds the time that a route takes; pairs from all of it would recover a hundredth more of the gap.
"""


class Learned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What was learned: a weight for each word or pair of words, and where the two models part.

    A prompt whose score is not below `threshold` goes to `strong_tier`, else to `weak_tier`. `figures` is what the
    calibration found on prompts that it had not learned from.
    """

    version: int
    bias: float
    difficulty: float
    middle: float
    words: dict[str, float]
    threshold: float
    weak_tier: Tier
    strong_tier: Tier
    figures: dict[str, Any] = {}

    def score(self, text: str) -> float:
        """Return from 0 to 1 how likely the stronger model is worth it."""
        hard, words = look(text)
        looked_up, neighbours = features(words)
        single, pairs = set(looked_up), set(neighbours)
        of_words, of_pairs = self._weights
        total = self.bias + self.difficulty * (hard - self.middle)
        if words:
            weights = chain(map(of_words.get, single), map(of_pairs.get, pairs))
            exact = math.fsum(filter(None, weights))  # the same in any order, and sets have none
            total += exact / math.sqrt(len(single) + len(pairs))
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total))))

    @cached_property
    def _weights(self) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
        """The weights of words, and those of pairs: to look for two words is quicker than to write them as one."""
        words: dict[str, float] = {}
        pairs: dict[tuple[str, str], float] = {}
        for name, weight in self.words.items():
            first, blank, second = name.partition(" ")
            if blank:
                pairs[first, second] = weight
            else:
                words[name] = weight
        return words, pairs


def features(words: list[str]) -> tuple[list[str], Iterator[tuple[str, str]]]:
    """Return the words and the pairs of neighbours that a prompt is judged by; each counts once."""
    if len(words) > MOST_WORDS:
        words = words[: MOST_WORDS // 2] + words[-MOST_WORDS // 2 :]
    return words, pairwise(words[:PAIRED_WORDS])


def read(data: bytes, place: str) -> Learned:
    """Read a file of `penstock route calibrate`.

    Raises: ConfigError naming the file, when it is none or of another version.
    """
    try:
        found = msgspec.json.decode(data, type=Learned)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{place} is no calibration ({error}); make one with: penstock route calibrate FILE -o {place}"
        ) from None
    if found.version != VERSION:
        raise ConfigError(f"{place} is a calibration of version {found.version}, this is {VERSION}; calibrate again")
    numbers = (found.bias, found.difficulty, found.middle, found.threshold, *found.words.values())
    if not all(abs(number) < WEIGHT_MOST for number in numbers):
        raise ConfigError(f"{place} holds a weight that is no number; calibrate again")
    return found
