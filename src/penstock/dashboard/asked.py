"""What a viewer asks for: a period, a model, a tag. It comes from an address bar, so everything in it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ..errors import InputError

NAME_LENGTH_MAX: Final = 300
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400


class Period(msgspec.Struct, frozen=True):
    """A span of time up to now: how it is called, how long it is, and the step of its charts; None spans everything."""

    name: str
    label: str
    words: str
    span_s: int | None
    step_s: int


PERIODS: Final = {
    period.name: period
    for period in (
        Period("1h", "last hour", "hour", HOUR_S, MINUTE_S),
        Period("24h", "last 24 hours", "24 hours", DAY_S, HOUR_S),
        Period("7d", "last 7 days", "7 days", 7 * DAY_S, 6 * HOUR_S),
        Period("30d", "last 30 days", "30 days", 30 * DAY_S, DAY_S),
        Period("90d", "last 90 days", "90 days", 90 * DAY_S, 2 * DAY_S),
        Period("1y", "last 52 weeks", "52 weeks", 364 * DAY_S, 7 * DAY_S),
        Period("all", "all calls", "", None, DAY_S),
    )
}
DEFAULT: Final = "24h"


class Asked(msgspec.Struct, frozen=True):
    """One view: the period by its name, and what it is narrowed to; `tag` is written 'name=value'."""

    period: str = DEFAULT
    model: str | None = None
    tag: str | None = None


def read(query: Mapping[str, str]) -> Asked:
    """Read the query of an address.

    Raises: InputError.
    """
    period = query.get("period") or DEFAULT
    if period not in PERIODS:
        raise InputError(f"period={period[:40]!r} is unknown; one of: {', '.join(PERIODS)}")
    for name in ("model", "tag"):
        if len(query.get(name, "")) > NAME_LENGTH_MAX:
            raise InputError(f"{name} is longer than {NAME_LENGTH_MAX} characters")
    tag = query.get("tag") or None
    if tag is not None and not all(tag.partition("=")):
        raise InputError(f"tag={tag[:40]!r} must be written name=value, like team=search")
    return Asked(period, query.get("model") or None, tag)
