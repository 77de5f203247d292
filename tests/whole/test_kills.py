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
