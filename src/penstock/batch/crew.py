"""The workers of a run: each takes a row that is due and asks until it has its result, or the run stops."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from .._flow.extracted import Extracted
from .._flow.prompt import Options
from .._io.drive_async import AsyncRun
from .._io.journal import Journal
from .._io.row_lines import known_nano
from .._policy.hedge import Hedge
from .._policy.lookahead import Lookahead
from .._policy.schedule import Planner, Start, Stop, Verdict
from ..client import AsyncClient
from ..errors import PenstockError
from ..types import Attempt, Response
from .patience import Patience
from .question import Questions, Task
from .report import Counts
from .running import Change, working
from .settlement import Settlement

WORKERS: Final = 64
"""Workers at the beginning of a run that finds their number by itself."""

MOST_WORKERS: Final = 2000
SPARE_FILES: Final = 64
"""Open files that are left to the rest of the program; each call has a connection."""

MOST_TOKENS: Final = 32_000_000
"""Tokens of prompts in the hands of all workers, beyond which there are no more of them: some 128 MB of text."""

LOOK_EVERY_S: Final = 0.1
PARKED_S: Final = 2.0
"""A lane that stands still for longer gives the rows that wait for it back, where others could go meanwhile."""


class _Recalled(NamedTuple):
    """A call that was taken back before anything of it was under way, with what it had sent before."""

    attempts: Sequence[Attempt]


class Crew:
    """Workers around a planner; what they find out goes to the settlement and the counts.

    There are `most` of them, or, if that is None, as many as the limits let go at once: more are made while none waits
    for its turn.
    """

    def __init__(
        self,
        client: AsyncClient,
        questions: Questions,
        planner: Planner,
        counts: Counts,
        settlement: Settlement,
        *,
        most: int | None,
        hedge: Hedge | None,
    ) -> None:
        self._client = client
        self._clock = client._clock
        self._questions = questions
        self._planner = planner
        self._counts = counts
        self._settlement = settlement
        self._grows = most is None
        self.most = most_workers() if most is None else most
        self._hedge = hedge
        self._patience = Patience(client)
        self._change = Change()
        self._rows: Lookahead[Task] = Lookahead(iter(()))
        self._tasks: list[asyncio.Task[None]] = []
        self._calls: dict[AsyncRun, _Call] = {}
        self._held_tokens = 0
        self._lanes: dict[str, str] = {}

    @property
    def latency_s(self) -> float:
        """How long an answer took on the average, 0 before the first one."""
        return self._patience.mean_s

    @property
    def at_work(self) -> bool:
        """Whether workers are under way."""
        return bool(self._tasks)

    async def work(self, pending: Iterator[Task], journal: Journal, rows: int, mean: float | None) -> None:
        """Ask all that is pending, at most so many rows; `mean` is what they count on the average, if that is known."""
        self._rows = Lookahead(pending, mean)
        self._tasks = []
        self._hire(journal, max(1, min(rows, WORKERS if self._grows else self.most)))
        looking = asyncio.create_task(self._look(journal, rows))
        try:
            while any(not task.done() for task in self._tasks):  # more may come meanwhile
                await asyncio.wait(self._tasks)  # which, unlike gather, leaves it to `cancel` to cut them
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            raise
        finally:
            looking.cancel()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _hire(self, journal: Journal, count: int) -> None:
        self._tasks += [asyncio.create_task(self._work(journal)) for _ in range(count)]

    async def _look(self, journal: Journal, rows: int) -> None:
        """See now and then whether more workers would help, and which lanes stand still."""
        while self._planner.reason is None:
            await asyncio.sleep(LOOK_EVERY_S)
            self._see_pauses()
            if self._grows and self._could_use_more():
                self._tasks = [task for task in self._tasks if not task.done() or task.cancelled() or task.exception()]
                workers = len(self._tasks)
                self._hire(journal, max(0, min(1 + workers // 2, self.most - workers, rows - workers, len(self._rows))))

    def _could_use_more(self) -> bool:
        return (
            len(self._rows) > 0
            and self._held_tokens < MOST_TOKENS
            and all(run.under_way for run in self._calls)
            and len(self._calls) >= len(self._tasks)
        )

    def _see_pauses(self) -> None:
        """Tell the planner of lanes that stand still, and take back what waits for them while others go on."""
        now = self._clock.now()
        paused = {
            state.lane.name: until
            for state in self._client._gate.lanes()
            if (until := state.limiter.paused_until) is not None and until > now + PARKED_S
        }
        if not paused:
            return
        for model, name in self._lanes.items():
            if name in paused:
                self._planner.pause(model, paused[name])
        for run, call in self._calls.items():
            if not run.under_way and self._lanes.get(call.model) in paused and self._elsewhere(call, paused):
                call.recalled = True
                call.worker.cancel()

    def _elsewhere(self, call: _Call, paused: Collection[str]) -> bool:
        """Whether there is something else to do for the worker of a call that waits for a lane."""
        if call.task.lane is None:
            return any(self._lanes.get(lane.model) not in paused for lane in self._planner.lanes if not lane.closed)
        return len(self._lanes) > 1 and len(self._rows) > 0

    def drain(self) -> None:
        """Have no call begin another attempt; what has not gone out yet stays here and costs nothing."""
        self._change.tell()
        for run, call in self._calls.items():
            run.drained = True
            if not run.under_way:
                call.recalled = False
                call.worker.cancel()

    def cancel(self) -> None:
        """Stop at once: calls under way are cut, and may have been paid."""
        self._planner.stop("interrupted")
        for task in self._tasks:
            task.cancel()

    async def _work(self, journal: Journal) -> None:
        with working(self._planner, self._change):
            while self._planner.reason is None:
                task = self._rows.take(self._is_open)
                if task is None:
                    if not len(self._rows):
                        return
                    await self._change.wait(LOOK_EVERY_S)  # all that is left waits for lanes that stand still
                elif task.wrong is not None:
                    self.settle(journal, task, task.wrong)
                    await asyncio.sleep(0)
                elif not await self._ask(task, journal):
                    return

    def _is_open(self, model: str | None) -> bool:
        return model is None or not self._planner.is_paused(self._clock.now(), model)

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
            sent = self._counts.spend(ended.attempts, again=task.sent)
            if isinstance(ended, _Recalled):
                self._rows.give_back(_after(task, ended.attempts, sent=sent))
                self._change.tell()
                return True
            verdict = self._verdict(task, picked.model, ended, tried)
            if verdict == "record":
                self.settle(journal, task, ended)
            self._change.tell()
            if verdict != "again":
                return verdict == "record"
            task = _after(task, ended.attempts, sent=sent)

    def _verdict(
        self, task: Task, model: str, ended: Response | Extracted[Any] | PenstockError, tried: set[str]
    ) -> Verdict:
        if not isinstance(ended, PenstockError):
            self._planner.answered(model)
            self._patience.see(model, ended.attempts)
            return "record"
        now, own, special = self._clock.now(), task.lane is not None, bool(task.row.params)
        verdict = self._planner.failed(now, model, ended, own=own, tried=tried, special=special)
        tried.add(model)
        if self._planner.reason in ("failed", "outage", "refused"):
            self.drain()
        return verdict

    async def _call(self, task: Task, model: str) -> Response | Extracted[Any] | PenstockError | _Recalled:
        """Make one call for a row; when it is cut, what it had sent is counted all the same."""
        run: AsyncRun | None = None
        here = asyncio.current_task()
        assert here is not None
        call = _Call(here, model, task)
        try:
            run = self._begin(task, model)
            self._calls[run] = call
            self._held_tokens += task.counted
            answer = await run.finish()
            return answer if run.extraction is None else run.extracted
        except PenstockError as error:
            return error
        except BaseException as error:
            self._planner.abandoned(model)
            if isinstance(error, asyncio.CancelledError) and call.recalled and run is not None:
                here.uncancel()
                return _Recalled(tuple(run.trail.attempts))
            if run is not None:
                self._counts.spend_cut(run.trail.attempts, again=task.sent)
            self._change.tell()
            raise
        finally:
            if run is not None and run in self._calls:
                del self._calls[run]
                self._held_tokens -= task.counted

    def _begin(self, task: Task, model: str) -> AsyncRun:
        options: Options = {}
        if self._hedge is not None and self._rows.ended and len(self._rows) < len(self._tasks):  # it is among the last
            options["hedge"] = self._hedge
        if model and model not in self._lanes:
            self._lanes[model] = self._client._canonical(model)
            if self._hedge is not None:
                self._patience.keep(model, self._hedge)
        return self._questions.begin(task.row, model, self._patience.timeouts(model), options)

    def settle(self, journal: Journal, task: Task, ended: Response | Extracted[Any] | PenstockError) -> None:
        """Write a row's result down; when it cannot be written the run stops."""
        error = self._settlement.settle(journal, task, ended)
        if error is not None:
            self._planner.stop("output", error)
            self.drain()


class _Call:
    """A call under way: its worker, and whether the row is to be given back instead."""

    __slots__ = ("model", "recalled", "task", "worker")

    def __init__(self, worker: asyncio.Task[Any], model: str, task: Task) -> None:
        self.worker = worker
        self.model = model
        self.task = task
        self.recalled = False


def _after(task: Task, attempts: Sequence[Attempt], *, sent: bool) -> Task:
    """Return a row as it is to be asked once more, after attempts that left it without a result."""
    return task._replace(sent=sent, spent_nano=task.spent_nano + known_nano(attempts))


def most_workers() -> int:
    """How many calls at once this process can have."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are no files
        return MOST_WORKERS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_WORKERS if files < 0 else max(8, min(MOST_WORKERS, files - SPARE_FILES))
