"""From what a model streams to the events that its reader sees."""

from __future__ import annotations

from typing import Any, Final

from .._text.growing import Growing
from ..errors import ParseError
from ..transcript import AgentEvent, EventKind
from ..types import Chunk, Response
from .actions import BadAction, read_turn

_KINDS: Final[dict[str, EventKind]] = {"text": "text", "reasoning": "reasoning"}


class Showing:
    """Makes events of the chunks of one turn.

    With native tool calls every piece of text is one. Of the text protocol a reader wants the thought and the answer
    and not the marks around them: JSON shows them as they grow, the other formats when they are whole.
    """

    def __init__(self, protocol: str, step: int) -> None:
        self._native = protocol == "native"
        self._step = step
        self._growing: Growing | None = Growing() if protocol == "json" else None
        self._text: list[str] = []
        self._shown: dict[str, int] = {}

    def events(self, chunks: list[Chunk]) -> list[AgentEvent]:
        """Return what is new."""
        found: list[AgentEvent] = []
        for chunk in chunks:
            if chunk.choice:
                continue
            if chunk.kind == "reasoning" or (self._native and chunk.kind == "text"):
                found.append(AgentEvent(kind=_KINDS[chunk.kind], step=self._step, text=chunk.text))
            elif chunk.kind == "text":
                self._text.append(chunk.text)
                found += self._grown(chunk.text)
            elif chunk.kind == "stop" and not self._native:
                found += self._rest()
        return found

    def whole(self, response: Response) -> list[AgentEvent]:
        """Return the events of an answer that came whole."""
        events = [AgentEvent(kind="reasoning", step=self._step, text=response.reasoning)] if response.reasoning else []
        if self._native:
            return [*events, AgentEvent(kind="text", step=self._step, text=response.text)] if response.text else events
        self._text = [response.text]
        return [*events, *self._rest()]

    def _grown(self, piece: str) -> list[AgentEvent]:
        if self._growing is None:
            return []
        try:
            parsed = self._growing.feed(piece)
        except ParseError:
            self._growing = None
            return []
        value = None if parsed is None else parsed.value
        return self._new(value.get("thought"), value.get("answer")) if isinstance(value, dict) else []

    def _rest(self) -> list[AgentEvent]:
        try:
            turn = read_turn("".join(self._text), self._step)
        except BadAction:
            return []
        return self._new(turn.thought, turn.answer)

    def _new(self, thought: Any, answer: Any) -> list[AgentEvent]:
        """Return what of thought and answer was not shown yet."""
        found = []
        for kind, value in (("reasoning", thought), ("text", answer)):
            at = self._shown.get(kind, 0)
            if isinstance(value, str) and len(value) > at:
                self._shown[kind] = len(value)
                found.append(AgentEvent(kind=_KINDS[kind], step=self._step, text=value[at:]))
        return found
