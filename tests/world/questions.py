"""What must hold where identical calls share one answer: one of them asks, the others have what it got, and no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from penstock.types import Response

from .schedule import Call


class Questions:
    """The questions of one client: who asks each at the moment, and which answers came."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._asking: dict[int, list[int]] = defaultdict(list)
        self._answers: dict[int, set[str]] = defaultdict(set)
        self._known: set[int] = set()
        self._came_at: dict[int, float] = {}

    def asks(self, call: Call) -> None:
        """A call opens an exchange."""
        others = [number for number in self._asking[call.question] if number != call.number]
        if others:
            self._say("one of them asks", f"call {call.number} asks what call {others[0]} is asking")
        if call.question in self._known:
            self._say("what is known is not asked", f"call {call.number} asks question {call.question} again")
        self._asking[call.question].append(call.number)

    def asked(self, call: Call) -> None:
        """The exchange is over."""
        self._asking[call.question].remove(call.number)

    def came(self, call: Call, response: Response, now: float) -> None:
        """The provider answered a call, before anybody is told."""
        self._came_at[call.question] = now
        self._answers[call.question].add(response.text)
        if response.stop_reason == "stop":
            self._known.add(call.question)

    def answered(self, call: Call, response: Response) -> None:
        """A call has its answer."""
        if not response.cached:
            return
        if response.text not in self._answers[call.question]:
            self._say("a shared answer is one that came", f"call {call.number}: {response.text!r}")
        elif response.stop_reason != "stop" and call.at > self._came_at[call.question]:
            self._say("only whole answers are kept", f"call {call.number}: {response.stop_reason}")
        if response.cost_nano != 0:
            self._say("a shared answer costs nothing", f"call {call.number}: {response.cost_nano}")
