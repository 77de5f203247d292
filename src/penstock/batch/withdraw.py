"""Ending the batches of a job at their providers, from a process that has its output and not its rows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from .._io.journal import Journal
from .._io.row_lines import answer_line, failure_line
from .._io.shardlog import Shard, ShardLog
from .._policy.shards import Pace
from ..client import AsyncClient
from ..errors import PenstockError
from .carrier import Carrier, Told
from .harvest import Ended, Tally
from .jobfile import journal_of
from .viabatch import TURN_ROWS


async def withdraw_batches(
    output: str | os.PathLike[str], *, client: AsyncClient, told: Told, pace: Pace | None = None
) -> tuple[Shard, ...]:
    """Cancel the batches of a job, wait for their end and write down what they had answered; return its shards.

    Raises: OutputBusy while a run holds the job, OutputError, InputError, PenstockError of a provider.
    """
    with Journal.open(journal_of(Path(output))) as journal:
        log = ShardLog.open(journal.path)
        try:

            async def settle(shard: Shard, ended: Iterator[Ended]) -> Tally:
                return await _settle(journal, shard, ended)

            carrier = Carrier(client, log, pace or Pace(), settle, told)
            carrier.withdraw()
            await asyncio.gather(*[carrier.carry(shard) for shard in log.open_shards()])
            return tuple(log.shards.values())
        finally:
            log.close()


async def _settle(journal: Journal, shard: Shard, ended: Iterator[Ended]) -> Tally:
    tally = Tally()
    if shard.schema is not None:
        from .shape import read_ends  # loaded with the first schema

        ended = read_ends(ended, shard, None)
    for number, each in enumerate(ended):
        if number % TURN_ROWS == 0:
            await asyncio.sleep(0)
        row, end = each.row, each.end
        answered = journal.is_answered(row.id, row.key)
        tally = tally.plus(each, counted=not answered)
        if answered:
            continue
        spent = journal.spent(row.id, row.key)
        if not isinstance(end, PenstockError):
            line = answer_line(row.id, row.key, end, spent_nano=spent, shaped=row.shaped, columns=row.columns)
            journal.append(row.id, row.key, line, answered=True)
        else:
            line = failure_line(row.id, row.key, end, model=shard.lane, spent_nano=spent, columns=row.columns)
            journal.append(row.id, row.key, line, answered=False, retriable=end.retriable)
    journal.sync()
    return tally
