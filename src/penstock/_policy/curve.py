"""What a router is worth: the quality and the cost of every share of calls that it could send to the stronger model.

The curve begins with no call at the stronger model and ends with all; calls with the higher scores go there first, and
prompts with the same score are mixed evenly, so that a rule with four labels gets no order by accident.

APGR is the area under the part of the gap between both models that is recovered, over the share of strong calls: 0.5 is
a coin. Source: RouteLLM, arXiv 2406.18665.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Outcome(NamedTuple):
    """How good the answer of either model to one prompt was, and what it cost, in any unit."""

    weak: float
    strong: float
    weak_cost: float
    strong_cost: float


class Point(NamedTuple):
    """A place on the curve: the share of calls that goes to the stronger model, their mean quality, their mean cost."""

    share: float
    quality: float
    cost: float


Curve = list[Point]


def curve(scores: Sequence[float], outcomes: Sequence[Outcome]) -> Curve:
    """Return the corners of the curve of a router that gave these scores."""
    number = len(outcomes)
    order = sorted(range(number), key=lambda at: -scores[at])
    quality = sum(each.weak for each in outcomes)
    cost = sum(each.weak_cost for each in outcomes)
    points = [Point(0.0, quality / number, cost / number)]
    for place, at in enumerate(order):
        quality += outcomes[at].strong - outcomes[at].weak
        cost += outcomes[at].strong_cost - outcomes[at].weak_cost
        if place + 1 == number or scores[order[place + 1]] != scores[at]:
            points.append(Point((place + 1) / number, quality / number, cost / number))
    return points


def coin(outcomes: Sequence[Outcome]) -> Curve:
    """Return the curve of a coin: the straight line."""
    return curve([0.0] * len(outcomes), outcomes)


def oracle(outcomes: Sequence[Outcome]) -> Curve:
    """Return the curve of one who knows both answers."""
    return curve([each.strong - each.weak for each in outcomes], outcomes)


def apgr(points: Curve) -> float | None:
    """Return the average part of the gap that is recovered; None where the stronger model is not better."""
    low, high = points[0].quality, points[-1].quality
    if high <= low:
        return None
    area = sum(
        (right.share - left.share) * (left.quality + right.quality - 2 * low) / 2 for left, right in pairwise(points)
    )
    return area / (high - low)


def at_share(points: Curve, share: float) -> Point:
    """Return the place where that share of calls goes to the stronger model."""
    for left, right in pairwise(points):
        if share <= right.share:
            return _between(left, right, (share - left.share) / (right.share - left.share))
    return points[-1]


def at_quality(points: Curve, quality: float) -> Point | None:
    """Return the first place that is as good as this; None where none is."""
    if points[0].quality >= quality:
        return points[0]
    for left, right in pairwise(points):
        if right.quality >= quality:
            return _between(left, right, (quality - left.quality) / (right.quality - left.quality))
    return None


def saving(points: Curve, place: Point) -> float:
    """Return the part of the cost of always asking the stronger model that is saved at a place; 0 where it is free."""
    most = points[-1].cost
    return 1.0 - place.cost / most if most > 0 else 0.0


def _between(left: Point, right: Point, part: float) -> Point:
    part = max(0.0, part)
    return Point(*[low + (high - low) * part for low, high in zip(left, right, strict=True)])
