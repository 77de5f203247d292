"""How an agent shows itself while it works: what it thinks, which tools it uses, what came of them."""

from __future__ import annotations

import sys
from typing import Any, Final

import click
import msgspec

from ..transcript import AgentEvent, ToolUse
from .shown import note, span
from .streams import is_plain

SHOWN_CHARS: Final = 100
"""Of arguments and results, on a line of a terminal."""


def clean(text: str, most: int = SHOWN_CHARS) -> str:
    """Write a text on one line without what would move a cursor or change a colour."""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * most]).split())
    return words if len(words) <= most else f"{words[: most - 1]}…"


def call_of(name: str, arguments: dict[str, Any] | str) -> str:
    """Write a call as Python has it."""
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
        except (ValueError, RecursionError):
            return clean(f"{name}({arguments})")
    return clean(whole_call_of(name, arguments), 2 * SHOWN_CHARS)


def whole_call_of(name: str, arguments: dict[str, Any]) -> str:
    """Write a call for somebody who is to decide about it: nothing is left out, and nothing can hide in it."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _result(used: ToolUse) -> str:
    mark = "✗" if used.is_error else "✓"
    left = "; its thread was left behind" if used.left else ""
    took = f" ({span(used.seconds)}{left})" if used.ran else ""
    return f"  {mark} {clean(used.content)}{took}"


class Showing:
    """Tells the steps on stderr; what the model says goes to stdout as it is said, where `streamed`.

    On a terminal a spinner says what is waited for. `quiet` tells nothing but the answer.
    """

    def __init__(self, *, streamed: bool, quiet: bool) -> None:
        self._streamed = streamed
        self._quiet = quiet
        self._open = ""
        self._said = ""
        self._status: Any = None
        if not quiet and not is_plain(sys.stderr):
            from rich.console import Console

            self._status = Console(stderr=True).status("")

    def take(self, event: AgentEvent) -> None:
        """Show an event."""
        if event.kind == "text" and self._streamed:
            self._say(event.text, "answer")
            return
        if event.kind == "reasoning":
            if not self._quiet and not is_plain(sys.stderr):
                self._think(event.text)
            return
        if event.kind in ("text", "answer"):
            return
        self.end()
        if self._quiet:
            return
        if event.kind == "tool_call" and event.call is not None:
            note(f"→ {call_of(event.call.name, event.call.arguments)}")
            self._wait(f"{event.call.name} …")
        elif event.kind == "tool_result" and event.used is not None:
            note(_result(event.used), dim=True)
        elif event.kind == "step":
            self._wait(f"step {event.step} …")
        else:
            note(f"  {'! ' if event.kind in ('correction', 'repeated') else ''}{clean(event.text)}", dim=True)

    def _say(self, text: str, kind: str) -> None:
        self._pause()
        click.echo(text, nl=False)
        self._open, self._said = kind, text

    def _think(self, text: str) -> None:
        self._pause()
        words = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
        click.echo(click.style(words, dim=True), err=True, nl=False)
        self._open, self._said = "thought", text

    def _wait(self, words: str) -> None:
        if self._status is not None:
            self._status.update(words)
            self._status.start()

    def _pause(self) -> None:
        if self._status is not None:
            self._status.stop()

    def end(self) -> None:
        """End the line that is open, and take the spinner away."""
        self._pause()
        if self._open and not self._said.endswith("\n"):
            click.echo(err=self._open == "thought")
        self._open = ""
