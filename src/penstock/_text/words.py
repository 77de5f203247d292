"""Words for values: which member of a closed set a text names, and what number or yes-or-no it says.

A name counts when it stands as a word of its own, whatever its case, accents and punctuation. Two names that are said
equally often name nothing: the text is refused, since a guess would be a value that nobody gave.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

MAX_WORDS_CHARS: Final = 20_000
"""Longer prose is no answer of one word."""

# Patterns are compiled by the first answer that needs them, not by every program that starts.
_MARKS: Final = r"[\W_]+"
_GROUPED: Final = r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
_SIMPLE_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
_FRACTION: Final = r"([+-]?\d{1,15})\s*/\s*(\d{1,15})"
_MONEY: Final = r"^[$€£¥]\s*|\s*(?:[$€£¥%]|USD|EUR|GBP)$"
_AMBIGUOUS: Final = r"[+-]?\d{1,3}\.\d{3}"
_ANY_NUMBER: Final = r"(?<![\w.,])[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|[.,]\d)"
_YES: Final = frozenset({"true", "yes"})
_NO: Final = frozenset({"false", "no"})


class Named(msgspec.Struct, frozen=True):
    """Which of the names was meant, how far the text was from it, and how it was found."""

    at: int
    cost: int
    note: str


def fold(text: str) -> str:
    """Write a text without case, accents and punctuation, one space between words."""
    if not text.isascii():
        text = "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))
    return re.sub(_MARKS, " ", text.casefold()).strip()


def closest(text: str, names: Sequence[str]) -> Named | None:
    """Find the one name that the text means; None where it names none, or several equally often."""
    if len(text) > MAX_WORDS_CHARS:
        return None
    bare = text.strip()
    for at, name in enumerate(names):
        if bare == name:
            return Named(at, 1, "left out blanks around it")
    folded = [fold(name) for name in names]
    said = fold(bare)
    same = [at for at, name in enumerate(folded) if name == said and name]
    if len(same) == 1:
        return Named(same[0], 2, f"{bare[:40]!r} differs in case, accents or punctuation")
    if same:
        return None
    return _said_in(bare, names) or _said_in(said, folded)


def _said_in(said: str, names: Sequence[str]) -> Named | None:
    places = {name: at for at, name in enumerate(names) if name}
    if not places or len(places) > 500:
        return None
    pattern = "|".join(re.escape(name) for name in sorted(places, key=len, reverse=True))
    # Scripts without blanks between words have no word borders to ask for.
    edge = r"\b" if all(name.isascii() for name in places) or " " in said else ""
    counts = Counter(re.findall(f"{edge}({pattern}){edge}", said)).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return Named(places[counts[0][0]], 5 if len(counts) == 1 else 6, "it is the one that the text names")


def truth(text: str) -> tuple[bool, int] | None:
    """Tell yes from no: the value and its cost, None where the text says neither or both."""
    if len(text) > MAX_WORDS_CHARS:
        return None
    words = fold(text).split()
    yes, no = any(word in _YES for word in words), any(word in _NO for word in words)
    if yes == no:
        return None
    return yes, 2 if len(words) == 1 else 5


def number(text: str, *, loose: bool = False) -> tuple[int | float, int, str] | None:
    """Read a number written as text: the value, its cost and a note.

    '1,234.5', '$5', '12%' and '1/5' are understood; '3,14' and '€1.234' mean different numbers in different
    countries and are refused. With `loose` the only number of a sentence counts.
    """
    bare = re.sub(_MONEY, "", text.strip()[:200]) if len(text) <= 200 else ""
    if re.fullmatch(_SIMPLE_NUMBER, bare):
        if bare != text.strip() and re.fullmatch(_AMBIGUOUS, bare):
            return None
        return plain(bare), 1 if bare == text else 2, f"read {text.strip()[:40]!r} as a number"
    if re.fullmatch(_GROUPED, bare):
        return plain(bare.replace(",", "")), 2, f"read {text.strip()[:40]!r} as a number"
    fraction = re.fullmatch(_FRACTION, bare)
    if fraction is not None and int(fraction[2]):
        return int(fraction[1]) / int(fraction[2]), 3, f"divided {bare}"
    if loose and len(text) <= MAX_WORDS_CHARS:
        found = re.findall(_ANY_NUMBER, text)
        if len(found) == 1:
            return plain(found[0].replace(",", "")), 6, "took the only number of the text"
    return None


def plain(text: str) -> int | float:
    """Convert digits, as an int where there is neither point nor exponent."""
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def lookup(names: Iterable[str]) -> dict[str, str]:
    """Map the folded form of each name to the name, leaving out forms that two names share."""
    found: dict[str, str] = {}
    twice = set()
    for name in names:
        form = fold(name)
        if form in found and found[form] != name:
            twice.add(form)
        found[form] = name
    return {form: name for form, name in found.items() if form and form not in twice}
