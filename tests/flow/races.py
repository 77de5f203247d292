"""Races to play with both clients: attempts that wait for each other, and what was left when they were over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import msgspec

from penstock import AsyncClient, Budget, Client, Hedge
from penstock._flow.effects import Expired
from penstock._io.http import Target
from penstock._wire.protocol import Outbound
from penstock.errors import OutcomeUnknown, PenstockError
from penstock.testing import Scripted

from .colours import KEYS, QUICK, openai_events, openai_reply

MODEL = "openai:gpt-4o-mini"
SOON = Hedge(after_s=0.005)


class Act(msgspec.Struct):
    """What an attempt does: it waits until request `after` was sent, for ever if None, then answers."""

    answer: Scripted
    after: int | None = 0
    at_read: bool = False
    late_s: float = 0.0


class _Play:
    """Attempts that wait for each other, in threads or tasks: the script of a race."""

    def __init__(self, acts: Sequence[Act]) -> None:
        self.acts = list(acts)
        self.sent: list[Outbound] = []
        self.open = 0

    def next(self, outbound: Outbound) -> Act:
        self.sent.append(outbound)
        return self.acts[len(self.sent) - 1]


class _Exchange:
    def __init__(self, play: Any, act: Act, until: float) -> None:
        self.play = play
        self.act = act
        self.status = act.answer.status
        self.headers = {name.lower(): value for name, value in act.answer.headers.items()}
        self.pieces = iter([act.answer.body] if isinstance(act.answer.body, bytes) else act.answer.body)
        play.open += 1

    def take(self) -> bytes:
        piece = next(self.pieces, b"")
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def close(self) -> None:
        self.play.open -= 1


class SyncExchange(_Exchange):
    """Blocks until its turn."""

    def read(self, until: float, idle_s: float | None) -> bytes:
        if self.act.at_read:
            self.play.wait(self.act.after, until)
        return self.take()

    def read_all(self, until: float) -> bytes:
        return self.read(until, None)


class AsyncExchange(_Exchange):
    """Awaits its turn."""

    async def read(self, until: float, idle_s: float | None) -> bytes:
        if self.act.at_read:
            await self.play.wait(self.act.after, until)
        return self.take()

    async def read_all(self, until: float) -> bytes:
        return await self.read(until, None)


class SyncPlay(_Play):
    """The script for threads; it is its own `lines`."""

    def __init__(self, acts: Sequence[Act]) -> None:
        super().__init__(acts)
        self.lines = self
        self._changed = threading.Condition()
        self._ended: set[threading.Thread] = set()
        self.watched: set[threading.Thread] = set()

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> SyncExchange:
        with self._changed:
            act = self.next(outbound)
            self._changed.notify_all()
        time.sleep(act.late_s)
        if not act.at_read:
            self.wait(act.after, until)
        if act.answer.error is not None:
            raise act.answer.error
        return SyncExchange(self, act, until)

    def wait(self, after: int | None, until: float) -> None:
        thread = threading.current_thread()
        left = 5.0 if until == float("inf") else max(0.0, min(5.0, until - now()))
        with self._changed:
            self._changed.wait_for(
                lambda: thread in self._ended or (after is not None and len(self.sent) >= after), left
            )
            if thread in self._ended:
                raise OutcomeUnknown("the line was cut")
            if after is None or len(self.sent) < after:
                raise Expired(now())

    def watch(self, thread: threading.Thread) -> None:
        self.watched.add(thread)

    def interrupt(self, thread: threading.Thread) -> None:
        with self._changed:
            self._ended.add(thread)
            self._changed.notify_all()

    def forget(self, thread: threading.Thread) -> None:
        self.watched.discard(thread)

    def close(self) -> None:
        for thread in tuple(self.watched) or (threading.main_thread(),):
            self.interrupt(thread)


class AsyncPlay(_Play):
    """The script for tasks."""

    def __init__(self, acts: Sequence[Act]) -> None:
        super().__init__(acts)
        self._changed = asyncio.Condition()
        self.closed = False

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> AsyncExchange:
        act = self.next(outbound)
        async with self._changed:
            self._changed.notify_all()
        await asyncio.sleep(act.late_s)
        if not act.at_read:
            await self.wait(act.after, until)
        if act.answer.error is not None:
            raise act.answer.error
        return AsyncExchange(self, act, until)

    async def wait(self, after: int | None, until: float) -> None:
        left = 5.0 if until == float("inf") else max(0.0, min(5.0, until - now()))
        try:
            async with asyncio.timeout(left), self._changed:
                await self._changed.wait_for(lambda: self.closed or (after is not None and len(self.sent) >= after))
        except TimeoutError:
            raise Expired(now()) from None
        if self.closed:
            raise OutcomeUnknown("the line was cut")

    async def close(self) -> None:
        async with self._changed:
            self.closed = True
            self._changed.notify_all()


def now() -> float:
    """Return the time as the gate sees it."""
    return time.monotonic()


class Raced(msgspec.Struct):
    """What a race came to, and what it left behind."""

    client: Any
    play: Any
    response: Any = None
    error: Any = None
    text: str = ""

    def outcomes(self) -> list[str]:
        """Return how the attempts ended, in their order."""
        return [attempt.outcome for attempt in (self.response or self.error).attempts]


def race(
    colour: str,
    *acts: Act,
    stream: bool = False,
    meanwhile: Callable[[Any], Any] | None = None,
    client: Any = None,
    leaves: bool = False,
    **options: Any,
) -> Raced:
    """Make one hedged call; `meanwhile` happens once both attempts are under way. Nothing may be left afterwards.

    Who `leaves` reads no more than the first chunk of the stream.
    """
    settings = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, "budget": Budget(total="1"), "hedge": SOON}
    settings |= client or {}
    options = {"model": MODEL, "max_tokens": 50, **options}
    threads = set(threading.enumerate())
    if colour == "sync":
        raced = _sync(settings, acts, stream, meanwhile, options, leaves=leaves)
        assert raced.play.watched == set()
    else:
        raced = asyncio.run(_async(settings, acts, stream, meanwhile, options, leaves=leaves))
    assert set(threading.enumerate()) <= threads
    assert raced.play.open == 0
    for lane in raced.client.lanes():
        assert (lane.limiter.in_flight, lane.limiter.queued, lane.breaker.probes_out) == (0, 0, 0)
    assert raced.client.budget().calls_under_way == 0
    assert all(scope.held_nano == 0 for scope in raced.client.budget().scopes)
    assert raced.client.usage().calls == 1
    return raced


def _sync(settings: Any, acts: Sequence[Act], stream: bool, meanwhile: Any, options: Any, *, leaves: bool) -> Raced:
    play = SyncPlay(acts)
    raced = Raced(Client(transport=play, **settings), play)
    helper = threading.Thread(target=_once_sent, args=(raced, meanwhile)) if meanwhile else None
    if helper is not None:
        helper.start()
    try:
        if stream:
            with raced.client.stream("hi", **options) as chunks:
                for chunk in islice(chunks, 1 if leaves else None):
                    raced.text += chunk.text if chunk.kind == "text" else ""
            raced.response = chunks.partial if leaves else chunks.response
        else:
            raced.response = raced.client.complete("hi", **options)
    except (PenstockError, ZeroDivisionError, RuntimeError) as error:
        raced.error = error
    if helper is not None:
        helper.join()
    return raced


def _once_sent(raced: Raced, meanwhile: Any) -> None:
    raced.play.watched.add(threading.current_thread())
    raced.play.wait(2, float("inf"))
    raced.play.watched.discard(threading.current_thread())
    meanwhile(raced)


async def _async(
    settings: Any, acts: Sequence[Act], stream: bool, meanwhile: Any, options: Any, *, leaves: bool
) -> Raced:
    play = AsyncPlay(acts)
    raced = Raced(AsyncClient(transport=play, **settings), play)

    async def ask() -> None:
        if stream:
            async with raced.client.stream("hi", **options) as chunks:
                async for chunk in chunks:
                    raced.text += chunk.text if chunk.kind == "text" else ""
                    if leaves:
                        break
            raced.response = chunks.partial if leaves else chunks.response
        else:
            raced.response = await raced.client.complete("hi", **options)

    task = asyncio.create_task(ask())
    if meanwhile is not None:
        await play.wait(2, float("inf"))
        await (raced.client.close() if meanwhile is closing else meanwhile(task))
    try:
        await task
    except (PenstockError, ZeroDivisionError, asyncio.CancelledError) as error:
        raced.error = error
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return raced


def closing(raced: Raced) -> None:
    """Close the client under the race."""
    raced.client.close()


def reply(stream: bool, text: str = "hello") -> Scripted:
    """Answer a call of either kind."""
    return Scripted(body=openai_events(text)) if stream else openai_reply(text)
