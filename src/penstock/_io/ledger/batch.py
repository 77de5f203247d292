"""Records on their way into the file: which rows they become, what they add to the sums."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from ..._policy.rollup import Rollup
from ...events import AttemptEnded, CallEnded
from .content import CONTENTS, content_row
from .plain import Plain, is_plain
from .rows import ATTEMPTS, CALLS, attempt_row, call_row, is_whole
from .schema import DAY
from .settings import Ledger
from .sums import Peaks, SumsWriter
from .words import Words

EARLY: Final = 100_000
"""How many calls under way are known to have attempts in the file."""

TASK: Final = "task"
"""The tag that holds the id of a task: each has a value of its own, so it is kept beside the others, not in sums."""


class Tagged(msgspec.Struct, frozen=True, gc=False):
    """Tags as they are kept: all but the task as JSON, and the task."""

    text: str
    task: str | None


UNTAGGED: Final = Tagged("", None)


def tagged(tags: dict[str, str]) -> Tagged:
    """Read tags, in an order that equal ones share."""
    if not tags:
        return UNTAGGED
    task = tags.get(TASK)
    if task is not None:
        tags = {name: value for name, value in tags.items() if name != TASK}
    return Tagged(msgspec.json.encode(tags, order="sorted").decode() if tags else "", task)


class Batch:
    """Events as rows. `early` are calls under way that have attempts in the file already."""

    def __init__(
        self, db: sqlite3.Connection, settings: Ledger, words: Words, early: dict[str, None], peaks: Peaks
    ) -> None:
        self._db = db
        self.early = dict(early)
        self._settings = settings
        self._words = words
        self._row = db.execute("SELECT coalesce(max(id), 0) FROM call").fetchone()[0]
        self._peaks = peaks
        self._rollup = Rollup()
        self._tags: tuple[dict[str, str], Tagged] = ({}, UNTAGGED)
        self._plain = Plain(db, words, self._rollup, peaks)
        self._pending: dict[str, list[AttemptEnded]] = {}
        self._calls: list[tuple[Any, ...]] = []
        self._attempts: list[AttemptEnded] = []
        self._contents: list[tuple[str | None, ...]] = []

    def take(self, events: list[Any]) -> None:
        """Take in events, in the order in which they happened."""
        last: AttemptEnded | None = None
        for event in events:
            if type(event) is CallEnded:
                if last is not None and last.call_id != event.call_id:
                    self._keep(last)
                    last = None
                self._take(event, last)
                last = None
            else:
                if last is not None:
                    self._keep(last)
                last = event
        if last is not None:
            self._keep(last)

    def _keep(self, event: AttemptEnded) -> None:
        """Keep an attempt whose call has not ended, or has others."""
        self._pending.setdefault(event.call_id, []).append(event)

    def _take(self, event: CallEnded, last: AttemptEnded | None) -> None:
        """Take in a call, with the attempt that ended just before."""
        own = self._pending.pop(event.call_id, None)
        if own is None and last is not None and event.call_id not in self.early and is_whole(event, last):
            self._write(event, last)
            return
        own = own or []
        if last is not None:
            own.append(last)
        if event.call_id in self.early:
            del self.early[event.call_id]
        elif len(own) == 1 and is_whole(event, own[0]):
            self._write(event, own[0])
            return
        self._add(own)
        self._write(event, None)

    def _add(self, own: list[AttemptEnded]) -> None:
        for attempt in own:
            self._rollup.attempt(attempt, self._tagged(attempt.tags).text)
        self._attempts += own

    def _write(self, event: CallEnded, only: AttemptEnded | None) -> None:
        self._row += 1
        tags, usage = self._tagged(event.tags), event.usage
        if only is not None and usage is not None and is_plain(event, usage, only):
            self._plain.add(self._row, event, usage, only, tags.text, tags.task)
        else:
            self._write_long(event, only, tags)
        if self._settings.content and (kept := content_row(event, self._settings.redact)) is not None:
            self._contents.append(kept)

    def _write_long(self, event: CallEnded, only: AttemptEnded | None, tags: Tagged) -> None:
        self._rollup.call(event, tags.text)
        if only is not None:
            self._rollup.attempt(only, tags.text)
        words = self._words
        number = words[tags.text] if tags.text else None
        self._calls.append(call_row(self._row, event, number, tags.task, words, only))
        lane = (int(event.at_s) // DAY * DAY, words[event.provider], words[event.model])
        took_us = () if event.batch else (int(event.latency_s * 1e6),)
        self._peaks.look(lane, (self._row,), took_us, (event.cost_nano,))

    def _tagged(self, tags: dict[str, str]) -> Tagged:
        """Read tags; a call and its attempts share one dict, as do the calls of a client that tags them all alike."""
        if self._tags[0] is not tags:
            self._tags = (tags, tagged(tags))
        return self._tags[1]

    def write(self, sums: SumsWriter) -> None:
        """Write what is left of it, in the transaction of the caller."""
        db = self._db
        for call_id, own in self._pending.items():
            self.early[call_id] = None
            self._add(own)
        if len(self.early) > EARLY:
            self.early = dict.fromkeys(list(self.early)[-EARLY:])
        self._plain.write()
        CALLS.put(db, self._calls)
        rows = []
        for one in self._attempts:
            tags = self._tagged(one.tags)
            rows.append(attempt_row(one, self._words[tags.text] if tags.text else None, tags.task, self._words))
        ATTEMPTS.put(db, rows)
        CONTENTS.put(db, self._contents)
        self._peaks.write(db)
        sums.add(self._rollup.rows)
