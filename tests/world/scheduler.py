"""Virtual time and the order of things: one seed decides which of all that could happen next does.

`Timeline` is the clock with what is due when. Two schedulers run client code on it: `TaskLoop` is an event loop, whose
tasks change places only where they wait; `Fibers` are real threads of which one runs at a time, and another may run
after any use of a lock, or before any line of the files in `torn`.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Collection, Coroutine
from heapq import heappop, heappush
from itertools import count
from random import Random
from types import FrameType
from typing import Any, Final

START_S: Final = 1_000.0
TICK_S: Final = 1e-7  # time passes with every timer: a remainder of a float must not keep a timer at "now" for ever
SPIN_STEPS: Final = 200_000  # so many steps in one instant are a loop that never waits


class Stuck(Exception):
    """Nothing is scheduled, or time stands still, and somebody still waits."""


class Stopped(BaseException):
    """Thrown into a fiber whose world has ended."""


class Timer:
    """Something due at a time, until it is cancelled."""

    __slots__ = ("args", "callback", "cancelled", "context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Timeline:
    """Virtual time; what is due at the same instant comes in seeded order."""

    def __init__(self, seed: int) -> None:
        self.now = START_S
        self.dice = Random(seed)
        self._serial = count()
        self._due: list[tuple[float, float, int, Timer]] = []
        self._steps = 0

    def at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call back at `when`, or at once when that is past."""
        timer = Timer(callback, args)
        heappush(self._due, (when, self.dice.random(), next(self._serial), timer))
        return timer

    def pass_time(self) -> list[Timer]:
        """Go to the next instant at which something is due and return all that is due then; nothing when nothing is."""
        due: list[Timer] = []
        while self._due and (not due or self._due[0][0] <= self.now):
            when, _, _, timer = heappop(self._due)
            if timer.cancelled:
                continue
            if not due:
                self._steps = 0 if when > self.now + TICK_S else self._steps
                self.now = max(self.now + TICK_S, when)
                self.count_step()
            due.append(timer)
        return due

    def count_step(self) -> None:
        """Notice a loop in which no time passes.

        Raises: Stuck.
        """
        self._steps += 1
        if self._steps > SPIN_STEPS:
            raise Stuck(f"{SPIN_STEPS} steps were taken while the clock stood at {self.now:.6f}")


class TaskLoop(Timeline):
    """As much of an event loop as tasks need, on virtual time, that takes what is ready in seeded order."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._ready: list[Timer] = []
        self._running = False
        self._loop: Any = self
        self.stray: list[dict[str, Any]] = []

    def run(self) -> None:
        """Run until nothing is ready or due.

        Raises: Stuck.
        """
        self._running = True
        asyncio._set_running_loop(self._loop)
        ready, random = self._ready, self.dice.random
        try:
            while True:
                while ready:
                    at = int(random() * len(ready))
                    ready[at], ready[-1] = ready[-1], ready[at]
                    handle = ready.pop()
                    if not handle.cancelled:
                        self.count_step()
                        handle.context.run(handle.callback, *handle.args)
                due = self.pass_time()
                if not due:
                    return
                for timer in due:
                    if timer.cancelled:
                        continue
                    if timer.context is None:
                        timer.callback(*timer.args)
                    else:
                        timer.context.run(timer.callback, *timer.args)
        finally:
            self._running = False
            asyncio._set_running_loop(None)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task."""
        return asyncio.Task(coroutine, loop=self._loop)

    async def wait(self, waiting: list[Callable[[], None]], until: float) -> bool:
        """Wait until somebody calls what is put into `waiting`; False when `until` came first."""
        future: asyncio.Future[None] = asyncio.Future(loop=self._loop)

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        waiting.append(wake)
        timer = self.at(until, wake) if until < float("inf") else None
        try:
            await future
        finally:
            waiting.clear()
            if timer is not None:
                timer.cancel()
        return self.now < until

    # --- what asyncio asks of a loop -----------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        handle = Timer(callback, args, context or contextvars.copy_context())
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        timer = self.at(when, callback, *args)
        timer.context = context or contextvars.copy_context()
        return timer

    def call_later(self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._loop)

    def create_task(self, coro: Any, **options: Any) -> Any:
        return asyncio.Task(coro, loop=self._loop, **options)

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.stray.append(context)


class _Fiber:
    """A thread that runs only while it has the baton."""

    __slots__ = ("baton", "interrupted", "thread", "wake", "work")

    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.work: Callable[[], None] | None = None
        self.wake: Callable[[], None] | None = None  # while it waits where an interrupt reaches it
        self.interrupted: object = None
        self.thread: threading.Thread | None = None


class Running:
    """Work that was begun in a fiber, to be interrupted as by Ctrl-C: where it waits, never between two lines."""

    def __init__(self, fiber: _Fiber) -> None:
        self._fiber: _Fiber | None = fiber

    def over(self) -> None:
        self._fiber = None

    def cancel(self) -> None:
        fiber = self._fiber
        if fiber is not None:
            fiber.interrupted = self
            if fiber.wake is not None:
                fiber.wake()


