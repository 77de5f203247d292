"""The runner of a job: workers around a pure planner, and a journal.

rows ─▶ pending (journal: not answered yet) ─▶ workers ─▶ planner: start, wait, stop ─▶ client ─▶ journal
"""

from __future__ import annotations

import asyncio
import difflib
import os
import time
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from .._flow.extracted import Extracted
from .._io.drive_async import AsyncRun
from .._io.index import Index
from .._io.journal import Journal, Mended, answer_line, failure_line, known_nano
from .._io.recipe import Recipe
from .._io.rowfile import PROBLEMS_SHOWN, Checked, RowFile
from .._io.rows import HALF_A_CHARACTER, Row, id_digest, is_text
from .._io.spool import Item, Spool, as_row
from .._policy.schedule import Planner, Start, Stop
from ..client import AsyncClient
from ..errors import ConfigError, InputError, OutputError, PenstockError, all_errors
from ..types import Response
from .jobfile import JobFile, JobState, journal_of
from .outputs import check_columns, check_place, failed_path, is_table, pick_columns, write_failed
from .projection import Projection, Sample
from .question import Questions, Task
from .report import BatchReport, Counts
from .table import write_table

Rows = Iterable[Item] | AsyncIterable[Item]
Order = Literal["input", "completed"]

CONCURRENCY: Final = 64
PASSES: Final = 2
"""Rows that failed for a passing reason are asked once more at the end, when the trouble may be over."""

STOCK_ROWS: Final = 1000
"""Rows looked at between two turns of the event loop, before the first call."""

GRACE_S: Final = 10.0
"""After a stop, calls under way have this long to bring their answers home; they are paid already."""

TICK_S: Final = 1.0
"""How often a run says how far it is, and has its answers put on the disk itself."""

HEAR_S: Final = 0.2
"""How often it looks whether another process asks it to stop."""


async def run_batch(
    rows: Rows,
    output: str | os.PathLike[str],
    *,
    client: AsyncClient,
    models: Sequence[str] = (),
    concurrency: int = CONCURRENCY,
    params: Mapping[str, Any] | None = None,
    schema: Any = None,
    template: str | None = None,
    keep_columns: Sequence[str] = (),
    order: Order = "input",
    retry_failed: bool | Collection[str] = False,
    count_earlier: bool = False,
) -> BatchReport:
    """Answer every row into `output` and say how it went; see `Batch`, which can also be watched and stopped.

    Raises: ConfigError, InputError, OutputError before anything is sent; what goes wrong later is in the report.
    """
    batch = Batch(
        rows,
        output,
        client=client,
        models=models,
        concurrency=concurrency,
        params=params,
        schema=schema,
        template=template,
        keep_columns=keep_columns,
        order=order,
        retry_failed=retry_failed,
        count_earlier=count_earlier,
    )
    return await batch.run()


