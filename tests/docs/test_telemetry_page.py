"""The page of telemetry names every metric, attribute and field that there is."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from penstock._io.loglines import _attempt, _call
from penstock.events import AttemptEnded, CallEnded
from penstock.observe import Metrics, semconv

TEXT = (Path(__file__).parent.parent.parent / "docs" / "reference" / "telemetry.md").read_text(encoding="utf-8")
NAMES = set(re.findall(r"`([\w.]+)`", TEXT))
SUFFIX = {"counter": "_total", "info": "_info"}


def test_every_metric_is_on_the_page_and_no_other() -> None:
    """By the name that Prometheus knows."""
    there = {family.name + SUFFIX.get(family.type, "") for family in Metrics().describe()}
    there |= {"penstock_cache_answers", "penstock_cache_bytes"}  # where there is a cache
    assert {name for name in NAMES if name.startswith("penstock_")} == there


def test_every_attribute_of_a_span_is_on_the_page() -> None:
    """And the version of the conventions."""
    others = {semconv.GENAI_VERSION, semconv.SCHEMA_URL, semconv.FIRST_TOKEN}
    words = {word for name, word in vars(semconv).items() if name.isupper() and isinstance(word, str)} - others
    assert (words | set(semconv.PARAMETERS.values())) - NAMES == set()
    assert semconv.SCHEMA_URL in TEXT
    assert f"conventions {semconv.GENAI_VERSION}" in TEXT


def test_every_field_of_a_line_is_on_the_page() -> None:
    """Of calls and attempts."""
    kept: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        kept.append(record)
        return False

    logger = logging.getLogger("penstock")
    logger.addFilter(keep)
    shared = {"call_id": "c", "operation": "complete", "provider": "p", "model": "m", "outcome": "ok", "tags": {}}
    times = {"at_s": 0.0, "latency_s": 0.0}
    _call(CallEnded(asked="p:m", **shared, **times))  # type: ignore[arg-type]
    _attempt(AttemptEnded(number=1, wire="w", lane="l", sent=True, wait_s=0.0, **shared, **times))  # type: ignore[arg-type]
    logger.removeFilter(keep)
    standard = set(logging.makeLogRecord({}).__dict__) | {"message"}
    assert {name for record in kept for name in record.__dict__} - standard - NAMES == set()
    assert len(kept) == 2
