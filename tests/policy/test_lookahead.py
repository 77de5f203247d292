"""Which row goes next: none is lost or starved, sizes are mixed, and the longest go first at the end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.lookahead import LONGEST_FIRST, LOOK_AHEAD, LOOK_AHEAD_TOKENS, PASSED_MAX, Lookahead


class Sized(NamedTuple):
    """A row with a size."""

    number: int
    counted: int = 100
    work: float = 100.0
    lane: str | None = None


def drawn(rows: list[Sized], *, shut: str | None = None, mean: float | None = None) -> list[Sized]:
    """All rows in the order in which they go."""
    ahead = Lookahead(iter(rows), mean)
    found = []
    while (row := ahead.take(lambda lane: lane is None or lane != shut)) is not None:
        found.append(row)
    return found


@given(st.lists(st.integers(1, 30_000), max_size=900))
def test_every_row_goes_once_and_none_is_passed_for_ever(sizes: list[int]) -> None:
    """Whatever their sizes are."""
    rows = [Sized(number, size, float(size)) for number, size in enumerate(sizes)]
    found = drawn(rows)
    assert sorted(found) == rows
    assert all(place - row.number <= PASSED_MAX + LOOK_AHEAD for place, row in enumerate(found))


def test_rows_of_one_size_keep_their_order() -> None:
    """Nothing is to be gained by another."""
    rows = [Sized(number) for number in range(1000)]
    assert drawn(rows) == rows


def test_blocks_of_long_and_short_rows_are_mixed() -> None:
    """So that any twenty rows in a row count nearly the same, until the last are reached."""
    rows = [Sized(number, 2000 if number // 100 % 2 else 20) for number in range(2000)]
    found = drawn(rows)[: 2000 - LOOK_AHEAD]
    plain = [sum(row.counted for row in rows[at : at + 20]) for at in range(len(found) - 20)]
    mixed = [sum(row.counted for row in found[at : at + 20]) for at in range(LOOK_AHEAD, len(found) - 20)]
    assert max(plain) - min(plain) > 39_000
    assert max(mixed) - min(mixed) < 12_000


def test_the_longest_of_the_last_go_first() -> None:
    """What is started last ends last."""
    rows = [Sized(number, work=float(number * 7919 % 100)) for number in range(100)]
    found = [row.work for row in drawn(rows)][-LONGEST_FIRST:]
    assert found == sorted(found, reverse=True)


def test_a_run_that_begins_with_short_rows_keeps_some_for_later() -> None:
    """Where it is known what all rows count on the average, the long ones of later are met by short ones."""
    sizes = [100] * 600 + [100, 2000] * 300
    rows = [Sized(number, size) for number, size in enumerate(sizes)]
    short_first = [row.counted for row in drawn(rows)]
    mixed = [row.counted for row in drawn(rows, mean=sum(sizes) / len(sizes))]
    assert sorted(short_first) == sorted(mixed)
    assert sum(size == 2000 for size in mixed[:600]) > sum(size == 2000 for size in short_first[:600]) + 20


def test_a_row_as_long_as_many_is_made_up_for_by_many() -> None:
    """Else what it took of one limit would leave the other idle."""
    chance = random.Random(1)
    rows = [Sized(number, 3000 if number % 50 == 25 else chance.randint(20, 400)) for number in range(3000)]
    mean = sum(row.counted for row in rows) / len(rows)
    found = [row.counted for row in drawn(rows, mean=mean)][:2500]
    apart = [abs(sum(found[:at]) - mean * at) / mean for at in range(500, 2500, 10)]
    assert max(apart) < 15


def test_rows_of_a_lane_that_stands_still_are_passed() -> None:
    """They stay for later; what was given back goes before all."""
    rows = [Sized(number, lane="a" if number % 2 else "b") for number in range(20)]
    ahead = Lookahead(iter(rows))
    found = [ahead.take(lambda lane: lane == "b") for _ in range(10)]
    assert all(row is not None and row.lane == "b" for row in found)
    assert ahead.take(lambda lane: lane == "b") is None
    assert len(ahead) == 10
    back = found[3]
    assert back is not None
    ahead.give_back(back)
    assert ahead.take(lambda lane: True) == back


def test_long_prompts_are_not_read_ahead_by_the_hundred() -> None:
    """Memory follows the tokens, not the rows."""
    read = []

    def rows() -> Iterator[Sized]:
        for number in range(300):
            read.append(number)
            yield Sized(number, LOOK_AHEAD_TOKENS // 4)

    ahead = Lookahead(rows())
    ahead.take(lambda lane: True)
    assert len(read) <= 5


def test_choosing_a_row_does_not_look_at_all_that_were_read_ahead() -> None:
    """Also where the sizes grow with the job, so that none is near the mean of those before: it is per row of a run."""
    rows = [Sized(number, 20 + number // 20) for number in range(4000)]
    ahead, asked = Lookahead(iter(rows)), 0

    def is_open(_: str | None) -> bool:
        nonlocal asked
        asked += 1
        return True

    while ahead.take(is_open) is not None:
        pass
    assert asked < 16 * len(rows)
