"""What waiting for a turn costs: CPU per admitted call with so many others in line, and memory of one that waits.

The limiter is driven in virtual time, so that nothing is measured but its own work: `ask`, the turn, `settle`.
"""

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import Final

from penstock._policy.limiter import Grant, Limiter, Limits, Ticket
from penstock.types import Usage

WAITERS: Final = (1_000, 10_000)
CALLS: Final = 20_000
CALLS_QUICK: Final = 4_000
LIMITS: Final = Limits(rpm=60_000, tpm=100_000_000)
USAGE: Final = Usage(input=10, output=5)


def line(waiters: int) -> Limiter:
    """A limiter with so many calls waiting for it."""
    limiter = Limiter(LIMITS)
    while isinstance(limiter.ask(0.0, Ticket(10, 100)), Grant):
        pass  # the burst goes at once
    for _ in range(waiters - 1):
        limiter.ask(0.0, Ticket(10, 100))
    return limiter


def cost_us(waiters: int, calls: int) -> float:
    """CPU microseconds per call, each of which waits behind so many others."""
    limiter, done = line(waiters), 0
    began = time.process_time()
    while done < calls and limiter.next_at is not None:
        now = limiter.next_at
        for ticket in limiter.advance(now):
            limiter.settle(now, ticket, usage=USAGE)
            limiter.ask(now, Ticket(10, 100))
            done += 1
    return (time.process_time() - began) / done * 1e6


def waiter_bytes(waiters: int) -> float:
    """What one more that waits takes."""
    gc.collect()
    tracemalloc.start()
    limiter = line(waiters)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert limiter.next_at is not None
    return used / waiters


def play(rounds: int, quick: bool, progress: Callable[[str], None]) -> dict[str, list[float]]:
    """Microseconds by number of waiters, round by round, and the bytes of a waiter."""
    taken: dict[str, list[float]] = {}
    for number in range(rounds):
        progress(f"admission {number + 1} of {rounds}")
        for waiters in WAITERS:
            calls = CALLS_QUICK if quick else CALLS
            taken.setdefault(f"{waiters}_us", []).append(cost_us(waiters, calls))
        taken.setdefault("waiter_bytes", []).append(waiter_bytes(WAITERS[-1]))
    return taken
