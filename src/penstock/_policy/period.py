"""A stretch of time as people say it: 'today', '7d', 'month', '2026-11', or from one instant to another. All in UTC."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from ..errors import ConfigError

NAMED: Final = ("today", "yesterday", "week", "month", "last-month", "year", "all")
HOW: Final = (
    "today, yesterday, week, month, last-month, year, all, a span up to now such as 24h, 7d or 4w, a day (2026-11-20) "
    "or a month (2026-11)"
)
_SPAN: Final = re.compile(r"(\d{1,5})(m|h|d|w)", re.ASCII)
_MONTH: Final = re.compile(r"\d{4}-\d{2}", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_UNIT_S: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
FOREVER_S: Final = 253_402_300_800
"""The year 10000: later than any record."""


class Period(msgspec.Struct, frozen=True):
    """From `start_s` up to and without `end_s`, in seconds since 1970 (UTC); `name` is for people."""

    start_s: float
    end_s: float
    name: str


def period(text: str, now_s: float) -> Period:
    """Read a period. Spans in days and weeks have whole days, today among them; '24h' ends now.

    Raises: ConfigError.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = day + timedelta(days=1)
    month = day.replace(day=1)
    if text in NAMED:
        start, end = {
            "today": (day, tomorrow),
            "yesterday": (day - timedelta(days=1), day),
            "week": (day - timedelta(days=6), tomorrow),
            "month": (month, _next_month(month)),
            "last-month": ((month - timedelta(days=1)).replace(day=1), month),
            "year": (month.replace(month=1), month.replace(year=month.year + 1, month=1)),
            "all": (None, None),
        }[text]
        return _period(start, end, text)
    if found := _SPAN.fullmatch(text):
        return _span(int(found[1]), found[2], now_s, tomorrow, text)
    try:
        if _DAY.fullmatch(text):
            start = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return _period(start, start + timedelta(days=1), text)
        if _MONTH.fullmatch(text):
            start = datetime.fromisoformat(f"{text}-01").replace(tzinfo=UTC)
            return _period(start, _next_month(start), text)
    except ValueError as error:
        raise ConfigError(f"period {text!r} is no date: {error}") from None
    near = difflib.get_close_matches(text, NAMED, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"there is no period {text!r}; {hint}expected {HOW}")


def between(since: str | None, until: str | None, now_s: float) -> Period:
    """Read a period from two instants, each a date, a time (2026-11-20T14:30, in UTC unless it says otherwise), or how
    long ago (3h).

    Raises: ConfigError.
    """  # noqa: D205 - one sentence
    start_s = 0.0 if since is None else instant(since, now_s)
    end_s = float(FOREVER_S) if until is None else instant(until, now_s)
    if until is None and start_s > now_s:
        raise ConfigError(f"the period from {since} until now is empty; expected an instant that is over")
    if end_s <= start_s:
        raise ConfigError(f"the period from {since} until {until} is empty; expected the earlier instant first")
    return Period(start_s, end_s, f"{since or 'the beginning'} to {until or 'now'}")


def instant(text: str, now_s: float) -> float:
    """Read an instant.

    Raises: ConfigError.
    """
    if found := _SPAN.fullmatch(text):
        return now_s - int(found[1]) * _UNIT_S[found[2]]
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text!r} is no instant; expected a date (2026-11-20), a time (2026-11-20T14:30), or how long ago (3h, 7d)"
        ) from None


def _span(number: int, unit: str, now_s: float, tomorrow: datetime, text: str) -> Period:
    if not number:
        raise ConfigError(f"period {text!r} is empty; expected at least 1{unit}")
    if unit in "mh":
        return Period(now_s - number * _UNIT_S[unit], float(FOREVER_S), text)
    end_s = tomorrow.timestamp()
    return Period(end_s - number * _UNIT_S[unit], end_s, text)


def _next_month(first: datetime) -> datetime:
    return (first + timedelta(days=32)).replace(day=1)


def _period(start: datetime | None, end: datetime | None, name: str) -> Period:
    return Period(
        0.0 if start is None else start.timestamp(), float(FOREVER_S) if end is None else end.timestamp(), name
    )
