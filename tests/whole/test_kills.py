"""kill -9 at many random points of a real run: nothing lost, and paid twice only what was under way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.whole.kills import kill_often

KILLS = 20


@pytest.mark.slow
@pytest.mark.prove(21)
def test_twenty_kills_lose_no_row_and_pay_only_what_was_under_way_again(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Torn tails of up to 4096 bytes included; every id is there once, in the order of the input."""
    found = kill_often(tmp_path, rows=3000, kills=KILLS, seed=21)
    assert found.kills == KILLS
    assert found.torn >= 5
    assert found.ids_once
    assert found.answered
    assert found.paid <= found.allowed
    record_property("kills", found.kills)
    record_property("torn_tails", found.torn)
    record_property("rows_lost", 0)
    record_property("paid_again", found.paid - found.rows)
    record_property("paid_again_allowed", found.allowed - found.rows)


@pytest.mark.slow
@pytest.mark.prove(22)
def test_memory_does_not_follow_the_number_of_rows(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A real run of 20,000 rows holds little more than its table of 24 to 48 bytes a row."""
    from tools.prove_bulk import prove_size

    figures = prove_size(tmp_path, 20_000)
    assert figures["rows_lost"] == 0
    assert figures["rss_peak_above_start_mb"] < 40
    for name in ("rows", "rss_peak_above_start_mb", "cpu_ms_per_row"):
        record_property(f"bulk_{name}", figures[name])
