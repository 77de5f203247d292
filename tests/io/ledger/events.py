"""Calls and attempts as a client tells of them, made by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

from penstock._io.ledger.settings import Ledger
from penstock._io.ledger.writer import LedgerWriter
from penstock.events import AttemptEnded, CallEnded
from penstock.types import Usage

NOON_S = 1_796_126_400.0
"""2026-12-01 12:00 UTC."""

_numbers = count(1)
Pair = tuple[AttemptEnded, CallEnded]


def call(at_s: float = NOON_S, **given: Any) -> Pair:
    """Return a call that had one attempt; what is `given` goes to both where both have it."""
    both: dict[str, Any] = {
        "call_id": f"test-{next(_numbers):x}",
        "operation": "complete",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "outcome": "ok",
        "at_s": at_s,
        "latency_s": 0.5,
        "tags": {},
        "usage": Usage(input=100, output=20),
        "cost_nano": 27_000,
        "status": 200,
    } | given
    attempt = {"number": 1, "wire": "openai_chat", "lane": "openai:gpt-4o-mini@x#1", "sent": True, "wait_s": 0.0}
    ended = {"asked": f"{both['provider']}:{both['model']}", "attempts": 1, "prices": "2026-11-09"}
    of_attempt, of_call = set(AttemptEnded.__struct_fields__), set(CallEnded.__struct_fields__)
    return (
        AttemptEnded(**{name: value for name, value in {**attempt, **both}.items() if name in of_attempt}),
        CallEnded(**{name: value for name, value in {**ended, **both}.items() if name in of_call}),
    )


def many(seed: int, calls: int, *, days: float = 3.0) -> Iterator[list[AttemptEnded | CallEnded]]:
    """Return the events of calls of all kinds, spread over some days: retries, fallbacks, cache, batches, tiers."""
    dice = random.Random(seed)
    for _ in range(calls):
        at_s = NOON_S + dice.random() * days * 86_400
        model = dice.choice(["gpt-4o-mini", "gpt-4o", "o3"])
        usage = Usage(input=dice.randrange(5000), cache_read=dice.choice([0, 0, 900]), output=dice.randrange(400))
        cost = dice.choice([None, usage.input * 150 + usage.output * 600])
        given: dict[str, Any] = {
            "model": model,
            "usage": usage,
            "cost_nano": cost,
            "tags": dice.choice([{}, {"team": "sre"}, {"team": "web", "task": f"t{dice.randrange(9)}"}]),
            "latency_s": dice.expovariate(1.0),
            "first_token_s": dice.choice([None, dice.random()]),
        }
        attempt, ended = call(at_s, **given)
        match dice.randrange(8):
            case 0:  # a retry came before it
                failed, _ = call(at_s - 1, **given | {"outcome": "rate_limited", "usage": None, "cost_nano": 0})
                failed = _with(failed, call_id=attempt.call_id)
                yield [failed, _with(attempt, number=2), _with(ended, attempts=2, retries=1)]
            case 1:
                yield [_with(ended, cached=True, saved_nano=cost, cost_nano=0, attempts=0, usage=None)]
            case 2:
                full = None if cost is None else 2 * cost
                yield [_with(attempt, batch=True), _with(ended, batch=True, full_nano=full, operation="complete")]
            case 3:
                yield [attempt, _with(ended, tier="simple", strongest_nano=None if cost is None else cost * 9)]
            case 4:  # another model answered, and what the first one took was estimated
                other, _ = call(
                    at_s - 2, **given | {"outcome": "stream_interrupted", "model": "o3", "provider": "azure"}
                )
                cut = _with(other, call_id=attempt.call_id, usage=Usage(input=7, estimated=True), cost_nano=7)
                yield [cut, attempt, _with(ended, attempts=2)]
            case 5:  # refused before it was sent
                refused = _with(attempt, sent=False, usage=None, cost_nano=0, outcome="budget_exceeded")
                yield [refused, _with(ended, outcome="budget_exceeded", attempts=0, usage=None, cost_nano=0)]
            case _:
                yield [attempt, ended]


def _with(event: Any, **changes: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(event, **changes)


def written(path: str, *events: AttemptEnded | CallEnded, **settings: Any) -> LedgerWriter:
    """Write events into a ledger, and close it."""
    writer = LedgerWriter(Ledger(path=path, **{"keep_days": None, **settings}), path)
    for event in events:
        writer.post(event)
    writer.settle()
    return writer
