"""A value that grows with its text: what a stream has said so far, in time linear in the length of the stream."""

from __future__ import annotations

from typing import Any, Final

from ..errors import ParseError
from .parse import parse
from .result import MAX_CHARS, Parsed

GROWTH: Final = 1.125
"""The text is read again when it has grown by an eighth, so that all readings together cost nine times the last."""
FIRST_CHARS: Final = 16


class Growing:
    """Takes the pieces of a stream and gives partial values: plain data, nothing required, no cut number or word."""

    __slots__ = ("_next_chars", "_pieces", "_size", "_wanted")

    def __init__(self, wanted: Any = None) -> None:
        self._wanted = wanted
        self._pieces: list[str] = []
        self._size = 0
        self._next_chars = FIRST_CHARS

    @property
    def text(self) -> str:
        """Everything that came."""
        return "".join(self._pieces)

    def feed(self, piece: str) -> Parsed[Any] | None:
        """Add a piece; return the value so far, or None where there is none yet or too little is new.

        Raises: ParseError when the text is longer than any answer.
        """
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_CHARS:
            raise ParseError(f"the stream has more than {MAX_CHARS:,} characters")
        if self._size < self._next_chars:
            return None
        self._next_chars = max(self._size + FIRST_CHARS, int(self._size * GROWTH))
        text = self.text
        self._pieces = [text]
        try:
            return parse(text, self._wanted, partial=True)
        except ParseError:
            return None

    def finish(self, **options: Any) -> Parsed[Any]:
        """Read the whole text as the wanted type, with the options of `parse`.

        Raises: ParseError.
        """
        return parse(self.text, self._wanted, **options)
