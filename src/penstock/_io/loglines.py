"""The log lines of calls: one for each at INFO, one for each attempt at DEBUG, by the logger 'penstock'.

A line is a sentence for people and, in the `extra` of its record, the same as fields of stable names for formatters. No
prompt, no answer and no sentence of an error is in it, since those may quote what was asked; nor is any key.

    kind         'call' or 'attempt'
    call_id      ties the attempts of a call to it
    operation    complete, stream, extract, embed, batch …
    provider, model, outcome, status
    latency_s, wait_s, first_token_s
    tokens_in, tokens_out, cost_usd        None where they are unknown
    tags
    call:        attempts, retries, cached, stop_reason
    attempt:     number, sent, request_id, retry_after_s
"""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import Any, Final

from .._policy.amounts import dollars
from ..events import AttemptEnded, CallEnded

LOG: Final = logging.getLogger("penstock")

calls_logged: Final = partial(LOG.isEnabledFor, logging.INFO)
"""Whether a line is wanted for each call; the logger remembers its level, so asking costs next to nothing."""

attempts_logged: Final = partial(LOG.isEnabledFor, logging.DEBUG)
"""Whether a line is wanted for each attempt, too."""


def write(event: CallEnded | AttemptEnded) -> None:
    """Write the line of an event. Never raises: a filter or handler that fails hurts no call."""
    with contextlib.suppress(Exception):
        if isinstance(event, CallEnded):
            _call(event)
        else:
            _attempt(event)


def _call(event: CallEnded) -> None:
    extra = _fields("call", event)
    extra["attempts"] = event.attempts
    extra["retries"] = event.retries
    extra["cached"] = event.cached
    extra["stop_reason"] = event.stop_reason
    more = " from the cache" if event.cached else f", {event.attempts} attempts" if event.attempts > 1 else ""
    _line(logging.INFO, event, extra, more)


def _attempt(event: AttemptEnded) -> None:
    extra = _fields("attempt", event)
    extra["number"] = event.number
    extra["sent"] = event.sent
    extra["request_id"] = event.request_id
    extra["retry_after_s"] = event.retry_after_s
    more = f", attempt {event.number}" if event.sent else f", attempt {event.number}, not sent"
    _line(logging.DEBUG, event, extra, more)


def _fields(kind: str, event: CallEnded | AttemptEnded) -> dict[str, Any]:
    usage, cost = event.usage, event.cost_nano
    return {
        "kind": kind,
        "call_id": event.call_id,
        "operation": event.operation,
        "provider": event.provider,
        "model": event.model,
        "outcome": event.outcome,
        "status": event.status,
        "latency_s": round(event.latency_s, 6),
        "wait_s": round(event.wait_s, 6),
        "first_token_s": None if event.first_token_s is None else round(event.first_token_s, 6),
        "tokens_in": None if usage is None else usage.prompt,
        "tokens_out": None if usage is None else usage.completion,
        "cost_usd": None if cost is None else cost / 1e9,
        "tags": event.tags,
    }


def _line(level: int, event: CallEnded | AttemptEnded, extra: dict[str, Any], more: str) -> None:
    # What Logger.log() does, without looking through the stack for a caller, which is always this file.
    args = (
        event.operation,
        event.provider,
        event.model,
        event.outcome,
        event.latency_s,
        extra["tokens_in"] or 0,
        extra["tokens_out"] or 0,
        "unknown cost" if event.cost_nano is None else dollars(event.cost_nano),
        more,
    )
    record = logging.getLogRecordFactory()(LOG.name, level, __file__, 0, _WORDS, args, None)
    record.__dict__.update(extra)
    LOG.handle(record)


_WORDS: Final = "%s %s:%s %s in %.3f s, %s + %s tokens, %s%s"
