"""A conversation: its turns, what it cost, how much of the model's window it fills, and the file that keeps it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from .._text.tokens import estimate
from ..errors import ConfigError, InputError, OutputError
from ..types import Message, Response

KIND: Final = "penstock-chat"
NEAR: Final = 0.8
"""The share of the window from which on it is said that it fills up."""


class Turn(msgspec.Struct, frozen=True):
    """One turn, as the file has it."""

    role: str
    text: str


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation, as the file has it."""

    kind: str = KIND
    version: int = 1
    model: str
    system: str = ""
    turns: list[Turn] = []


class Conversation:
    """The turns of a chat with one model at a time."""

    def __init__(self, model: str, system: str = "", turns: list[Turn] | None = None) -> None:
        self.model = model
        self.system = system
        self.turns = list(turns or ())
        self.file: Path | None = None
        self._told = 0
        self._counted = 0

    def ask(self, text: str) -> list[Message]:
        """Add a turn of the user, and return the messages to send."""
        self.turns.append(Turn("user", text))
        return [Message(turn.role, turn.text) for turn in self.turns]  # type: ignore[arg-type]

    def answered(self, response: Response) -> None:
        """Add the turn of the model."""
        self.turns.append(Turn("assistant", response.text))
        self._told, self._counted = response.usage.total, len(self.turns)

    def stopped(self, text: str) -> None:
        """Keep what came of an answer that was stopped; a question without any answer is taken back."""
        if text.strip():
            self.turns.append(Turn("assistant", text))
        else:
            self.turns.pop()

    def clear(self) -> None:
        """Forget all turns."""
        self.turns.clear()
        self._told = self._counted = 0

    @property
    def tokens(self) -> int:
        """About how many tokens the next question sends: what the provider counted, and an estimate of the rest."""
        rest = self.turns[self._counted :] if self._counted <= len(self.turns) else self.turns
        told = self._told if self._counted <= len(self.turns) else estimate(self.system)
        return told + sum(estimate(turn.text) + 4 for turn in rest)

    def near(self, window: int | None) -> tuple[int, int] | None:
        """Return the tokens and the model's window, once most of it is filled; None before, or where it is unknown."""
        tokens = self.tokens
        return (tokens, window) if window is not None and tokens >= NEAR * window else None

    def save(self, path: Path) -> None:
        """Write it to a file, which is replaced at once or not at all.

        Raises: OutputError.
        """
        saved = Saved(model=self.model, system=self.system, turns=self.turns)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(saved), indent=2) + b"\n")
            os.replace(beside, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise OutputError(f"cannot write the conversation to {path}: {error.strerror or error}") from error
        self.file = path


def load(path: Path) -> Conversation:
    """Read a conversation that was saved.

    Raises: InputError for a file that is none.
    """
    try:
        saved: Any = msgspec.json.decode(path.read_bytes(), type=Saved)
    except OSError as error:
        raise InputError(f"cannot read the conversation {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no conversation that /save wrote: {error}") from error
    if saved.kind != KIND:
        raise InputError(f"{path} is no conversation that /save wrote: its kind is {saved.kind!r}")
    if saved.version != 1:
        raise ConfigError(f"{path} was written by a newer Penstock (version {saved.version} of the file)")
    bad = next((turn.role for turn in saved.turns if turn.role not in ("user", "assistant")), None)
    if bad is not None:
        raise InputError(f"{path} has a turn of {bad!r}; expected user or assistant")
    found = Conversation(saved.model, saved.system, saved.turns)
    found.file = path
    return found
