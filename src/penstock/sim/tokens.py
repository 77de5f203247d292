"""The simulator's own tokenizer: pieces of a few characters, so that counts are exact and repeatable."""

from __future__ import annotations

import re

_PIECE = re.compile(r"\s*[A-Za-z]{1,6}|\s*\d{1,3}|\s*[^\sA-Za-z\d]{1,2}|\s+")

CHARS_PER_TOKEN = 4


def split(text: str) -> list[str]:
    """Cut text into tokens; joined together they are the text again."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """How many tokens the simulated model sees in the text."""
    return len(_PIECE.findall(text))


def estimate(chars: int) -> int:
    """The gateway's estimate by character count, used at admission; at least 1."""
    return max(1, -(-chars // CHARS_PER_TOKEN))
