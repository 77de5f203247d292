"""Sync runs side by side: each takes its step in a thread of its own, which lives no longer than the race."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from .._flow.effects import Abandoned, Effect, Flow, Parallel
from ..types import Chunk
from .parking import ThreadGate


class Watched(Protocol):
    """What a sync transport lets another thread do: `transport.lines`."""

    def watch(self, thread: threading.Thread) -> None:
        """From now on `interrupt` can end what this thread waits for."""
        ...

    def interrupt(self, thread: threading.Thread) -> None:
        """End what a thread waits for, and whatever it would wait for next."""
        ...

    def forget(self, thread: threading.Thread) -> None:
        """Watch a thread no longer."""
        ...


class Runner(Protocol):
    """A run as a race sees it; `stopped` tells it that an error is only the end of its wait."""

    stopped: bool
    response: Any

    def step(self) -> list[Chunk] | None:
        """Perform effects until chunks are shown or the flow ended."""
        ...


class OneAtATime:
    """A flow of a race: one computes at a time, since they share the trail of their call; none waits in it."""

    def __init__(self, flow: Flow[Any], lock: threading.Lock) -> None:
        self._flow = flow
        self._lock = lock

    def send(self, answer: Any) -> Effect:
        """Go on with the answer to the last effect."""
        with self._lock:
            return self._flow.send(answer)

    def throw(self, error: BaseException) -> Effect:
        """Go on with an error in place of an answer."""
        with self._lock:
            return self._flow.throw(error)


class Race:
    """Threads that step runs, until one of them shows output or has a result that is enough."""

    def __init__(self, effect: Parallel, gate: ThreadGate, lines: Watched) -> None:
        self._effect = effect
        self._gate = gate
        self._lines = lines
        self._begun: list[tuple[Any, threading.Thread]] = []
        self._told: SimpleQueue[tuple[Runner, list[Chunk] | None, BaseException | None]] = SimpleQueue()
        self._shown: dict[int, list[Chunk] | None] = {}

    def begin(self, run: Runner) -> None:
        """Step a run in a new thread."""
        thread = threading.Thread(target=self._step, args=(run,), name="penstock-race", daemon=True)
        self._begun.append((run, thread))
        thread.start()

    def is_over(self, within_s: float | None) -> bool:
        """Wait until the race is decided or nobody is under way, at most `within_s`."""
        while len(self._shown) < len(self._begun):
            try:
                run = self._hear(within_s)
            except Empty:
                return False
            enough = self._effect.enough
            if self._shown[id(run)] is not None or (enough is not None and enough(run.response)):
                return True
        return within_s != 0

    def end(self) -> list[tuple[Any, list[Chunk] | None]]:
        """Stop those that are still under way, and return what each run showed."""
        self.stop()
        while len(self._shown) < len(self._begun):
            self._hear(None)
        return [(run, self._shown[id(run)]) for run, _ in self._begun]

    def stop(self) -> None:
        """End every thread and see it end, which takes it no wait."""
        alive = [(run, thread) for run, thread in self._begun if thread.is_alive()]
        for run, thread in alive:
            run.stopped = True
            self._gate.interrupt(thread)
            self._lines.interrupt(thread)
        for _, thread in self._begun:
            thread.join()
            self._gate.forget(thread)
            self._lines.forget(thread)

    def _step(self, run: Runner) -> None:
        self._lines.watch(threading.current_thread())
        try:
            self._told.put((run, run.step(), None))
        except BaseException as error:  # noqa: BLE001 - raised where the race is watched
            self._told.put((run, None, error))

    def _hear(self, within_s: float | None) -> Runner:
        run, shown, error = self._told.get(timeout=within_s)
        self._shown[id(run)] = shown
        if error is not None and not isinstance(error, Abandoned):
            raise error
        return run
