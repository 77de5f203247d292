"""What becomes a batch, what is done next with it, and when a batch is worth its wait."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.shards import (
    SOON_S,
    WORTH_NANO,
    Create,
    Done,
    Harvest,
    Look,
    Pace,
    Phase,
    Poll,
    Room,
    Stand,
    Upload,
    choose,
    next_step,
)
from penstock.errors import ConfigError

PACE = Pace(poll_s=1, poll_max_s=8, poll_growth=2, looks=2, look_s=3, queue_s=5, queue_max_s=15)
USD = 1_000_000_000


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=60),
    st.integers(1, 10),
    st.integers(1, 100),
    st.none() | st.integers(1, 100),
)
def test_no_shard_is_larger_than_it_may_be(
    rows: list[tuple[int, int]], rows_max: int, bytes_max: int, tokens_max: int | None
) -> None:
    """In count, bytes and tokens, unless one row alone is; no row is left out, and none waits that had room."""
    shards: list[list[tuple[int, int]]] = [[]]
    room = Room(rows_max, bytes_max, tokens_max)
    for row in rows:
        if not room.take(*row):
            room = Room(rows_max, bytes_max, tokens_max)
            assert room.take(*row)
            shards.append([])
        shards[-1].append(row)
    assert [row for shard in shards for row in shard] == rows

    def fits(shard: list[tuple[int, int]]) -> bool:
        size, tokens = sum(row[0] for row in shard), sum(row[1] for row in shard)
        return len(shard) <= rows_max and size <= bytes_max and (tokens_max is None or tokens <= tokens_max)

    assert all(fits(shard) or len(shard) == 1 for shard in shards)
    for shard, following in pairwise(shards):
        assert not fits([*shard, following[0]])


@pytest.mark.parametrize(
    ("stand", "step"),
    [
        (Stand(phase="written"), Upload()),
        (Stand(phase="written", inline=True), Create()),
        (Stand(phase="uploaded"), Create()),
        (Stand(phase="uploaded", creates=1), Create(5.0)),
        (Stand(phase="uploaded", creates=2), Create(10.0)),
        (Stand(phase="uploaded", creates=9), Create(15)),
        (Stand(phase="written", inline=True, creates=1), Create(5.0)),
        (Stand(phase="creating"), Look()),
        (Stand(phase="creating", looks=1), Look(3)),
        (Stand(phase="creating", looks=2), Create()),
        (Stand(phase="creating", looks=2, unclear=True), Look(4.0)),
        (Stand(phase="created"), Poll(1.0)),
        (Stand(phase="created", polls=2), Poll(4.0)),
        (Stand(phase="created", polls=99), Poll(8)),
        (Stand(phase="created", ended=True), Harvest()),
        (Stand(phase="harvested"), Done()),
        (Stand(phase="dropped"), Done()),
    ],
)
def test_each_stand_has_its_next_step(stand: Stand, step: Any) -> None:
    """The same for the run that began a shard and for one that takes it up."""
    found = next_step(PACE, stand)
    assert (type(found), found) == (type(step), step)


@given(st.sampled_from(["written", "uploaded", "creating", "created"]), st.booleans(), st.integers(0, 10**9))
def test_every_wait_is_bounded(phase: Phase, inline: bool, times: int) -> None:
    """However long it goes on."""
    step = next_step(PACE, Stand(phase=phase, inline=inline, creates=times, polls=times, looks=times))
    assert 0 <= getattr(step, "after_s", 0.0) <= 15


@pytest.mark.parametrize("name", ["poll_s", "poll_growth", "looks", "rounds", "queue_max_s"])
@pytest.mark.parametrize("value", [0, -1, "1", None, True, float("nan")])
def test_a_pace_is_numbers_above_0(name: str, value: Any) -> None:
    """The error names the field."""
    with pytest.raises(ConfigError, match=name):
        Pace(**{name: value})


@pytest.mark.parametrize(
    ("facts", "via", "why"),
    [
        ({}, "batch-api", "no deadline"),
        ({"deadline_s": 6 * 3600.0}, "batch-api", "in 6 h goes online"),
        ({"deadline_s": SOON_S}, "batch-api", "30 min"),
        ({"deadline_s": SOON_S - 1}, "online", "may take a day"),
        ({"deadline_s": -5.0}, "online", "may take a day"),
        ({"lacking": "xai"}, "online", "xai has no batch interface"),
        ({"batch_nano": None}, "online", "not known"),
        ({"online_nano": None}, "online", "not known"),
        ({"batch_nano": 2 * USD - WORTH_NANO + 1}, "online", "would save $0.009999999"),
        ({"batch_nano": 2 * USD - WORTH_NANO}, "batch-api", "instead of $2.00"),
        ({"batch_nano": 3 * USD}, "online", "would save $0 "),
    ],
)
def test_auto_weighs_deadline_and_price(facts: dict[str, Any], via: str, why: str) -> None:
    """The reason has the figures."""
    given_facts = {"deadline_s": None, "lacking": None, "rows": 1000, "online_nano": 2 * USD, "batch_nano": USD}
    choice = choose(**given_facts | facts)
    assert choice.via == via
    assert why in choice.reason
