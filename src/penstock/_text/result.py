"""What parsing gives: a value, what was mended to get it, and whether it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from ..errors import Candidate

T = TypeVar("T")
Policy = Literal["strict", "safe", "loose"]

POLICIES: Final = ("strict", "safe", "loose")
MAX_CHARS: Final = 1 << 20
"""A megabyte of text: four times the longest answer of any model of 2026."""

MISSING: Final[Any] = type("Missing", (), {"__repr__": lambda _: "MISSING", "__bool__": lambda _: False})()
"""Where a value would stand and none does; None is a value."""


class Repair(msgspec.Struct, frozen=True):
    """One thing that was mended: its kind (a stable word), where in the value ('$.items[2].name'), and a sentence."""

    kind: str
    path: str
    note: str


class Lost(NamedTuple):
    """A keyword that the provider does not enforce: where it stood and what it was."""

    path: str
    keyword: str


class Parsed(msgspec.Struct, Generic[T], frozen=True):
    """A value read from text.

    `repairs` is empty exactly when the text was JSON that fits as it stood. `complete` is false when the text ended
    before the value did. `candidates` are the parts of the text that were tried, the chosen one first.
    """

    value: T
    repairs: tuple[Repair, ...] = ()
    complete: bool = True
    candidates: tuple[Candidate, ...] = ()


def plain(value: Any) -> Any:
    """Return a value of any type as JSON has it."""
    return msgspec.to_builtins(value, enc_hook=_plain, str_keys=True)


def _plain(value: Any) -> Any:
    """Turn what msgspec does not know, such as a pydantic model, into what JSON has."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)


class Unreadable(ValueError):
    """A piece of text from which no value can be read without inventing one."""


def where(path: Sequence[str | int]) -> str:
    """Write a path: $.items[2].name, with quotes where a key is no plain word."""
    steps = []
    for step in path:
        if isinstance(step, int):
            steps.append(f"[{step}]")
        else:
            steps.append(f".{step}" if step.isidentifier() else f"[{step[:80]!r}]")
    return "$" + "".join(steps)
