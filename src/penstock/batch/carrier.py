"""Carries shards through their batches: uploads, creates, polls, harvests, each step written down around its deed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .._flow import providerbatch
from .._flow.effects import Lane
from .._flow.providerbatch import Desk, Parcel, Unsure
from .._io.drive_errand import Errands
from .._io.shardlog import Download, Shard, ShardLog
from .._policy.budget import Hold
from .._policy.shards import Create, Done, Harvest, Look, Pace, Phase, Poll, Stand, Upload, next_step
from .._wire.batchfile import ENDED, QUEUE_FULL, Seen
from ..client import AsyncClient
from ..errors import CallError, ConfigError, ConnectionFailed, NotFound, RateLimited
from .harvest import Found, Settle, join, read
from .sharding import dialect_of

FILES_AT_ONCE: Final = 2
"""Uploads and downloads side by side."""

HARVESTS: Final = 3
"""A download that has fewer lines than the batch says is made again, so often in all."""

REFUSALS_MAX: Final = 10
"""So often a create is made again that found no connection."""

LOST_MAX: Final = 5
"""So often a batch is asked for again that its provider does not know."""

Told = Callable[[Shard, str], None]


class Carrier:
    """What a run does for its shards. `settle` takes each row as it ended, `told` hears what happens.

    `brief`: nothing is waited for; a shard is left once its batch is created, or was looked at once.
    """

    def __init__(
        self, client: AsyncClient, log: ShardLog, pace: Pace, settle: Settle, told: Told, *, brief: bool = False
    ) -> None:
        self._client = client
        self._log = log
        self._pace = pace
        self._settle = settle
        self._told = told
        self._brief = brief
        self._files = asyncio.Semaphore(FILES_AT_ONCE)
        self._changed = asyncio.Event()
        self._holds: dict[str, list[Hold]] = {}
        self.leaving = False
        self.withdrawing = False

    def leave(self) -> None:
        """Do nothing more than what is under way; batches go on at their providers."""
        self.leaving = True
        self._changed.set()

    def withdraw(self) -> None:
        """Have all batches end, and harvest what they have."""
        self.withdrawing = True
        self._changed.set()

    def holds(self, shard: Shard) -> bool:
        """Whether money is held for a shard."""
        return shard.id in self._holds

    def hold(self, shard: Shard, holds: list[Hold]) -> None:
        """Keep the money that is held for a shard until it is settled."""
        self._holds[shard.id] = holds

    async def carry(self, shard: Shard) -> None:
        """Do for a shard what is to be done, until it is over or to be left.

        Raises: PenstockError for what concerns all shards, such as a refused key.
        """
        desk = self._desk(shard)
        trip = _Trip(shard, desk, self._client._errands(desk.lane), Stand(phase=shard.phase, inline=desk.kind.inline))
        while shard.is_open and not self.leaving:
            trip.stand.phase = shard.phase
            if self.withdrawing and await self._withdrawn(trip):
                return
            match next_step(self._pace, trip.stand):
                case Upload():
                    await self._upload(trip)
                case Create(after_s=after_s):
                    if self._brief and after_s:
                        return
                    if not await self._pause(after_s):
                        await self._create(trip)
                case Look(after_s=after_s):
                    if self._brief and trip.stand.unclear:
                        return
                    if not await self._pause(after_s):
                        await self._look(trip)
                case Poll(after_s=after_s):
                    if self._brief and (trip.made or trip.stand.polls):
                        return
                    if not await self._pause(0.0 if self._brief else after_s):
                        await self._poll(trip)
                case Harvest():
                    await self._harvest(trip)
                case Done():
                    return

    def _desk(self, shard: Shard) -> Desk:
        lane = lane_of(self._client, shard)
        return Desk(lane, dialect_of(lane))

    async def _pause(self, seconds: float) -> bool:
        """Wait; True when something else is to be done first."""
        if seconds <= 0 or self.leaving:
            return self.leaving
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        if self.withdrawing and not self.leaving:
            self._changed.clear()
        return True

    async def _withdrawn(self, trip: _Trip) -> bool:
        """Have a batch end; True for one that was never created and is over by this."""
        shard = trip.shard
        creatable = shard.phase in ("written", "uploaded") or (
            shard.phase == "creating" and isinstance(next_step(self._pace, trip.stand), Create)
        )
        if creatable:
            self.drop(shard, "withdrawn before it was created")
            return True
        if shard.phase == "created" and not trip.cancelled and not trip.stand.ended:
            assert shard.batch_id is not None
            await trip.errands.run(providerbatch.cancel(trip.desk, shard.batch_id))
            trip.cancelled = True
            trip.stand.polls = 0
            self._told(shard, "cancelling")
        return False

    def drop(self, shard: Shard, why: str) -> None:
        """Give up a shard that has no batch; its rows are asked again by whoever asks next."""
        self._log.note(shard, phase="dropped", note=why)
        self._log.forget(shard)
        for hold in self._holds.pop(shard.id, []):
            self._client._gate.give_back(hold)
        self._told(shard, why)

    def _parcel(self, shard: Shard) -> Parcel:
        return Parcel(
            tag=self._log.tag(shard),
            path=str(self._log.body(shard)),
            size=shard.size,
            rows=shard.rows,
            since_s=shard.since_s,
            file_id=shard.file_id,
            dead=shard.dead,
        )

    async def _upload(self, trip: _Trip) -> None:
        shard = trip.shard
        if not self._log.is_sound(shard):
            self.drop(shard, "what was to be sent is damaged")
            return
        async with self._files:
            file_id = await trip.errands.run(providerbatch.upload(trip.desk, self._parcel(shard)))
        self._log.note(shard, phase="uploaded", file_id=file_id)
        self._told(shard, "uploaded")

    async def _create(self, trip: _Trip) -> None:
        shard, stand = trip.shard, trip.stand
        if trip.desk.kind.inline and not self._log.is_sound(shard):
            self.drop(shard, "what was to be sent is damaged")
            return
        before: Phase = "written" if trip.desk.kind.inline else "uploaded"
        self._log.note(shard, phase="creating", note="")
        stand.looks, stand.unclear = 0, False
        try:
            seen = await trip.errands.run(providerbatch.create(trip.desk, self._parcel(shard)))
        except Unsure as unsure:
            self._told(shard, f"nobody knows whether it was created ({unsure.cause.message}); looking for it")
            return
        except (RateLimited, ConnectionFailed) as error:
            stand.creates += 1
            if isinstance(error, ConnectionFailed) and stand.creates >= REFUSALS_MAX:
                self._log.note(shard, phase=before)
                raise
            self._log.note(shard, phase=before, note=error.message)
            self._told(shard, f"not created yet: {error.message}")
            return
        except CallError as error:
            self._log.note(shard, phase=before, note=error.message)
            if isinstance(error, NotFound) and shard.file_id is not None and not trip.uploaded_again:
                # A file that was there is no more, as after 30 days.
                trip.uploaded_again = True
                self._log.note(shard, phase="written", file_id=None)
                return
            raise
        trip.made = True
        self._created(trip, seen, "created")

    def _created(self, trip: _Trip, seen: Seen, how: str) -> None:
        shard, trip.stand.polls = trip.shard, 0
        self._log.note(shard, phase="created", batch_id=seen.id, state=seen.state, word=seen.word, note="")
        self._log.forget(shard, body=True)
        self._told(shard, how)

    async def _look(self, trip: _Trip) -> None:
        shard, stand = trip.shard, trip.stand
        taken = {each.batch_id for each in self._log.shards.values() if each.batch_id and each is not shard}
        flow = providerbatch.look(trip.desk, self._parcel(shard), taken)
        seen, stand.unclear = await trip.errands.run(flow)
        if seen is not None:
            self._created(trip, seen, "found again")
            return
        stand.looks += 1

    async def _poll(self, trip: _Trip) -> None:
        shard, stand = trip.shard, trip.stand
        assert shard.batch_id is not None
        stand.polls += 1
        try:
            seen = await trip.errands.run(providerbatch.poll(trip.desk, shard.batch_id))
        except CallError as error:
            trip.lost += isinstance(error, NotFound)
            if not error.retriable and (not isinstance(error, NotFound) or trip.lost >= LOST_MAX):
                raise
            self._told(shard, f"cannot be asked for now: {error.message}")
            return
        trip.seen = seen
        if seen.state == "failed" and any(problem.code == QUEUE_FULL for problem in seen.problems):
            self._requeue(trip, seen)
            return
        stand.ended = seen.state in ENDED
        if (seen.word, seen.done) != (shard.word, shard.rows_done):
            self._log.note(shard, state=seen.state, word=seen.word, rows_done=seen.done)
            self._told(shard, seen.word if seen.state != "unknown" else f"in a state that is not known: {seen.word}")

    def _requeue(self, trip: _Trip, seen: Seen) -> None:
        """The queue was full, and nothing was done or billed: the same rows make another batch later."""
        shard = trip.shard
        trip.stand.creates += 1
        phase = "written" if trip.desk.kind.inline else "uploaded"
        why = seen.problems[0].message
        self._log.note(shard, phase=phase, batch_id=None, dead=(*shard.dead, seen.id), state="", word="", note=why)
        self._told(shard, f"waiting for room in the queue: {why}")

    async def _harvest(self, trip: _Trip) -> None:
        shard, seen = trip.shard, trip.seen
        assert seen is not None
        rows = self._log.rows(shard)
        for again in range(HARVESTS):
            keep = self._log.download(shard)
            found = await self._download(trip, seen, keep)
            if found.rows >= min(shard.rows, seen.done or 0) or again == HARVESTS - 1:
                break
        tally = await self._settle(shard, join(keep, rows, found, seen, trip.desk, self._client.settings.prices))
        self._log.note(shard, phase="harvested", answered=tally.answered, failed=tally.failed, missing=tally.missing)
        self._log.forget(shard)
        self._pay(shard, tally.cost_nano)
        more = f", {tally.missing:,} not executed" if tally.missing else ""
        self._told(shard, f"harvested: {tally.answered:,} answered, {tally.failed:,} failed{more}")

    async def _download(self, trip: _Trip, seen: Seen, keep: Download) -> Found:
        try:
            async with self._files:
                await trip.errands.run(providerbatch.harvest(trip.desk, seen), keep)
        except BaseException:
            keep.close()
            raise
        await asyncio.to_thread(keep.finish)
        return await asyncio.to_thread(read, keep, trip.desk, self._log.tag(trip.shard), trip.shard.rows)

    def _pay(self, shard: Shard, cost_nano: int | None) -> None:
        """Replace what was held for a shard by what it cost."""
        holds = self._holds.pop(shard.id, [])
        if not holds and self._client._capped and not self._client._gate.budget.budget.file:
            # There was no room to hold it, and it is spent all the same.
            self._client.carry_spent((shard.held_nano or 0) if cost_nano is None else cost_nano)
        for at, hold in enumerate(holds):
            if cost_nano is None:
                self._client._gate.book(hold, None)
                continue
            last = at == len(holds) - 1
            part = cost_nano if last else min(cost_nano, hold.worst_nano or 0)
            self._client._gate.book(hold, part)
            cost_nano -= part

    def let_go(self) -> None:
        """Settle at their worst the batches that go on without this process, where a file keeps the budget."""
        for holds in self._holds.values():
            for hold in holds:
                self._client._gate.book(hold, None)
        self._holds.clear()


class _Trip:
    """A shard under way."""

    def __init__(self, shard: Shard, desk: Desk, errands: Errands, stand: Stand) -> None:
        self.shard = shard
        self.desk = desk
        self.errands = errands
        self.stand = stand
        self.seen: Seen | None = None
        self.cancelled = False
        self.made = False
        self.uploaded_again = False
        self.lost = 0


def lane_of(client: AsyncClient, shard: Shard) -> Lane:
    """Return the lane of a shard.

    Raises: ConfigError when it leads elsewhere now than when the shard was made.
    """
    lane = client._lane(shard.lane)
    if lane.base_url != shard.base_url:
        raise ConfigError(
            f"batch {shard.batch_id or shard.id} of this job is at {shard.base_url}, and {lane.provider.name} is at "
            f"{lane.base_url} now; set its base URL as it was, or cancel that batch there"
        )
    return lane
