"""A report as text for people, written so that the text of half a value is the beginning of the text of the whole.

On a terminal long lines go on under their beginning, between two words; what would move its cursor is left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from .shown import columns
from .streams import is_plain

BRIEF: Final = frozenset({"severity", "service", "component", "category", "page", "confidence", "title"})
"""Fields whose value stands beside their name."""
_LEADS: Final = frozenset({"cause", "action", "event", "time"})
_MARKS: Final = {"command": "$ ", "expect": "→ ", "evidence": "> "}
_NAMES: Final = {"now": "First fifteen minutes", "why": "Why this severity", "unknown": "Not known yet",
                 "page": "Wake somebody", "escalate": "Escalation"}  # fmt: skip
_STYLE: Final = re.compile(r"\x1b\[\d*m")
_MARK: Final = re.compile(r"\d+\.|[-$→>]")


def rendered(value: Mapping[str, Any], *, bold: bool | None = None) -> str:
    """Write a value, whole or growing, as text. Empty fields are left out."""
    styled = bold if bold is not None else not is_plain(sys.stdout)
    pieces: list[str] = []
    for name, item in value.items():
        if item in ("", [], None):
            continue
        title = _NAMES.get(name, name.replace("_", " ").capitalize())
        if name in BRIEF or isinstance(item, bool | int | float):
            pieces.append(f"{_bold(title, styled)}: {_plain(name, item)}")
        else:
            pieces.append(("\n" if pieces else "") + _bold(title, styled) + _body(item))
    return "\n".join(pieces)


def _body(item: Any) -> str:
    if not isinstance(item, list):
        return f"\n{_clean(str(item))}"
    lines = []
    for number, each in enumerate(item, 1):
        if isinstance(each, Mapping):
            lines.append(_entry(number, each))
        else:
            lines.append(f"\n- {_clean(str(each))}")
    return "".join(lines)


def _entry(number: int, entry: Mapping[str, Any]) -> str:
    lead, written = f"\n{number}.", ""
    for name, item in entry.items():
        if item in ("", [], None):
            continue
        if name in _LEADS:
            written += (" " if not written else "  ") + _plain(name, item)
            continue
        for each in item if isinstance(item, list) else [item]:
            written += f"\n   {_MARKS.get(name, name.replace('_', ' ') + ': ')}{_plain(name, each)}"
    return lead + written


def _plain(name: str, item: Any) -> str:
    if isinstance(item, bool):
        return "yes" if item else "no"
    return f"{item:.0%}" if name == "confidence" and isinstance(item, float) else _clean(str(item))


def _clean(text: str) -> str:
    """Leave out what moves a cursor or changes a colour: a model quotes logs, and anybody may write into those."""
    return text if text.isprintable() else "".join(each for each in text if each == "\n" or each.isprintable())


def _bold(text: str, styled: bool) -> str:
    return click.style(text, bold=True) if styled else text


def show(value: Mapping[str, Any]) -> None:
    """Print a whole value."""
    out = Wrapped()
    out.write(rendered(value))
    out.end()


class Wrapped:
    """Prints text as it comes; on a terminal a line that is too long goes on in the next one, under its beginning.

    A command stays in one piece, so that it can be copied.
    """

    def __init__(self, width: int | None = None) -> None:
        self._width = width or (columns() if sys.stdout.isatty() else None)
        self._word = ""
        self._blanks = 0
        self._column = 0
        self._hang: int | None = None  # where the text of this line begins, None before its first word
        self._whole = False

    def write(self, text: str) -> None:
        """Take in a piece; on a terminal a word is kept until it is whole."""
        if self._width is None:
            click.echo(text, nl=False)
            return
        ready = ""
        for sign in text:
            if sign not in " \n":
                self._word += sign
                continue
            ready += self._placed(self._width)
            if sign == " ":
                self._blanks += 1
            else:
                ready += "\n"
                self._blanks = self._column = 0
                self._hang, self._whole = None, False
        click.echo(ready, nl=False)

    def end(self) -> None:
        """Print what is left, and end the line."""
        click.echo(self._placed(self._width) if self._width is not None else "")

    def _placed(self, width: int) -> str:
        """Return the word that is whole, with what is before it."""
        if not self._word:
            return ""
        size = len(_STYLE.sub("", self._word))
        if self._hang is None:
            self._hang = self._blanks + (size + 1 if _MARK.fullmatch(self._word) else 0)
            self._whole = self._word == "$"
        elif not self._whole and self._column > self._hang and self._column + self._blanks + size > width:
            placed = f"\n{' ' * self._hang}{self._word}"
            self._word, self._blanks, self._column = "", 0, self._hang + size
            return placed
        placed = " " * self._blanks + self._word
        self._column += self._blanks + size
        self._word, self._blanks = "", 0
        return placed


class Growing:
    """Prints the text of a growing value, each part once."""

    def __init__(self) -> None:
        self._shown = ""
        self._out = Wrapped()

    def show(self, value: Any) -> None:
        """Print what is new of a value that has grown."""
        if not isinstance(value, Mapping):
            return
        text = rendered(value)
        if text.startswith(self._shown) and len(text) > len(self._shown):
            self._out.write(text[len(self._shown) :])
            self._shown = text

    def leave(self) -> None:
        """End the line that is open: no more comes."""
        if self._shown:
            self._out.end()

    def finish(self, value: Mapping[str, Any]) -> None:
        """Print what is left, or all again where the checked value is another one than what grew."""
        text = rendered(value)
        if self._shown and not text.startswith(self._shown):
            self._out.write("\n\n(corrected)\n\n")
            self._shown = ""
        self._out.write(text[len(self._shown) :])
        self._out.end()
        self._shown = text
