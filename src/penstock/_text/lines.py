"""Lines: `Key: value` for the fields of an object, and bulleted or numbered lists."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from . import words
from .shape import Shape

_PAIR: Final = re.compile(
    r"[ \t]*(?:[-*•>+][ \t]+)?[*_`\"]{0,3}([^\W\d_][\w .\-]{0,60}?)[*_`\"]{0,3}[ \t]*[:=][*_]{0,2}(?:[ \t]+|$)(.*)$"
)
_ITEM: Final = re.compile(r"[ \t]*(?:[-*•+–]|\d{1,3}[.)])[ \t]+(.*)$")
MAX_LINES: Final = 20_000


def pairs(text: str, shape: Shape) -> dict[str, Any] | None:
    """Read `Key: value` lines for the fields of a shape; a value goes on until the next known key.

    A shape without fields takes every key, where all lines are such pairs.
    """
    forms = words.lookup(shape.fields) | {words.fold(alias): name for alias, name in shape.aliases.items()}
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.split("\n", MAX_LINES):
        pair = _PAIR.match(line) if ":" in line or "=" in line else None
        name = None if pair is None else forms.get(words.fold(pair[1])) if shape.fields else pair[1].strip()
        if pair is not None and name is not None:
            if name in found:
                return None
            current = found[name] = [pair[2].strip()]
        elif current is not None:
            current.append(line)
        elif line.strip() and not shape.fields:
            return None
    if not found:
        return None
    return {name: _value(body, shape.fields.get(name)) for name, body in found.items()}


def _value(body: list[str], shape: Shape | None) -> Any:
    text = "\n".join(body).strip()
    if shape is not None and _wants_list(shape):
        listed = items(text)
        if listed is not None:
            return listed
        if text.startswith("["):
            return text
        return [part.strip() for part in text.split(",") if part.strip()]
    if shape is None or shape.kind in ("object", "union", "any", "array"):
        try:
            return msgspec.json.decode(text)
        except (ValueError, RecursionError):
            return text
    return text


def _wants_list(shape: Shape) -> bool:
    return shape.kind == "array" or (shape.kind == "union" and any(_wants_list(option) for option in shape.options))


def items(text: str) -> list[str] | None:
    """Read a bulleted or numbered list; a line without a mark goes on with the item before it."""
    found: list[list[str]] = []
    for line in text.split("\n", MAX_LINES):
        item = _ITEM.match(line)
        if item is not None:
            found.append([item[1].strip()])
        elif found and line.strip():
            if not line[:1].isspace():
                break
            found[-1].append(line.strip())
    return [" ".join(item) for item in found] or None
