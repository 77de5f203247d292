"""How hard a prompt looks: a tier by words and length, and a score from 0 to 1 by length and structure.

The rules of `detect_complexity`, of which the first that fits decides:

    it says classify, yes/no, true/false, define or list    simple
    it says analyze, investigate or root cause              complex
    it says design, architect or review                     expert
    it has fewer than 100 characters                        simple
    anything else                                           moderate

They are predictable and weak: on published outcomes they choose hardly better than a coin. `difficulty` orders prompts
better, and a model fitted to one's own outcomes better still; see docs/explanation/what-the-router-knows.md.
"""

from __future__ import annotations

import math
import re
from string import ascii_lowercase
from typing import Final, NamedTuple

from ..errors import InputError
from ..types import Tier

SHORT_CHARS: Final = 100
SAMPLE_CHARS: Final = 1_500
"""Of a longer prompt, so many characters of its beginning and of its end are read: what is asked stands there."""

_RULES: Final[tuple[tuple[Tier, tuple[str, ...], re.Pattern[str]], ...]] = (
    (
        "simple",
        ("classify", "yes", "false", "define", "list"),
        re.compile(r"\b(?:classify|yes ?[/-] ?no|yes or no|true ?[/-] ?false|true or false|define|list)\b"),
    ),
    ("complex", ("analy", "investigate", "root"), re.compile(r"\b(?:analy[sz]e|investigate|root[ -]causes?)\b")),
    ("expert", ("design", "architect", "review"), re.compile(r"\b(?:design|architect|architecture|review)\b")),
)
"""A tier, letters of which some must be there for its words (to look for them is ten times as quick), and its words."""

_CLUES: Final = [(letters, tier, words) for tier, each, words in _RULES for letters in each]
_LETTERS: Final = bytes(byte if chr(byte) in ascii_lowercase else ord(" ") for byte in range(256))
"""Splitting at blanks, which it makes of all but small letters, is twice as quick as a pattern for words."""

_THOUGHT_WORDS: Final = """
why how explain prove derive calculate compute compare evaluate step steps because therefore assume suppose given if
then must each every exactly without unless not except following statement statements equation integral derivative
polynomial probability triangle matrix theorem percent average total area value twice half ratio times per fraction
remaining left dollars hours minutes
"""
_CODE_WORDS: Final = "def class function python java sql html algorithm implement code program api"
_WEIGHTS: Final = {**dict.fromkeys(_THOUGHT_WORDS.split(), 0.1), **dict.fromkeys(_CODE_WORDS.split(), 0.3)}
_COMMA: Final = 0.2
_MIDDLE: Final = 4.8
_SPREAD: Final = 1.0


class Complexity(NamedTuple):
    """A tier and why, in words."""

    tier: Tier
    reason: str


def detect_complexity(text: str) -> Complexity:
    """Choose a tier by the words and the length of a prompt; whole words, in any case, by the rules of this module.

    Raises: InputError when it is no text.
    """
    lower = _sample(text).lower()
    for letters, tier, words in _CLUES:
        if letters in lower and (found := words.search(lower)):
            return Complexity(tier, f"it says {found[0]!r}")
    if len(text) < SHORT_CHARS:
        return Complexity("simple", f"it has {len(text)} characters, fewer than {SHORT_CHARS}")
    return Complexity("moderate", "no rule of words or length speaks for another tier")


def difficulty(text: str) -> float:
    """Return how hard a prompt looks, from 0 to 1, by its length and by its words of reasoning, numbers and code.

    Only the order of prompts means something, no single value: it is no probability.

    Raises: InputError when it is no text.
    """
    return look(text)[0]


def look(text: str) -> tuple[float, list[str]]:
    """Return the difficulty of a prompt, and the words that were read of it.

    Raises: InputError when it is no text.
    """
    lower = _sample(text).lower()
    words = lower.encode("ascii", "replace").translate(_LETTERS).decode().split()
    known = sum(filter(None, map(_WEIGHTS.get, words)))
    longer = len(text) / len(lower) if lower else 1.0
    score = math.log1p(len(words) * longer) + known + _COMMA * math.log1p(lower.count(",") * longer)
    return 1.0 / (1.0 + math.exp((_MIDDLE - score) / _SPREAD)), words


def _sample(text: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"a prompt to be judged must be text; got a {type(text).__name__}")
    return text if len(text) <= 2 * SAMPLE_CHARS else f"{text[:SAMPLE_CHARS]}\n{text[-SAMPLE_CHARS:]}"
