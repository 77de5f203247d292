"""What happens in a client, as values: one stream that feeds the ledger, metrics, traces, log lines and your own code.

CallStarted ─▶ AttemptEnded … ─▶ CallEnded       what a call did; `call_id` ties them together
LaneChanged · BudgetAlert · ToolCalled · RecordsLost        what happens beside it

An event is a fact and is never changed. Prompts and answers are in it only for a subscriber that asked for content.
Times: `at_s` is the wall clock in seconds since 1970 (UTC) at which it happened; all others are durations in seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .types import Request, Response, Tier, Usage

__all__ = ["AttemptEnded", "CallEnded", "CallStarted", "Event", "LaneChanged", "Operation", "RecordsLost", "ToolCalled"]

Operation = Literal["complete", "stream", "extract", "embed", "rerank", "batch", "agent"]
"""What was asked for; `batch` is a row that came back from a provider's batch interface."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened. `client.on(Event, …)` listens to all kinds, the alerts of a budget among them."""


class CallStarted(Event, frozen=True, kw_only=True):
    """A call begins. `model` is the first of its route, 'provider:model'; `tier` is set where the router chose it.

    `base_url` is where that model is. `parameters` are those of the request that tell nothing of its content.
    """

    call_id: str
    operation: Operation
    model: str
    tags: dict[str, str]
    at_s: float
    base_url: str = ""
    stream: bool = False
    tier: Tier | None = None
    parameters: dict[str, object] = {}
    request: Request | None = None


class AttemptEnded(Event, frozen=True):
    """One HTTP exchange is over and settled, or was refused before it was sent (`sent` is False).

    `number` counts within its call, from 1; above it, it is a retry. `outcome` is 'ok', the code of an error class,
    'cancelled' or 'bug'. `at_s` is its end: it began `latency_s` before, after it had waited `wait_s` for its turn.
    `lane` tells lanes of one name apart and shows no secret. `usage` is None where nothing is known of it, its
    `estimated` says where it is counted by Penstock. `cost_nano` is None where the price or what was billed is unknown.
    `scopes` are the budgets that it counted against.
    """

    call_id: str
    operation: Operation
    number: int
    provider: str
    model: str
    wire: str
    lane: str
    outcome: str
    sent: bool
    at_s: float
    wait_s: float
    latency_s: float
    tags: dict[str, str]
    first_token_s: float | None = None
    status: int | None = None
    request_id: str | None = None
    retry_after_s: float | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    batch: bool = False
    scopes: tuple[str, ...] = ()


class CallEnded(Event, frozen=True):
    """A call is over, well or not.

    `provider` and `model` are of the lane that answered, or was asked last; `asked` is what was asked for first.
    `outcome` is 'ok', the code of an error class, 'cancelled' or 'bug'; `message` is the error's sentence.
    `attempts` counts HTTP exchanges, `retries` those that repeat one. `usage` adds up all of them; `cost_nano` too, and
    is None where that of one is unknown. `cached`: it cost nothing, and `saved_nano` is what the answer had cost.
    `batch`: it went through a provider's batch interface, and `full_nano` is what it would have cost outside of it.
    `tier`, `reason` say how its route was chosen, and `strongest_nano` is what the same tokens cost at the model of the
    highest tier; None where no tier was asked for or the price is unknown. `prices` is the date of the price table.
    `first_token_s` counts from the start of the call (streams only). `response_id` and `served_model` are what the
    provider calls the answer and the model that gave it. `request`, `response` are content.
    """

    call_id: str
    operation: Operation
    asked: str
    provider: str
    model: str
    outcome: str
    at_s: float
    latency_s: float
    tags: dict[str, str]
    attempts: int = 0
    retries: int = 0
    usage: Usage | None = None
    cost_nano: int | None = 0
    first_token_s: float | None = None
    wait_s: float = 0.0
    status: int | None = None
    stop_reason: str | None = None
    message: str | None = None
    cached: bool = False
    saved_nano: int | None = None
    batch: bool = False
    full_nano: int | None = None
    tier: Tier | None = None
    reason: str | None = None
    strongest_nano: int | None = None
    prices: str = ""
    response_id: str | None = None
    served_model: str | None = None
    request: Request | None = None
    response: Response | None = None

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.outcome == "ok"


class LaneChanged(Event, frozen=True, kw_only=True):
    """The breaker of a lane, or of the credential that lanes share (`account`), is in another state, and why.

    `lane` is 'provider:model'. `retry_after_s` is the time until it is probed; None unless it is open.
    """

    lane: str
    was: Literal["closed", "open", "half_open"]
    state: Literal["closed", "open", "half_open"]
    at_s: float
    account: bool = False
    reason: str = ""
    retry_after_s: float | None = None


class ToolCalled(Event, frozen=True, kw_only=True):
    """A tool that a model asked for has run. `arguments` and `result` are content."""

    call_id: str
    tool: str
    outcome: str
    at_s: float
    latency_s: float
    tags: dict[str, str]
    arguments: str | None = None
    result: str | None = None


class RecordsLost(Event, frozen=True, kw_only=True):
    """A subscriber, by its name, did not take `count` events: it was too slow, or it failed. No call waited for it."""

    subscriber: str
    count: int
    why: str
    at_s: float
