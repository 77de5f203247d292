"""The runner of a job through batches: the same rows, questions, journal and output, at the price of a batch.

rows ─▶ pending ─▶ shards (log) ─▶ upload ─▶ create ─▶ poll ─▶ harvest ─▶ journal ─▶ what is missing: again, or online
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, get_args

import msgspec

from .._flow.extracted import Extracted
from .._io.index import Index
from .._io.journal import Journal
from .._io.rowfile import Checked
from .._io.rows import Row, id_digest
from .._io.shardlog import Shard, ShardLog, ShardRow
from .._policy.budget import Hold
from .._policy.schedule import StopReason
from .._policy.shards import Choice, Pace, Then, Via, choose
from ..errors import BudgetExceeded, CallError, ConfigError, InputError, OutputError, PenstockError
from .carrier import Carrier, Told
from .harvest import Ended, Tally
from .job import Batch, Rows
from .live import Forecast
from .projection import Projection
from .question import Task
from .report import BatchReport
from .running import GRACE_S
from .sharding import Sharder, dialect_of, hold_again
from .stock import once_more
from .twins import Twins

TURN_ROWS: Final = 200
"""Rows handled between two turns of the event loop."""


class ViaBatch(Batch):
    """One run of a job through the batch interfaces of its providers; see `Batch` for what is as there.

    A run may end while batches go on at their providers; the next one of the same output collects them, on whatever
    machine it has the output and the folder of shards beside it.

    Args:
        rows: as for `Batch`.
        output: as for `Batch`.
        via: 'batch-api', or 'auto' to choose by deadline and price; `choice` says what was chosen and why.
        then: what becomes of rows that a batch left unanswered: another 'batch', or calls 'online'.
        deadline_s: so long after the first run batches are cancelled and harvested, and what is left goes online.
        wait: False: create what can be created, collect what is done, and end.
        queue_tokens: the most prompt tokens in one batch, where you know the queue limit of your account.
        pace: how patiently batches are attended to.
        told: hears of each step of a shard.
        chosen: hears what 'auto' chose.
        options: as for `Batch`.

    Raises: ConfigError.
    """

    def __init__(
        self,
        rows: Rows,
        output: Any,
        *,
        via: Via = "batch-api",
        then: Then = "batch",
        deadline_s: float | None = None,
        wait: bool = True,
        queue_tokens: int | None = None,
        pace: Pace | None = None,
        told: Told | None = None,
        chosen: Callable[[Choice], object] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(rows, output, **options)
        if via != "online" and options.get("hedge"):
            raise ConfigError(
                "hedge sends a second call beside a late one, and a row of a batch is no call; leave it out, or have "
                "the rows go online (via='online')"
            )
        if via not in get_args(Via):
            raise ConfigError(f"via is {via!r}; expected 'online', 'batch-api' or 'auto'")
        if then not in get_args(Then):
            raise ConfigError(f"then is {then!r}; expected 'batch' or 'online'")
        if deadline_s is not None and not 0 < deadline_s < 1e10:
            raise ConfigError(f"deadline_s is {deadline_s!r}; expected a finite number of seconds above 0")
        if queue_tokens is not None and queue_tokens < 1:
            raise ConfigError(f"queue_tokens is {queue_tokens!r}; expected at least 1")
        self._via = via
        self._then: Then = then
        self._deadline_s = deadline_s
        self._wait = wait
        self._queue_tokens = queue_tokens
        self._pace = pace or Pace()
        self._told = told or (lambda shard, what: None)
        self._chosen = chosen or (lambda choice: None)
        self._tasks: list[asyncio.Task[None]] = []
        self._models = tuple(options.get("models") or ()) or ("",)
        self._log: ShardLog | None = None
        self._carrier: Carrier | None = None
        self._journal: Journal | None = None
        self._online = via == "online"
        self._away = Index()
        self._settled = Index()
        self._short: BudgetExceeded | None = None
        self.choice: Choice | None = None

    @property
    def report(self) -> BatchReport:
        """The run as it stands."""
        return msgspec.structs.replace(super().report, in_batches=sum(shard.rows for shard in self.open_shards))

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards of the job, those of earlier runs among them."""
        return tuple(self._log.shards.values()) if self._log is not None else ()

    @property
    def open_shards(self) -> list[Shard]:
        """The shards that are not harvested yet."""
        return self._log.open_shards() if self._log is not None else []

    def forecast(self) -> Forecast | None:
        """Tell what the rows that are left will take; see `Batch.forecast`. How long batches take nobody knows."""
        found = super().forecast()
        if found is None or self._online:
            return found
        return msgspec.structs.replace(found, seconds=None, bound="batch")

    def check(self) -> Checked:
        """Look at every row before any is paid; see `Batch.check`.

        Raises: ConfigError also for a model of the job whose provider has no batch interface.
        """
        if self._via == "batch-api":
            for model in self._models:
                if model:
                    dialect_of(self._client._lane(model))
        return super().check()

    def stop(self) -> None:
        """Begin nothing more; batches go on at their providers, and a later run collects them."""
        super().stop()
        if self._carrier is not None:
            self._carrier.leave()
        if self._tasks:
            asyncio.get_running_loop().call_later(GRACE_S, self.cancel)

    def cancel(self) -> None:
        """Stop at once; batches go on at their providers all the same."""
        super().cancel()
        for task in self._tasks:
            task.cancel()

    async def _run(self, journal: Journal) -> None:
        log = self._log = ShardLog.open(journal.path)
        self._journal = journal
        self._carrier = Carrier(self._client, log, self._pace, self._settle_shard, self._told, brief=not self._wait)
        try:
            await super()._run(journal)
        finally:
            if self._client._gate.budget.budget.file:
                self._carrier.let_go()
            report = self.report
            over = not report.left and not report.failed and not report.kept
            log.close(done=not log.open_shards() and (over or not log.shards))

    # --- which way -------------------------------------------------------------------------------------------------

    def _choose(self) -> None:
        """Settle which way the rows go; what is at a provider already is collected in any case."""
        assert self._log is not None
        if self._via != "auto":
            return
        left = self.report.left
        prices = self._client.settings.prices
        online, batch = self._sample.project(left, prices), self._sample.project(left, prices, batch=True)
        self.choice = choose(
            deadline_s=self._left_s(),
            lacking=self._lacking(),
            rows=left,
            online_nano=online.likely_nano,
            batch_nano=batch.likely_nano,
        )
        if self._log.open_shards():
            self.choice = Choice("batch-api", "batches of an earlier run are still under way")
        self._online = self.choice.via == "online"
        self._chosen(self.choice)

    def _lacking(self) -> str | None:
        for model in self._models:
            lane = self._client._route(model or None)[0] if model else None
            if lane is not None and not lane.provider.batch:
                return lane.provider.name
        return None

    def _left_s(self) -> float | None:
        """Seconds until the deadline of the job, which counts from its first run; None for none."""
        assert self._log is not None
        if self._log.deadline_at is None:
            return self._deadline_s
        return self._log.deadline_at - self._client._clock.wall()

    def _ask_leave(self) -> None:
        self._choose()
        super()._ask_leave()

    def _project(self, left: int) -> Projection:
        return self._sample.project(left, self._client.settings.prices, batch=not self._online)

    # --- the passes ------------------------------------------------------------------------------------------------

    async def _pass(self, journal: Journal, twins: Twins | None, *, again: bool) -> None:
        if not again and (not self._online or self.open_shards):
            await self._through_batches(journal, twins)
            self._online = self._online or self._moves_online()
        if self._online and self._planner.reason is None:
            await super()._pass(journal, twins, again=again)

    def _moves_online(self) -> bool:
        return self._then == "online" or self._is_late()

    def _is_late(self) -> bool:
        left_s = self._left_s()
        return left_s is not None and left_s <= 0

    async def _through_batches(self, journal: Journal, twins: Twins | None) -> None:
        """Collect what earlier runs left at providers and submit the rest, until nothing is left or nothing helps."""
        assert self._log is not None
        if self._deadline_s is not None and self._log.deadline_at is None:
            self._log.set_deadline(self._client._clock.wall() + self._deadline_s)
        left = self._pace.rounds if self._then == "batch" else 1
        collects = bool(self.open_shards)
        if collects and self._sampled is not None:
            self._picked = away_rows(self._log)  # the sample is under way
        while left > 0:
            answered, shards = self._counts.answered, len(self._log.shards)
            await self._round(journal, twins)
            if self._planner.reason is not None or self._is_late():
                return
            if self.open_shards:
                self._planner.stop("submitted")
                return
            if self._short is not None and answered == self._counts.answered:
                self._planner.stop("budget", self._short)
                return
            if not collects and len(self._log.shards) == shards:
                return
            left -= not collects and self._short is None
            collects = False

    async def _round(self, journal: Journal, twins: Twins | None) -> None:
        """Carry all open shards and those that the rows still to be asked make, until each is over or left."""
        assert self._log is not None
        assert self._carrier is not None
        self._short = await self._take_up(self._log, self._carrier)
        if twins is not None:
            for row in _rows_away(self._log):
                twins.stand(row.key, id_digest(row.id))
        fits = self._short is None and not self._online and not self._is_late()
        self._tasks = [asyncio.create_task(self._carrier.carry(shard)) for shard in self._log.open_shards()]
        if fits:
            self._tasks.append(asyncio.create_task(self._submit(journal, twins)))
        ended: set[asyncio.Task[None]] = set()
        broken: BaseException | None = None
        while under_way := set(self._tasks) - ended:
            done = await self._some_end(under_way)
            ended |= done
            for task in done:
                error = None if task.cancelled() else task.exception()
                if error is not None:
                    broken = broken or self._fail(error)
        self._tasks = []
        self._away = away_rows(self._log)
        if broken is not None:
            raise broken

    async def _some_end(self, tasks: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Wait until one of them has ended, or the deadline has come: then all batches are to end."""
        assert self._carrier is not None
        left_s = None if self._carrier.withdrawing else self._left_s()
        try:
            done, _ = await asyncio.wait(
                tasks,
                timeout=None if left_s is None else max(0.0, left_s),
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            raise
        if not done and self._is_late():
            self._carrier.withdraw()
        return done

    def _fail(self, error: BaseException) -> BaseException | None:
        """A shard cannot be carried on: the run ends, and what is at providers stays there for the next one."""
        assert self._carrier is not None
        self._carrier.leave()
        if not isinstance(error, PenstockError):
            self._planner.stop("failed")
            return error
        reason: StopReason = "failed"
        if isinstance(error, OutputError):
            reason = "output"
        elif isinstance(error, CallError):
            reason = "outage" if error.retriable else "refused"
        self._planner.stop(reason, error)
        return None

    async def _take_up(self, log: ShardLog, carrier: Carrier) -> BudgetExceeded | None:
        """Hold the money of batches that earlier runs left, and keep their rows from being asked again.

        Returns: why nothing more can be submitted, where a budget is too small for what is under way already.
        """
        short: BudgetExceeded | None = None
        self._away = away_rows(log)
        budget = self._client._gate.budget.budget
        for shard in log.open_shards():
            # Where a file keeps the budget, the run before counted it there at its worst when it let go of it.
            if not self._client._capped or budget.file or carrier.holds(shard):
                continue
            try:
                carrier.hold(shard, await hold_again(self._client, shard))
            except BudgetExceeded as error:
                short = error
                if shard.phase in ("written", "uploaded"):
                    carrier.drop(shard, "there is no money for it any more")
        return short

    async def _submit(self, journal: Journal, twins: Twins | None) -> None:
        """Put the rows that are due into shards, and have each carried as soon as it is full."""
        log, carrier = self._log, self._carrier
        assert log is not None
        assert carrier is not None

        async def ready(shard: Shard, holds: list[Hold]) -> None:
            carrier.hold(shard, holds)
            self._told(shard, "written")
            self._tasks.append(asyncio.create_task(carrier.carry(shard)))

        sharder = Sharder(
            self._client,
            self._questions,
            log,
            ready,
            models=self._models,
            columns=self._columns,
            queue_tokens=self._queue_tokens,
        )
        try:
            pending = self._of_sample(self._pending(journal, again=False))
            for number, task in enumerate(pending if twins is None else twins.firsts(pending)):
                if self._planner.reason is not None or carrier.leaving or carrier.withdrawing:
                    return
                if number % TURN_ROWS == 0:
                    await asyncio.sleep(0)
                await self._add(task, sharder, journal)
            await sharder.finish()
        except BudgetExceeded as error:
            self._short = error
            with contextlib.suppress(BudgetExceeded):
                await sharder.finish()
        finally:
            sharder.discard()

    async def _add(self, task: Task, sharder: Sharder, journal: Journal) -> None:
        """Put a row into a shard; one that cannot go there has that as its result.

        Raises: BudgetExceeded, BudgetUnavailable, OutputError.
        """
        wrong: PenstockError | None = task.wrong
        if wrong is None:
            try:
                await sharder.add(task)
            except (ConfigError, InputError, CallError) as error:
                wrong = error
        if wrong is not None:
            self._crew.settle(journal, task, wrong)
            self._settled.put(id_digest(task.row.id), 1, 0)

    def _pending(self, journal: Journal, *, again: bool) -> Iterator[Task]:
        """Rows still to be asked, without those that are in a batch or had their last result in this run."""
        if again:
            yield from super()._pending(journal, again=True)
            return
        for row in self._rows(self._stock.done):
            digest = id_digest(row.id)
            if self._away.find(digest) is not None:
                continue
            task = self._questions.task(row)
            if self._settled.find(digest) is not None and journal.find(row.id, task.key) is not None:
                if (mended := once_more(journal, task)) is not None:
                    yield mended
            elif (ready := self._stock.ready(journal, task)) is not None:
                yield ready

    async def _settle_shard(self, shard: Shard, ended: Iterator[Ended]) -> Tally:
        """Write down how the rows of a shard ended, each once, on the disk itself.

        Raises: OutputError when they cannot be; the batch is then harvested again by the next run.
        """
        assert self._journal is not None
        journal, tally = self._journal, Tally()
        lane, prices = self._client._lane(shard.lane), self._client.settings.prices
        if shard.schema is not None:
            from .shape import read_ends  # loaded with the first schema

            ended = read_ends(ended, shard, self._questions.shape)
        for number, each in enumerate(ended):
            if number % TURN_ROWS == 0:
                await asyncio.sleep(0)
            row = each.row
            if journal.is_answered(row.id, row.key):
                tally = tally.plus(each, counted=False)
                continue
            tally = tally.plus(each)
            failed_with = journal.passing_failure(row.id, row.key)
            self._counts.spend(each.end.attempts, again=failed_with is not None)
            end = each.end.response if isinstance(each.end, Extracted) else each.end
            self._client._gate.count(shard.tags, lane, end, prices)
            asked = Row(id=row.id, fields=row.columns or {}, model=shard.lane)
            spent = journal.spent(row.id, row.key)
            task = Task(asked, row.key, shard.lane, row.shaped, failed_with=failed_with, spent_nano=spent)
            self._crew.settle(journal, task, each.end)
            if self._settlement.unwritten:
                raise OutputError(f"the results of batch {shard.batch_id} could not all be written to {journal.path}")
            self._settled.put(id_digest(row.id), 1, 0)
        await asyncio.to_thread(journal.sync)
        return tally


def away_rows(log: ShardLog) -> Index:
    """Find the rows that are in a batch now, by their ids."""
    found = Index()
    for row in _rows_away(log):
        found.put(id_digest(row.id), 1, 0)
    return found


def _rows_away(log: ShardLog) -> Iterator[ShardRow]:
    return (row for shard in log.open_shards() for row in log.rows(shard))
