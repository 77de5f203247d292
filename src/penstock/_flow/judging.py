"""How hard the text of a prompt is judged to be: by a calibration, by its words and length, or by its difficulty."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from .._policy.choosing import Judge, Judged, Routing
from .._policy.routing import TIERS
from .._text.complexity import detect_complexity, difficulty
from ..types import Message, Request
from .routed import question

if TYPE_CHECKING:
    from .._text.learned import Learned  # loaded with the first calibration


def judge_of(routing: Routing, learned: Learned | None = None) -> Judge:
    """Return what chooses a tier for a text, by the rule of the settings or by a calibration."""
    if learned is not None:
        return partial(_by_calibration, learned)
    return _by_words if routing.rule == "words" else partial(_by_difficulty, routing.thresholds)


def judged_text(message: Message, routing: Routing) -> Judged:
    """Choose a tier for one message where there is nothing else to go by."""
    return judge_of(routing)(question(Request(model="", messages=(message,))))


def _by_calibration(learned: Learned, text: str) -> Judged:
    score = learned.score(text)
    tier, side = (learned.strong_tier, "not below") if score >= learned.threshold else (learned.weak_tier, "below")
    return Judged(tier, f"its score of {score:.3f} is {side} the calibrated {learned.threshold:.3f}", score)


def _by_words(text: str) -> Judged:
    tier, reason = detect_complexity(text)
    return Judged(tier, f"{reason}, which is {tier}")


def _by_difficulty(thresholds: Sequence[float], text: str) -> Judged:
    score = difficulty(text)
    tier = TIERS[bisect(thresholds, score)]
    return Judged(tier, f"its difficulty is {score:.3f}, which is {tier}", score)
