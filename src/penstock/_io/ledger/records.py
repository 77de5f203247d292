"""What the ledger answers with, and how its rows become that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..._policy.figures import Figures
from ..._policy.period import Period
from ..._policy.rollup import USAGE
from ...types import Usage

ATTEMPT_COLUMNS: Final = (
    "at_ms, number, provider, model, outcome, wire, lane, sent, status, request_id, wait_us, latency_us, first_us, "
    f"retry_after_ms, known, estimated, cost_nano, batch, scopes, {', '.join(USAGE)}"
)
CALL_COLUMNS: Final = (
    "id, call_id, at_ms, operation, asked, provider, model, outcome, tags, task, attempts, retries, status, stop, "
    "latency_us, first_us, wait_us, estimated, cost_nano, cached, saved_nano, batch, full_nano, tier, reason, "
    f"strongest_nano, prices, {', '.join(USAGE)}"
)


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a period, in all and by group. `first_s` and `last_s` are the hours of its first and last record.

    `lost` is how many records were lost in it. `whole` is False where some of what was asked for is no longer, or never
    was, in the sums: single calls that were pruned, or more sets of tags than are added up.
    """

    period: Period
    total: Figures
    groups: dict[str, Figures]
    first_s: float | None = None
    last_s: float | None = None
    lost: int = 0
    whole: bool = True


class Point(msgspec.Struct, frozen=True):
    """Figures of one step of a period and one group; the step begins at `start_s`."""

    start_s: int
    group: str
    figures: Figures


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt as the ledger has it; see `AttemptEnded`."""

    at_s: float
    number: int
    provider: str
    model: str
    outcome: str
    wire: str
    lane: str
    sent: bool
    status: int | None
    request_id: str | None
    wait_s: float
    latency_s: float
    first_token_s: float | None
    retry_after_s: float | None
    usage: Usage | None
    cost_nano: int | None
    batch: bool
    scopes: str | None


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """A call as the ledger has it; see `CallEnded`. `id` orders calls as they were written."""

    id: int
    call_id: str
    at_s: float
    operation: str
    asked: str
    provider: str
    model: str
    outcome: str
    tags: dict[str, str]
    attempts: int
    retries: int
    status: int | None
    stop_reason: str | None
    latency_s: float
    first_token_s: float | None
    wait_s: float
    usage: Usage | None
    cost_nano: int | None
    cached: bool
    saved_nano: int | None
    batch: bool
    full_nano: int | None
    tier: str | None
    reason: str | None
    strongest_nano: int | None
    prices: str | None


class CallDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A call with its attempts, and its content where the ledger keeps it (`prompt` and `answer` are JSON)."""

    call: CallRow
    attempts: tuple[AttemptRow, ...]
    prompt: str | None = None
    answer: str | None = None
    message: str | None = None


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What can be filtered by in a period: the values that occur."""

    providers: tuple[str, ...]
    models: tuple[str, ...]
    operations: tuple[str, ...]
    outcomes: tuple[str, ...]
    tags: dict[str, tuple[str, ...]]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a process said of itself at `at_s`: of kind 'lane' or 'budget', by name, as a dict."""

    process: str
    kind: str
    name: str
    at_s: float
    data: dict[str, Any]


def attempt_words(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return the numbers of texts in a row of `ATTEMPT_COLUMNS`."""
    return (*row[2:7], row[18])


def attempt_of(row: Sequence[Any], words: dict[int, str]) -> AttemptRow:
    """Read a row of `ATTEMPT_COLUMNS`."""
    return AttemptRow(
        at_s=row[0] / 1e3,
        number=row[1],
        provider=words[row[2]],
        model=words[row[3]],
        outcome=words[row[4]],
        wire=words[row[5]],
        lane=words[row[6]],
        sent=bool(row[7]),
        status=row[8],
        request_id=row[9],
        wait_s=row[10] / 1e6,
        latency_s=row[11] / 1e6,
        first_token_s=_seconds(row[12]),
        retry_after_s=None if row[13] is None else row[13] / 1e3,
        usage=_usage(row[19:], row[15]) if row[14] else None,
        cost_nano=row[16],
        batch=bool(row[17]),
        scopes=words.get(row[18] or 0),
    )


def call_words(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return the numbers of texts in a row of `CALL_COLUMNS`."""
    return (*row[3:9], row[13], *row[23:25], row[26])


def call_of(row: Sequence[Any], words: dict[int, str]) -> CallRow:
    """Read a row of `CALL_COLUMNS`."""
    return CallRow(
        id=row[0],
        call_id=row[1],
        at_s=row[2] / 1e3,
        operation=words[row[3]],
        asked=words[row[4]],
        provider=words[row[5]],
        model=words[row[6]],
        outcome=words[row[7]],
        tags=tags_of(words.get(row[8] or 0, "")) | ({} if row[9] is None else {"task": row[9]}),
        attempts=row[10],
        retries=row[11],
        status=row[12],
        stop_reason=words.get(row[13] or 0),
        latency_s=row[14] / 1e6,
        first_token_s=_seconds(row[15]),
        wait_s=row[16] / 1e6,
        usage=None if row[17] is None else _usage(row[27:], row[17]),
        cost_nano=row[18],
        cached=bool(row[19]),
        saved_nano=row[20],
        batch=bool(row[21]),
        full_nano=row[22],
        tier=words.get(row[23] or 0),
        reason=words.get(row[24] or 0),
        strongest_nano=row[25],
        prices=words.get(row[26] or 0),
    )


def tags_of(text: str) -> dict[str, str]:
    """Read tags as they are kept."""
    found: dict[str, str] = msgspec.json.decode(text) if text else {}
    return found


def _usage(row: Sequence[int], estimated: int) -> Usage:
    return Usage(**dict(zip(USAGE, row, strict=True)), estimated=bool(estimated))


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1e6
