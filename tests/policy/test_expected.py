"""How large the next call is taken to be."""

import random

import pytest

from penstock._policy.expected import FIRST, Expected


def test_nothing_is_known_before_the_first_answer() -> None:
    """A guess, and never more than was allowed."""
    expected = Expected()
    assert (expected.output(None), expected.output(64), expected.prompt(100)) == (FIRST, 64, 100)


def test_where_each_call_asks_for_what_it_needs_its_max_tokens_tell() -> None:
    """As where a program knows how long each answer is to be."""
    chance, expected = random.Random(1), Expected()
    for _ in range(300):
        most = chance.randint(10, 4000)
        expected.learn(most, round(0.8 * most), 10, 10)
    assert expected.output(1000) == pytest.approx(800, rel=0.02)
    assert expected.output(10) == pytest.approx(8, rel=0.06)


def test_where_max_tokens_say_nothing_the_mean_counts() -> None:
    """As where they are only a bound."""
    chance, expected = random.Random(2), Expected()
    for _ in range(300):
        expected.learn(chance.choice([256, 1024, 4096]), chance.randint(80, 120), 10, 10)
    assert expected.output(4096) == pytest.approx(100, rel=0.1)
    assert expected.output(64) == 64
    assert expected.output(None) == expected.mean


def test_answers_that_become_longer_are_followed() -> None:
    """Within some dozens of them."""
    expected = Expected()
    for produced in [100] * 200 + [400] * 100:
        expected.learn(None, produced, 10, 10)
    assert expected.output(None) > 370


def test_our_estimate_of_prompts_is_corrected_by_what_is_counted() -> None:
    """Up and down."""
    expected = Expected()
    for counted in [160] * 100:
        expected.learn(None, 1, 200, counted)
    assert expected.prompt(1000) == pytest.approx(800)
