"""What a contestant is told of the world it plays in; sent to its process as one line of JSON."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Call = Callable[[str, int], Awaitable[object]]
"""One logical call: prompt and max_tokens in; returns when it is answered, raises when it failed."""

Acquire = Callable[[int], Awaitable[object]]
"""Waits until that many units may go."""

OPENAI_MODEL = "gpt-4o"
ANTHROPIC_MODEL = "claude-haiku-4-5"
KEY = "any"


@dataclass(frozen=True)
class Given:
    """A limit is `most` units per `window_s`; a unit is one call, or `unit_tokens` of max_tokens.

    `url` is the simulator. `calls` start at once with `max_tokens`, and what did not end after `patience_s` is cut;
    call number `large` asks for `large_tokens`. `counted` makes each prompt one token longer than the one before, so
    that the server's log tells the calls apart; `same` makes them all alike. `prompts` are asked one after the other.
    `timeout_s` is the longest that the caller is ready to wait. A breaker opens after `trips` failures for `open_s`.
    """

    url: str = ""
    calls: int = 1
    patience_s: float = 30.0
    max_tokens: int = 16
    same: bool = False
    counted: bool = False
    large: int = -1
    large_tokens: int = 0
    most: int = 0
    window_s: float = 1.0
    unit_tokens: int = 0
    prompts: tuple[str, ...] = ()
    timeout_s: float | None = None
    cap_usd: float = 0.0
    trips: int = 0
    open_s: float = 0.0

    def prompt(self, number: int) -> str:
        """What that call asks."""
        if self.counted:
            return "Error or not?" + " lock" * number
        return "Write about locks." if self.same else f"Write about lock number {number}."

    def tokens(self, number: int) -> int:
        """The max_tokens of that call."""
        return self.large_tokens if number == self.large else self.max_tokens

    def units(self, max_tokens: int) -> int:
        """What a call takes of the limit."""
        return max_tokens // self.unit_tokens if self.unit_tokens else 1
