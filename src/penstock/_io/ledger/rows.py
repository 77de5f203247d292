"""Events as rows of the ledger."""

from __future__ import annotations

from typing import Any, Final

from ..._policy.rollup import USAGE
from ...events import AttemptEnded, CallEnded
from ...types import Usage
from .inserts import Insert
from .words import Words

_CALL_COLUMNS: Final = (
    "id at_ms call_id operation asked provider model outcome tags task attempts retries status stop latency_us "
    f"first_us wait_us {' '.join(USAGE)} estimated cost_nano cached saved_nano batch full_nano tier reason "
    "strongest_nano prices wire lane request_id scopes attempt_us retry_after_ms"
)
_ATTEMPT_COLUMNS: Final = (
    "at_ms call_id number operation provider model outcome tags task wire lane sent status request_id wait_us "
    f"latency_us first_us retry_after_ms {' '.join(USAGE)} known estimated cost_nano batch scopes"
)


def _insert(table: str, columns: str) -> Insert:
    names = columns.split()
    return Insert(f"INSERT INTO {table} ({', '.join(names)})", ", ".join("?" * len(names)))


CALLS: Final = _insert("call", _CALL_COLUMNS)
ATTEMPTS: Final = _insert("attempt", _ATTEMPT_COLUMNS)
_NOTHING: Final = (0,) * len(USAGE)
_NO_ATTEMPT: Final = (None,) * 6


def _tokens(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input,
        usage.cache_read,
        usage.cache_write_5m,
        usage.cache_write_30m,
        usage.cache_write_1h,
        usage.cache_write_12h,
        usage.output,
        usage.reasoning,
        usage.audio_in,
        usage.audio_out,
    )


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e6)


def _number(words: Words, text: str | None) -> int | None:
    return None if text is None else words[text]


def is_whole(event: CallEnded, attempt: AttemptEnded) -> bool:
    """Whether one row has room for a call and its only attempt: nothing that both have differs."""
    return (
        attempt.sent
        and attempt.number == 1
        and event.attempts == 1
        and attempt.outcome == event.outcome
        and attempt.model == event.model
        and attempt.provider == event.provider
        and attempt.cost_nano == event.cost_nano
        and (attempt.usage is event.usage or attempt.usage == event.usage)
        and int(attempt.at_s * 1e3) == int(event.at_s * 1e3)
    )


def call_row(
    row: int, event: CallEnded, tags: int | None, task: str | None, words: Words, only: AttemptEnded | None
) -> tuple[Any, ...]:
    """Return the row of a call, with its `only` attempt where there is room for it."""
    number, usage = words.__getitem__, event.usage
    attempt = _NO_ATTEMPT
    if only is not None:
        attempt = (
            number(only.wire),
            number(only.lane),
            only.request_id,
            number(", ".join(only.scopes)) if only.scopes else None,
            int(only.latency_s * 1e6),
            None if only.retry_after_s is None else int(only.retry_after_s * 1e3),
        )  # type: ignore[assignment]
    return (
        row,
        int(event.at_s * 1e3),
        event.call_id,
        number(event.operation),
        number(event.asked),
        number(event.provider),
        number(event.model),
        number(event.outcome),
        tags,
        task,
        event.attempts,
        event.retries,
        event.status,
        _number(words, event.stop_reason),
        int(event.latency_s * 1e6),
        _us(event.first_token_s),
        int(event.wait_s * 1e6),
        *(_NOTHING if usage is None else _tokens(usage)),
        None if usage is None else usage.estimated,
        event.cost_nano,
        event.cached,
        event.saved_nano,
        event.batch,
        event.full_nano,
        _number(words, event.tier),
        _number(words, event.reason),
        event.strongest_nano,
        _number(words, event.prices),
        *attempt,
    )


def attempt_row(event: AttemptEnded, tags: int | None, task: str | None, words: Words) -> tuple[Any, ...]:
    """Return the row of an attempt."""
    number, usage = words.__getitem__, event.usage
    return (
        int(event.at_s * 1e3),
        event.call_id,
        event.number,
        number(event.operation),
        number(event.provider),
        number(event.model),
        number(event.outcome),
        tags,
        task,
        number(event.wire),
        number(event.lane),
        event.sent,
        event.status,
        event.request_id,
        int(event.wait_s * 1e6),
        int(event.latency_s * 1e6),
        _us(event.first_token_s),
        None if event.retry_after_s is None else int(event.retry_after_s * 1e3),
        *(_NOTHING if usage is None else _tokens(usage)),
        usage is not None,
        usage is not None and usage.estimated,
        event.cost_nano,
        event.batch,
        number(", ".join(event.scopes)) if event.scopes else None,
    )
