"""Percentiles from counts, periods as people say them, and a bill beside the ledger."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.period import FOREVER_S, between, period
from penstock._policy.reconcile import Line, canonical, reconcile
from penstock._policy.sketch import ERROR, Counts, add, bucket, pack, percentile
from penstock.errors import ConfigError

NOW_S = datetime(2026, 12, 1, 14, 30, tzinfo=UTC).timestamp()
DURATIONS = st.lists(st.floats(min_value=2e-6, max_value=86_400), min_size=1, max_size=60)


def counted(seconds: list[float]) -> Counts:
    """Count durations."""
    counts: Counts = {}
    for value in seconds:
        at = bucket(value * 1e6)
        counts[at] = counts.get(at, 0) + 1
    return counts


@given(DURATIONS, st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_a_percentile_is_within_its_stated_error(seconds: list[float], percent: int) -> None:
    """Of the value of that rank, for any durations."""
    exact = sorted(seconds)[max(1, math.ceil(len(seconds) * percent / 100)) - 1]
    found = percentile(counted(seconds), percent)
    assert found is not None
    assert abs(found - exact) <= exact * (ERROR + 1e-9)


@given(DURATIONS, DURATIONS)
def test_counts_add_up_through_their_packed_form(left: list[float], right: list[float]) -> None:
    """Two hours of counts are the counts of two hours."""
    both: Counts = {}
    add(both, pack(counted(left)))
    add(both, pack(counted(right)))
    assert both == counted(left + right)
    assert pack({}) is None


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("today", "2026-12-01", "2026-12-02"),
        ("yesterday", "2026-11-30", "2026-12-01"),
        ("week", "2026-11-25", "2026-12-02"),
        ("7d", "2026-11-25", "2026-12-02"),
        ("2w", "2026-11-18", "2026-12-02"),
        ("month", "2026-12-01", "2027-01-01"),
        ("last-month", "2026-11-01", "2026-12-01"),
        ("year", "2026-01-01", "2027-01-01"),
        ("2026-02", "2026-02-01", "2026-03-01"),
        ("2026-02-28", "2026-02-28", "2026-03-01"),
    ],
)
def test_periods_are_whole_utc_days(text: str, start: str, end: str) -> None:
    """As people say them."""
    found = period(text, NOW_S)
    edges = [datetime.fromtimestamp(edge, UTC).isoformat() for edge in (found.start_s, found.end_s)]
    assert edges == [f"{start}T00:00:00+00:00", f"{end}T00:00:00+00:00"]


def test_spans_of_hours_and_instants_are_exact() -> None:
    """Up to now, or between two instants."""
    assert period("24h", NOW_S).start_s == NOW_S - 86_400
    assert period("all", NOW_S).end_s == FOREVER_S
    found = between("2026-11-20T14:30", "3h", NOW_S)
    assert found.start_s == datetime(2026, 11, 20, 14, 30, tzinfo=UTC).timestamp()
    assert found.end_s == NOW_S - 3 * 3600
    assert between("2026-11-20T14:30+02:00", None, NOW_S).start_s == found.start_s - 7200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("todya", "did you mean 'today'"),
        ("blue", "expected today, yesterday"),
        ("0d", "is empty"),
        ("2026-13", "no date"),
        ("2026-02-30", "no date"),
        ("", "no period ''"),
    ],
)
def test_an_unknown_period_says_which_there_are(text: str, said: str) -> None:
    """And what was probably meant."""
    with pytest.raises(ConfigError, match=said):
        period(text, NOW_S)
    with pytest.raises(ConfigError, match=r"no instant|is empty"):
        between("soon", None, NOW_S)
    with pytest.raises(ConfigError, match="earlier instant first"):
        between("1h", "2h", NOW_S)


@given(st.text(max_size=12))
def test_any_text_is_a_period_or_an_error_of_ours(text: str) -> None:
    """Never a traceback."""
    try:
        found = period(text, NOW_S)
    except ConfigError:
        return
    assert found.start_s < found.end_s


@pytest.mark.parametrize(
    "name",
    [
        "claude-haiku-4-5",
        "Claude Haiku 4.5",
        "anthropic:claude-haiku-4-5",
        "claude-haiku-4-5-20251001",
        "claude-haiku-4.5",
    ],
)
def test_a_model_has_one_name_however_a_bill_writes_it(name: str) -> None:
    """Exports write dates, capitals and spaces."""
    assert canonical(name) == "claude-haiku-4-5"
    assert canonical("gpt-4o-mini-2024-07-18 batch, input") == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("bill", "ledger", "verdict"),
    [
        ({"cost_nano": 5_000_000_000}, {"cost_nano": 5_000_000_000}, "equal"),
        ({"cost_nano": 5_000_000_000}, {"cost_nano": 4_960_000_000}, "near"),
        ({"cost_nano": 5_000_000}, {"cost_nano": 1_000_000}, "near"),
        ({"cost_nano": 5_000_000_000}, {"cost_nano": 4_000_000_000}, "differs"),
        ({"cost_nano": 5_000_000_000}, {"cost_nano": 4_000_000_000, "unpriced": 3}, "unpriced"),
        ({"cost_nano": 5_000_000_000}, None, "only on the bill"),
        (None, {"cost_nano": 5_000_000_000}, "only in the ledger"),
        ({"tokens": 700}, {"tokens": 700, "cost_nano": 9}, "equal"),
        ({"tokens": 700}, {"tokens": 600, "cost_nano": 9}, "differs"),
    ],
)
def test_a_line_of_a_bill_is_judged(bill: dict[str, Any] | None, ledger: dict[str, Any] | None, verdict: str) -> None:
    """By money where the bill names it, else by tokens."""
    sides = [[] if one is None else [Line(day="2026-11-20", model="gpt-4o", **one)] for one in (bill, ledger)]
    (found,) = reconcile(*sides)
    assert found.verdict == verdict


def test_lines_of_one_model_add_up() -> None:
    """Input and output, and versions of a model, are one line."""
    bill = [
        Line(day="2026-11-20", model=f"gpt-4o-mini-2024-07-18, {part}", cost_nano=3) for part in ("input", "output")
    ]
    (found,) = reconcile(bill, [Line(day="2026-11-20", model="openai:gpt-4o-mini", cost_nano=6)])
    assert (found.bill_nano, found.verdict) == (6, "equal")
