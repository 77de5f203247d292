"""What the ledger costs a call: CPU of the caller's own thread, and of the whole process over real connections."""

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench import answers

from penstock import AsyncClient, Client
from penstock.testing import Scripted, ScriptedTransport

MODEL: Final = f"openai:{answers.MODEL}"
SLICE: Final = 500
"""Calls in a row of one side, so that both sides meet the same minute of the machine."""

CONCURRENCY: Final = 32


def _scripted(**more: Any) -> tuple[Client, ScriptedTransport]:
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": answers.MODEL,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }
    ).encode()
    answer = Scripted(body=body, headers={"x-request-id": "req_0123456789abcdef"})
    transport = ScriptedTransport(itertools.repeat(answer))
    return Client(transport=transport, keys={"openai": "x"}, config=False, env={}, **more), transport


def caller_us(path: Path, rounds: int) -> list[float]:
    """Return what the ledger adds to the CPU of the thread that makes a call, in µs, round by round."""
    sides = (_scripted(), _scripted(ledger=path))
    found = []
    for client, transport in sides:  # a first slice of each, to warm up
        _slice(client, transport)
    for _ in range(rounds):
        without, with_it = (min(_slice(*side) for _ in range(3)) for side in sides)
        found.append(with_it - without)
    for client, _ in sides:
        client.close()
    return found


def _slice(client: Client, transport: ScriptedTransport) -> float:
    transport.sent.clear()
    gc.collect()
    gc.disable()
    began = time.thread_time()
    for _ in range(SLICE):
        client.complete(answers.PROMPT, model=MODEL, max_tokens=answers.MAX_TOKENS)
    took = time.thread_time() - began
    gc.enable()
    return took / SLICE * 1e6


def shares(url: str, path: Path, rounds: int, observe: Callable[[AsyncClient], None] | None) -> list[float]:
    """Return what share of a call's CPU, all threads of the process, its observers are: 0.1 means 10 % on top."""
    return asyncio.run(_shares(url, path, rounds, observe))


async def _shares(url: str, path: Path, rounds: int, observe: Callable[[AsyncClient], None] | None) -> list[float]:
    given: dict[str, Any] = {"base_urls": {"openai": f"{url}/v1"}, "keys": {"openai": "x"}, "config": False, "env": {}}
    bare, watched = AsyncClient(**given), AsyncClient(**given, ledger=path)
    if observe is not None:
        observe(watched)
    found = []
    for client in (bare, watched):
        await _load(client)
    for _ in range(rounds):
        without = [await _load(bare) for _ in range(2)]
        with_them = [await _load(watched) for _ in range(2)]
        found.append(min(with_them) / min(without) - 1)
    await bare.close()
    await watched.close()
    return found


async def _load(client: AsyncClient) -> float:
    todo = iter(range(4 * SLICE))

    async def work() -> None:
        for _ in todo:
            await client.complete(answers.PROMPT, model=MODEL, max_tokens=answers.MAX_TOKENS)

    gc.collect()
    began = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONCURRENCY):
            tasks.create_task(work())
    if client.ledger is not None:
        client.ledger.flush()  # what is still to be written is a cost of these calls
    return time.process_time() - began
