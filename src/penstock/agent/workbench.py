"""Where tools are used: each in a thread or a task of its own, bounded in time; whatever one does, it ends in words."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final

from .._flow.agent_effects import Begin, Ended, Use
from .._flow.toolresult import Content, told
from .._io.clock import Clock

ERROR_CHARS: Final = 1_000
"""Of an exception's message that the model is told."""

LOOK_UP_S: Final = 0.5
"""How often a thread that waits for tools looks up: Python sees a Ctrl-C that came just before a wait after it only."""

Outcome = tuple[Content, bool]


def in_words(error: BaseException) -> Outcome:
    """Say to the model what a tool raised."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - an exception whose words cannot be had has a name at least
        said = ""
    name = type(error).__name__
    if isinstance(error, SystemExit):
        return "the tool wanted to end the program; it was not let", True
    return (f"{name}: {said[:ERROR_CHARS]}" if said else name), True


def late(use: Use) -> Outcome:
    """Say to the model that a tool did not end in time."""
    return f"the tool did not end within {use.timeout_s:.3g} s; it may have had an effect", True


def in_thread(function: Callable[[], Any], ended: Callable[[Any], object], name: str) -> None:
    """Call a function in a thread of its own, which nobody has to wait for, with the context of the caller."""
    context = contextvars.copy_context()
    threading.Thread(target=lambda: ended(context.run(function)), name=f"penstock-{name}", daemon=True).start()


def perform(use: Use) -> Outcome:
    """Use a tool in this thread."""
    assert use.tool.run is not None
    try:
        return told(use.tool.run(use.arguments), use.tool.max_chars)
    except BaseException as error:  # noqa: BLE001 - the model is told
        return in_words(error)


class _Worker:
    """A thread that performs one job after the other until it is told to end; one that hangs is left to itself."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name="penstock-tool", daemon=True).start()

    def _serve(self) -> None:
        while (job := self.jobs.get()) is not None:
            job()
            del job  # what it holds is not to be held until the next one comes


class ThreadBench:
    """Uses sync tools from a thread that waits for them; its workers live as long as the run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[Use] = deque()
        self._under_way: dict[int, tuple[Use, float, _Worker]] = {}
        self._idle: list[_Worker] = []
        self._told: SimpleQueue[tuple[int, int, Outcome]] = SimpleQueue()
        self._batch = 0

    def begin(self, effect: Begin) -> None:
        """Begin to use tools."""
        self._batch += 1
        self._waiting = deque(effect.uses)
        for _ in range(min(effect.at_once, len(effect.uses))):
            self._one_more()

    def _one_more(self) -> None:
        if not self._waiting:
            return
        use, batch = self._waiting.popleft(), self._batch
        worker = self._idle.pop() if self._idle else _Worker()
        self._under_way[use.place] = (use, self._clock.now(), worker)
        context = contextvars.copy_context()
        worker.jobs.put(lambda: self._told.put((batch, use.place, context.run(perform, use))))

    def next(self) -> Ended:
        """Wait for the next tool that ends, or whose time is over."""
        while True:
            due = [(at + use.timeout_s, use) for use, at, _ in self._under_way.values() if use.timeout_s is not None]
            first = min(due, key=lambda pair: pair[0], default=None)
            left_s = LOOK_UP_S if first is None else first[0] - self._clock.now()
            try:
                batch, place, outcome = self._told.get(timeout=min(LOOK_UP_S, max(0.0, left_s)))
            except Empty:
                if first is not None and self._clock.now() >= first[0]:
                    return self._over(first[1], late(first[1]), left=True)
                continue
            if batch == self._batch and place in self._under_way:  # not one that was left
                return self._over(self._under_way[place][0], outcome)

    def _over(self, use: Use, outcome: Outcome, *, left: bool = False) -> Ended:
        _, began, worker = self._under_way.pop(use.place)
        if left:
            worker.jobs.put(None)
        else:
            self._idle.append(worker)
        self._one_more()
        return Ended(use.place, *outcome, self._clock.now() - began, left)

    def stop(self) -> None:
        """Let the workers go: those that are idle end, and the others when their tool does."""
        self._waiting.clear()
        for worker in [*self._idle, *[worker for _, _, worker in self._under_way.values()]]:
            worker.jobs.put(None)
        self._idle.clear()
        self._under_way.clear()


class TaskBench:
    """Uses tools from an event loop: async ones as tasks, sync ones in threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[Use] = deque()
        self._tasks: set[asyncio.Task[Ended]] = set()
        self._over: asyncio.Queue[asyncio.Task[Ended]] = asyncio.Queue()

    def begin(self, effect: Begin) -> None:
        """Begin to use tools."""
        self.stop()
        self._waiting = deque(effect.uses)
        for _ in range(min(effect.at_once, len(effect.uses))):
            self._one_more()

    def _one_more(self) -> None:
        if self._waiting:
            use = self._waiting.popleft()
            task = asyncio.create_task(self._use(use), name=f"penstock-{use.tool.name}")
            self._tasks.add(task)
            task.add_done_callback(self._over.put_nowait)

    async def next(self) -> Ended:
        """Wait for the next tool that ends, or whose time is over."""
        task = await self._over.get()
        while task not in self._tasks:  # of an earlier turn
            task = await self._over.get()
        self._tasks.discard(task)
        self._one_more()
        return task.result()

    def stop(self) -> None:
        """Cancel what is under way, without waiting for it."""
        self._waiting.clear()
        with contextlib.suppress(RuntimeError):  # the loop may be closed, when a stream is dropped unread
            for task in self._tasks:
                task.cancel()
        self._tasks.clear()

    async def _use(self, use: Use) -> Ended:
        began = self._clock.now()
        work = asyncio.ensure_future(_performed(use))
        try:
            done, _ = await asyncio.wait({work}, timeout=use.timeout_s)
        except asyncio.CancelledError:
            work.cancel()
            raise
        if not done:
            work.cancel()  # not waited for: a tool may swallow it
            work.add_done_callback(_heard)
        outcome = work.result() if done else late(use)
        return Ended(use.place, *outcome, self._clock.now() - began, not done and use.tool.arun is None)


def _heard(work: asyncio.Future[Outcome]) -> None:
    """Look at how work ended that nobody waits for, so that asyncio does not complain of it."""
    if not work.cancelled():
        work.exception()


async def _performed(use: Use) -> Outcome:
    if use.tool.arun is None:
        outcome: Outcome = await thread_of(lambda: perform(use), use.tool.name)
        return outcome
    try:
        return told(await use.tool.arun(use.arguments), use.tool.max_chars)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return in_words(error)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - the model is told
        return in_words(error)


async def thread_of(function: Callable[[], Any], name: str) -> Any:
    """Call a function that blocks in a thread of its own: one that hangs takes no place of another's pool."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def come(outcome: Any) -> None:
        if not future.done():
            future.set_result(outcome)

    def ended(outcome: Any) -> None:
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(come, outcome)
            except RuntimeError:  # it was closed in between
                return

    in_thread(function, ended, name)
    return await future


def is_async(function: object) -> bool:
    """Whether a hook of the user has to be awaited."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
