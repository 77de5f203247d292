"""What the tests of the limiter share: tickets that must go or wait, and time that passes."""

from __future__ import annotations

from math import inf
from typing import Any

from penstock._policy.limiter import Grant, Limiter, Ticket, Wait
from penstock.types import LimitSeen


def grant(limiter: Limiter, now: float, ticket: Ticket | None = None) -> Ticket:
    """Ask for a ticket that must go at once."""
    ticket = ticket or Ticket(1)
    assert limiter.ask(now, ticket) == Grant()
    return ticket


def queue(limiter: Limiter, now: float, ticket: Ticket | None = None) -> Ticket:
    """Ask for a ticket that must wait."""
    ticket = ticket or Ticket(1)
    assert isinstance(limiter.ask(now, ticket), Wait)
    return ticket


def drain(limiter: Limiter, until: float = inf) -> list[tuple[float, Ticket]]:
    """Follow `next_at` up to a time and return who went when."""
    went: list[tuple[float, Ticket]] = []
    while limiter.next_at is not None and limiter.next_at <= until:
        now = limiter.next_at
        went.extend((now, ticket) for ticket in limiter.advance(now))
    return went


def requests(limiter: Limiter, now: float | None = None) -> Any:
    """The state of the first dimension."""
    return limiter.snapshot(now).dimensions[0]


def told(limit: int, remaining: int | None = None, *, dimension: str = "requests") -> tuple[LimitSeen, ...]:
    """Headers that speak of one limit."""
    return (LimitSeen(dimension=dimension, limit=limit, remaining=remaining),)  # type: ignore[arg-type]  # a test's word
