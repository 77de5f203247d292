"""A prompt with places for the columns of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import ConfigError, InputError

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Template:
    """A prompt, or another text named by `what`, with `{column}` places; `{{` and `}}` stand for braces.

    Raises: ConfigError for an empty one, a brace without its partner or an empty place.
    """

    def __init__(self, text: str, what: str = "prompt") -> None:
        if not text.strip():
            raise ConfigError(f"the {what} template is empty; write a text, with {{column}} for a field of the row")
        self.text = text
        self.what = what
        self._parts: list[tuple[str, str | None]] = []
        at, plain = 0, ""
        for found in _PIECE.finditer(text):
            plain += text[at : found.start()]
            at = found.end()
            if found[0] in ("{{", "}}"):
                plain += found[0][0]
                continue
            name = (found[1] or "").strip()
            if not name:
                raise ConfigError(
                    f"the {what} template has {found[0]!r} at character {found.start() + 1}, which names no column; "
                    "write {column}, or {{ and }} for braces"
                )
            self._parts.append((plain, name))
            plain = ""
        self._parts.append((plain + text[at:], None))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it needs, in the order of their first use."""
        return tuple(dict.fromkeys(name for _, name in self._parts if name is not None))

    def fill(self, row: Mapping[str, Any]) -> str:
        """Put a row's values in; what is not a string is written as JSON.

        Raises: InputError naming the column that is missing or null.
        """
        out: list[str] = []
        for plain, name in self._parts:
            out.append(plain)
            if name is None:
                continue
            value = row.get(name)
            if value is None:
                have = ", ".join(sorted(row)) or "no columns"
                raise InputError(
                    f"column {name!r} of the {self.what} is {'null' if name in row else 'missing'} (has {have})"
                )
            out.append(value if isinstance(value, str) else _written(value))
        return "".join(out)


def _written(value: Any) -> str:
    """Write a value as JSON, and what JSON has only as a string, such as a date, without its quotes."""
    data = msgspec.json.encode(value)
    return msgspec.json.decode(data, type=str) if data.startswith(b'"') else data.decode()
