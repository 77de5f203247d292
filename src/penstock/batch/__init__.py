"""Bulk runs: many rows through one client into one file, resumable at any point.

    async with AsyncClient(limits=Limits(rpm=600), budget=Budget(total="5.00")) as client:
        rows = RowFile("tickets.jsonl", template="Is this urgent? {text}")
        report = await run_batch(rows, "answers.jsonl", client=client, models=["openai:gpt-4o-mini"])

The journal of a run is lines of JSON, one per row, written as rows finish: the output itself, or beside a table. The
same call again asks only what has no answer yet: rows that failed, rows that changed and rows that are new. Once all
rows are done the output has exactly one line per id, in the order of the rows.
"""

from .._io.rowfile import Checked, OnBadRow, RowFile
from .._io.rows import Row
from .._io.shardlog import Shard, read_shards
from .._io.template import Template
from .._policy.shards import Choice, Pace, Then, Via
from .job import Batch, Order, Rows
from .jobfile import JobFile, JobState, journal_of
from .live import Forecast, Speed, binding, live, live_figures, projected_nano
from .outputs import failed_path
from .projection import Projection
from .reparse import Reparsed, reparse
from .report import BatchReport
from .standing import Failures, Standing, standing
from .via import BatchOptions, check_shards, open_shards, run_batch
from .viabatch import ViaBatch
from .withdraw import withdraw_batches

__all__ = [
    "Batch",
    "BatchOptions",
    "BatchReport",
    "Checked",
    "Choice",
    "Failures",
    "Forecast",
    "JobFile",
    "JobState",
    "OnBadRow",
    "Order",
    "Pace",
    "Projection",
    "Reparsed",
    "Row",
    "RowFile",
    "Rows",
    "Shard",
    "Speed",
    "Standing",
    "Template",
    "Then",
    "Via",
    "ViaBatch",
    "binding",
    "check_shards",
    "failed_path",
    "journal_of",
    "live",
    "live_figures",
    "open_shards",
    "projected_nano",
    "read_shards",
    "reparse",
    "run_batch",
    "standing",
    "withdraw_batches",
]
