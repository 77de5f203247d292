"""What admission alone costs: CPU per call with many waiters, and bytes per waiter. Nothing is sent.

A peer's waiter is a task that waits; what as many tasks cost that wait for a future is taken off, so that what is left
is the limiter's. Penstock's limiter knows neither task nor clock: it is asked, advanced and settled directly, with a
future for each waiter, as its gate makes one.
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable
from statistics import fmean
from typing import Any, Final

from bench.peers.given import Acquire

WAITERS: Final = (1_000, 10_000)
DRAIN_S: Final = 1.0
"""The limit lets all waiters through in this time, after a first window that was used up before."""
PATIENCE_S: Final = 20.0
TIMES: Final = 5
WARM_UP: Final = 200

Make = Callable[[int, float], Acquire]


async def of_peer(make: Make) -> dict[str, float]:
    """CPU microseconds per call at each number of waiters, by name, and bytes per waiter."""
    await _peers_us(make, WARM_UP)
    facts = {}
    for waiters in WAITERS:
        gc.collect()
        facts[f"us_{waiters}"] = await _peers_us(make, waiters)
    return {**facts, "bytes": await _peers_bytes(make, WAITERS[0])}


def of_penstock(make: Callable[[int], Any]) -> dict[str, float]:
    """The same of Penstock's limiter, made by its limit per second; runs are short, so that it is the mean of some."""
    facts = {}
    _ours_us(make, WARM_UP)
    for waiters in WAITERS:
        gc.collect()
        facts[f"us_{waiters}"] = fmean(_ours_us(make, waiters) for _ in range(TIMES))
    return {**facts, "bytes": _ours_bytes(make, WAITERS[0])}


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


def _ours_us(make: Callable[[int], Any], waiters: int) -> float:
    from penstock._policy.limiter import Ticket, Wait

    loop, limiter = asyncio.get_running_loop(), make(int(waiters / DRAIN_S))
    now, left = 0.0, waiters
    while not isinstance(limiter.ask(now, Ticket()), Wait):
        pass
    cpu = time.process_time()
    for _ in range(waiters):
        limiter.ask(now, Ticket(tag=loop.create_future()))
    while left >= 0:  # and the one that was the first to wait
        now = max(now, limiter.next_at)
        for ticket in limiter.advance(now):
            if ticket.tag is not None:
                ticket.tag.set_result(None)
            limiter.settle(now, ticket, usage=None)
            left -= 1
    return (time.process_time() - cpu) * 1e6 / waiters


def _ours_bytes(make: Callable[[int], Any], waiters: int) -> float:
    from penstock._policy.limiter import Ticket, Wait

    loop, limiter = asyncio.get_running_loop(), make(1)
    while not isinstance(limiter.ask(0.0, Ticket()), Wait):
        pass
    gc.collect()
    tracemalloc.start()
    for _ in range(waiters):
        limiter.ask(0.0, Ticket(tag=loop.create_future()))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / waiters
