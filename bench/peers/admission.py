"""What admission alone costs: CPU per call with many waiters, and bytes per waiter. Nothing is sent.

A peer's waiter is a task that waits; what the same number of tasks cost that wait for a future is taken off, so that
what is left is the limiter's. Penstock's limiter knows neither task nor clock: it is asked and settled directly.
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import Final

from bench.peers.given import Acquire

WAITERS: Final = (1_000, 10_000)
DRAIN_S: Final = 2.0
"""The limit lets all waiters through in so many seconds, after a first window that was used up before."""
PATIENCE_S: Final = 20.0
TIMES: Final = 3
WARM_UP: Final = 200

Make = Callable[[int, float], Acquire]


async def measure(make: Make | None) -> dict[str, float]:
    """CPU microseconds per call at each number of waiters, by name, and bytes per waiter; Penstock's without `make`."""
    facts: dict[str, float] = {}
    if make is not None:
        await _peers_us(make, WARM_UP)
    for waiters in WAITERS:
        costs = []
        for _ in range(TIMES if make is None else 1):
            gc.collect()
            costs.append(_ours_us(waiters) if make is None else await _peers_us(make, waiters))
        facts[f"us_{waiters}"] = min(costs)
    facts["bytes"] = _ours_bytes(WAITERS[0]) if make is None else await _peers_bytes(make, WAITERS[0])
    return facts


async def _peers_us(make: Make, waiters: int) -> float:
    acquire = make(int(waiters / DRAIN_S), 1.0)
    for _ in range(int(waiters / DRAIN_S)):
        await acquire(1)
    cpu = time.process_time()
    tasks = [asyncio.create_task(_wait(acquire)) for _ in range(waiters)]
    done, cut = await asyncio.wait(tasks, timeout=PATIENCE_S)
    spent = time.process_time() - cpu
    for task in cut:
        task.cancel()
    if not done:
        raise RuntimeError(f"no waiter of {waiters} was let through in {PATIENCE_S:.0f} s")
    return spent * 1e6 / len(done) - await _tasks_us(waiters)


async def _tasks_us(waiters: int) -> float:
    turn = asyncio.get_running_loop().create_future()
    cpu = time.process_time()
    tasks = [asyncio.create_task(_rest(turn)) for _ in range(waiters)]
    await asyncio.sleep(0)
    turn.set_result(None)
    await asyncio.wait(tasks)
    return (time.process_time() - cpu) * 1e6 / waiters


async def _wait(acquire: Acquire) -> None:
    await acquire(1)


async def _rest(turn: asyncio.Future[None]) -> None:
    await turn


async def _peers_bytes(make: Make, waiters: int) -> float:
    acquire = make(1, 3600.0)
    turn = asyncio.get_running_loop().create_future()
    resting = await _task_bytes(lambda: asyncio.create_task(_rest(turn)), waiters)
    waiting = await _task_bytes(lambda: asyncio.create_task(_wait(acquire)), waiters)
    return waiting - resting


async def _task_bytes(start: Callable[[], asyncio.Task[None]], waiters: int) -> float:
    gc.collect()
    tracemalloc.start()
    tasks = [start() for _ in range(waiters)]
    await asyncio.sleep(0.05)  # all have asked and wait
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return taken / waiters


def _ours_us(waiters: int) -> float:
    from penstock._policy.limiter import Limiter, Limits, Ticket

    limiter = Limiter(Limits(rpm=int(60 * waiters / DRAIN_S), burst_s=1.0))
    now, left = 0.0, waiters
    while limiter.ask(now, Ticket()).__class__.__name__ == "Grant":
        pass
    tickets = [Ticket() for _ in range(waiters)]
    cpu = time.process_time()
    for ticket in tickets:
        limiter.ask(now, ticket)
    while left:
        now = max(now, limiter.next_at or now)
        granted = limiter.advance(now)
        for ticket in granted:
            limiter.settle(now, ticket, usage=None)
        left -= len(granted)
    return (time.process_time() - cpu) * 1e6 / waiters


def _ours_bytes(waiters: int) -> float:
    from penstock._policy.limiter import Limiter, Limits, Ticket

    limiter = Limiter(Limits(rpm=60))
    limiter.ask(0.0, Ticket())
    gc.collect()
    tracemalloc.start()
    tickets = [Ticket() for _ in range(waiters)]
    for ticket in tickets:
        limiter.ask(0.0, ticket)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / waiters
