"""What the ledger costs a call: CPU of the caller's own thread, and of the whole process over real connections."""

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import answers
from bench.ledger.observers import Observers

from penstock import AsyncClient, Client
from penstock.observe import Metrics
from penstock.testing import Scripted, ScriptedTransport

MODEL: Final = f"openai:{answers.MODEL}"
TURN: Final = 50
LOAD: Final = 1000
"""Calls of one side before the next one's turn: so few that all sides meet the same minute of the machine."""


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


def caller_us(path: Path, pairs: int) -> float:
    """Return what the ledger adds to the CPU of the thread that makes a call, in µs.

    Both sides take turns, a few calls at a time, and the median of the differences counts: what else the machine does
    meets both.
    """
    sides = (_scripted(), _scripted(ledger=path))
    gc.collect()
    gc.disable()
    for side in sides:
        _slice(*side)
    added = []
    for number in range(pairs):
        order = (0, 1) if number % 2 else (1, 0)
        took = {each: _slice(*sides[each]) for each in order}
        added.append(took[1] - took[0])
    gc.enable()
    for client, _ in sides:
        client.close()
    return median(added)


def _slice(client: Client, transport: ScriptedTransport) -> float:
    transport.sent.clear()
    began = time.thread_time()
    for _ in range(TURN):
        client.complete(answers.PROMPT, model=MODEL, max_tokens=answers.MAX_TOKENS)
    return (time.thread_time() - began) / TURN * 1e6


def shares(url: str, folder: Path, rounds: int, at_once: int) -> dict[str, float]:
    """Return what a call takes in µs, and what is added to its CPU, all threads of the process: 0.1 is 10 % on top.

    So many calls are under way `at_once`.

    `kept`: by ledger and metrics. `watched`: by these, the spans of the OpenTelemetry SDK and a log line. `floor`: by
    two spans and a line alone, made by hand, as whoever uses that SDK and logging has to. Each is the median of the
    ratios of its turns to the bare client's turn of the same round.
    """
    return asyncio.run(_shares(url, folder, rounds, at_once))


async def _shares(url: str, folder: Path, rounds: int, at_once: int) -> dict[str, float]:
    given: dict[str, Any] = {"base_urls": {"openai": f"{url}/v1"}, "keys": {"openai": "x"}, "config": False, "env": {}}
    observers = Observers()
    clients = {name: AsyncClient(**given) for name in ("bare", "floor")}
    clients |= {name: AsyncClient(**given, ledger=folder / f"{name}.db") for name in ("kept", "watched")}
    Metrics(clients["kept"])
    observers.watch(clients["watched"])
    logs = {"watched": "penstock", "floor": "bench.ledger"}
    taken: dict[str, list[float]] = {name: [] for name in clients}
    for number in range(rounds + 1):
        for name, client in clients.items():
            with observers.writing(logs[name]) if name in logs else nullcontext():
                took = await _load(client, observers, at_once, observers.floor if name == "floor" else None)
            if number:  # the first is to warm up
                taken[name].append(took)
    for client in clients.values():
        await client.close()
    bare = taken.pop("bare")
    added = {name: median(map(truediv, each, bare)) - 1 for name, each in taken.items()}
    return {"call_us": median(bare) / LOAD * 1e6} | added


async def _load(client: AsyncClient, observers: Observers, at_once: int, after: Callable[[], None] | None) -> float:
    todo = iter(range(LOAD))

    async def work() -> None:
        for _ in todo:
            await client.complete(answers.PROMPT, model=MODEL, max_tokens=answers.MAX_TOKENS)
            if after is not None:
                after()

    gc.collect()
    began = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work())
    if client.ledger is not None:
        client.ledger.flush()  # what is still to be written is a cost of these calls, as are their spans
    observers.provider.force_flush()
    return time.process_time() - began
