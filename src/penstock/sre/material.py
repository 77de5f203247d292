"""From files, pipes and text to what is shown to a model: read in pieces, told apart from binary data, cleaned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Final

import msgspec

from .._text.redact import Redactor
from .._text.tokens import estimate
from ..errors import InputError

Source = str | bytes | os.PathLike[str] | IO[bytes] | Iterable[bytes]
"""Text, bytes, a path, a file that is open for bytes, or pieces of bytes."""

PIECE: Final = 1 << 20
SAMPLE: Final = 1 << 16
BYTES_PER_TOKEN: Final = 6
"""More than any log has, so that what may be shown as a whole is kept until it is known to be too long."""
NOISE_MOST: Final = 0.1
"""Share of bytes that are no UTF-8 in what still counts as text: old logs have other encodings here and there."""
_MARKS: Final = {
    b"\x1f\x8b": "gzip: zcat it",
    b"PK\x03\x04": "a zip archive: unpack it",
    b"BZh": "bzip2: bzcat it",
    b"\xfd7zXZ": "xz: xzcat it",
    b"(\xb5/\xfd": "zstd: zstdcat it",
    b"\xff\xfe": "UTF-16: iconv it to UTF-8",
    b"\xfe\xff": "UTF-16: iconv it to UTF-8",
}


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown to the model, cleaned: `text`, and what it is of.

    `lines`, `bytes` and `levels` are those of the source; `shown` is 'whole' or 'digest', and `left_out` says in a
    sentence what a digest does not show.
    """

    name: str
    text: str
    lines: int
    bytes: int
    shown: str
    left_out: str = ""
    levels: dict[str, int] = {}

    @property
    def tokens(self) -> int:
        """About how many tokens the text is."""
        return estimate(self.text)


def read(
    source: Source,
    *,
    name: str = "",
    tokens: int,
    clean: Redactor | None,
    progress: Callable[[int], None] | None = None,
) -> Material:
    """Read a log: all of it where it has at most about `tokens`, else as a digest; memory does not grow with it.

    `progress` is told of the bytes read so far.

    Raises: InputError for what is empty, binary or cannot be read.
    """
    if isinstance(source, str | bytes):
        data = source.encode("utf-8", "surrogateescape") if isinstance(source, str) else source
        return _short(data, name, tokens, clean) or _read(iter([data]), name or "the text", tokens, clean, progress)
    if isinstance(source, os.PathLike):
        path = os.fspath(source)
        try:
            with open(path, "rb") as file:
                return _read(_pieces(file), name or path, tokens, clean, progress)
        except OSError as error:
            raise InputError(f"cannot read the file {path!r}: {error.strerror or error}") from error
    opened: Any = source
    pieces = _pieces(opened) if hasattr(source, "read") else iter(opened)
    return _read(pieces, name or "the input", tokens, clean, progress)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    read1 = getattr(file, "read1", file.read)
    while piece := read1(PIECE):
        yield piece


def _short(data: bytes, name: str, tokens: int, clean: Redactor | None) -> Material | None:
    """Show a few lines as they are, without the machinery for long logs; None where it is needed."""
    if len(data) > 8_192 or len(data) > tokens * 2:
        return None
    _check(data, name or "the text")
    text = data.decode(errors="replace").strip()
    if not text:
        raise InputError(f"{name or 'the text'} is empty, so there is nothing to look at")
    lines = text.count("\n") + 1
    return Material(name=name, text=text if clean is None else clean(text), lines=lines, bytes=len(data), shown="whole")


def _read(
    pieces: Iterator[bytes],
    name: str,
    tokens: int,
    clean: Redactor | None,
    progress: Callable[[int], None] | None,
) -> Material:
    from .._text.digest import digest
    from .._text.logs import Miner

    miner, kept, sampled = Miner(), bytearray(), 0
    for piece in pieces:
        if sampled < SAMPLE:
            _check(piece[: SAMPLE - sampled], name)
            sampled += len(piece)
        miner.feed(piece)
        if miner.bytes <= tokens * BYTES_PER_TOKEN:
            kept += piece
        elif kept:
            kept.clear()
        if progress is not None:
            progress(miner.bytes)
    miner.end()
    figures = miner.figures
    if not figures.patterns:
        raise InputError(f"{name} is empty, so there is nothing to look at")
    levels: dict[str, int] = dict(figures.levels.items())
    if kept:
        text = kept.decode(errors="replace").rstrip()
        text = text if clean is None else clean(text)
        if estimate(text) <= tokens:
            return Material(
                name=name, text=text, lines=figures.lines, bytes=figures.bytes, shown="whole", levels=levels
            )
    shown = digest(miner, tokens, clean or str)
    return Material(
        name=name,
        text=shown.text,
        lines=figures.lines,
        bytes=figures.bytes,
        shown="digest",
        left_out=shown.left_out,
        levels=levels,
    )


def _check(sample: bytes, name: str) -> None:
    """Refuse what is no text.

    Raises: InputError.
    """
    for mark, what in _MARKS.items():
        if sample.startswith(mark):
            raise InputError(f"{name} is no plain text but {what} first")
    if b"\0" in sample:
        raise InputError(f"{name} is binary, not text (it has a zero byte at {sample.index(0):,}); give it a log")
    broken = sample.decode(errors="replace").count("�") if not sample.isascii() else 0
    if broken > NOISE_MOST * len(sample):
        raise InputError(f"{name} is no UTF-8 text; convert it first, as with iconv -t utf-8")
