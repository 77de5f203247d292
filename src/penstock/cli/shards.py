"""How the shards of a job look: to machines, and a line each to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..batch import Shard
from .shown import count


def told_of(shard: Shard) -> dict[str, Any]:
    """Write a shard for machines."""
    return {
        "shard": shard.id,
        "model": shard.lane,
        "rows": shard.rows,
        "phase": shard.phase,
        "batch": shard.batch_id,
        "state": shard.word or None,
        "done": shard.rows_done,
        "answered": shard.answered,
        "failed": shard.failed,
        "not_executed": shard.missing,
        "note": shard.note or None,
    }


def lines_of(shards: Sequence[Shard]) -> list[str]:
    """Write the shards of a job for people, those first that are open."""
    found = []
    for shard in sorted(shards, key=lambda each: not each.is_open):
        how = shard.phase if shard.phase != "created" else f"{shard.word or shard.phase}"
        if shard.phase == "harvested":
            how += f": {shard.answered:,} answered, {shard.failed:,} failed, {shard.missing:,} not executed"
        elif shard.rows_done is not None and shard.phase == "created":
            how += f", {shard.rows_done:,} done"
        name = f" {shard.batch_id}" if shard.batch_id else ""
        why = f" ({shard.note})" if shard.note else ""
        found.append(f"shard     {shard.id} {count(shard.rows, 'row')} for {shard.lane}{name}: {how}{why}")
    return found
