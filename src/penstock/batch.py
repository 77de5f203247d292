"""Bulk runs: many rows through one client into one file, resumable at any point.

    async with AsyncClient(limits=Limits(rpm=600), budget=Budget(total="5.00")) as client:
        rows = RowFile("tickets.jsonl", template="Is this urgent? {text}")
        report = await run_batch(rows, "answers.jsonl", client=client, models=["openai:gpt-4o-mini"])

The output is JSON lines, one per row, written as rows finish; it is the journal as well. The same call again asks only
what has no answer yet: rows that failed, rows that changed and rows that are new. Once all rows are done the file has
exactly one line per id, in the order of the rows.

    rows ─▶ pending (journal: not answered yet) ─▶ workers ─▶ planner: start, wait, stop ─▶ client ─▶ journal
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

import msgspec

from ._flow.prompt import Options
from ._io.index import Index
from ._io.journal import Journal, Mended, answer_line, failure_line, known_nano
from ._io.rows import (
    HALF_A_CHARACTER,
    PROBLEMS_SHOWN,
    Checked,
    OnBadRow,
    Row,
    RowFile,
    Template,
    check_row,
    id_digest,
    is_text,
)
from ._policy.schedule import LaneCount, Planner, Start, Stop, StopReason
from ._policy.tally import Totals
from .client import AsyncClient, Preview
from .errors import ConfigError, InputError, OutputError, PenstockError
from .types import Attempt, Request, Response, Usage, to_usd

__all__ = [
    "Batch",
    "BatchReport",
    "Checked",
    "OnBadRow",
    "Row",
    "RowFile",
    "Template",
    "run_batch",
]

CONCURRENCY: Final = 64
PASSES: Final = 2
"""Rows that failed for a passing reason are asked once more at the end, when the trouble may be over."""

STOCK_ROWS: Final = 1000
"""Rows looked at between two turns of the event loop, before the first call."""

GRACE_S: Final = 10.0
"""After a stop, calls under way have this long to bring their answers home; they are paid already."""


class BatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it stands or ended.

    `rows` of the input: `before` were answered by earlier runs, `answered` and `failed` in this one, `left` have no
    result. `attempts` are those that went out, `retries` those beyond the first of their row. `cost_nano` sums the
    attempts of this run whose cost is known, `unpriced` counts those whose cost is not, and `cost_before_nano` is what
    the output records of earlier calls for the same questions. `cut` are calls that were under way when the run was
    cancelled: they went out, may have been paid, and are in `attempts` and `unpriced` as well. `stopped` says why it
    ended early, `cause` is the error behind it. `failures` counts error codes.
    """

    rows: int = 0
    before: int = 0
    answered: int = 0
    failed: int = 0
    in_flight: int = 0
    attempts: int = 0
    retries: int = 0
    rate_limited: int = 0
    usage: Usage = Usage()
    cost_nano: int = 0
    unpriced: int = 0
    cut: int = 0
    cost_before_nano: int = 0
    elapsed_s: float = 0.0
    failures: dict[str, int] = {}
    lanes: tuple[LaneCount, ...] = ()
    mended: Mended = Mended(0, 0)
    unwritten: int = 0
    stopped: StopReason | None = None
    cause: PenstockError | None = None

    @property
    def left(self) -> int:
        """Rows without a result."""
        return max(0, self.rows - self.before - self.answered - self.failed)

    @property
    def done(self) -> int:
        """Rows with a result, an answer or an error."""
        return self.rows - self.left

    @property
    def cost(self) -> Decimal:
        """Dollars of the attempts of this run with a known price; look at `unpriced` before trusting it as a total."""
        return to_usd(self.cost_nano)

    @property
    def cost_before(self) -> Decimal:
        """Dollars that the output records of earlier runs, for the questions of this job."""
        return to_usd(self.cost_before_nano)


async def run_batch(
    rows: Iterable[Row],
    output: str,
    *,
    client: AsyncClient,
    models: Sequence[str] = (),
    concurrency: int = CONCURRENCY,
    params: Mapping[str, Any] | None = None,
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
        count_earlier=count_earlier,
    )
    return await batch.run()


