"""What the simulator receives and what it answers: a request in, a list of timed steps out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SendKind = Literal["open", "ping", "delta", "finish", "usage", "done", "body", "noise"]


@dataclass(frozen=True, slots=True)
class SimRequest:
    """One HTTP request as it arrived; header names are lower case, the query is already decoded."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Let `seconds` pass (may be infinite); the model produces `tokens` evenly while they pass."""

    seconds: float
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """Send the status line and headers; `length` is the body length in bytes, None for a chunked body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes of the body; with them `tokens` more output tokens count as produced."""

    data: bytes
    tokens: int = 0
    kind: SendKind = "delta"


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection: `rst` aborts it hard, otherwise it is closed without ending the body."""

    rst: bool = True


@dataclass(frozen=True, slots=True)
class End:
    """End the body cleanly."""


Step = Wait | Head | Send | Reset | End


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt in disjoint buckets; `output` includes `reasoning`."""

    input: int = 0
    cache_read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        """All prompt tokens, cached or not."""
        return self.input + self.cache_read + self.write_5m + self.write_1h


class Reject(Exception):
    """A refusal in protocol-neutral words; each protocol writes it in its own body shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        details: Mapping[str, object] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.details = details
        self.headers = headers
        # Whether a fault rule ordered it, as opposed to the request's own faults.
        self.ordered = False
