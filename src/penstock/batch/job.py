"""The runner of a job: workers around a pure planner, and a journal.

rows ─▶ stock (journal: not answered yet) ─▶ crew ─▶ planner: start, wait, stop ─▶ client ─▶ settlement: journal
"""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, Final, Literal, get_args

from .._io.index import Index
from .._io.journal import Journal, Mended
from .._io.recipe import Recipe
from .._io.rowfile import PROBLEMS_SHOWN, Checked, RowFile
from .._io.rows import HALF_A_CHARACTER, Row, id_digest, is_text
from .._io.spool import Item, Spool, as_row
from .._policy.hedge import Hedge
from .._policy.schedule import Planner
from ..client import AsyncClient
from ..errors import ConfigError, InputError, OutputError, all_errors
from .crew import Crew
from .jobfile import JobFile, JobState, journal_of
from .live import Forecast, Speed, forecast, live_figures
from .outputs import check_columns, check_place
from .projection import Projection, Sample
from .question import Questions, Task
from .report import BatchReport, Counts
from .roll import Roll, take_roll
from .running import GRACE_S
from .settlement import Settlement
from .stock import Stock
from .twins import Twins

Rows = Iterable[Item] | AsyncIterable[Item]
Order = Literal["input", "completed"]

PASSES: Final = 2
"""Rows that failed for a passing reason are asked once more at the end, when the trouble may be over."""

TICK_S: Final = 1.0
"""How often a run says how far it is, and has its answers put on the disk itself."""

HEAR_S: Final = 0.2
"""How often it looks whether another process asks it to stop."""


