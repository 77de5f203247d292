"""Fit the small model of `learned.py` to outcomes: which prompts were answered better by the stronger model.

Plain stochastic descent with a step of its own for each weight (AdaGrad), a few seconds for ten thousand prompts. The
same rows give the same model: the order in which they are looked at is drawn by a formula.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from .complexity import look
from .learned import features

EPOCHS: Final = 4
STEP: Final = 0.5
DECAY: Final = 0.1
"""What a weight loses in each round, so that words of few prompts keep little say."""

LEAST_PROMPTS: Final = 3
"""A word that stood in fewer prompts is not learned: it could be a name or a secret, and says little."""

MOST_FEATURES: Final = 20_000
KEPT: Final = 4_000
"""Weights that go into the file, the heaviest first: about 100 kB."""

_HASH: Final = 2_654_435_761
_MASK: Final = 2**32 - 1


class Lesson(NamedTuple):
    """A prompt as the fit sees it: its features, and its difficulty."""

    found: list[str]
    hard: float


class Fitted(NamedTuple):
    """What was fitted: see `Learned`."""

    bias: float
    difficulty: float
    middle: float
    words: dict[str, float]

    def score(self, lesson: Lesson) -> float:
        """Return what `Learned.score` returns for the prompt of a lesson."""
        total = self.bias + self.difficulty * (lesson.hard - self.middle)
        if lesson.found:
            total += math.fsum(self.words.get(word, 0.0) for word in lesson.found) / math.sqrt(len(lesson.found))
        return _sigmoid(total)


def lesson_of(prompt: str) -> Lesson:
    """Return a prompt as the fit sees it."""
    hard, words = look(prompt)
    single, pairs = features(words)
    return Lesson(list(dict.fromkeys((*single, *map(" ".join, pairs)))), hard)


def fit(lessons: Sequence[Lesson], gains: Sequence[float]) -> Fitted:
    """Fit to what the stronger model gained on each prompt, from -1 to 1."""
    counts = Counter(word for lesson in lessons for word in lesson.found)
    known = [word for word, number in counts.most_common(MOST_FEATURES) if number >= LEAST_PROMPTS]
    place = {word: at for at, word in enumerate(known)}
    rows = [[place[word] for word in lesson.found if word in place] for lesson in lessons]
    scales = [1.0 / math.sqrt(len(lesson.found)) if lesson.found else 0.0 for lesson in lessons]
    middle = sum(lesson.hard for lesson in lessons) / len(lessons)
    hards = [lesson.hard - middle for lesson in lessons]
    wanted = [(gain + 1.0) / 2.0 for gain in gains]
    share = min(max(sum(wanted) / len(wanted), 1e-6), 1 - 1e-6)
    weights, seen = [0.0] * len(known), [1.0] * len(known)
    bias, hard, bias_seen, hard_seen = math.log(share / (1 - share)), 0.0, 1.0, 1.0
    for epoch in range(EPOCHS):
        for at in sorted(range(len(rows)), key=lambda each: (each + 1) * _HASH * (2 * epoch + 3) & _MASK):
            row, scale, away = rows[at], scales[at], hards[at]
            total = bias + hard * away + scale * sum(map(weights.__getitem__, row))
            off = _sigmoid(total) - wanted[at]
            bias_seen += off * off
            bias -= STEP * off / math.sqrt(bias_seen)
            slope = off * away
            hard_seen += slope * slope
            hard -= STEP * slope / math.sqrt(hard_seen)
            slope = off * scale
            squared = slope * slope
            for each in row:
                seen[each] += squared
                weights[each] -= STEP * slope / math.sqrt(seen[each])
        weights = [weight * (1.0 - DECAY) for weight in weights]
    heavy = sorted(range(len(known)), key=lambda each: (-abs(weights[each]) * math.sqrt(counts[known[each]]), each))
    return Fitted(bias, hard, middle, {known[each]: round(weights[each], 5) for each in sorted(heavy[:KEPT])})


def _sigmoid(total: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total))))
