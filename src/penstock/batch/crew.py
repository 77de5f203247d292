"""The workers of a run: each takes a row that is due and asks until it has its result, or the run stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from .._io.drive_async import AsyncRun
from .._io.journal import Journal, known_nano
from .._policy.schedule import Planner, Start, Stop
from ..client import AsyncClient
from ..errors import PenstockError
from ..types import Response
from .question import Questions, Task
from .report import Counts
from .settlement import Settlement


class Crew:
    """Workers around a planner; what they find out goes to the settlement and the counts."""

    def __init__(
        self, client: AsyncClient, questions: Questions, planner: Planner, counts: Counts, settlement: Settlement
    ) -> None:
        self._client = client
        self._clock = client._clock
        self._questions = questions
        self._planner = planner
        self._counts = counts
        self._settlement = settlement
        self._change = _Change()
        self._tasks: list[asyncio.Task[None]] = []
        self._calls: dict[AsyncRun, asyncio.Task[Any]] = {}

    @property
    def at_work(self) -> bool:
        """Whether workers are under way."""
        return bool(self._tasks)

    async def work(self, pending: Iterator[Task], journal: Journal, workers: int) -> None:
        """Ask all that is pending with so many workers."""
        self._tasks = [asyncio.create_task(self._work(pending, journal)) for _ in range(workers)]
        try:
            await asyncio.wait(self._tasks)  # which, unlike gather, leaves it to `cancel` to cut them
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            raise
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def drain(self) -> None:
        """Have no call begin another attempt; what has not gone out yet stays here and costs nothing."""
        self._change.tell()
        for run, task in self._calls.items():
            run.drained = True
            if not run.under_way:
                task.cancel()

    def cancel(self) -> None:
        """Stop at once: calls under way are cut, and may have been paid."""
        self._planner.stop("interrupted")
        for task in self._tasks:
            task.cancel()

    async def _work(self, pending: Iterator[Task], journal: Journal) -> None:
        try:
            while self._planner.reason is None and (task := next(pending, None)) is not None:
                if task.wrong is not None:
                    self._settle(journal, task, task.wrong)
                    await asyncio.sleep(0)
                elif not await self._ask(task, journal):
                    return
        except PenstockError as error:  # the input changed or vanished under our hands
            self._planner.stop("failed", error)
        except Exception:
            self._planner.stop("failed")
            raise
        finally:
            self._change.tell()

    async def _ask(self, task: Task, journal: Journal) -> bool:
        """Get a row answered or failed; False when the run stopped before it was."""
        tried: set[str] = set()
        while True:
            picked = self._planner.pick(self._clock.now(), task.lane, tried)
            if isinstance(picked, Stop):
                return False
            if not isinstance(picked, Start):
                await self._change.wait(None if picked.until is None else picked.until - self._clock.now())
                continue
            ended = await self._call(task, picked.model)
            task = task._replace(sent=self._counts.spend(ended.attempts, again=task.sent))
            if isinstance(ended, Response):
                self._planner.answered(picked.model)
                verdict = "record"
            else:
                now, own, special = self._clock.now(), task.lane is not None, bool(task.row.params)
                verdict = self._planner.failed(now, picked.model, ended, own=own, tried=tried, special=special)
                tried.add(picked.model)
                if self._planner.reason in ("failed", "outage", "refused"):
                    self.drain()
            if verdict == "record":
                self._settle(journal, task, ended)
            self._change.tell()
            if verdict != "again":
                return verdict == "record"
            task = task._replace(spent_nano=task.spent_nano + known_nano(ended.attempts))

    async def _call(self, task: Task, model: str) -> Response | PenstockError:
        """Make one call for a row; when it is cut, what it had sent is counted all the same."""
        run: AsyncRun | None = None
        try:
            run = self._client._begin(task.row.prompt, **self._questions.options(task.row, model))
            here = asyncio.current_task()
            assert here is not None
            self._calls[run] = here
            return await run.finish()
        except PenstockError as error:
            return error
        except BaseException:
            self._planner.abandoned(model)
            if run is not None:
                self._counts.spend_cut(run.trail.attempts, again=task.sent)
            self._change.tell()
            raise
        finally:
            if run is not None:
                del self._calls[run]

    def _settle(self, journal: Journal, task: Task, ended: Response | PenstockError) -> None:
        error = self._settlement.settle(journal, task, ended)
        if error is not None:
            self._planner.stop("output", error)
            self.drain()


class _Change:
    """Tells those who wait that a call ended."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                await self._event.wait()
        except TimeoutError:
            pass
