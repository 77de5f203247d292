"""What an attempt may cost, and what it did: the arithmetic between tokens, prices and holds."""

from __future__ import annotations

from typing import Final

import msgspec

from .._policy.cache import Use
from .._policy.fairqueue import Priority
from .._policy.limiter import Ticket
from .._policy.prices import Prices
from .._policy.timeouts import Timeouts
from .._text import tokens
from .._wire.assembly import Assembly
from ..types import Reasoning, Refusal, Request, Text, ToolCall, Usage
from .effects import Lane, Past, Record

MAX_TOKENS_UNDER_BUDGET: Final = 8192
"""Injected where a budget is set and the caller gave no max_tokens: without one, the worst case has no bound."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One call as the client ordered it.

    `started` and `deadline` are instants of the monotonic clock, `wall_s` is the time at which prices are looked up.
    `cache` is None where the call has nothing to do with one.
    """

    request: Request
    lanes: tuple[Lane, ...]
    stream: bool
    timeouts: Timeouts
    prices: Prices
    capped: bool
    priority: Priority
    tags: dict[str, str]
    started: float
    wall_s: float
    deadline: float | None
    cache: Use | None = None


def prepare(order: Order, lane: Lane, past: Past) -> tuple[Request, Record]:
    """Return the request for this lane and the record of the attempt, with what it may use at worst."""
    request = msgspec.structs.replace(order.request, model=lane.model)
    if order.capped and request.max_tokens is None:
        request = msgspec.structs.replace(request, max_tokens=MAX_TOKENS_UNDER_BUDGET)
    ticket = Ticket(
        input_tokens=tokens.estimate_request(request),
        output_tokens=request.max_tokens,
        priority=order.priority,
        deadline=order.deadline,
        returned=past.limited > 0,
    )
    worst = worst_nano(order, lane, request) if order.capped else None
    return request, Record(lane, past, ticket, worst)


def worst_nano(order: Order, lane: Lane, request: Request) -> int | None:
    """Return the most that one attempt can cost in nano-dollars, None when the model has no known price."""
    return order.prices.worst(
        lane.provider.name,
        lane.model,
        tokens.bound(request),
        request.max_tokens or 0,
        n=request.n or 1,
        cache_writes=_marks_cache(request),
        service_tier=request.service_tier,
        wall_s=order.wall_s,
    )


def _marks_cache(request: Request) -> bool:
    if request.prompt_cache is not None or any(tool.cache for tool in request.tools):
        return True
    return any(getattr(part, "cache", None) for message in request.messages for part in message.parts)


def cost_nano(order: Order, lane: Lane, usage: Usage) -> int | None:
    """Return what the usage costs in nano-dollars, None when the model has no known price."""
    return order.prices.cost(
        lane.provider.name, lane.model, usage, service_tier=order.request.service_tier, wall_s=order.wall_s
    )


def seen(record: Record, reported: Usage | None, assembly: Assembly) -> Usage:
    """Estimate the usage of a cut stream from what came: the provider's own figures where it gave some."""
    output = sum(tokens.estimate(_written(part)) for choice in assembly.choices() for part in choice.content)
    if reported is None:
        return Usage(input=record.ticket.input_tokens, output=output, estimated=True)
    if reported.completion >= output:
        return msgspec.structs.replace(reported, estimated=True)
    return msgspec.structs.replace(reported, output=output - reported.reasoning - reported.audio_out, estimated=True)


def _written(part: object) -> str:
    match part:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            return text
        case ToolCall(name=name, arguments=arguments):
            return name + arguments
    return ""
