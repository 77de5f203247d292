"""Packing: every input once, no limit crossed, and no more requests than there must be."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.packing import PackLimits, lower_bound, pack

OPENAI = PackLimits(inputs=2048, tokens=300_000, input_tokens=8192)
MISTRAL = PackLimits(inputs=512, tokens=16_384, input_tokens=8192)

limits = st.builds(PackLimits, inputs=st.integers(1, 12), tokens=st.integers(0, 200), input_tokens=st.integers(0, 120))


@given(st.lists(st.integers(0, 150), max_size=80), limits)
def test_every_input_is_in_one_place_and_no_limit_is_crossed(weights: list[int], bounds: PackLimits) -> None:
    """Of count, of sum, of each; only what fits into no request is left out, and said to be."""
    found = pack(weights, bounds)
    assert sorted([*found.oversized, *(number for each in found.packs for number in each)]) == list(range(len(weights)))
    assert all(weights[number] > bounds.largest for number in found.oversized)
    for each in found.packs:
        assert 1 <= len(each) <= bounds.inputs
        assert list(each) == sorted(each)
        assert all(weights[number] <= bounds.largest for number in each)
        assert not bounds.tokens or sum(weights[number] for number in each) <= bounds.tokens


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), limits)
def test_no_packing_goes_below_the_bound(weights: list[int], bounds: PackLimits) -> None:
    """And no two requests of ours would have fitted into one."""
    fitting = [weight for weight in weights if weight <= bounds.largest]
    packs = pack(weights, bounds).packs
    assert len(packs) >= lower_bound(fitting, bounds)
    full = [
        len(one) + len(other) > bounds.inputs
        or (bounds.tokens and sum(weights[number] for number in (*one, *other)) > bounds.tokens)
        for at, one in enumerate(packs)
        for other in packs[at + 1 :]
    ]
    assert all(full)


def _lognormal(chance: random.Random, mean: float, sigma: float) -> int:
    return min(8192, int(chance.lognormvariate(mean, sigma)) + 1)


@pytest.mark.parametrize("bounds", [OPENAI, MISTRAL], ids=["openai", "mistral"])
@pytest.mark.parametrize(
    "shape",
    [
        lambda chance: chance.randint(5, 30),
        lambda chance: _lognormal(chance, 5, 1.2),
        lambda chance: chance.choice([10, 300]),
        lambda chance: chance.choice([1, 292]),
        lambda chance: chance.randint(1, 8192),
    ],
    ids=["short", "mixed", "two kinds", "balanced", "long"],
)
def test_requests_are_full_and_few_on_big_jobs(bounds: PackLimits, shape: object) -> None:
    """At least 95 % of one limit or the other, on the average, and at most 3 % more requests than there must be."""
    chance = random.Random(7)
    weights = [shape(chance) for _ in range(30_000)]  # type: ignore[operator]
    packs = pack(weights, bounds).packs
    bound = lower_bound(weights, bounds)
    fills = [max(len(each) / bounds.inputs, sum(weights[n] for n in each) / bounds.tokens) for each in packs]
    assert len(packs) <= max(bound + 1, bound * 1.03)
    assert sum(fills[:-1]) >= 0.95 * (len(fills) - 1)


@pytest.mark.slow
def test_a_million_texts_need_no_more_than_the_bound_and_three_percent() -> None:
    """Of mixed lengths."""
    chance = random.Random(1)
    weights = [_lognormal(chance, 4, 1) for _ in range(1_000_000)]
    assert len(pack(weights, OPENAI).packs) <= lower_bound(weights, OPENAI) * 1.03


def test_nothing_is_packed_into_nothing() -> None:
    """No inputs, no requests."""
    assert pack([], OPENAI).packs == ()
