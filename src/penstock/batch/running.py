"""What every run of many rows is while it runs: figures, stop, workers, and lines that could not be written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from .._io.drive_async import AsyncRun
from .._io.journal import Journal, Mended
from .._io.rowfile import Checked
from .._policy.schedule import Planner
from ..errors import OutputError
from .report import BatchReport, Counts

ResultT = TypeVar("ResultT")

GRACE_S: Final = 10.0
"""After a stop, calls under way have this long to bring their answers home; they are paid already."""


class Change:
    """Tells those who wait that a call ended."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """A call ended, or the run is to stop."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float | None) -> None:
        """Wait for that, at most so long."""
        try:
            async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                await self._event.wait()
        except TimeoutError:
            pass


class Running(Generic[ResultT]):
    """A run of many rows over `models`; a `ResultT` is what stands in a line of its journal."""

    def __init__(self, models: Sequence[str], concurrency: int) -> None:
        self.concurrency = concurrency
        self.begun = asyncio.Event()
        self._planner = Planner(models)
        self._change = Change()
        self._tasks: list[asyncio.Task[None]] = []
        self._calls: dict[AsyncRun, asyncio.Task[Any]] = {}
        self._counts = Counts()
        self._unwritten: list[ResultT] = []
        self._checked = Checked(rows=0, bad=0, problems=())
        self._mended = Mended(0, 0)
        self._started = 0.0
        self._ended: float | None = None

    @property
    def report(self) -> BatchReport:
        """The run as it stands."""
        counts, planner = self._counts, self._planner
        until = self._ended if self._ended is not None else time.monotonic()
        return BatchReport(
            rows=self._checked.rows,
            before=counts.before,
            answered=counts.answered,
            failed=counts.failed,
            kept=counts.kept,
            in_flight=planner.in_flight,
            attempts=counts.attempts,
            retries=counts.retries,
            rate_limited=counts.rate_limited,
            usage=counts.usage,
            cost_nano=counts.cost_nano,
            unpriced=counts.unpriced,
            cut=counts.cut,
            cost_before_nano=counts.cost_before_nano,
            elapsed_s=until - self._started if self._started else 0.0,
            failures=dict(counts.failures),
            lanes=planner.lanes,
            mended=self._mended,
            unwritten=len(self._unwritten),
            stopped=planner.reason,
            cause=planner.cause,
        )

    def stop(self) -> None:
        """Start nothing more, end calls that wait for their turn, and let those under way finish for `GRACE_S`."""
        if self._planner.reason is None:
            self._planner.stop("interrupted")
            self._drain()
            if self._tasks:
                asyncio.get_running_loop().call_later(GRACE_S, self.cancel)

    def _drain(self) -> None:
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

    async def _perform(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for the workers to end."""
        self._tasks = tasks
        try:
            await asyncio.wait(tasks)  # which, unlike gather, leaves it to `cancel` to cut them
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        self._tasks = []
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _write(self, journal: Journal, result: ResultT) -> None:
        """Raises: OutputError when a result cannot be written."""
        raise NotImplementedError

    def _keep(self, journal: Journal, result: ResultT) -> None:
        """Write a result down. What cannot be written is kept and tried once more at the end."""
        try:
            self._write(journal, result)
        except OutputError as error:
            journal.free_reserve()
            self._unwritten.append(result)
            self._planner.stop("output", error)
            self._drain()

    def _write_late(self, journal: Journal) -> None:
        late, self._unwritten = self._unwritten, []
        for result in late:
            try:
                self._write(journal, result)
            except OutputError:
                self._unwritten.append(result)