class Batch:
    """One run of a job: `run` it, watch `report`, `stop` it gently or `cancel` it.

    Args:
        rows: a list of `Row`s or a `RowFile`; it is iterated several times and never held in memory.
        output: the JSONL file to write and to resume from.
        client: what answers; its limits, budget and retries hold.
        models: where rows go that name no model, each row to the one with the fewest calls under way; empty: the
            client's own default.
        concurrency: the most calls under way at once.
        params: options of `client.complete` for every row, such as max_tokens; a row's own win.
        count_earlier: whether what the output records as spent on these questions counts against the client's total
            budget; for a client that began with this run.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        output: str,
        *,
        client: AsyncClient,
        models: Sequence[str] = (),
        concurrency: int = CONCURRENCY,
        params: Mapping[str, Any] | None = None,
        count_earlier: bool = False,
    ) -> None:
        if isinstance(rows, Iterator):
            raise ConfigError("rows can be read only once; give a list or a RowFile, so that a run can be resumed")
        if concurrency < 1:
            raise ConfigError(f"concurrency is {concurrency}; expected at least 1")
        self._rows = rows
        self._output = output
        self._client = client
        self._models = tuple(models)
        self._concurrency = concurrency
        self._params = {name: value for name, value in (params or {}).items() if value is not None}
        self._count_earlier = count_earlier
        self._pool: tuple[tuple[str, str], ...] = ()
        self._homeless: ConfigError | None = None
        self._planner = Planner(self._models or ("",))
        self._change = _Change()
        self._tasks: list[asyncio.Task[None]] = []
        self._counts = _Counts()
        self._unwritten: list[_Result] = []
        self._at_cut: tuple[Totals, dict[str, int]] | None = None
        self._checked = Checked(rows=0, bad=0, problems=())
        self._mended = Mended(0, 0)
        self._started = 0.0
        self._ended: float | None = None

    def check(self) -> Checked:
        """Look at every row before any is paid.

        Raises: InputError naming the lines that are bad, ConfigError for models and parameters that no row could use.
        """
        self._check_job()
        self._checked = self._rows.check(self._ask_of) if isinstance(self._rows, RowFile) else self._check_list()
        return self._checked

    def _check_job(self) -> None:
        """Look at what all rows share, so that an error after this is a row's own."""
        if "model" in self._params:
            raise ConfigError("params has a model; name it in models=[…], or in the rows that it is for")
        if self._models and "tier" in self._params:
            raise ConfigError("the job names models and params has a tier, which would not count; give one of them")
        job = Row(id="?", prompt="?", params=self._params)
        check_row(job)
        self._homeless = None
        if self._models:
            self._pool = tuple(sorted(self._preview(job, model).lanes[0] for model in self._models))
            return
        try:
            lane = self._preview(job, None).lanes[0]
        except ConfigError as error:
            self._homeless = error  # which is none if every row says where it goes
        else:
            self._pool = (lane,)

    def _check_list(self) -> Checked:
        seen: set[str] = set()
        problems: list[str] = []
        for row in self._rows:
            if isinstance(row.id, bool) or not isinstance(row.id, str | int):
                raise InputError(f"a row has the id {row.id!r}; an id is a text or a whole number")
            if not is_text(str(row.id)):
                raise InputError(f"the id {row.id!r} {HALF_A_CHARACTER}")
            if str(row.id) in seen:
                raise InputError(f"two rows have the id {row.id!r}; give each its own")
            seen.add(str(row.id))
            wrong = self._task(row).wrong
            if self._homeless is not None and wrong is self._homeless:
                raise self._homeless
            if wrong is not None:
                problems.append(f"row {row.id!r}: {wrong.message}")
        return Checked(rows=len(seen), bad=len(problems), problems=tuple(problems[:PROBLEMS_SHOWN]))

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
        """Start nothing more and let calls under way finish for `GRACE_S`."""
        if self._planner.reason is None:
            self._planner.stop("interrupted")
            self._change.tell()
            if self._tasks:
                asyncio.get_running_loop().call_later(GRACE_S, self.cancel)

    def cancel(self) -> None:
        """Stop at once: calls under way are cut, and may have been paid."""
        self._planner.stop("interrupted")
        if self._at_cut is None:
            self._at_cut = (self._client.usage(), self._counts.sums())
        for task in self._tasks:
            task.cancel()

    async def run(self) -> BatchReport:
        """Answer the rows; the report says how far it came.

        Raises: ConfigError, InputError, OutputError before anything is sent.
        """
        if not self._checked.rows:
            self.check()
        with Journal.open(self._output) as journal:
            self._mended = journal.mended
            self._started = time.monotonic()
            try:
                await self._take_stock(journal)
                for again in range(PASSES):
                    if self._planner.reason is None:
                        await self._pass(journal, again=bool(again))
                self._write_late(journal)
                if self._planner.reason is None:
                    self._compact(journal)
            finally:
                self._ended = time.monotonic()
        return self.report

    async def _take_stock(self, journal: Journal) -> None:
        """See what earlier runs left: which rows have their answer, and what the questions of this job cost so far."""
        if journal.mended.lines:
            for number, row in enumerate(self._rows):
                task = self._task(row)
                self._counts.before += journal.is_answered(row.id, task.key)
                self._counts.cost_before_nano += journal.spent(row.id, task.key)
                if number % STOCK_ROWS == 0:
                    await asyncio.sleep(0)
                    if self._planner.reason is not None:
                        return
        if self._count_earlier:
            self._client.carry_spent(self._counts.cost_before_nano)

    async def _pass(self, journal: Journal, *, again: bool) -> None:
        pending = self._pending(journal, again=again)
        workers = max(1, min(self._concurrency, self._checked.rows - self._counts.before))
        self._tasks = [asyncio.create_task(self._work(pending, journal)) for _ in range(workers)]
        try:
            await asyncio.wait(self._tasks)  # which, unlike gather, leaves it to `cancel` to cut them
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            raise
        finally:
            self._count_cut()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _count_cut(self) -> None:
        """Count what calls that were cut had sent: they bring nothing home, but the client knows."""
        if self._at_cut is None:
            return
        (used, counted), self._at_cut = self._at_cut, None
        now, by_calls = self._client.usage(), self._counts.sums()
        more = {what: getattr(now, what) - getattr(used, what) - by_calls[what] + counted[what] for what in _SUMS}
        self._counts.spend_cut({what: max(0, number) for what, number in more.items()})

    def _pending(self, journal: Journal, *, again: bool) -> Iterator[_Task]:
        """Rows still to be asked: first all without an answer to their question, then those that may be tried again."""
        for row in self._rows:
            task = self._task(row)
            if again:
                code = journal.passing_failure(row.id, task.key)
                if code is not None:
                    yield task._replace(failed_with=code, spent_nano=journal.spent(row.id, task.key))
            elif not journal.is_answered(row.id, task.key):
                yield task._replace(spent_nano=journal.spent(row.id, task.key))

    def _task(self, row: Row) -> _Task:
        """Read a row: what it asks, of whom, or what is wrong with it."""
        try:
            return self._ask_of(row)
        except (ConfigError, InputError) as error:
            wrong = InputError(f"line {row.line}: {error.message}") if row.line else error
            return _Task(row, _key_of((), error.message), None, wrong=wrong)

    def _ask_of(self, row: Row) -> _Task:
        """Find what decides the answer: where the row may go, the prompt and the parameters.

        Raises: InputError, ConfigError for a row that cannot be asked.
        """
        check_row(row)
        own = row.model is not None or row.params.get("tier") is not None
        if not own and self._homeless is not None:
            raise self._homeless
        seen = self._preview(row, None if own else next(iter(self._models), None))
        if own:
            return _Task(row, _key_of(seen.lanes[:1], seen.request), seen.lanes[0][0])
        return _Task(row, _key_of(self._pool, seen.request), None)

    def _preview(self, row: Row, model: str | None) -> Preview:
        """Let the client read a row as it would for a call, with nothing sent."""
        return self._client.preview(row.prompt, **self._options(row, model))

    def _options(self, row: Row, model: str | None) -> Options:
        """Put together what a row's call is asked with; a row's own model or tier wins over `model`."""
        own = {name: value for name, value in row.params.items() if value is not None}
        to = row.model if row.model is not None else None if "tier" in own else model or None
        return cast(Options, {"priority": "batch", **self._params, **own, "model": to})

    async def _work(self, pending: Iterator[_Task], journal: Journal) -> None:
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

    async def _ask(self, task: _Task, journal: Journal) -> bool:
        """Get a row answered or failed; False when the run stopped before it was."""
        row = task.row
        tried: set[str] = set()
        while True:
            picked = self._planner.pick(time.monotonic(), task.lane, tried)
            if isinstance(picked, Stop):
                return False
            if not isinstance(picked, Start):
                await self._change.wait(picked.until)
                continue
            ended: Response | PenstockError
            try:
                ended = await self._client.complete(row.prompt, **self._options(row, picked.model))
            except PenstockError as error:
                ended = error
            except BaseException:
                self._planner.abandoned(picked.model)
                self._change.tell()
                raise
            self._counts.spend(task, ended.attempts)
            if isinstance(ended, Response):
                self._planner.answered(picked.model)
                verdict = "record"
            else:
                now, own, special = time.monotonic(), task.lane is not None, bool(row.params)
                verdict = self._planner.failed(now, picked.model, ended, own=own, tried=tried, special=special)
                tried.add(picked.model)
            if verdict == "record":
                self._settle(journal, task, ended)
            self._change.tell()
            if verdict != "again":
                return verdict == "record"
            task = task._replace(spent_nano=task.spent_nano + known_nano(ended.attempts))

    def _settle(self, journal: Journal, task: _Task, ended: Response | PenstockError) -> None:
        """Write a row's result down. What cannot be written is kept and tried once more at the end."""
        if isinstance(ended, Response):
            line = answer_line(task.row.id, task.key, ended, spent_nano=task.spent_nano)
            result = _Result(task, line, None, False)
        else:
            line = failure_line(task.row.id, task.key, ended, model=task.row.model, spent_nano=task.spent_nano)
            result = _Result(task, line, ended.code, ended.retriable)
        try:
            self._write(journal, result)
        except OutputError as error:
            journal.free_reserve()
            self._unwritten.append(result)
            self._planner.stop("output", error)

    def _write(self, journal: Journal, result: _Result) -> None:
        task, code = result.task, result.code
        journal.append(task.row.id, task.key, result.line, answered=code is None, retriable=result.retriable)
        if task.failed_with is not None:
            self._counts.take_back(task.failed_with)
        self._counts.row(code)

    def _write_late(self, journal: Journal) -> None:
        late, self._unwritten = self._unwritten, []
        for result in late:
            try:
                self._write(journal, result)
            except OutputError:
                self._unwritten.append(result)

    def _compact(self, journal: Journal) -> None:
        try:
            journal.compact(lambda: (row.id for row in self._rows))
        except OutputError as error:
            # Every row is there; only its place in the file is not yet that of the input.
            self._planner.stop("output", error)
        except InputError as error:  # the input vanished or changed before its order was looked up
            self._planner.stop("failed", error)


