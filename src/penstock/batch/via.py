"""Running a job from Python, whichever way its rows go."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from .._io.shardlog import Shard, read_shards
from .._policy.hedge import Hedge
from .._policy.shards import Pace, Then, Via
from ..client import AsyncClient
from ..errors import InputError
from .job import Batch, Order, Rows
from .jobfile import journal_of
from .projection import Projection
from .report import BatchReport
from .viabatch import ViaBatch


class BatchOptions(TypedDict, total=False):
    """The options that every run has; see `Batch`."""

    models: Sequence[str] | Mapping[str, float]
    concurrency: int | Literal["auto"]
    params: Mapping[str, Any] | None
    schema: Any
    template: str | None
    keep_columns: Sequence[str]
    order: Order
    retry_failed: bool | Collection[str]
    count_earlier: bool
    dedupe: bool
    hedge: Hedge | None
    sample: int | None
    command: Sequence[str]
    approve: Callable[[Projection], bool] | None


async def run_batch(
    rows: Rows,
    output: str | os.PathLike[str],
    *,
    client: AsyncClient,
    via: Via = "online",
    then: Then = "batch",
    deadline_s: float | None = None,
    wait: bool = True,
    queue_tokens: int | None = None,
    pace: Pace | None = None,
    **options: Unpack[BatchOptions],
) -> BatchReport:
    """Answer every row into `output` and say how it went; see `Batch` and `ViaBatch`, which can be watched and stopped.

    `via` says how the rows go: 'online' as calls, 'batch-api' as batches of the provider at half the price, 'auto' as
    deadline and price say. What follows it is for batches only.

    Raises: ConfigError, InputError, OutputError before anything is sent; what goes wrong later is in the report.
    """
    if via == "online":
        check_shards(output)
        return await Batch(rows, output, client=client, **options).run()
    batch = ViaBatch(
        rows,
        output,
        client=client,
        via=via,
        then=then,
        deadline_s=deadline_s,
        wait=wait,
        queue_tokens=queue_tokens,
        pace=pace,
        **options,
    )
    return await batch.run()


def open_shards(output: str | os.PathLike[str]) -> list[Shard]:
    """Return the shards of a job that are not harvested yet.

    Raises: InputError when their log cannot be read.
    """
    return [shard for shard in read_shards(journal_of(Path(output))) if shard.is_open]


def check_shards(output: str | os.PathLike[str]) -> None:
    """Look whether rows of a job are in batches already, and would be paid twice.

    Raises: InputError.
    """
    if found := open_shards(output):
        rows, where = sum(shard.rows for shard in found), found[0].lane.partition(":")[0]
        raise InputError(
            f"{rows:,} rows of {os.fspath(output)} are in batches at {where}, and asking them online would pay them "
            f"twice: collect them with --via batch-api, or end them with `penstock batch cancel {os.fspath(output)}`"
        )
