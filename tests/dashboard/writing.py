"""Calls of a test, written into a ledger as a client writes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from penstock._io.ledger.settings import Ledger
from penstock._io.ledger.writer import LedgerWriter
from penstock.events import AttemptEnded, CallEnded
from penstock.types import Usage

USD = 1_000_000_000


def events(name: str, *, at_s: float | None = None, tags: dict[str, str] | None = None, **more: Any) -> list[Any]:
    """The events of a call with one attempt: a dollar, 100 tokens in and 20 out, two seconds; `more` changes them."""
    facts: dict[str, Any] = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "outcome": "ok",
        "latency_s": 2.0,
        "cost_nano": USD,
        "usage": Usage(input=100, output=20),
        "status": 200,
        "first_token_s": None,
        **more,
    }
    same: dict[str, Any] = {
        "call_id": name,
        "operation": "complete",
        "at_s": at_s or time.time(),
        "tags": tags or {},
        "wait_s": 0.0,
    }
    lane = f"{facts['provider']}:{facts['model']}"
    attempt = AttemptEnded(number=1, wire="openai_chat", lane=lane, sent=True, **same, **facts)
    return [attempt, CallEnded(asked=lane, attempts=1, **same, **facts)]


def write(path: Path, *calls: list[Any], content: bool = False) -> None:
    """Write calls and wait until they are in the file."""
    writer = LedgerWriter(Ledger(path=str(path), content=content), str(path))
    for call in calls:
        for event in call:
            writer.post(event)
    writer.settle()