class Batch:
    """One run of a job: `run` it, watch `report`, `stop` it gently or `cancel` it.

    Args:
        rows: a `RowFile`, or any iterable, sync or async, of `Row`s, dicts or prompts. What can be read only once is
            copied to a file first; nothing is held in memory.
        output: the file to write and to resume from: .csv, .tsv or .parquet for a table, which is made of the lines of
            JSON beside it once all rows are done; else lines of JSON.
        client: what answers; its limits, budget and retries hold.
        models: where rows go that name no model, each row to the one with the fewest calls under way; empty: the
            client's own default.
        concurrency: the most calls under way at once.
        params: options of `client.complete` for every row, such as max_tokens; a row's own win.
        schema: what each answer is to be, a type or a JSON Schema: rows are then extractions, and `params` may have
            their options as well.
        template: the prompt, with columns in braces; a `RowFile` has its own.
        keep_columns: fields of the input that stand in the output as well; '*' for all.
        order: how the finished output is sorted: as the 'input', or as rows were first 'completed'.
        retry_failed: ask nothing but rows that failed before; a collection of error codes: only those.
        count_earlier: whether what the output records as spent on these questions counts against the client's total
            budget; for a client that began with this run.
        command: how the command line was called, for `penstock batch resume`.
        approve: is shown what the rest may cost before the first call, and says whether to go on.
    """

    def __init__(
        self,
        rows: Rows,
        output: str | os.PathLike[str],
        *,
        client: AsyncClient,
        models: Sequence[str] = (),
        concurrency: int = CONCURRENCY,
        params: Mapping[str, Any] | None = None,
        schema: Any = None,
        template: str | None = None,
        keep_columns: Sequence[str] = (),
        order: Order = "input",
        retry_failed: bool | Collection[str] = False,
        count_earlier: bool = False,
        command: Sequence[str] = (),
        approve: Callable[[Projection], bool] | None = None,
    ) -> None:
        if concurrency < 1:
            raise ConfigError(f"concurrency is {concurrency}; expected at least 1")
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
        self.concurrency = concurrency
        self._order: Order = order
        self._only = _codes(retry_failed)
        self._count_earlier = count_earlier
        self._command = list(command)
        self._cwd = os.path.abspath(os.curdir) if command else ""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        self._questions = Questions(client, tuple(models), given, checked=isinstance(rows, RowFile), schema=schema)
        self._planner = Planner(tuple(models) or ("",))
        self._change = _Change()
        self._tasks: list[asyncio.Task[None]] = []
        self._calls: dict[AsyncRun, asyncio.Task[Any]] = {}
        self._counts = Counts()
        self._unwritten: list[_Result] = []
        self._checked = Checked(rows=0, bad=0, problems=())
        self._sample = Sample()
        self._approve = approve
        self.begun = asyncio.Event()
        self._done: Sequence[int] = b""
        self._mended = Mended(0, 0)
        self._started = 0.0
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
            self._checked = given.check(self._questions.ask)
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
        self._started = time.monotonic()
        job = JobFile(journal.path)
        began = time.time()
        ticking = asyncio.create_task(self._tick(journal, job, began))
        try:
            await self._take_stock(journal)
            self._ask_leave()
            self.begun.set()
            for again in range(PASSES):
                if self._planner.reason is None and (not again or self._counts.may_mend):
                    await self._pass(journal, again=bool(again))
            self._write_late(journal)
            self._deliver(journal)
        finally:
            ticking.cancel()
            self._ended = time.monotonic()
            self._say(job, began)

    async def _tick(self, journal: Journal, job: JobFile, began: float) -> None:
        """Say how far the run is, put its answers on the disk itself, and hear whether it is to stop."""
        job.forget_stop()
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                self._say(job, began)
                await asyncio.to_thread(journal.sync)
                due = time.monotonic() + TICK_S
            await asyncio.sleep(HEAR_S)
            if asked := job.asked():
                job.forget_stop()
                self.stop()
                if asked == "now":
                    self.cancel()

    def _say(self, job: JobFile, began: float) -> None:
        report = self.report
        if self._ended is not None and not report.left and not report.failed and not report.kept:
            job.remove()
            return
        state = JobState(
            output=str(self._output),
            rows=report.rows,
            pid=os.getpid(),
            started=began,
            updated=time.time(),
            concurrency=self.concurrency,
            command=self._command,
            cwd=self._cwd,
            stopped=report.stopped,
            cause=None if report.cause is None else str(report.cause),
            ended=self._ended is not None,
            figures=report.figures(),
        )
        job.write(state)

    async def _take_stock(self, journal: Journal) -> None:
        """See what earlier runs left: which rows have their answer, and what the questions of this job cost so far."""
        if journal.mended.lines:
            await self._compare(journal)
        if self._count_earlier:
            self._client.carry_spent(self._counts.cost_before_nano)

    async def _compare(self, journal: Journal) -> None:
        done = self._done = bytearray(self._checked.rows)
        known = 0
        for number, row in enumerate(self._rows()):
            task = self._questions.task(row)
            found = journal.find(row.id, task.key)
            known += found is not None
            self._counts.before += found is True
            self._counts.kept += found is False and self._keeps(journal, task)
            if number < len(done):  # rows of a list may have become more since
                done[number] = found is True if self._only is None else not self._is_due(journal, task)
            if number % STOCK_ROWS == 0:
                await asyncio.sleep(0)
                if self._planner.reason is not None:
                    return
        self._counts.cost_before_nano = journal.spent_nano if known == len(journal) else self._spent_before(journal)

    def _spent_before(self, journal: Journal) -> int:
        """Sum what the questions of this job cost where the journal holds others too."""
        tasks = map(self._questions.task, self._rows())
        return sum(journal.spent(task.row.id, task.key) for task in tasks)

    def _ask_leave(self) -> None:
        """Show what the rest may cost to whoever wants to see it first."""
        left = self.report.left
        if self._approve is None or not left or self._planner.reason is not None:
            return
        if not self._approve(self._sample.project(left, self._client.settings.prices)):
            self._planner.stop("interrupted")

    def _keeps(self, journal: Journal, task: Task) -> bool:
        """Whether the row failed before and is not among those to be asked again."""
        if self._only is None or not self._only:
            return False
        code = journal.failure(task.row.id, task.key)
        return code is not None and code not in self._only

    async def _pass(self, journal: Journal, *, again: bool) -> None:
        pending = self._pending(journal, again=again)
        workers = max(1, min(self.concurrency, self._checked.rows - self._counts.before))
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

    def _pending(self, journal: Journal, *, again: bool) -> Iterator[Task]:
        """Rows still to be asked: first all without an answer to their question, then those that may be tried again."""
        for row in self._rows(b"" if again else self._done):
            task = self._questions.task(row)
            if again:
                code = journal.passing_failure(row.id, task.key)
                if code is not None:
                    spent = journal.spent(row.id, task.key)
                    yield task._replace(sent=True, failed_with=code, spent_nano=spent)
            elif self._is_due(journal, task):
                yield task._replace(spent_nano=journal.spent(row.id, task.key))

    def _is_due(self, journal: Journal, task: Task) -> bool:
        if self._only is None:
            return not journal.is_answered(task.row.id, task.key)
        code = journal.failure(task.row.id, task.key)
        return code is not None and (not self._only or code in self._only)

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
            picked = self._planner.pick(time.monotonic(), task.lane, tried)
            if isinstance(picked, Stop):
                return False
            if not isinstance(picked, Start):
                await self._change.wait(picked.until)
                continue
            ended = await self._call(task, picked.model)
            task = task._replace(sent=self._counts.spend(ended.attempts, again=task.sent))
            if not isinstance(ended, PenstockError):
                self._planner.answered(picked.model)
                verdict = "record"
            else:
                now, own, special = time.monotonic(), task.lane is not None, bool(task.row.params)
                verdict = self._planner.failed(now, picked.model, ended, own=own, tried=tried, special=special)
                tried.add(picked.model)
                if self._planner.reason in ("failed", "outage", "refused"):
                    self._drain()
            if verdict == "record":
                self._settle(journal, task, ended)
            self._change.tell()
            if verdict != "again":
                return verdict == "record"
            task = task._replace(spent_nano=task.spent_nano + known_nano(ended.attempts))

    async def _call(self, task: Task, model: str) -> Response | Extracted[Any] | PenstockError:
        """Make one call for a row; when it is cut, what it had sent is counted all the same."""
        run: AsyncRun | None = None
        try:
            run = self._questions.begin(task.row, model)
            here = asyncio.current_task()
            assert here is not None
            self._calls[run] = here
            answer = await run.finish()
            return answer if run.extraction is None else run.extracted
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

    def _settle(self, journal: Journal, task: Task, ended: Response | Extracted[Any] | PenstockError) -> None:
        """Write a row's result down. What cannot be written is kept and tried once more at the end."""
        row = task.row
        columns = pick_columns(row.fields, self._columns)
        if not isinstance(ended, PenstockError):
            line = answer_line(row.id, task.key, ended, spent_nano=task.spent_nano, shaped=task.shaped, columns=columns)
            result = _Result(task, line, None, False)
        else:
            line = failure_line(row.id, task.key, ended, model=row.model, spent_nano=task.spent_nano, columns=columns)
            result = _Result(task, line, ended.code, ended.retriable)
        try:
            self._write(journal, result)
        except OutputError as error:
            journal.free_reserve()
            self._unwritten.append(result)
            self._planner.stop("output", error)
            self._drain()

    def _write(self, journal: Journal, result: _Result) -> None:
        task, code = result.task, result.code
        journal.append(task.row.id, task.key, result.line, answered=code is None, retriable=result.retriable)
        if task.failed_with is not None:
            self._counts.take_back(task.failed_with)
        self._counts.row(code, retriable=result.retriable)

    def _write_late(self, journal: Journal) -> None:
        late, self._unwritten = self._unwritten, []
        for result in late:
            try:
                self._write(journal, result)
            except OutputError:
                self._unwritten.append(result)

    def _deliver(self, journal: Journal) -> None:
        """Collect the rows that failed; when all is done, put the output into its order and write the table."""
        done = self._planner.reason is None
        ordered = self._order == "input" and self._only is None
        try:
            write_failed(failed_path(self._output), self._rows, journal)
            if done:
                journal.compact((lambda: (row.id for row in self._rows())) if ordered else journal.ids)
                if is_table(self._output):
                    write_table(self._output, journal.path, self._columns)
        except OutputError as error:
            # Every row has its line; only what is made of them is missing.
            self._planner.stop("output", error)
        except InputError as error:  # the input vanished or changed before its order was looked up
            self._planner.stop("failed", error)


class _Result(NamedTuple):
    """A finished row's line; `code` is that of its error, None for an answer."""

    task: Task
    line: bytes
    code: str | None
    retriable: bool


class _Change:
    """Tells those who wait that a call ended."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, until: float | None) -> None:
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - time.monotonic())):
                await self._event.wait()
        except TimeoutError:
            pass


def _codes(retry_failed: bool | Collection[str]) -> frozenset[str] | None:
    """Return the errors whose rows alone are asked again, empty for all; None for a run of all rows."""
    if isinstance(retry_failed, bool):
        return frozenset() if retry_failed else None
    known = {error.code for error in all_errors()}
    for code in retry_failed:
        if code not in known:
            near = difflib.get_close_matches(code, known, n=1)
            raise ConfigError(f"there is no error {code!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return frozenset(retry_failed)
