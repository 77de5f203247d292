"""Requests that are refused: the bad input is found, the others are answered, and a wrong request is given up."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.splits import HOPELESS, Splits


def ask_all(splits: Splits, refuses: Callable[[list[int]], bool]) -> tuple[list[int], list[int], str | None]:
    """Ask until nothing is left; returns inputs answered, inputs found bad, and the last verdict that ended it."""
    answered: list[int] = []
    bad: list[int] = []
    while (pack := splits.next()) is not None:
        if not refuses(list(pack.numbers)):
            splits.accepted(pack)
            answered += pack.numbers
            continue
        verdict = splits.rejected(pack)
        if verdict != "split":
            bad += pack.numbers
        if verdict == "hopeless":
            return answered, bad, verdict
    return answered, bad, None


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 2047, 2048])
@pytest.mark.parametrize("where", [0.0, 0.3, 0.999])
def test_a_bad_input_is_found_in_as_many_rejections_as_it_has_halvings(size: int, where: float) -> None:
    """Of 2,048 inputs in 12, wherever it is; all others are answered once."""
    poison = int(size * where)
    splits = Splits([range(size)], [1] * size)
    answered, bad, _ = ask_all(splits, lambda numbers: poison in numbers)
    assert bad == [poison]
    assert sorted(answered) == [number for number in range(size) if number != poison]
    assert splits.rejections <= math.ceil(math.log2(size)) + 1 <= 12


@given(st.sets(st.integers(0, 99), max_size=20), st.integers(1, 40))
def test_every_input_is_answered_or_found_bad_exactly_once(poisons: set[int], size: int) -> None:
    """However many are bad, as long as not everything is."""
    packs = [range(at, min(100, at + size)) for at in range(0, 100, size)]
    splits = Splits(packs, [1] * 100)
    answered, bad, verdict = ask_all(splits, lambda numbers: not poisons.isdisjoint(numbers))
    if verdict is None:
        assert sorted(bad) == sorted(poisons)
        assert sorted([*answered, *bad]) == list(range(100))
    else:
        assert not answered
        assert len(bad) == HOPELESS


def test_a_request_that_is_wrong_by_itself_is_given_up() -> None:
    """After three single inputs, and not after all of them."""
    splits = Splits([range(2048), range(2048, 4096)], [1] * 4096)
    answered, bad, verdict = ask_all(splits, lambda numbers: True)
    assert (answered, len(bad), verdict) == ([], HOPELESS, "hopeless")
    assert splits.rejections <= 16


def test_few_inputs_are_each_asked_before_anything_is_given_up() -> None:
    """Three bad inputs of three are three bad inputs."""
    _, bad, verdict = ask_all(Splits([range(3)], [1] * 3), lambda numbers: True)
    assert (sorted(bad), verdict) == ([0, 1, 2], None)


def test_a_limit_lower_than_told_is_learned_once() -> None:
    """Later requests of that size are halved before they are sent."""
    packs = [range(at, at + 64) for at in range(0, 640, 64)]
    splits = Splits(packs, [1] * 640)
    answered, bad, _ = ask_all(splits, lambda numbers: len(numbers) > 20)
    assert sorted(answered) == list(range(640))
    assert not bad
    assert splits.rejections <= 4


def test_a_limit_of_tokens_that_is_learned_spares_requests_of_small_texts() -> None:
    """A request is only known to be too large when it is so by count and by tokens."""
    weights = [100] * 8 + [1] * 64
    splits = Splits([range(8), range(8, 72)], weights)
    sizes: list[int] = []

    def refuses(numbers: list[int]) -> bool:
        sizes.append(len(numbers))
        return sum(weights[number] for number in numbers) > 500

    answered, _, _ = ask_all(splits, refuses)
    assert sorted(answered) == list(range(72))
    assert sizes == [8, 4, 4, 64]


def test_a_pack_that_was_put_back_comes_again() -> None:
    """As it was."""
    splits = Splits([range(4)], [1] * 4)
    pack = splits.next()
    assert pack is not None
    assert splits.next() is None
    splits.again(pack)
    assert len(splits) == 1
    assert splits.next() is pack


def test_bad_inputs_among_many_cost_few_rejections() -> None:
    """About a dozen each, when they are far apart."""
    chance = random.Random(3)
    poisons = set(chance.sample(range(2048), 10))
    splits = Splits([range(2048)], [1] * 2048)
    _, bad, _ = ask_all(splits, lambda numbers: not poisons.isdisjoint(numbers))
    assert set(bad) == poisons
    assert splits.rejections <= 12 * len(poisons)
