"""The small model of the router: what it learns, and what of a file is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock._text.learned import MOST_WORDS, PAIRED_WORDS, VERSION, Learned, read
from penstock._text.lesson import LEAST_PROMPTS, fit, lesson_of
from penstock.errors import ConfigError

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
THINGS = ("cup", "pen", "book", "lamp", "plate", "spoon", "fork", "knife")
HARD = [f"prove the theorem number {word} by induction" for word in NUMBERS]
EASY = [f"what colour is the {word} on the table" for word in THINGS]
GAINS = [1.0] * len(HARD) + [0.0] * len(EASY)


def fitted() -> Any:
    """A model of hard and easy prompts."""
    return fit([lesson_of(prompt) for prompt in HARD + EASY], GAINS)


def learned(**more: Any) -> Learned:
    """The same as the router reads it."""
    model = fitted()
    facts = {
        "version": VERSION,
        "bias": model.bias,
        "difficulty": model.difficulty,
        "middle": model.middle,
        "words": model.words,
        "threshold": 0.6,
        "weak_tier": "simple",
        "strong_tier": "expert",
    }
    return Learned(**{**facts, **more})


def test_it_tells_prompts_that_it_never_saw() -> None:
    """A prompt like the hard ones scores higher than one like the easy ones."""
    model = learned()
    assert model.score("prove the theorem of Pythagoras by induction") > model.score("what colour is the door")


def test_the_same_rows_give_the_same_model() -> None:
    """To the last bit."""
    assert fitted() == fitted()


def test_the_router_and_the_fit_score_alike() -> None:
    """What was cross-validated is what the router does."""
    model = fitted()
    for prompt in [*HARD, *EASY, "", "42", "prove", "prove " * 500, " ".join(HARD + EASY)]:
        assert learned().score(prompt) == model.score(lesson_of(prompt))


def test_a_word_of_few_prompts_is_not_kept() -> None:
    """Names and secrets stand in few prompts; they do not get into the file."""
    words = fitted().words
    assert "theorem" in words
    assert "prove the" in words
    assert all(sum(word in prompt for prompt in HARD + EASY) >= LEAST_PROMPTS for word in words)
    assert not {"seven", "lamp"} & words.keys()


def test_what_is_looked_up_of_a_prompt_is_bounded() -> None:
    """However long it is."""
    words = [f"w{'abcdefghij'[at % 10]}{'abcdefghij'[at // 10 % 10]}{'abcdefghij'[at // 100]}" for at in range(999)]
    assert len(lesson_of(" ".join(words)).found) <= MOST_WORDS + PAIRED_WORDS


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no calibration"),
        (b"[]", "is no calibration"),
        (b"\xff\xfe", "is no calibration"),
        (b'{"version": 1}', "is no calibration"),
        (msgspec.json.encode(learned(version=VERSION + 1)), "of version 2"),
        (msgspec.json.encode(learned(strong_tier="hard")), "is no calibration"),
        (msgspec.json.encode(learned(threshold=1)).replace(b'"threshold":1', b'"threshold":1e999'), "router.json"),
        (msgspec.json.encode(learned(words={"prove": 1e308, "the": 1e308})), "a weight that is no number"),
    ],
)
def test_a_file_that_is_none_is_refused(data: bytes, said: str) -> None:
    """With the command that makes one."""
    with pytest.raises(ConfigError, match=said) as caught:
        read(data, "router.json")
    assert "router.json" in caught.value.message
