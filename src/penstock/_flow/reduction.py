"""Making room in a conversation that became too long: the oldest results of tools go first, and it is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ..types import Message, Text, ToolResult
from .actions import RESULT_MARK
from .toolresult import shortened

LEAST: Final = 200
"""A result of fewer characters is kept: leaving it out makes no room."""

_GONE: Final = "[the result is left out here to make room: "


class Reduction(msgspec.Struct, frozen=True):
    """A conversation with less in it; `dropped` is what was taken out, oldest first, `note` says so in a sentence."""

    messages: tuple[Message, ...]
    dropped: tuple[str, ...]
    note: str
    first: tuple[int, int] = (0, 0)


def reduced(messages: Sequence[Message]) -> Reduction | None:
    """Take out half of what tools said, the oldest first; the newest result is cut only when that is not enough.

    None when there is nothing to take out.
    """
    found = [(at, part) for at, message in enumerate(messages) for part in _places(message)]
    sizes = {place: len(_text(messages, place)) for place in found}
    places = [place for place in found if sizes[place] > LEAST and not _text(messages, place).startswith(_GONE)]
    if not places:
        return None
    goal = sum(sizes[place] for place in places) // 2
    made = list(messages)
    dropped: list[str] = []
    first: tuple[int, int] | None = None
    for place in places[:-1]:
        if goal <= 0:
            break
        text = _text(made, place)
        dropped.append(text)
        first = first or place
        made[place[0]] = _with(made[place[0]], place[1], f"{_GONE}{len(text):,} characters]")
        goal -= len(text)
    note = f"{len(dropped)} of the oldest tool results left out ({sum(map(len, dropped)):,} characters)"
    if goal > 0:
        place = places[-1]
        text = _text(made, place)
        made[place[0]] = _with(made[place[0]], place[1], shortened(text, max(LEAST, len(text) - goal)))
        cut = f"the newest cut from {len(text):,} to {max(LEAST, len(text) - goal):,} characters"
        note = f"{note}, {cut}" if dropped else f"of the only tool result, {cut}"
    return Reduction(tuple(made), tuple(dropped), note, first or places[-1])


def with_summary(made: Reduction, summary: str) -> Reduction:
    """Put a summary where the oldest of the dropped results was."""
    at, part = made.first
    messages = list(made.messages)
    messages[at] = _with(
        messages[at], part, f"[a summary of {len(made.dropped)} results that were left out:]\n{summary}"
    )
    return msgspec.structs.replace(made, messages=tuple(messages), note=f"{made.note}, a summary in their place")


def _places(message: Message) -> list[int]:
    if isinstance(message.content, str):
        return [-1] if message.role == "user" and message.content.startswith(RESULT_MARK) else []
    return [at for at, part in enumerate(message.content) if isinstance(part, ToolResult)]


def _text(messages: Sequence[Message], place: tuple[int, int]) -> str:
    message, part = messages[place[0]], place[1]
    if isinstance(message.content, str):
        return message.content
    result = message.content[part]
    assert isinstance(result, ToolResult)
    if isinstance(result.content, str):
        return result.content
    return "".join(each.text for each in result.content if isinstance(each, Text))


def _with(message: Message, part: int, text: str) -> Message:
    if isinstance(message.content, str):
        return msgspec.structs.replace(message, content=f"{message.content.splitlines()[0]}\n{text}")
    parts = list(message.content)
    result = parts[part]
    assert isinstance(result, ToolResult)
    parts[part] = msgspec.structs.replace(result, content=text)
    return msgspec.structs.replace(message, content=tuple(parts))
