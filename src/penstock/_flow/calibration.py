"""Calibrate the router: fit a small model to outcomes, and say what it is worth beside a coin, length and an oracle.

Every figure is of prompts that the model had not seen: those held out, or each fold by a model of the other folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from .._policy.curve import Curve, Outcome, apgr, at_quality, at_share, coin, curve, oracle, saving
from .._policy.routing import TIERS
from .._text.complexity import detect_complexity
from .._text.learned import VERSION, Learned
from .._text.lesson import Lesson, fit, lesson_of
from ..errors import InputError
from ..types import Tier

LEAST_ROWS: Final = 50
"""Fewer outcomes say nothing."""

SHARES: Final = tuple(step / 10 for step in range(11))


class Outcomes(NamedTuple):
    """Prompts and how either model answered them; `priced` says that the costs are money and not calls."""

    prompts: list[str]
    each: list[Outcome]
    priced: bool = False


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """What the threshold is to reach: a part of the stronger model's `quality`, or a `share` of calls that go to it."""

    quality: float | None = 0.95
    share: float | None = None


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """One way to route: `apgr` (a coin has 0.5), and what it takes to reach the aim.

    `quality` at each share of strong calls in `SHARES`. `share` is the smallest share of strong calls that is good
    enough, and `saves` what of the cost of always asking the stronger model is saved there; None where it never is.
    """

    name: str
    apgr: float | None
    quality: tuple[float, ...]
    share: float | None
    saves: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a calibration found on prompts that it had not learned from.

    `rows` were learned from, in `folds`; `held_out` were not looked at before the end, and `kept` says what the
    threshold does there. `aim` is the quality that is to be reached.
    """

    rows: int
    folds: int
    held_out: int
    priced: bool
    weak_quality: float
    strong_quality: float
    aim: float
    threshold: float
    contestants: tuple[Contestant, ...]
    kept: Kept | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the threshold did on the rows that were held out.

    `coin_saves` is what a coin saves at the same quality, None where that is above both models' own.
    """

    share: float
    quality: float
    aim: float
    saves: float
    coin_saves: float | None
    contestants: tuple[Contestant, ...]


def calibrate(
    found: Outcomes,
    *,
    aim: Aim,
    folds: int = 5,
    holdout: float = 0.0,
    weak_tier: Tier = "simple",
    strong_tier: Tier = "complex",
    told: Callable[[str], None] = lambda step: None,
) -> tuple[Learned, Report]:
    """Fit, choose the threshold, and report; the same rows give the same model. `told` hears what is done.

    Raises: InputError when there are too few rows, or when one of both models is always as good.
    """
    _check(found.each)
    learning, held = _split(len(found.prompts), holdout)
    lessons = [lesson_of(prompt) for prompt in found.prompts]
    gains = _gains(found.each)
    scores = [0.0] * len(lessons)
    for number in range(folds):
        told(f"fold {number + 1} of {folds}")
        out = set(learning[number::folds])
        others = [at for at in learning if at not in out]
        fitted = fit([lessons[at] for at in others], [gains[at] for at in others])
        for at in out:
            scores[at] = fitted.score(lessons[at])
    told("the model of all folds")
    final = fit([lessons[at] for at in learning], [gains[at] for at in learning])
    mine = [found.each[at] for at in learning]
    target = _target(mine, [scores[at] for at in learning], aim)
    contestants = _field(found, lessons, scores, learning, target)
    threshold = _threshold(found.each, scores, learning, target)
    kept = None
    if held:
        for at in held:
            scores[at] = final.score(lessons[at])
        kept = _kept(found, lessons, scores, held, aim, threshold)
    ends = coin(mine)
    report = Report(
        rows=len(learning),
        folds=folds,
        held_out=len(held),
        priced=found.priced,
        weak_quality=ends[0].quality,
        strong_quality=ends[-1].quality,
        aim=target,
        threshold=threshold,
        contestants=contestants,
        kept=kept,
    )
    learned = Learned(
        version=VERSION,
        bias=final.bias,
        difficulty=final.difficulty,
        middle=final.middle,
        words=final.words,
        threshold=threshold,
        weak_tier=weak_tier,
        strong_tier=strong_tier,
        figures={
            "rows": report.rows,
            "apgr": contestants[0].apgr,
            "share": contestants[0].share,
            "saves": contestants[0].saves,
        },
    )
    return learned, report


