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
from typing import Any, Final, NamedTuple

import msgspec

from ._flow.prompt import request
from ._io.journal import Journal, Mended
from ._io.rows import Checked, OnBadRow, Row, RowFile, Template
from ._policy.schedule import LaneCount, Planner, Start, Stop, StopReason
from ._wire.registry import resolve
from .client import AsyncClient
from .errors import CallError, ConfigError, InputError, OutputError, PenstockError
from .types import Attempt, Response, Usage, to_usd

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

GRACE_S: Final = 10.0
"""After a stop, calls under way have this long to bring their answers home; they are paid already."""

_encoder = msgspec.json.Encoder(decimal_format="number", order=None)


class BatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it stands or ended.

    `rows` of the input: `before` were answered by earlier runs, `answered` and `failed` in this one, `left` have no
    result. `cost_nano` sums the attempts of this run whose cost is known, `unpriced` counts those that went out and
    whose cost is not. `stopped` says why it ended early, `cause` is the error behind it. `failures` counts error codes.
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


async def run_batch(
    rows: Iterable[Row],
    output: str,
    *,
    client: AsyncClient,
    models: Sequence[str] = (),
    concurrency: int = CONCURRENCY,
    params: Mapping[str, Any] | None = None,
) -> BatchReport:
    """Answer every row into `output` and say how it went; see `Batch`, which can also be watched and stopped.

    Raises: ConfigError, InputError, OutputError before anything is sent; what goes wrong later is in the report.
    """
    return await Batch(rows, output, client=client, models=models, concurrency=concurrency, params=params).run()


class Batch:
    """One run of a job: `run` it, watch `report`, `stop` it gently or `cancel` it.

    Args:
        rows: a list of `Row`s or a `RowFile`; it is iterated several times and never held in memory.
        output: the JSONL file to write and to resume from.
        client: what answers; its limits, budget and retries hold.
        models: where rows go that name no model, each row to the one with the fewest calls under way; empty: the
            client's own default.
        concurrency: the most calls under way at once.
        params: parameters of `client.complete` for every row, such as max_tokens; a row's own win.
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
        self._params = dict(params or {})
        self._planner = Planner(self._models or ("",))
        self._change = _Change()
        self._tasks: list[asyncio.Task[None]] = []
        self._counts = _Counts()
        self._unwritten: list[_Result] = []
        self._checked = Checked(rows=0, bad=0, problems=())
        self._mended = Mended(0, 0)
        self._started = 0.0
        self._ended: float | None = None

    def check(self) -> Checked:
        """Look at every row before any is paid.

        Raises: InputError naming the lines that are bad, ConfigError for models and parameters that no row could use.
        """
        request("?", self._params)
        settings = self._client.settings
        for model in self._models:
            provider, _ = resolve(model, settings.providers)
            settings.key(provider)
            settings.base_url(provider)
        if isinstance(self._rows, RowFile):
            self._checked = self._rows.check()
        else:
            seen: set[str] = set()
            for row in self._rows:
                if str(row.id) in seen:
                    raise InputError(f"two rows have the id {row.id!r}; give each its own")
                seen.add(str(row.id))
                request(row.prompt, row.params)
            self._checked = Checked(rows=len(seen), bad=0, problems=())
        return self._checked

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
                for again in range(PASSES):
                    if self._planner.reason is None:
                        await self._pass(journal, again=bool(again))
                self._write_late(journal)
                if self._planner.reason is None:
                    self._compact(journal)
            finally:
                self._ended = time.monotonic()
        return self.report

    async def _pass(self, journal: Journal, *, again: bool) -> None:
        pending = self._pending(journal, again=again)
        self._tasks = [asyncio.create_task(self._work(pending, journal)) for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            raise
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _pending(self, journal: Journal, *, again: bool) -> Iterator[_Task]:
        """Rows still to be asked: first all without an answer to their question, then those that may be tried again."""
        for row in self._rows:
            key = self._key(row)
            if again:
                code = journal.passing_failure(row.id, key)
                if code is not None:
                    yield _Task(row, key, code)
            elif journal.is_answered(row.id, key):
                self._counts.before += 1
            else:
                yield _Task(row, key, None)

    def _key(self, row: Row) -> str:
        """Hash what decides the answer: the models that may give it, the prompt and the parameters."""
        asked: Any = row.problem or request(row.prompt, {**self._params, **row.params})
        models = (row.model,) if row.model else tuple(sorted(self._models))
        return blake2b(msgspec.json.encode((models, asked), order="deterministic"), digest_size=16).hexdigest()

    async def _work(self, pending: Iterator[_Task], journal: Journal) -> None:
        try:
            while self._planner.reason is None and (task := next(pending, None)) is not None:
                if task.row.problem is not None:
                    self._settle(journal, task, InputError(f"line {task.row.line}: {task.row.problem}"))
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
            picked = self._planner.pick(time.monotonic(), row.model, tried)
            if isinstance(picked, Stop):
                return False
            if not isinstance(picked, Start):
                await self._change.wait(picked.until)
                continue
            ended: Response | PenstockError
            try:
                ended = await self._client.complete(
                    row.prompt, **{"model": picked.model or None, "priority": "batch", **self._params, **row.params}
                )
            except PenstockError as error:
                ended = error
            except BaseException:
                self._planner.abandoned(picked.model)
                self._change.tell()
                raise
            self._counts.spend(ended.attempts)
            if isinstance(ended, Response):
                self._planner.answered(picked.model)
                verdict = "record"
            else:
                own = row.model is not None
                now = time.monotonic()
                verdict = self._planner.failed(now, picked.model, ended, own=own, tried=tried)
                tried.add(picked.model)
            if verdict == "record":
                self._settle(journal, task, ended)
            self._change.tell()
            if verdict != "again":
                return verdict == "record"

    def _settle(self, journal: Journal, task: _Task, ended: Response | PenstockError) -> None:
        """Write a row's result down. What cannot be written is kept and tried once more at the end."""
        if isinstance(ended, Response):
            result = _Result(task, _encoder.encode(_answer(task, ended)), None, False)
        else:
            result = _Result(task, _encoder.encode(_failure(task, ended)), ended.code, ended.retriable)
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