class Batch:
    """One run of a job: `run` it, watch `report`, `stop` it gently or `cancel` it.

    Args:
        rows: a `RowFile`, or any iterable, sync or async, of `Row`s, dicts or prompts. What can be read only once is
            copied to a file first; nothing is held in memory.
        output: the file to write and to resume from: .csv, .tsv or .parquet for a table, which is made of the lines of
            JSON beside it once all rows are done; else lines of JSON.
        client: what answers; its limits, budget and retries hold.
        models: where rows go that name no model, each row to the one with the fewest calls under way; a dict gives
            them weights, as in {"a": 3, "b": 1}; empty: the client's own default.
        concurrency: the most calls under way at once; 'auto': as many as the limits allow, up to 2,000.
        params: options of `client.complete` for every row, such as max_tokens; a row's own win.
        schema: what each answer is to be, a type or a JSON Schema: rows are then extractions, and `params` may have
            their options as well.
        template: the prompt, with columns in braces; a `RowFile` has its own.
        keep_columns: fields of the input that stand in the output as well; '*' for all.
        order: how the finished output is sorted: as the 'input', or as rows were first 'completed'.
        retry_failed: ask nothing but rows that failed before; a collection of error codes: only those.
        count_earlier: whether what the output records as spent on these questions counts against the client's total
            budget; for a client that began with this run.
        dedupe: ask rows with the same question once, and give its answer to all of them.
        hedge: a second attempt beside a late one among the last calls of the run; it may be paid twice.
        sample: ask only so many of the rows, evenly taken from all of them; `forecast` then tells what the rest takes.
        command: how the command line was called, for `penstock batch resume`.
        approve: is shown what the rest may cost before the first call, and says whether to go on.
    """

    def __init__(
        self,
        rows: Rows,
        output: str | os.PathLike[str],
        *,
        client: AsyncClient,
        models: Sequence[str] | Mapping[str, float] = (),
        concurrency: int | Literal["auto"] = "auto",
        params: Mapping[str, Any] | None = None,
        schema: Any = None,
        template: str | None = None,
        keep_columns: Sequence[str] = (),
        order: Order = "input",
        retry_failed: bool | Collection[str] = False,
        count_earlier: bool = False,
        dedupe: bool = False,
        hedge: Hedge | None = None,
        sample: int | None = None,
        command: Sequence[str] = (),
        approve: Callable[[Projection], bool] | None = None,
    ) -> None:
        given: object = concurrency
        if given != "auto" and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
            raise ConfigError(f"concurrency is {concurrency!r}; expected 'auto' or a whole number of at least 1")
        if isinstance(models, Mapping) and not all(0 < weight < inf for weight in models.values()):
            raise ConfigError(f"models are {dict(models)!r}; expected weights above 0")
        if order not in get_args(Order):
            raise ConfigError(f"order is {order!r}; expected 'input' or 'completed'")
        if isinstance(rows, RowFile) and template is not None:
            raise ConfigError("rows is a RowFile and has its own template; give it there")
        self._output = Path(output)
        self._columns = check_columns(self._output, keep_columns)
        self._given = rows
        self._recipe = Recipe(template)
        self._spool: Spool | None = None
        self._client = client
        self._order: Order = order
        self._only = _codes(retry_failed)
        self._count_earlier = count_earlier
        self._command = command
        shared = {name: value for name, value in (params or {}).items() if value is not None}
        self._questions = Questions(client, tuple(models), shared, checked=isinstance(rows, RowFile), schema=schema)
        self._planner = Planner(models or ("",))
        self._clock = client._clock
        self._counts = Counts()
        self._speed = Speed()
        self._roll = Roll()
        self._stock = Stock(self._rows, self._questions, self._counts, self._only)
        self._settlement = Settlement(self._columns, self._counts)
        most = None if concurrency == "auto" else concurrency
        self._crew = Crew(
            client, self._questions, self._planner, self._counts, self._settlement, most=most, hedge=hedge
        )
        self.concurrency = self._crew.most
        self._dedupe = dedupe
        self._sampled = sample
        self._picked: Index | None = None
        if sample is not None and sample < 1:
            raise ConfigError(f"sample is {sample}; expected at least 1 row")
        self._checked = Checked(rows=0, bad=0, problems=())
        self._sample = Sample()
        self._approve = approve
        self.begun = asyncio.Event()
        self._mended = Mended(0, 0)
        self._started: float | None = None
        self._ended: float | None = None

    def check(self) -> Checked:
        """Look at every row before any is paid. Rows that can be read only once are copied to a file by this.

        Raises: InputError naming the lines that are bad, ConfigError for models and parameters that no row could use.
        """
        self._questions.check_job()
        self._questions.sample = self._sample = Sample()
        try:
            return self._check()
        finally:
            self._questions.sample = None

    def _check(self) -> Checked:
        given = self._given
        check_place(self._output, given.path if isinstance(given, RowFile) else None)
        if isinstance(given, RowFile):
            self._checked = take_roll(given, self._questions, journal_of(self._output), self._roll)
            self._sample = self._questions.sample or self._sample
            return self._checked
        if isinstance(given, AsyncIterable):
            if self._spool is None:
                raise ConfigError("these rows come one by one as they are awaited; `await run()` checks them")
        elif isinstance(given, Iterator) and self._spool is None:
            self._spool = Spool(self._recipe)
            self._spool.fill(given)
        self._checked = self._check_rows()
        return self._checked

    def _check_rows(self) -> Checked:
        seen = Index()
        problems: list[str] = []
        bad = 0
        self._roll.clear()
        for row in self._rows():
            if isinstance(row.id, bool) or not isinstance(row.id, str | int):
                raise InputError(f"a row has the id {row.id!r}; an id is a text or a whole number")
            if not is_text(str(row.id)):
                raise InputError(f"the id {row.id!r} {HALF_A_CHARACTER}")
            digest = id_digest(row.id)
            if seen.find(digest) is not None:
                raise InputError(f"two rows have the id {row.id!r}; give each its own")
            seen.put(digest, 0, 0)
            task = self._questions.task(row)
            if self._spool is not None:  # rows of a list may be others when they are asked
                self._roll.add(task)
            if task.wrong is not None:
                if self._questions.is_homeless(task):
                    raise task.wrong
                bad += 1
                if bad <= PROBLEMS_SHOWN:
                    problems.append(f"row {row.id!r}: {task.wrong.message}")
        return Checked(rows=len(seen), bad=bad, problems=tuple(problems))

    def _rows(self, done: Sequence[int] = b"") -> Iterator[Row]:
        """Read the rows from the beginning, where they are in a file without those that are `done`."""
        if isinstance(self._given, RowFile):
            return self._given.without(done)
        if self._spool is not None:
            return iter(self._spool)
        assert isinstance(self._given, Iterable)
        return (as_row(number, item, self._recipe) for number, item in enumerate(self._given, 1))

    @property
    def report(self) -> BatchReport:
        """The run as it stands."""
        until = self._ended if self._ended is not None else self._clock.now()
        return self._counts.report(
            self._planner,
            rows=self._checked.rows,
            elapsed_s=0.0 if self._started is None else until - self._started,
            mended=self._mended,
            unwritten=self._settlement.unwritten,
        )

    def forecast(self) -> Forecast | None:
        """Tell what the rows that are left will take, by those that were asked; None without an answer."""
        return forecast(self.report, self._client, self.concurrency, self._crew.latency_s)

    def figures(self) -> dict[str, Any]:
        """Return the figures of the run as it goes, with its pace, what binds it and when it will be over."""
        return live_figures(self.report, self._client, self._speed, self.concurrency)

    def stop(self) -> None:
        """Start nothing more, end calls that wait for their turn, and let those under way finish for `GRACE_S`."""
        if self._planner.reason is None:
            self._planner.stop("interrupted")
            self._crew.drain()
            if self._crew.at_work:
                asyncio.get_running_loop().call_later(GRACE_S, self.cancel)

    def cancel(self) -> None:
        """Stop at once: calls under way are cut, and may have been paid."""
        self._crew.cancel()

    async def run(self) -> BatchReport:
        """Answer the rows; the report says how far it came.

        Raises: ConfigError, InputError, OutputError before anything is sent.
        """
        try:
            if isinstance(self._given, AsyncIterable) and self._spool is None:
                self._spool = Spool(self._recipe)
                await self._spool.fill_async(self._given)
            if not self._checked.rows:
                self.check()
            with Journal.open(journal_of(self._output)) as journal:
                await self._run(journal)
        finally:
            if self._spool is not None:
                self._spool.close()
        return self.report

    async def _run(self, journal: Journal) -> None:
        self._mended = journal.mended
        self._started = self._clock.now()
        job = JobFile(journal.path)
        begun = JobState.begun(self._output, self._clock.wall(), self.concurrency, self._command)
        ticking = asyncio.create_task(self._tick(journal, job, begun))
        try:
            await self._stock.take(journal, self._checked.rows, self._roll, lambda: self._planner.reason is not None)
            journal.save_index()
            if self._count_earlier:
                self._client.carry_spent(self._counts.cost_before_nano)
            self._ask_leave()
            self.begun.set()
            self._questions.sizes = True
            await self._ask(journal)
            self._settlement.write_late(journal)
            self._deliver(journal)
        finally:
            ticking.cancel()
            journal.save_index(always=True)
            self._ended = self._clock.now()
            job.say(begun, self.report, self._clock.wall(), None)

    async def _ask(self, journal: Journal) -> None:
        """Ask what is due, and once more what failed in passing; then copy what others asked."""
        twins = Twins(journal) if self._dedupe else None
        for again in range(PASSES):
            if self._planner.reason is None and (not again or self._counts.may_mend):
                await self._pass(journal, twins, again=bool(again))
        if twins is None or self._planner.reason is not None or self._sampled is not None:
            return
        try:
            for task in self._stock.pending(journal, again=False):
                if not (twins.asks(task) or task.wrong):
                    twins.copy(task, self._columns, self._counts)
        except OutputError as error:
            self._planner.stop("output", error)

    async def _pass(self, journal: Journal, twins: Twins | None, *, again: bool) -> None:
        pending = self._of_sample(self._pending(journal, again=again))
        rows = self._checked.rows - self._counts.before
        mean = None if again or self._only is not None or self._counts.before else self._sample.mean_counted
        await self._crew.work(pending if twins is None else twins.firsts(pending), journal, rows, mean)

    def _pending(self, journal: Journal, *, again: bool) -> Iterator[Task]:
        return self._stock.pending(journal, again=again)

    def _of_sample(self, pending: Iterator[Task]) -> Iterator[Task]:
        """Take the rows of the sample, the same in every pass of the run; all where there is none."""
        if self._sampled is None:
            yield from pending
        elif self._picked is not None:
            yield from (task for task in pending if self._picked.find(id_digest(task.row.id)) is not None)
        else:
            self._picked = Index()
            evenly = islice(pending, 0, None, max(1, self.report.left // self._sampled))
            for task in islice(evenly, self._sampled):
                self._picked.put(id_digest(task.row.id), 1, 0)
                yield task

    async def _tick(self, journal: Journal, job: JobFile, begun: JobState) -> None:
        """Say how far the run is, put its answers on the disk itself, and hear whether it is to stop."""
        job.forget_stop()
        due = self._clock.now()
        while True:
            self._speed.see(self._clock.now(), self.report)
            if self._clock.now() >= due:
                job.say(begun, self.report, self._clock.wall(), self.figures())
                journal.save_index()
                await asyncio.to_thread(journal.sync)
                due = self._clock.now() + TICK_S
            await asyncio.sleep(HEAR_S)
            job.hear(self.stop, self.cancel)

    def _ask_leave(self) -> None:
        """Show what the rest may cost to whoever wants to see it first."""
        left = self._stock.due(self.report.left)
        if self._approve is None or not left or self._planner.reason is not None:
            return
        if not self._approve(self._project(left)):
            self._planner.stop("interrupted")

    def _project(self, left: int) -> Projection:
        return self._sample.project(left, self._client.settings.prices)

    def _in_order(self) -> Iterable[int]:
        """Tell the rows in their order, by the digests of their ids."""
        return self._roll.ids if len(self._roll.ids) else (id_digest(row.id) for row in self._rows())

    def _deliver(self, journal: Journal) -> None:
        done = self._planner.reason is None and self._sampled is None
        ordered = self._order == "input" and self._only is None
        try:
            order = self._in_order if ordered else None
            self._settlement.deliver(journal, self._output, self._rows, done=done, order=order)
        except OutputError as error:
            self._planner.stop("output", error)
        except InputError as error:
            self._planner.stop("failed", error)


def _codes(retry_failed: bool | Collection[str]) -> frozenset[str] | None:
    """Return the errors whose rows alone are asked again, empty for all; None for a run of all rows."""
    if isinstance(retry_failed, bool):
        return frozenset() if retry_failed else None
    known = {error.code for error in all_errors()}
    for code in retry_failed:
        if code not in known:
            near = difflib.get_close_matches(code, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`penstock batch status OUT` names those of its rows"
            raise ConfigError(f"there is no error {code!r}; {hint}")
    return frozenset(retry_failed)
