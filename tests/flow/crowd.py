"""Many calls of one client at the same time, in either colour, with a provider that answers when it is told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from penstock import AsyncClient, Cache, Client
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from penstock.types import Chunk

from .colours import KEYS, QUICK

WAIT_S = 30.0


def until(true: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    ends = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.0005)


class Held(ScriptedTransport):
    """A scripted transport that takes a turn for each send and for each piece of a stream."""

    def __init__(self, answers: Iterable[Scripted]) -> None:
        super().__init__(answers)
        self.asked = 0
        self.turns = threading.Semaphore(0)

    def send(self, target: Any, outbound: Any, until: float, *, stream: bool) -> Any:
        """Answer at its turn."""
        self.asked += 1
        assert self.turns.acquire(timeout=WAIT_S)
        exchange = super().send(target, outbound, until, stream=stream)
        if stream:
            read = exchange.read

            def held(until: float, idle_s: float | None) -> bytes:
                assert self.turns.acquire(timeout=WAIT_S)
                return read(until, idle_s)

            exchange.read = held  # type: ignore[method-assign]
        return exchange


class AsyncHeld(AsyncScriptedTransport):
    """The same, awaited."""

    def __init__(self, answers: Iterable[Scripted]) -> None:
        super().__init__(answers)
        self.asked = 0
        self.turns = asyncio.Semaphore(0)

    async def send(self, target: Any, outbound: Any, until: float, *, stream: bool) -> Any:
        """Answer at its turn."""
        self.asked += 1
        await self.turns.acquire()
        exchange = await super().send(target, outbound, until, stream=stream)
        if stream:
            read = exchange.read

            async def held(until: float, idle_s: float | None) -> bytes:
                await self.turns.acquire()
                return await read(until, idle_s)

            exchange.read = held  # type: ignore[method-assign]
        return exchange


class Crowd:
    """A client with calls under way. `ask` and `stream` begin one and return its future."""

    client: Any
    transport: Any

    def ask(self, prompt: str = "hi", **options: Any) -> Future[Any]:
        """Begin a call."""
        raise NotImplementedError

    def stream(self, chunks: list[Chunk], **options: Any) -> Future[Any]:
        """Begin to read a stream; what is shown goes into `chunks`."""
        raise NotImplementedError

    def let(self, turns: int = 1) -> None:
        """Let the provider answer so many requests or pieces."""
        raise NotImplementedError

    def follow(self, number: int) -> None:
        """Wait until so many calls wait for the answer to another one."""
        flights = self.client._gate.answers._flights._flights
        until(lambda: sum(len(flight.parked) for flight in list(flights.values())) == number)

    def asked(self, number: int) -> None:
        """Wait until so many requests reached the provider; more are an error."""
        until(lambda: self.transport.asked >= number)
        assert self.transport.asked == number


def options_of(options: dict[str, Any]) -> Any:
    """Ask for something that may be cached, unless told otherwise."""
    return {"model": "openai:gpt-4o-mini", "temperature": 0, **options}


class Threads(Crowd):
    """The crowd as threads."""

    def __init__(self, answers: Iterable[Scripted], settings: dict[str, Any]) -> None:
        self.transport = Held(answers)
        self.client = Client(transport=self.transport, **settings)
        self.pool = ThreadPoolExecutor(128)

    def ask(self, prompt: str = "hi", **options: Any) -> Future[Any]:
        """Begin a call in a thread."""
        return self.pool.submit(self.client.complete, prompt, **options_of(options))

    def stream(self, chunks: list[Chunk], **options: Any) -> Future[Any]:
        """Begin to read a stream in a thread."""

        def read() -> Any:
            with self.client.stream("hi", **options_of(options)) as stream:
                for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF402 - looked at while it runs
            return stream.response

        return self.pool.submit(read)

    def let(self, turns: int = 1) -> None:
        """Let the provider answer."""
        self.transport.turns.release(turns)


class Tasks(Crowd):
    """The crowd as tasks of a loop in a thread of its own; cancelling a future cancels its task."""

    def __init__(self, answers: Iterable[Scripted], settings: dict[str, Any]) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.transport = AsyncHeld(answers)
        self.client = AsyncClient(transport=self.transport, **settings)

    def ask(self, prompt: str = "hi", **options: Any) -> Future[Any]:
        """Begin a call in a task."""
        return asyncio.run_coroutine_threadsafe(self.client.complete(prompt, **options_of(options)), self.loop)

    def stream(self, chunks: list[Chunk], **options: Any) -> Future[Any]:
        """Begin to read a stream in a task."""

        async def read() -> Any:
            async with self.client.stream("hi", **options_of(options)) as stream:
                async for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF401 - looked at while it runs
            return stream.response

        return asyncio.run_coroutine_threadsafe(read(), self.loop)

    def let(self, turns: int = 1) -> None:
        """Let the provider answer."""

        def release() -> None:
            for _ in range(turns):
                self.transport.turns.release()

        self.loop.call_soon_threadsafe(release)


@contextmanager
def crowd(colour: str, answers: Iterable[Scripted], **more: Any) -> Iterator[Crowd]:
    """Run a crowd against a script; when it has ended nothing of it may be left in the client."""
    settings = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, "cache": Cache(), **more}
    if colour == "sync":
        threads = Threads(answers, settings)
        try:
            yield threads
        finally:
            threads.transport.turns.release(1000)
            threads.pool.shutdown()
        made: Crowd = threads
    else:
        tasks = Tasks(answers, settings)
        try:
            yield tasks
            until(lambda: not asyncio.all_tasks(tasks.loop))
        finally:
            for task in asyncio.all_tasks(tasks.loop):
                tasks.loop.call_soon_threadsafe(task.cancel)
            tasks.loop.call_soon_threadsafe(tasks.loop.stop)
            tasks.thread.join()
            tasks.loop.close()
        made = tasks
    assert made.client.cache().flights == 0
    assert made.transport.open == 0
    for lane in made.client.lanes():
        assert (lane.limiter.in_flight, lane.limiter.queued) == (0, 0)
