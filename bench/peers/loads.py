"""What every contestant of a scenario is put through, in its own process; facts are what the caller sees."""

import asyncio
import time
from collections import Counter
from typing import Any

from bench.peers.given import Call, Given

Facts = dict[str, Any]


async def at_once(call: Call, given: Given) -> Facts:
    """Start all calls in one instant, and cut those that did not end in time."""
    begun = time.monotonic()
    tasks = [
        asyncio.create_task(_outcome(call, given.prompt(number), given.tokens(number))) for number in range(given.calls)
    ]
    done, cut = await asyncio.wait(tasks, timeout=given.patience_s)
    elapsed_s = time.monotonic() - begun
    for task in cut:
        task.cancel()
    outcomes = Counter(task.result() for task in done)
    return {"elapsed_s": elapsed_s, "answered": outcomes.pop("", 0), "cut": len(cut), "errors": dict(outcomes)}


async def one_by_one(call: Call, given: Given) -> Facts:
    """Ask each prompt by itself; how many seconds until the caller knew, at most the patience.

    A first call that nothing disturbs loads what a library loads late.
    """
    await _outcome(call, "warm up", given.max_tokens)
    seconds, errors = [], []
    for prompt in given.prompts:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(given.patience_s):
                errors.append(await _outcome(call, prompt, given.max_tokens))
        except TimeoutError:
            errors.append("cut")
        seconds.append(time.monotonic() - begun)
    return {"seconds": seconds, "errors": errors}


async def at_once_then_again(call: Call, given: Given) -> Facts:
    """Start all calls in one instant, and make one more when they have ended."""
    facts = await at_once(call, given)
    again_at = time.time()
    await _outcome(call, given.prompt(0), given.tokens(0))
    return {**facts, "again_at": again_at}


async def trip_then_at_once(call: Call, given: Given) -> Facts:
    """Open a breaker with failing calls, wait until it must be half open, then start all calls in one instant.

    Half of the failing calls must meet an open breaker, which shows in the server's log.
    """
    for _ in range(2 * given.trips):
        await _outcome(call, "trip", given.max_tokens)
    await asyncio.sleep(2 * given.open_s)
    return await at_once(call, given)


async def _outcome(call: Call, prompt: str, max_tokens: int) -> str:
    """Nothing for an answer, else the name of the error."""
    try:
        await call(prompt, max_tokens)
    except Exception as error:  # noqa: BLE001  # whatever a library raises is its answer to the caller
        return type(error).__name__
    return ""
