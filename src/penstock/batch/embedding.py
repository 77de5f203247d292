"""The runner that embeds many rows: packs around a pure planner, and a journal.

rows ─▶ windows ─▶ packs ─▶ workers ─▶ planner: start, wait, stop ─▶ client ─▶ journal ─▶ the file of vectors
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec

from .._flow.texts import CONCURRENCY, EmbedOptions, check_options
from .._io.drive_async import AsyncRun
from .._io.index import Index
from .._io.journal import Journal, Mended
from .._io.row_lines import failure_line, known_nano
from .._io.rowfile import Checked
from .._io.rows import Row
from .._io.textfile import TextFile
from .._io.vector_lines import Failure, failed_line, read_vector_line, repeated_line, vector_line
from .._policy.packing import pack
from .._policy.schedule import Planner, Start, Stop
from .._text import tokens
from ..client import AsyncClient
from ..embeddings import Embeddings
from ..errors import CallError, InputError, OutputError, PenstockError
from ..types import Usage
from .jobfile import JobFile, JobState
from .outputs import failed_path, is_same, write_failed
from .projection import Projection
from .report import BatchReport, Counts
from .running import GRACE_S, Change, working
from .settlement import Line, Settlement
from .vector_table import check_form, vectors_journal, write_vectors

WINDOW_PACKS: Final = 16
"""Rows that are packed together fill about so many requests: enough to fill each, and little to hold in memory."""

STOCK_ROWS: Final = 1000
"""Rows looked at between two turns of the event loop, before the first request."""

TICK_S: Final = 1.0
"""How often the journal is put on the disk itself."""


class _Item(NamedTuple):
    """A row to be embedded, the key of its question, and what earlier calls for it cost."""

    id: str | int
    key: str
    text: str
    tokens: int
    spent_nano: int


class EmbedJob:
    """One run that embeds rows into a file: `run` it, watch `report`, `stop` it gently or `cancel` it.

    Args:
        rows: the texts; rows that repeat a text get the vector of the first.
        output: the file of vectors, .jsonl, .parquet or .npy, written once all rows are done. The journal beside it
            (`vectors_journal`) has them as they come, and is what a rerun resumes from.
        client: what answers; its limits, budget and retries hold.
        model: 'provider:name'.
        params: options of `embed`, such as dimensions.
        concurrency: the most requests under way at once.
        command: how the command line was called, so that another process can say how to go on.
        approve: is shown what the rest may cost before the first request, and says whether to go on.
    """

    def __init__(
        self,
        rows: TextFile,
        output: str | Path,
        *,
        client: AsyncClient,
        model: str,
        params: Mapping[str, Any] | None = None,
        concurrency: int = CONCURRENCY,
        command: Sequence[str] = (),
        approve: Callable[[Projection], bool] | None = None,
    ) -> None:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        own = {"model": model, "on_bad_input": "skip", "concurrency": 1}
        self._options = cast(EmbedOptions, {"priority": "batch", **given, **own})
        self._rows = rows
        self._output = Path(output)
        self._client = client
        self._command = command
        self._approve = approve
        self._model = model
        self._done = bytearray()
        self._copies = 0
        self._again: list[list[_Item]] = []
        self._last_pass = False
        self._tokens = 0
        self.concurrency = concurrency
        self.begun = asyncio.Event()
        self._planner = Planner((model,))
        self._change = Change()
        self._tasks: list[asyncio.Task[None]] = []
        self._calls: dict[AsyncRun, asyncio.Task[Any]] = {}
        self._counts = Counts()
        self._settlement = Settlement((), self._counts)
        self._checked = Checked(rows=0, bad=0, problems=())
        self._mended = Mended(0, 0)
        self._started = 0.0
        self._ended: float | None = None

    @property
    def report(self) -> BatchReport:
        """The run as it stands."""
        until = self._ended if self._ended is not None else time.monotonic()
        return self._counts.report(
            self._planner,
            rows=self._checked.rows,
            elapsed_s=until - self._started if self._started else 0.0,
            mended=self._mended,
            unwritten=self._settlement.unwritten,
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

    def check(self) -> Checked:
        """Look at every row, the model and the output before anything is paid.

        Raises: InputError naming the lines that are bad, ConfigError, OutputError.
        """
        check_options(self._options)
        check_form(self._output)
        lane, self._limits = self._client._embedding_lane(self._options)
        self._model = lane.name
        own = {
            name: value
            for name, value in self._options.items()
            if name in ("dimensions", "input_type", "user", "extra")
        }
        scope = msgspec.json.encode((lane.name, lane.base_url, own), order="deterministic")
        self._scope = blake2b(scope, digest_size=32).digest()
        journal = vectors_journal(self._output)
        if any(is_same(self._rows.path, path) for path in (self._output, journal)):
            raise InputError(f"{self._output} is also the input; choose another output (-o), nothing was sent")
        if self._output.exists() and not journal.exists():
            raise OutputError(
                f"{self._output} is there already and is not of this job; remove it, or choose another -o"
            )
        self._checked = self._rows.check()
        return self._checked

    async def run(self) -> BatchReport:
        """Embed the rows; the report says how far it came.

        Raises: ConfigError, InputError, OutputError before anything is sent.
        """
        if not self._checked.rows:
            self.check()
        with Journal.open(vectors_journal(self._output)) as journal:
            self._mended = journal.mended
            self._started = time.monotonic()
            job, clock = JobFile(journal.path), self._client._clock
            begun = JobState.begun(self._output, clock.wall(), self.concurrency, self._command)
            ticking = asyncio.create_task(self._tick(journal, job, begun))
            try:
                await self._take_stock(journal)
                self._ask_leave()
                self.begun.set()
                await self._embed(self._packs(journal), journal)
                self._last_pass = True
                await self._embed(iter(self._again), journal)  # the trouble may be over
                self._settlement.write_late(journal)
                self._deliver(journal)
            finally:
                ticking.cancel()
                self._ended = time.monotonic()
                job.say(begun, self.report, clock.wall(), None)
        return self.report

    async def _tick(self, journal: Journal, job: JobFile, begun: JobState) -> None:
        """Say how far the run is, put its vectors on the disk itself, and hear whether it is to stop."""
        job.forget_stop()
        while True:
            job.say(begun, self.report, self._client._clock.wall(), self.report.figures())
            await asyncio.to_thread(journal.sync)
            await asyncio.sleep(TICK_S)
            job.hear(self.stop, self.cancel)

    async def _take_stock(self, journal: Journal) -> None:
        """See which rows have their vector, which repeat the text of another, and how many tokens are left to send."""
        done = self._done = bytearray(self._checked.rows)
        seen = Index()
        for number, row in enumerate(self._rows):
            key = self._key(row)
            if journal.is_answered(row.id, key):
                self._counts.before += 1
                done[number] = 1
            elif row.problem is None and seen.find(_digest(key)) is not None:
                self._copies += 1
                done[number] = 1
            elif row.problem is None:
                self._tokens += tokens.estimate(str(row.prompt))
            self._counts.cost_before_nano += journal.spent(row.id, key)
            seen.put(_digest(key), 0, 0)
            if number % STOCK_ROWS == 0:
                await asyncio.sleep(0)
        self._client.carry_spent(self._counts.cost_before_nano)

    def _key(self, row: Row) -> str:
        """Hash what decides a vector: the model, its address, the parameters and the text."""
        asked = row.problem if row.problem is not None else str(row.prompt)
        return blake2b(asked.encode("utf-8", "surrogatepass"), key=self._scope, digest_size=16).hexdigest()

    def _ask_leave(self) -> None:
        left = self.report.left
        if self._approve is None or not left or self._planner.reason is not None:
            return
        provider, _, name = self._model.partition(":")
        cost = self._client.settings.prices.cost(provider, name, Usage(input=self._tokens))
        projection = Projection(rows=left, low_nano=cost, likely_nano=cost, high_nano=cost)
        if not self._approve(projection):
            self._planner.stop("interrupted")

    async def _embed(self, packs: Iterator[list[_Item]], journal: Journal) -> None:
        self._tasks = [asyncio.create_task(self._work(packs, journal)) for _ in range(self.concurrency)]
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

    def _packs(self, journal: Journal) -> Iterator[list[_Item]]:
        """Read rows that are due and put them together; what does not fill a request waits for the next window."""
        window: list[_Item] = []
        sum_tokens = 0
        for row in self._rows.without(self._done):
            key = self._key(row)
            if row.problem is not None:
                self._settle_bad(journal, row, key)
                continue
            text = str(row.prompt)
            window.append(_Item(row.id, key, text, tokens.estimate(text), journal.spent(row.id, key)))
            sum_tokens += window[-1].tokens
            full = self._limits.tokens and sum_tokens >= WINDOW_PACKS * self._limits.tokens
            if full or len(window) >= WINDOW_PACKS * self._limits.inputs:
                *whole, window = self._packed(window)
                sum_tokens = sum(item.tokens for item in window)
                yield from whole
        if window:
            yield from self._packed(window)

    def _packed(self, window: Sequence[_Item]) -> list[list[_Item]]:
        packing = pack([item.tokens for item in window], self._limits)
        packs = [*((number,) for number in packing.oversized), *packing.packs]
        return [[window[number] for number in numbers] for numbers in packs]

    async def _work(self, packs: Iterator[list[_Item]], journal: Journal) -> None:
        with working(self._planner, self._change):
            while self._planner.reason is None and (items := next(packs, None)) is not None:
                if not await self._ask(items, journal):
                    return

    async def _ask(self, items: list[_Item], journal: Journal) -> bool:
        """Get a pack embedded or failed; False when the run stopped before it was."""
        while True:
            picked = self._planner.pick(time.monotonic(), None)
            if isinstance(picked, Stop):
                return False
            if not isinstance(picked, Start):
                await self._change.wait(None if picked.until is None else picked.until - time.monotonic())
                continue
            ended = await self._call(items, picked.model, journal)
            if isinstance(ended, Embeddings):
                self._planner.answered(picked.model)
                self._settle(journal, items, ended)
                self._change.tell()
                return True
            if ended.embedded is not None:
                items = self._settle(journal, items, ended.embedded)
            verdict = self._planner.failed(time.monotonic(), picked.model, ended, own=False, tried=())
            if isinstance(ended, CallError) and not ended.retriable:
                self._planner.stop("failed", ended)  # no text is to blame, so the next pack would fare no better
                verdict = "leave"
            elif verdict == "record" and self._last_pass and not self._counts.answered:
                self._planner.stop("outage", ended)
                verdict = "leave"
            if self._planner.reason in ("failed", "outage", "refused"):
                self._drain()
            if verdict == "record" and not self._last_pass:
                self._again.append(items)
            elif verdict == "record":
                self._settle_failed(journal, items, ended)
            self._change.tell()
            if verdict != "again":
                return verdict == "record"

    async def _call(self, items: list[_Item], model: str, journal: Journal) -> Embeddings | PenstockError:
        """Send a pack; when it is cut, what came of it is kept, and what it had sent is counted."""
        run, so_far = self._client._begin_embedding([item.text for item in items], **self._options)
        here = asyncio.current_task()
        assert here is not None
        self._calls[run] = here
        try:
            await run.finish()
            return so_far()
        except PenstockError as error:
            return error
        except BaseException:
            self._planner.abandoned(model)
            self._settle(journal, items, so_far())
            self._counts.cut += sum(each.sent and each.outcome == "cancelled" for each in run.trail.attempts)
            self._change.tell()
            raise
        finally:
            del self._calls[run]
            self._spend(run)

    def _spend(self, run: AsyncRun) -> None:
        counts, attempts = self._counts, run.trail.attempts
        retries = counts.retries + sum(each.sent and each.number > 1 for each in attempts)
        counts.spend(attempts, again=True)
        counts.retries = retries

    def _settle(self, journal: Journal, items: list[_Item], found: Embeddings) -> list[_Item]:
        """Write down what came of a pack, its cost shared out by tokens to the last nano-dollar; return what is left.

        What was paid for nothing is put on the first row that is left.
        """
        left: list[_Item] = []
        bad = {each.index: each for each in found.errors}
        paid = known_nano(found.attempts)
        costs = _shares(paid, [item.tokens * found.vectors.has(index) for index, item in enumerate(items)])
        unknown = found.cost_nano is None and not paid
        for index, item in enumerate(items):
            if found.vectors.has(index):
                cost: int | None = None if unknown else costs[index]
                line = vector_line(item.id, item.key, self._model, found.vectors[index], cost, item.spent_nano)
                self._keep(journal, Line(item.id, item.key, line))
            elif index in bad:
                told = bad[index]
                failure = Failure(code=told.code, message=told.message, status=told.status)
                line = failed_line(item.id, item.key, self._model, failure, 0, item.spent_nano)
                self._keep(journal, Line(item.id, item.key, line, told.code))
            else:
                left.append(item)
        if left and paid > sum(costs):
            left[0] = left[0]._replace(spent_nano=left[0].spent_nano + paid)
        return left

    def _settle_failed(self, journal: Journal, items: list[_Item], error: PenstockError) -> None:
        status = error.status if isinstance(error, CallError) else None
        failure = Failure(code=error.code, message=error.message, status=status, retriable=error.retriable)
        for item in items:
            line = failed_line(item.id, item.key, self._model, failure, 0, item.spent_nano)
            self._keep(journal, Line(item.id, item.key, line, error.code, error.retriable))

    def _settle_bad(self, journal: Journal, row: Row, key: str) -> None:
        error = InputError(f"line {row.line}: {row.problem}")
        line = failure_line(row.id, key, error, model=self._model)
        self._keep(journal, Line(row.id, key, line, error.code))

    def _keep(self, journal: Journal, line: Line) -> None:
        error = self._settlement.keep(journal, line)
        if error is not None:
            self._planner.stop("output", error)
            self._drain()

    def _deliver(self, journal: Journal) -> None:
        """Give repeated texts the vector of the first, collect the rows that failed, and write the file of vectors."""
        try:
            if self._copies and self._planner.reason is None:
                self._copy(journal)
            write_failed(failed_path(self._output), lambda: self._rows, journal)
            if self._planner.reason is None:
                journal.compact(lambda: (row.id for row in self._rows))
                write_vectors(self._output, journal.path, (row.id for row in self._rows))
        except OutputError as error:
            # Every row has its line; only what is made of them is missing.
            self._planner.stop("output", error)
        except InputError as error:  # the input vanished or changed before its order was looked up
            self._planner.stop("failed", error)

    def _copy(self, journal: Journal) -> None:
        """Write the lines of rows that repeat the text of an earlier one.

        Raises: OutputError.
        """
        places = Index()
        for row in self._rows:
            if row.problem is not None:
                continue
            key = self._key(row)
            first = places.find(_digest(key))
            if first is None or journal.is_answered(row.id, key):
                place = journal.place(row.id, key)
                if place is not None:
                    places.put(_digest(key), place, 0)
                continue
            line = repeated_line(journal.line_at(first[0]), row.id)
            failure = read_vector_line(line).error
            code = None if failure is None else failure.code
            self._settlement.write(journal, Line(row.id, key, line, code, failure is not None and failure.retriable))


def _digest(key: str) -> int:
    return int(key[:16], 16) or 1


def _shares(whole: int, weights: Sequence[int]) -> list[int]:
    """Share a whole out by weights so that the shares add up to it; all are 0 where no weight is above 0."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    ends = [whole * weight // total for weight in accumulate(weights)]
    return [end - before for end, before in zip(ends, [0, *ends], strict=False)]