class Fibers(Timeline):
    """Threads on virtual time. `torn` are the files of which any line may be the last for a while."""

    def __init__(self, seed: int, *, torn: Collection[str] = (), tear: float = 0.1) -> None:
        super().__init__(seed)
        self._ready: list[_Fiber] = []
        self._idle: list[_Fiber] = []
        self._all: list[_Fiber] = []
        self._main = _Fiber()
        self._current = self._main
        self._stopping = False
        self._failure: BaseException | None = None
        self._torn = frozenset(torn)
        self._tear = tear

    def run(self) -> None:
        """Run until every fiber has ended or waits for what never comes.

        Raises: Stuck.
        """
        self._pass_on(self._main)
        self._stop()
        if self._failure is not None:
            raise self._failure

    def start(self, work: Callable[[], None]) -> Running:
        """Begin a fiber."""
        fiber = self._idle.pop() if self._idle else self._made()
        running = Running(fiber)

        def whole() -> None:
            try:
                work()
            finally:
                running.over()
                fiber.interrupted = None

        fiber.work = whole
        self._ready.append(fiber)
        return running

    def switch(self) -> None:
        """Let the seed decide who goes on."""
        ready = self._ready
        if not ready or self._stopping:
            return
        me = self._current
        at = int(self.dice.random() * (len(ready) + 1))
        if at < len(ready):
            other, ready[at] = ready[at], me
            self._hand_over(me, other)

    def wait(self, waiting: list[Callable[[], None]], until: float, *, interruptible: bool = True) -> bool:
        """Wait until somebody calls what is put into `waiting`; False when `until` came first.

        Raises: KeyboardInterrupt.
        """
        me = self._current
        self._check(me, interruptible=interruptible)
        woken = False

        def wake() -> None:
            nonlocal woken
            if not woken:
                woken = True
                self._ready.append(me)

        waiting.append(wake)
        timer = self.at(until, wake) if until < float("inf") else None
        me.wake = wake if interruptible else None
        self._pass_on(me)
        me.wake = None
        if timer is not None:
            timer.cancel()
        if wake in waiting:
            waiting.remove(wake)
        self._check(me, interruptible=interruptible)
        return self.now < until

    def sleep(self, seconds: float) -> None:
        """Wait, as time.sleep does."""
        self.wait([], self.now + seconds)

    @property
    def stopping(self) -> bool:
        """Whether the world has ended and its fibers only unwind."""
        return self._stopping

    def _check(self, me: _Fiber, *, interruptible: bool) -> None:
        if self._stopping:
            raise Stopped
        if interruptible and me.interrupted is not None:
            me.interrupted = None
            raise KeyboardInterrupt

    def _hand_over(self, me: _Fiber, other: _Fiber) -> None:
        self._current = other
        other.baton.release()
        me.baton.acquire()

    def _pass_on(self, me: _Fiber) -> None:
        """Find who goes on while this fiber waits; time passes only when nobody is ready."""
        if self._stopping:
            return
        try:
            self.count_step()
            while not self._ready and self._failure is None:
                due = self.pass_time()
                if not due:
                    break
                for timer in due:
                    if not timer.cancelled:
                        timer.callback(*timer.args)
        except BaseException as error:  # noqa: BLE001 - it ends the world, and is raised by run()
            self._failure = error
        other = self._main
        if self._ready and self._failure is None:
            at = int(self.dice.random() * len(self._ready))
            self._ready[at], self._ready[-1] = self._ready[-1], self._ready[at]
            other = self._ready.pop()
        if other is not me:
            self._hand_over(me, other)

    def _made(self) -> _Fiber:
        fiber = _Fiber()
        fiber.thread = threading.Thread(target=self._live, args=(fiber,), daemon=True)
        self._all.append(fiber)
        fiber.thread.start()
        return fiber

    def _live(self, fiber: _Fiber) -> None:
        fiber.baton.acquire()
        if self._torn:
            sys.settrace(self._trace)
        while not self._stopping:
            work, fiber.work = fiber.work, None
            assert work is not None
            try:
                work()
            except Stopped:
                return
            except BaseException as error:  # noqa: BLE001 - the harness itself failed
                self._failure = self._failure or error
            self._idle.append(fiber)
            self._pass_on(fiber)

    def _stop(self) -> None:
        self._stopping = True
        for fiber in self._all:
            if fiber.thread is not None and fiber.thread.is_alive():
                fiber.baton.release()
                fiber.thread.join(10)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._torn else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and self.dice.random() < self._tear:
            self.switch()
        return self._line


class FiberLock:
    """A lock of fibers; whoever takes or leaves it may lose its turn."""

    def __init__(self, fibers: Fibers) -> None:
        self._fibers = fibers
        self._waiting: list[Callable[[], None]] = []
        self._taken = False

    def acquire(self) -> bool:
        self._fibers.switch()
        while self._taken and not self._fibers.stopping:
            self._fibers.wait(self._waiting, float("inf"), interruptible=False)
        self._taken = True
        return True

    def release(self) -> None:
        self._taken = False
        if self._waiting:
            self._waiting.pop(int(self._fibers.dice.random() * len(self._waiting)))()
        self._fibers.switch()

    def locked(self) -> bool:
        return self._taken

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class FiberEvent:
    """An event of fibers."""

    def __init__(self, fibers: Fibers) -> None:
        self._fibers = fibers
        self._waiting: list[Callable[[], None]] = []
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
        self._fibers.switch()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        self._fibers.switch()
        if not self._set:
            until = float("inf") if timeout is None else self._fibers.now + timeout
            self._fibers.wait(self._waiting, until)
        return self._set


class FiberThreading:
    """Stands for `threading` in the modules of the gate: their locks and events are those of fibers."""

    def __init__(self, fibers: Fibers) -> None:
        self._fibers = fibers

    def Lock(self) -> FiberLock:  # noqa: N802 - it is called as threading.Lock() is
        return FiberLock(self._fibers)

    def Event(self) -> FiberEvent:  # noqa: N802
        return FiberEvent(self._fibers)

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


class FiberTime:
    """Stands for `time` in the sync driver."""

    def __init__(self, fibers: Fibers) -> None:
        self.sleep = fibers.sleep
        self.monotonic = self.time = lambda: fibers.now
