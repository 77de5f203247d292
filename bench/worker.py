"""One contestant in a process of its own: `python -m bench.worker FAMILY COLOUR URL`.

Says {"version": …} when it is ready, then answers each line like {"kind": "call", "count": 100, "concurrency": 32,
"warm_up": 32} on standard input with one line of figures. CPU is user and system time of this process, all threads.
Ends when its standard input ends. What a library prints goes to standard error.
"""

from bench.resident import resident_mb

START_MB = resident_mb()  # before anything else is imported

import asyncio  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Awaitable, Callable, Iterator  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from importlib import import_module, metadata  # noqa: E402
from typing import Any, Protocol  # noqa: E402

from bench import answers  # noqa: E402
from bench.resident import peak_mb  # noqa: E402
from bench.server import open_many_files  # noqa: E402


class Host(Protocol):
    """Runs a contestant's work at a concurrency."""

    def run(self, kind: str, count: int, concurrency: int) -> dict[str, float]:
        """Do the work and return CPU and wall seconds."""
        ...

    def close(self) -> None:
        """Close the contestant's connections."""
        ...


def check(got: object, wanted: str) -> None:
    """A contestant that reads something else than was sent is not measured."""
    if got != wanted:
        raise RuntimeError(f"read {got!r:.80}, expected {wanted!r:.80}")


class AsyncHost:
    """An event loop kept over all turns; concurrency is a number of tasks, each making one call after another."""

    def __init__(self, contestant: type[Any], root: str, wanted: dict[str, str]) -> None:
        self.runner = asyncio.Runner()
        self.wanted = wanted
        self.contestant = self.runner.run(self._make(contestant, root))

    async def _make(self, contestant: type[Any], root: str) -> Any:
        return contestant(root)  # inside the loop: some clients ask for it

    def run(self, kind: str, count: int, concurrency: int) -> dict[str, float]:
        work: Callable[[], Awaitable[str]] = getattr(self.contestant, kind)
        return self.runner.run(self._load(work, self.wanted[kind], count, concurrency))

    async def _load(
        self, work: Callable[[], Awaitable[str]], wanted: str, count: int, concurrency: int
    ) -> dict[str, float]:
        todo = iter(range(count))
        cpu, wall = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(self._worker(work, wanted, todo))
        return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}

    async def _worker(self, work: Callable[[], Awaitable[str]], wanted: str, todo: Iterator[int]) -> None:
        for _ in todo:
            check(await work(), wanted)

    def close(self) -> None:
        self.runner.run(self.contestant.close())
        self.runner.close()


class ThreadHost:
    """Threads kept over all turns; concurrency is a number of them, each making one call after another."""

    def __init__(self, contestant: type[Any], root: str, wanted: dict[str, str]) -> None:
        self.contestant = contestant(root)
        self.wanted = wanted
        self.pools: dict[int, ThreadPoolExecutor] = {}

    def run(self, kind: str, count: int, concurrency: int) -> dict[str, float]:
        work: Callable[[], str] = getattr(self.contestant, kind)
        if concurrency not in self.pools:
            self.pools[concurrency] = ThreadPoolExecutor(concurrency)
        todo, gate = iter(range(count)), threading.Barrier(concurrency + 1)
        threads = [
            self.pools[concurrency].submit(self._worker, work, self.wanted[kind], todo, gate)
            for _ in range(concurrency)
        ]
        cpu, wall = time.process_time(), time.perf_counter()
        gate.wait()
        for thread in threads:
            thread.result()
        return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}

    def _worker(self, work: Callable[[], str], wanted: str, todo: Iterator[int], gate: threading.Barrier) -> None:
        gate.wait()
        for _ in todo:
            check(work(), wanted)

    def close(self) -> None:
        self.contestant.close()
        for pool in self.pools.values():
            pool.shutdown()


def turn(host: Host, kind: str, count: int, concurrency: int, warm_up: int) -> dict[str, float]:
    """Open connections outside the measure, then measure. Garbage of earlier turns is not this turn's cost."""
    if warm_up:
        host.run(kind, warm_up, concurrency)
    gc.collect()
    figures = host.run(kind, count, concurrency)
    return {**figures, "start_mb": START_MB, "rss_mb": resident_mb(), "peak_mb": peak_mb()}


def serve(family: str, colour: str, root: str) -> None:
    """Be one contestant until there are no more orders."""
    answers_to = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module: Any = import_module(f"bench.contestants.{family}_")
    wanted = {"call": answers.REPLY_TEXT, "stream": getattr(module, "STREAM_TEXT", answers.STREAM_TEXT)}
    host: Host = AsyncHost(module.Async, root, wanted) if colour == "async" else ThreadHost(module.Sync, root, wanted)
    print(json.dumps({"version": metadata.version(module.PACKAGE)}), file=answers_to)
    for line in sys.stdin:
        print(json.dumps(turn(host, **json.loads(line))), file=answers_to)
    host.close()


if __name__ == "__main__":
    open_many_files()
    serve(*sys.argv[1:])
