"""What an address may ask for."""

from __future__ import annotations

import pytest

from penstock.dashboard.asked import DEFAULT, PERIODS, Asked, read
from penstock.errors import InputError


def test_nothing_asked_is_the_last_day_of_everything() -> None:
    """The page as it opens; an empty value is none."""
    assert read({}) == read({"period": "", "model": "", "tag": ""}) == Asked(DEFAULT)


def test_everything_can_be_asked() -> None:
    """Period, model and tag."""
    assert read({"period": "7d", "model": "a:b", "tag": "team=x=y"}) == Asked("7d", "a:b", "team=x=y")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"period": "fortnight"}, "one of: 1h, 24h"),
        ({"period": "7D"}, "one of"),
        ({"tag": "team"}, "name=value"),
        ({"tag": "=x"}, "name=value"),
        ({"tag": "x="}, "name=value"),
        ({"model": "m" * 301}, "longer than 300"),
    ],
)
def test_what_cannot_be_asked_says_what_can(query: dict[str, str], says: str) -> None:
    """One sentence."""
    with pytest.raises(InputError, match=says):
        read(query)


def test_charts_have_a_bearable_number_of_steps() -> None:
    """Bars that can be told apart."""
    assert all(24 <= period.span_s // period.step_s <= 60 for period in PERIODS.values() if period.span_s)
