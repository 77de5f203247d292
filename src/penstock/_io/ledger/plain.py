"""Calls as most are: one attempt, input and output, nothing out of the ordinary.

They come in few kinds. What those of a kind share is a part of the statement that writes them, so each gives only what
is its own; and what they add to the sums is added up by columns, not call by call.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from ..._policy.rollup import HOUR_S, Alike, Rollup
from ...events import AttemptEnded, CallEnded
from ...types import Usage
from .inserts import TOGETHER, Insert
from .schema import DAY
from .sums import Peaks
from .words import Words

ROWS: Final = 10 * TOGETHER
"""Rows put into the file at once: fewer than make Python look for garbage."""

_OWN: Final = "id at_ms call_id tags task latency_us first_us wait_us input output cost_nano request_id attempt_us"
_WORDS: Final = "operation asked provider model outcome stop prices wire lane"
_COLUMNS: Final = ", ".join(f"{_OWN} {_WORDS} status estimated".split())
_MARKS: Final = ", ".join("?" * len(_OWN.split()))

Kind = tuple[str, str, str, str, str, str | None, str, str, str, int | None, bool]
"""What calls of a kind share, in the order of `_WORDS`, status and whether the usage is estimated."""

Group = tuple[Kind, str, int]
"""Calls of a kind with the same tags (JSON) in the same hour since 1970: they count in one row of the sums."""


class Plain:
    """Plain calls of one transaction."""

    def __init__(self, db: sqlite3.Connection, words: Words, rollup: Rollup, peaks: Peaks) -> None:
        self._db = db
        self._words = words
        self._rollup = rollup
        self._peaks = peaks
        self._groups: dict[Group, list[tuple[Any, ...]]] = {}
        self._inserts: dict[Kind, Insert] = {}

    def add(self, row: int, event: CallEnded, usage: Usage, only: AttemptEnded, tags: str, task: str | None) -> None:
        """Take a call for which `is_plain` holds, with its only attempt."""
        kind = (
            event.operation,
            event.asked,
            event.provider,
            event.model,
            event.outcome,
            event.stop_reason,
            event.prices,
            only.wire,
            only.lane,
            event.status,
            usage.estimated,
        )
        at_s, first_s = event.at_s, event.first_token_s
        group = (kind, tags, int(at_s // HOUR_S))
        rows = self._groups.get(group)
        if rows is None:
            rows = self._groups[group] = []
        rows.append(
            (
                row,
                int(at_s * 1e3),
                event.call_id,
                self._words[tags] if tags else None,
                task,
                int(event.latency_s * 1e6),
                None if first_s is None else int(first_s * 1e6),
                int(event.wait_s * 1e6),
                usage.input,
                usage.output,
                event.cost_nano,
                only.request_id,
                int(only.latency_s * 1e6),
            )
        )
        if len(rows) >= ROWS:
            self._put(group, rows)
            rows.clear()

    def write(self) -> None:
        """Write what is left."""
        for group, rows in self._groups.items():
            if rows:
                self._put(group, rows)
        self._groups.clear()

    def _put(self, group: Group, rows: list[tuple[Any, ...]]) -> None:
        kind, tags, hour = group
        (self._inserts.get(kind) or self._insert(kind)).put(self._db, rows)
        ids, _, _, _, _, took_us, first_us, waits_us, inputs, outputs, costs, _, _ = zip(*rows, strict=True)
        operation, _, provider, model, outcome = kind[:5]
        known = [cost for cost in costs if cost is not None]
        alike = Alike(
            latency_us=took_us,
            first_us=[us for us in first_us if us is not None],
            wait_us=sum(waits_us),
            input=sum(inputs),
            output=sum(outputs),
            cost_nano=sum(known),
            unpriced=len(costs) - len(known),
            estimated=kind[-1],
        )
        self._rollup.alike((hour * HOUR_S, provider, model, operation, outcome, tags), alike)
        lane = (hour * HOUR_S // DAY * DAY, self._words[provider], self._words[model])
        self._peaks.look(lane, ids, took_us, costs)

    def _insert(self, kind: Kind) -> Insert:
        *texts, status, estimated = kind
        numbers = [None if text is None else self._words[text] for text in texts]
        shared = ", ".join("NULL" if each is None else str(int(each)) for each in (*numbers, status, estimated))
        made = self._inserts[kind] = Insert(f"INSERT INTO call ({_COLUMNS})", f"{_MARKS}, {shared}")
        return made


def is_plain(event: CallEnded, usage: Usage, only: AttemptEnded) -> bool:
    """Whether a call that its only attempt tells whole has nothing else to be kept."""
    return not (
        usage.cache_read
        or usage.reasoning
        or usage.cache_write_5m
        or usage.cache_write_1h
        or usage.cache_write_30m
        or usage.cache_write_12h
        or usage.audio_in
        or usage.audio_out
        or event.tier is not None
        or event.batch
        or only.scopes
        or only.retry_after_s is not None
    )
