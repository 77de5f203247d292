"""How hard a prompt looks: the rules of words and length, and the order that the score gives."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import detect_complexity
from penstock._policy.routing import TIERS
from penstock._text.complexity import SAMPLE_CHARS, difficulty, look
from penstock.errors import InputError

LONG = "the service answered as it always does, and then it did not, which nobody saw before noon on that day. "


@pytest.mark.parametrize(
    ("text", "tier", "said"),
    [
        ("Classify this line: disk full", "simple", "'classify'"),
        ("Is it an error? yes/no", "simple", "'yes/no'"),
        ("Answer yes or no. " + LONG, "simple", "'yes or no'"),
        ("True/False: the sky is green. " + LONG, "simple", "'true/false'"),
        ("Is it true or false? " + LONG, "simple", "'true or false'"),
        ("It is false. " + LONG, "moderate", "no rule"),
        ("Define idempotence. " + LONG, "simple", "'define'"),
        ("List the failed pods. " + LONG, "simple", "'list'"),
        ("What is 2 + 2?", "simple", "14 characters, fewer than 100"),
        ("", "simple", "0 characters"),
        ("Analyze the outage", "complex", "'analyze'"),
        ("Please analyse: " + LONG, "complex", "'analyse'"),
        ("Investigate why it is slow", "complex", "'investigate'"),
        ("What is the ROOT CAUSE here?", "complex", "'root cause'"),
        ("Design a failover", "expert", "'design'"),
        ("You are the architect. " + LONG, "expert", "'architect'"),
        ("Review this change", "expert", "'review'"),
        (LONG, "moderate", "no rule"),
    ],
)
def test_the_rules_are_those_of_the_page(text: str, tier: str, said: str) -> None:
    """Each word and the length choose the documented tier, and the reason names what decided."""
    found = detect_complexity(text)
    assert found.tier == tier
    assert said in found.reason


@pytest.mark.parametrize("word", ["specialist", "listen", "undefined", "preview", "redesignated", "architects' guild"])
def test_a_word_inside_another_decides_nothing(word: str) -> None:
    """Only whole words count."""
    assert detect_complexity(LONG + word).tier == "moderate"


def test_the_first_rule_decides() -> None:
    """In the order in which the rules are written: simple words, complex ones, expert ones, then the length."""
    assert detect_complexity("list, analyze, design").tier == "simple"
    assert detect_complexity("analyze the design").tier == "complex"
    assert detect_complexity("x" * 99).tier == "simple"
    assert detect_complexity("x" * 100).tier == "moderate"


def test_what_stands_in_the_middle_of_a_long_prompt_decides_nothing() -> None:
    """A pasted log may hold any word; what is asked stands before or after it."""
    filler = "z" * SAMPLE_CHARS
    assert detect_complexity(f"{filler} design {filler}").tier == "moderate"
    assert detect_complexity(f"design {filler}{filler}").tier == "expert"
    assert detect_complexity(f"{filler}{filler} design").tier == "expert"


@pytest.mark.parametrize("wrong", [None, 5, b"text", ["text"]])
def test_what_is_no_text_is_refused(wrong: Any) -> None:
    """In one sentence that says what came."""
    for judge in (detect_complexity, difficulty):
        with pytest.raises(InputError, match=f"got a {type(wrong).__name__}"):
            judge(wrong)


@given(st.text())
def test_every_text_has_a_tier_and_a_score(text: str) -> None:
    """Whatever it is, and the same each time."""
    found = detect_complexity(text)
    assert found.tier in TIERS
    assert found == detect_complexity(text)
    assert 0.0 <= difficulty(text) <= 1.0
    assert difficulty(text) == difficulty(text)


@given(st.text(max_size=SAMPLE_CHARS))
def test_the_words_of_a_prompt_are_its_runs_of_letters(text: str) -> None:
    """Of those from a to z, in small letters, whatever stands between them."""
    assert look(text)[1] == re.findall("[a-z]+", text.lower())


def test_more_to_think_about_is_harder() -> None:
    """Length, words of reasoning and code raise the score."""
    plain = "the cat sat on the mat and looked at the dog that slept there " * 3
    assert difficulty(plain) < difficulty(plain * 3)
    assert difficulty(plain) < difficulty(plain + "explain why, given that each step must hold without exception")
    assert difficulty(plain) < difficulty(plain + "implement the algorithm as a python function")


def test_a_huge_prompt_is_judged_as_quickly_as_a_long_one() -> None:
    """Only its ends are read."""
    huge = "word, " * 2_000_000
    start = time.process_time()
    for _ in range(10):
        difficulty(huge)
        detect_complexity(huge)
    assert time.process_time() - start < 0.1