class _Task(NamedTuple):
    """A row to be asked, the key of its question, and the code of its failure earlier in this run."""

    row: Row
    key: str
    failed_with: str | None


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

    def spend(self, attempts: Sequence[Attempt]) -> None:
        """Count what a call sent and used."""
        sent = [attempt for attempt in attempts if attempt.sent]
        self.attempts += len(sent)
        self.retries += max(0, len(sent) - 1)
        for attempt in sent:
            self.rate_limited += attempt.outcome == "rate_limited"
            if attempt.usage is not None:
                self.usage = self.usage + attempt.usage
            if attempt.cost_nano is None:
                self.unpriced += 1
            else:
                self.cost_nano += attempt.cost_nano


def _answer(task: _Task, answer: Response) -> dict[str, Any]:
    usage = {"input": 0, "output": 0, **msgspec.to_builtins(answer.usage)}
    line: dict[str, Any] = {
        "id": task.row.id,
        "model": f"{answer.provider}:{answer.model}",
        "text": answer.text,
        "stop_reason": answer.stop_reason,
        "usage": usage,
        "cost": answer.cost,
        "attempts": len(answer.attempts),
        "latency_s": round(answer.latency_s, 3),
        "error": None,
        "key": task.key,
    }
    if answer.tool_calls:
        line["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls
        ]
    return line


def _failure(task: _Task, error: PenstockError) -> dict[str, Any]:
    last = error.attempts[-1] if error.attempts else None
    call = error if isinstance(error, CallError) else None
    return {
        "id": task.row.id,
        "model": f"{last.provider}:{last.model}" if last else task.row.model,
        "text": None,
        "stop_reason": None,
        "usage": None,
        "cost": None if error.cost_nano is None else to_usd(error.cost_nano),
        "attempts": len(error.attempts),
        "latency_s": None,
        "error": {
            "code": error.code,
            "message": error.message,
            "status": call.status if call else None,
            "request_id": call.request_id if call else None,
            "attempts": len(error.attempts),
            "retriable": error.retriable,
        },
        "key": task.key,
    }
