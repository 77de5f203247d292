"""What the reader of a stream has seen, so that an answer told anew goes on where the reader is."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .._wire.assembly import Assembly
from ..types import Choice, Chunk

Place = tuple[int, int]
"""Choice and content part; the part of a stop is -1."""


class Diverged(Exception):
    """The answer told anew is not the one that was shown, and what was shown cannot be taken back."""


class _Piece:
    """A content part as it was shown, and how much of it the new telling has repeated."""

    def __init__(self, first: Chunk) -> None:
        self.first = first
        self.texts: list[str] = []
        self.text = ""
        self.at = 0
        self.told = False

    @property
    def whole(self) -> bool:
        return self.told and self.at == len(self.text)


class Shown:
    """Chunks that were shown. After `again`, `fresh` swallows what repeats them and lets through what is new."""

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._pieces: dict[Place, _Piece] = {}

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def again(self) -> None:
        """The answer begins from its start."""
        self._pieces = {}
        for chunk in self._chunks:
            if chunk.kind != "usage":
                self._pieces.setdefault(_place(chunk), _Piece(chunk)).texts.append(chunk.text)
        for piece in self._pieces.values():
            piece.text = "".join(piece.texts)

    def fresh(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Return what of the next chunks was not shown yet, and count it as shown.

        Raises: Diverged.
        """
        new = [left for chunk in chunks if (left := self._left(chunk))] if self._pieces else list(chunks)
        self._chunks += new
        return new

    def choices(self) -> tuple[Choice, ...]:
        """Return what was shown as choices."""
        assembly = Assembly()
        assembly.add(self._chunks)
        return assembly.choices()

    def _left(self, chunk: Chunk) -> Chunk | None:
        place = _place(chunk)
        if chunk.kind == "stop" and any(
            not piece.whole for (choice, part), piece in self._pieces.items() if choice == chunk.choice and part >= 0
        ):
            raise Diverged
        piece = self._pieces.get(place)
        if piece is None or chunk.kind == "usage":
            return chunk
        first = piece.first
        if (first.kind, first.part, first.stop_reason) != (chunk.kind, chunk.part, chunk.stop_reason):
            raise Diverged
        if (chunk.id or chunk.name) and (first.id, first.name) != (chunk.id, chunk.name):
            raise Diverged
        piece.told = True
        size = min(len(chunk.text), len(piece.text) - piece.at)
        if not piece.text.startswith(chunk.text[:size], piece.at):
            raise Diverged
        piece.at += size
        rest = chunk.text[size:]
        if not rest:
            return None
        return msgspec.structs.replace(chunk, text=rest) if size else chunk


def _place(chunk: Chunk) -> Place:
    return (chunk.choice, -1 if chunk.kind == "stop" else chunk.index)
