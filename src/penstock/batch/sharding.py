"""Rows to shards: each row is encoded, looked at and paid for in advance, and goes into the shard of its lane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from .._flow.accounting import prepare
from .._flow.effects import Lane, Past, Record, Reserve
from .._flow.fitting import fitted
from .._flow.providerbatch import prefix
from .._flow.trail import Trail
from .._io.rows import id_digest
from .._io.shardlog import Shard, ShardLog, ShardRow, ShardWriter
from .._policy.budget import Hold
from .._policy.limiter import Ticket
from .._policy.shards import Room
from .._wire import batchfile
from .._wire.batchfile import Dialect
from ..client import AsyncClient
from ..errors import BudgetExceeded, ConfigError
from ..types import to_nano
from .outputs import pick_columns
from .question import Questions, Task

AROUND_BYTES: Final = 160
"""What a line has around the body of its request, at most."""

HELD_ROWS: Final = 500
"""So many rows are held in the budget at once; where they do not fit together, one by one."""


class Encoded(NamedTuple):
    """A row ready to be put into a shard."""

    row: ShardRow
    body: bytes
    tokens: int
    worst_nano: int | None


class _Growing:
    """A shard that still takes rows."""

    def __init__(self, writer: ShardWriter, room: Room, lane: Lane, kind: Dialect, tags: dict[str, str]) -> None:
        self.writer = writer
        self.room = room
        self.lane = lane
        self.kind = kind
        self.tags = tags
        self.waiting: list[Encoded] = []
        self.holds: list[Hold] = []


class Sharder:
    """Puts rows into shards; `ready` is awaited with each that is full, and with the money that is held for it.

    `models` share the rows that name none. `columns` of the input are kept for the output.
    """

    def __init__(
        self,
        client: AsyncClient,
        questions: Questions,
        log: ShardLog,
        ready: Callable[[Shard, list[Hold]], Awaitable[None]],
        *,
        models: Sequence[str],
        columns: Sequence[str],
        queue_tokens: int | None = None,
    ) -> None:
        self._client = client
        self._questions = questions
        self._log = log
        self._ready = ready
        self._models = models
        self._columns = columns
        self._queue_tokens = queue_tokens
        self._growing: dict[tuple[str, tuple[tuple[str, str], ...]], _Growing] = {}

    async def add(self, task: Task) -> None:
        """Put a row into the shard of its lane.

        Raises: ConfigError, InvalidRequest for a row that cannot go into a batch, BudgetExceeded when there is no
            money left for it, BudgetUnavailable, OutputError.
        """
        row = task.row
        model = None if task.lane is not None else self._models[id_digest(row.id) % len(self._models)] or None
        order = self._client._order(row.prompt, self._questions.options(row, model), stream=False)
        lane, shape, mode = order.lanes[0], self._questions.shape, None
        kind = dialect_of(lane)
        if shape is not None:
            asked, mode = shape.ask(self._client, order.request, lane)
            order = msgspec.structs.replace(order, request=asked)
        order = msgspec.structs.replace(order, lanes=(lane,), batch=True)
        trail = Trail(order)
        request, record = prepare(fitted(order, lane, trail), lane, Past())
        if trail.notices:
            self._client._gate.notify(trail.notices)
        body = lane.wire.encode(request, lane.provider, stream=False).body
        batchfile.line(kind, "r", body, lane.model)
        kept = ShardRow(row.id, task.key, task.shaped, pick_columns(row.fields, self._columns), mode)
        encoded = Encoded(kept, body, record.ticket.input_tokens, record.worst_nano)
        growing = self._shard(lane, kind, order.tags)
        if not growing.room.take(len(body) + AROUND_BYTES, encoded.tokens):
            await self._finish(growing)
            growing = self._shard(lane, kind, order.tags)
            growing.room.take(len(body) + AROUND_BYTES, encoded.tokens)
        growing.waiting.append(encoded)
        if len(growing.waiting) >= HELD_ROWS:
            await self._hold(growing)

    def _shard(self, lane: Lane, kind: Dialect, tags: dict[str, str]) -> _Growing:
        place = (lane.id, tuple(sorted(tags.items())))
        found = self._growing.get(place)
        if found is None:
            room = Room(kind.rows_max, kind.bytes_max, self._queue_tokens)
            shape = self._questions.shape
            writer = self._log.begin(lane.name, lane.base_url, tags, None if shape is None else shape.schema)
            found = self._growing[place] = _Growing(writer, room, lane, kind, tags)
        return found

    async def _hold(self, growing: _Growing) -> None:
        """Hold the worst case of the rows that wait, and write them.

        Raises: BudgetExceeded once there is no money for the next one; those before it are in the shard.
        """
        waiting, growing.waiting = growing.waiting, []
        if not self._client._capped or not waiting:
            self._write(growing, waiting)
            return
        try:
            growing.holds.append(await self._reserve(growing, _sum(waiting)))
        except BudgetExceeded:
            for encoded in waiting:
                growing.holds.append(await self._reserve(growing, encoded.worst_nano))
                self._write(growing, [encoded])
            return
        self._write(growing, waiting)

    async def _reserve(self, growing: _Growing, worst_nano: int | None) -> Hold:
        record = Record(growing.lane, Past(), Ticket(input_tokens=0, output_tokens=None), worst_nano)
        effect = Reserve(record, growing.tags)
        gate = self._client._gate
        return gate.reserve(effect) or await gate.reserve_later(effect)

    def _write(self, growing: _Growing, rows: Sequence[Encoded]) -> None:
        writer, kind = growing.writer, growing.kind
        start = prefix(f"{self._log.job}/{writer.name}")
        for encoded in rows:
            line = batchfile.line(kind, f"{start}{writer.rows}", encoded.body, growing.lane.model)
            writer.add(
                encoded.row,
                line,
                between=batchfile.between(kind),
                tokens=encoded.tokens,
                worst_nano=encoded.worst_nano,
            )

    async def _finish(self, growing: _Growing) -> None:
        """Write down a shard that takes no more, and hand it on."""
        for place, each in tuple(self._growing.items()):
            if each is growing:
                del self._growing[place]
        try:
            await self._hold(growing)
        finally:
            if growing.writer.rows:
                await self._ready(growing.writer.finish(self._client._clock.wall()), growing.holds)
            else:
                growing.writer.discard()

    async def finish(self) -> None:
        """Hand on what there is of all shards.

        Raises: BudgetExceeded when the last rows of one found no money; the others are handed on all the same.
        """
        short: BudgetExceeded | None = None
        for growing in tuple(self._growing.values()):
            try:
                await self._finish(growing)
            except BudgetExceeded as error:
                short = error
        if short is not None:
            raise short

    def discard(self) -> None:
        """Take back what is no whole shard, and the money held for it."""
        for growing in self._growing.values():
            growing.writer.discard()
            for hold in growing.holds:
                self._client._gate.give_back(hold)
        self._growing.clear()


async def hold_again(client: AsyncClient, shard: Shard) -> list[Hold]:
    """Hold the worst case of a shard that an earlier run made, in parts that the cap on a call lets through.

    Raises: BudgetExceeded when it does not fit; nothing is held then.
    """
    per_call = client._gate.budget.budget.per_call
    part = shard.held_nano if per_call is None else max(1, to_nano(per_call))
    left, holds = shard.held_nano, []
    try:
        while True:
            now = left if left is None or part is None else min(left, part)
            record = Record(client._lane(shard.lane), Past(), Ticket(input_tokens=0, output_tokens=None), now)
            effect = Reserve(record, shard.tags)
            holds.append(client._gate.reserve(effect) or await client._gate.reserve_later(effect))
            if left is None or now is None or left <= now:
                return holds
            left -= now
    except BudgetExceeded:
        for hold in holds:
            client._gate.give_back(hold)
        raise


def dialect_of(lane: Lane) -> Dialect:
    """Return the dialect of a lane's batch interface.

    Raises: ConfigError where there is none.
    """
    found = batchfile.dialect(lane.provider)
    if found is None:
        raise ConfigError(
            f"{lane.provider.name} has no batch interface that Penstock knows; ask {lane.name} online (--via online)"
        )
    return found


def _sum(rows: Sequence[Encoded]) -> int | None:
    """Add worst cases; None when one is unknown."""
    total = 0
    for encoded in rows:
        if encoded.worst_nano is None:
            return None
        total += encoded.worst_nano
    return total
