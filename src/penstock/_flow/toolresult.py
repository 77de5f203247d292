"""What a tool returned, as the model gets it: text or pictures, bounded, or the words of why it cannot be told."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..types import Document, Image, Text

Content = str | tuple[Text | Image | Document, ...]
PARTS_MOST: Final = 20
"""Pictures and documents of one result; more of them is a folder that was read by mistake."""

BYTES_MOST: Final = 64 * 1024 * 1024
"""A value whose JSON would have more bytes is not written at all."""


def told(value: Any, max_chars: int) -> tuple[Content, bool]:
    """Return what the model is told of a tool's value, and whether that is the words of an error."""
    if isinstance(value, Text | Image | Document):
        value = (value,)
    if isinstance(value, tuple | list) and value and all(isinstance(each, Text | Image | Document) for each in value):
        return _parts(tuple(value), max_chars)
    try:
        return shortened(_written(value, max_chars), max_chars), False
    except Unwritable as error:
        return f"the tool returned {error}", True


class Unwritable(Exception):
    """A value that has no form as text."""


def _written(value: Any, max_chars: int) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "done; the tool returned nothing"
    if isinstance(value, bytes | bytearray | memoryview):
        piece = bytes(value[: 4 * max_chars + 4])
        text = piece.decode("utf-8", "ignore" if len(value) > len(piece) else "strict") if _is_text(piece) else None
        if text is None:
            raise Unwritable(f"{len(value):,} bytes that are no text; let it return text, or an Image or Document")
        return text
    try:
        written = msgspec.json.encode(value, enc_hook=_plain)
    except RecursionError:
        raise Unwritable("a value that contains itself; let it return a plain one") from None
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise Unwritable(f"a {type(value).__name__} that cannot be written as JSON ({error}); let it return text, "
                         "numbers, lists, dicts, dataclasses or pydantic models") from None  # fmt: skip
    if len(written) > BYTES_MOST:
        written = written[: 4 * max_chars + 4]
    return written.decode("utf-8", "ignore")


def _is_text(piece: bytes) -> bool:
    try:
        return "\0" not in piece[: len(piece) // 4 * 4].decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        return error.start >= len(piece) - 4 and b"\0" not in piece


def _plain(value: Any) -> Any:
    """Turn what msgspec does not know into what JSON has.

    Raises: TypeError for what has no such form, a generator as well as a socket.
    """
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def shortened(text: str, max_chars: int) -> str:
    """Leave out the middle of a text that is too long, and say how much that is."""
    if len(text) <= max_chars:
        return text
    head = max_chars * 2 // 3
    tail = max_chars - head
    left_out = len(text) - max_chars
    end = text[len(text) - tail :] if tail else ""
    return f"{text[:head]}\n[… {left_out:,} characters are left out here; ask for less of it …]\n{end}"


def _parts(parts: tuple[Text | Image | Document, ...], max_chars: int) -> tuple[Content, bool]:
    if len(parts) > PARTS_MOST:
        return f"the tool returned {len(parts)} parts, more than {PARTS_MOST}", True
    made = [
        msgspec.structs.replace(part, text=shortened(part.text, max_chars)) if isinstance(part, Text) else part
        for part in parts
    ]
    return tuple(made), False