def _check(outcomes: Sequence[Outcome]) -> None:
    if len(outcomes) < LEAST_ROWS:
        raise InputError(
            f"there are {len(outcomes)} outcomes, and fewer than {LEAST_ROWS} say nothing; run more prompts through "
            "both models"
        )
    better = sum(each.strong > each.weak for each in outcomes)
    if not better:
        raise InputError(
            f"there is one class only: in none of {len(outcomes):,} rows is the stronger model better, so there is "
            "nothing to learn; send everything to the weaker one, or add rows that it answers worse"
        )
    if better == len(outcomes):
        raise InputError(
            f"there is one class only: in each of {len(outcomes):,} rows the stronger model is better, so there is "
            "nothing to learn; send everything to it, or add rows that the weaker one answers as well"
        )
    weak, strong = (sum(each[side] for each in outcomes) / len(outcomes) for side in (0, 1))
    if strong <= weak:
        raise InputError(
            f"the stronger model is not better on the whole ({strong:.4g} against {weak:.4g}), so no call need go to "
            "it; were `weak` and `strong` exchanged?"
        )


def _split(number: int, holdout: float) -> tuple[list[int], list[int]]:
    """Return the rows to learn from and those held out, drawn by a formula so that the same file is split the same."""
    order = sorted(range(number), key=lambda at: ((at + 1) * 2_654_435_761 & 0xFFFFFFFF, at))
    held = round(holdout * number)
    return order[held:], sorted(order[:held])


def _gains(outcomes: Sequence[Outcome]) -> list[float]:
    most = max(abs(each.strong - each.weak) for each in outcomes)
    return [(each.strong - each.weak) / most for each in outcomes]


def _target(outcomes: list[Outcome], scores: list[float], aim: Aim) -> float:
    """Return the quality that is to be reached."""
    if aim.share is not None:
        return at_share(curve(scores, outcomes), aim.share).quality
    assert aim.quality is not None
    low, high = (sum(each[side] for each in outcomes) / len(outcomes) for side in (0, 1))
    return max(low, aim.quality * high)


def _threshold(outcomes: list[Outcome], scores: list[float], rows: list[int], target: float) -> float:
    """Return the score from which on calls go to the stronger model, so that the quality is reached."""
    place = at_quality(curve([scores[at] for at in rows], [outcomes[at] for at in rows]), target)
    order = sorted((scores[at] for at in rows), reverse=True)
    strong = len(order) if place is None else round(place.share * len(order))
    if strong == 0:
        return min(1.0, order[0] + 1e-6)
    return round(order[strong - 1], 6) if strong < len(order) else 0.0


def _field(
    found: Outcomes, lessons: list[Lesson], scores: list[float], rows: list[int], target: float
) -> tuple[Contestant, ...]:
    """Set the calibrated model beside what needs no calibration, a coin, and an oracle."""
    outcomes = [found.each[at] for at in rows]
    words = [TIERS.index(detect_complexity(found.prompts[at]).tier) for at in rows]

    def curves() -> Iterator[tuple[str, Curve]]:
        yield "calibrated", curve([scores[at] for at in rows], outcomes)
        yield "difficulty", curve([lessons[at].hard for at in rows], outcomes)
        yield "length", curve([len(found.prompts[at]) for at in rows], outcomes)
        yield "words", curve(words, outcomes)
        yield "random", coin(outcomes)
        yield "oracle", oracle(outcomes)

    return tuple(_contestant(name, points, target) for name, points in curves())


def _contestant(name: str, points: Curve, target: float) -> Contestant:
    place = at_quality(points, target)
    return Contestant(
        name=name,
        apgr=apgr(points),
        quality=tuple(at_share(points, share).quality for share in SHARES),
        share=None if place is None else place.share,
        saves=None if place is None else saving(points, place),
    )


def _kept(
    found: Outcomes, lessons: list[Lesson], scores: list[float], held: list[int], aim: Aim, threshold: float
) -> Kept:
    outcomes = [found.each[at] for at in held]
    strong = [scores[at] >= threshold for at in held]
    quality = sum(each.strong if up else each.weak for each, up in zip(outcomes, strong, strict=True)) / len(held)
    cost = sum(each.strong_cost if up else each.weak_cost for each, up in zip(outcomes, strong, strict=True))
    most = sum(each.strong_cost for each in outcomes)
    by_chance = at_quality(coin(outcomes), quality)
    target = _target(outcomes, [scores[at] for at in held], aim)
    return Kept(
        share=sum(strong) / len(held),
        quality=quality,
        aim=target,
        saves=1.0 - cost / most if most else 0.0,
        coin_saves=None if by_chance is None else saving(coin(outcomes), by_chance),
        contestants=_field(found, lessons, scores, held, target),
    )
