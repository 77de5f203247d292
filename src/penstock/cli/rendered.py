"""A report as text for people, written so that the text of half a value is the beginning of the text of the whole."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from .streams import is_plain

BRIEF: Final = frozenset({"severity", "service", "component", "category", "page", "confidence", "title"})
"""Fields whose value stands beside their name."""
_LEADS: Final = frozenset({"cause", "action", "event", "time"})
_MARKS: Final = {"command": "$ ", "expect": "→ ", "evidence": "> "}
_NAMES: Final = {"now": "First fifteen minutes", "why": "Why this severity", "unknown": "Not known yet",
                 "page": "Wake somebody", "escalate": "Escalation"}  # fmt: skip


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
        return f"\n{item}"
    lines = []
    for number, each in enumerate(item, 1):
        if isinstance(each, Mapping):
            lines.append(_entry(number, each))
        else:
            lines.append(f"\n- {each}")
    return "".join(lines)


def _entry(number: int, entry: Mapping[str, Any]) -> str:
    lead, written = f"\n{number}.", ""
    for name, item in entry.items():
        if item in ("", [], None):
            continue
        if name in _LEADS:
            written += f" {item}" if not written else f"  {item}"
            continue
        for each in item if isinstance(item, list) else [item]:
            mark = _MARKS.get(name)
            written += f"\n   {mark}{each}" if mark else f"\n   {name.replace('_', ' ')}: {_plain(name, each)}"
    return lead + written


def _plain(name: str, item: Any) -> str:
    if isinstance(item, bool):
        return "yes" if item else "no"
    return f"{item:.0%}" if name == "confidence" and isinstance(item, float) else str(item)


def _bold(text: str, styled: bool) -> str:
    return click.style(text, bold=True) if styled else text


class Growing:
    """Prints the text of a growing value, each part once."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, value: Any) -> None:
        """Print what is new of a value that has grown."""
        if not isinstance(value, Mapping):
            return
        text = rendered(value)
        if text.startswith(self._shown) and len(text) > len(self._shown):
            click.echo(text[len(self._shown) :], nl=False)
            self._shown = text

    def finish(self, value: Mapping[str, Any]) -> None:
        """Print what is left, or all again where the checked value is another one than what grew."""
        text = rendered(value)
        if self._shown and not text.startswith(self._shown):
            click.echo("\n\n(corrected)\n")
            self._shown = ""
        click.echo(text[len(self._shown) :])
        self._shown = text