class _Task(NamedTuple):
    """A row to be asked, the key of its question, and the lane that it names itself.

    `failed_with` is the code of its failure earlier in this run, `spent_nano` what earlier calls for it cost, `wrong`
    why it cannot be asked.
    """

    row: Row
    key: str
    lane: str | None
    failed_with: str | None = None
    spent_nano: int = 0
    wrong: PenstockError | None = None


class _Result(NamedTuple):
    """A finished row's line; `code` is that of its error, None for an answer."""

    task: _Task
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


_SUMS: Final = ("attempts", "retries", "rate_limited", "cost_nano", "unpriced")


class _Counts:
    """The running sums of one run."""

    def __init__(self) -> None:
        self.before = 0
        self.answered = 0
        self.failed = 0
        self.attempts = 0
        self.retries = 0
        self.rate_limited = 0
        self.usage = Usage()
        self.cost_nano = 0
        self.unpriced = 0
        self.cut = 0
        self.cost_before_nano = 0
        self._sent = Index()
        self.failures: Counter[str] = Counter()

    def row(self, code: str | None) -> None:
        """A row has its result."""
        if code is None:
            self.answered += 1
        else:
            self.failed += 1
            self.failures[code] += 1

    def take_back(self, code: str) -> None:
        """A failed row has a newer result."""
        self.failed -= 1
        self.failures -= Counter({code: 1})

    def spend(self, task: _Task, attempts: Sequence[Attempt]) -> None:
        """Count what a call of a row sent and used: its first attempt in this run, and those beyond it."""
        sent = [attempt for attempt in attempts if attempt.sent]
        digest = id_digest(task.row.id)
        self.attempts += len(sent)
        self.retries += len(sent)
        if sent and self._sent.find(digest) is None:
            self._sent.put(digest, 0, 0)
            self.retries -= 1
        for attempt in sent:
            self.rate_limited += attempt.outcome == "rate_limited"
            if attempt.usage is not None:
                self.usage = self.usage + attempt.usage
            if attempt.cost_nano is None:
                self.unpriced += 1
            else:
                self.cost_nano += attempt.cost_nano

    def sums(self) -> dict[str, int]:
        """Return what finished calls used so far, under the names of the client's totals."""
        return {what: getattr(self, what) for what in _SUMS}

    def spend_cut(self, cut: dict[str, int]) -> None:
        """Count what calls used that were cut and brought nothing home themselves."""
        self.cut += cut["unpriced"]
        for what, used in cut.items():
            setattr(self, what, getattr(self, what) + used)


def _key_of(lanes: tuple[tuple[str, str], ...], asked: Request | str) -> str:
    """Hash what decides an answer: the models that may give it with their base URLs, the prompt and the parameters."""
    try:
        return blake2b(msgspec.json.encode((lanes, asked), order="deterministic"), digest_size=16).hexdigest()
    except UnicodeEncodeError:
        raise InputError(HALF_A_CHARACTER) from None
