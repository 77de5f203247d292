"""A calibration: what it finds, that it is the same each time, and what it cannot learn from."""

from __future__ import annotations

import math
from typing import Any

import pytest

from penstock._flow.calibration import LEAST_ROWS, SHARES, Aim, Outcomes, calibrate
from penstock._policy.curve import Outcome
from penstock.errors import InputError

WORDS = ("alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa", "theta")


def rows(number: int = 240) -> Outcomes:
    """Prompts of two kinds: those that ask for a proof are answered better by the stronger model."""
    prompts, each = [], []
    for at in range(number):
        hard = at * 7 % 3 == 0
        kind = "prove the theorem about" if hard else "what colour has the"
        prompts.append(f"{kind} {WORDS[at % 8]} and {WORDS[at * 5 % 8]}")
        each.append(Outcome(0.0 if hard else 1.0, 1.0, 1.0, 10.0))
    return Outcomes(prompts, each, priced=True)


def test_what_can_be_learned_is_learned() -> None:
    """On prompts that it had not seen it is near the oracle, and far above a coin; both savings are told."""
    learned, report = calibrate(rows(), aim=Aim(quality=0.95))
    found = {each.name: each for each in report.contestants}
    assert [*found] == ["calibrated", "difficulty", "length", "words", "random", "oracle"]
    mine, coin, oracle = found["calibrated"], found["random"], found["oracle"]
    assert coin.apgr == pytest.approx(0.5)
    assert mine.apgr is not None
    assert oracle.apgr is not None
    assert 0.8 < mine.apgr <= oracle.apgr
    assert mine.saves is not None
    assert coin.saves is not None
    assert mine.saves > coin.saves + 0.2
    assert len(mine.quality) == len(SHARES)
    assert learned.score("prove the theorem about mu") >= learned.threshold > learned.score("what colour has the cup")
    assert learned.figures["apgr"] == mine.apgr


def test_the_same_rows_give_the_same_model_and_report() -> None:
    """Nothing is drawn by chance."""
    assert calibrate(rows(), aim=Aim(), holdout=0.25) == calibrate(rows(), aim=Aim(), holdout=0.25)


def test_rows_that_are_held_out_check_the_threshold() -> None:
    """They were neither learned from nor used to choose it."""
    _, report = calibrate(rows(), aim=Aim(quality=0.95), holdout=0.25)
    assert (report.rows, report.held_out) == (180, 60)
    assert report.kept is not None
    assert report.kept.quality >= report.kept.aim - 0.05
    assert report.kept.saves > 0.3
    assert {each.name for each in report.kept.contestants} == {each.name for each in report.contestants}


def test_the_aim_may_be_a_share_of_calls() -> None:
    """Of those that go to the stronger model."""
    learned, report = calibrate(rows(), aim=Aim(quality=None, share=0.5))
    strong = sum(learned.score(prompt) >= learned.threshold for prompt in rows().prompts) / 240
    assert 0.3 <= strong <= 0.6
    assert report.contestants[0].share == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([Outcome(0, 1, 0, 1)] * (LEAST_ROWS - 1), "fewer than 50 say nothing"),
        ([Outcome(1, 1, 0, 1)] * LEAST_ROWS, "one class only: in none of 50 rows is the stronger model better"),
        ([Outcome(0, 1, 0, 1)] * LEAST_ROWS, "one class only: in each of 50 rows the stronger model is better"),
        ([Outcome(1, 0, 0, 1)] * 40 + [Outcome(0, 1, 0, 1)] * 10, "were `weak` and `strong` exchanged"),
    ],
)
def test_what_cannot_be_learned_from_is_told(outcomes: list[Any], said: str) -> None:
    """In one sentence with what to do."""
    with pytest.raises(InputError, match=said):
        calibrate(Outcomes([f"prompt {at}" for at in range(len(outcomes))], outcomes), aim=Aim())


def test_prompts_without_words_do_no_harm() -> None:
    """Numbers and other scripts have no features; the rest is learned all the same."""
    found = rows()
    found.prompts[:10] = ["", "42", "你好", "!!!", "7", "8", "9", "10", "é", "ß"]
    learned, _ = calibrate(found, aim=Aim())
    assert math.isfinite(learned.score(""))
