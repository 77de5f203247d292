"""Limits and waits as providers tell them in headers and bodies; what cannot be read is ignored, nothing ever raises.

    OpenAI, Groq     x-ratelimit-{limit,remaining,reset}-{requests,tokens}; resets are durations such as 1m0.198s
                     (Groq counts requests per day)
    Azure            the same names; resets are not believed, their unit changed from ms to s
    Anthropic        anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-…; resets are RFC 3339, often past
    Mistral          x-ratelimit-{limit,remaining}-{req-minute,req-10-second,tokens-minute,tokens-month}; no resets
    OpenRouter       x-ratelimit-{limit,remaining,reset} on a 429 only; reset is epoch milliseconds
    xAI              x-ratelimit-{limit,remaining}-{requests,tokens}; no resets
    Together         x-ratelimit-{limit,remaining,reset}; reset in seconds; the limit's period is not documented
    Cohere           x-trial-endpoint-call-{limit,remaining} for trial keys, per minute; no resets; none for other keys
    Gemini           none; a 429 says in its body how long to wait (RetryInfo) and which quota it was (QuotaFailure)

Source: reference/wire.md section 11. Header names arrive in lower case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Literal

from ..types import LimitSeen
from .protocol import Provider
from .said import parse

Dimension = Literal["requests", "tokens", "input_tokens", "output_tokens"]

# Patterns are compiled with the first text that they are needed for.
_DURATION: Final = r"(?a)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
_NUMBER: Final = r"(?a)\d+(?:\.\d+)?"
_UNLIMITED: Final = 2**62
"""Counts from here on mean "no limit": Hugging Face sends just under 2^63."""
_EPOCH_S: Final = 1e9
_EPOCH_MS: Final = 1e12
_DAY_S: Final = 86_400.0
_MONTH_S: Final = 30 * _DAY_S
_LONGEST_S: Final = 366 * _DAY_S
"""A longer wait or reset is garbage, not a wait."""

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_HTTP_DATE: Final = (
    r"(?ai)(?:[a-z]{3,9},? +)?(?P<day>\d{1,2})[ -](?P<month>[a-z]{3})[ -](?P<year>\d{4}|\d{2}) +"
    r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?: +(?P<zone>[a-z]{2,4}|[+-]\d{4}))?"
)
_ASCTIME: Final = (
    r"(?ai)[a-z]{3} (?P<month>[a-z]{3}) +(?P<day>\d{1,2}) (?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d) (?P<year>\d{4})"
)
_HINT: Final = (
    r"(?ai)(?:try again|retry|retry-after|wait)(?: again)? ?(?:in|after|for)?:? *"
    r"(?P<value>(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+(?:\.\d+)?(?:ms|s)?)?)"
    r"(?P<unit> *(?:milli)?(?:seconds?|minutes?))?"
)

_Row = tuple[Dimension, str, str, str, float]


def _rows(pattern: str, *names: tuple[Dimension, str, float], resets: bool = True) -> tuple[_Row, ...]:
    def named(what: str, name: str) -> str:
        return pattern.format(what=what, name=name)

    return tuple(
        (dimension, named("limit", name), named("remaining", name), named("reset", name) if resets else "", period_s)
        for dimension, name, period_s in names
    )


_OPENAI: Final = "x-ratelimit-{what}-{name}"
_NAMES: Final[Mapping[str, tuple[_Row, ...]]] = {
    "openai": _rows(_OPENAI, ("requests", "requests", 60.0), ("tokens", "tokens", 60.0)),
    "xai": _rows(_OPENAI, ("requests", "requests", 60.0), ("tokens", "tokens", 60.0)),
    "azure": _rows(_OPENAI, ("requests", "requests", 60.0), ("tokens", "tokens", 60.0), resets=False),
    "groq": _rows(_OPENAI, ("requests", "requests", _DAY_S), ("tokens", "tokens", 60.0)),
    "anthropic": _rows(
        "anthropic-ratelimit-{name}-{what}",
        ("requests", "requests", 60.0),
        ("tokens", "tokens", 60.0),
        ("input_tokens", "input-tokens", 60.0),
        ("output_tokens", "output-tokens", 60.0),
    ),
    "cohere": _rows("x-trial-endpoint-call-{what}", ("requests", "", 60.0), resets=False),
}
_MISTRAL_NAMES: Final[tuple[tuple[Dimension, str, float], ...]] = (
    ("requests", "req-minute", 60.0),
    ("requests", "req-10-second", 10.0),
    ("tokens", "tokens-minute", 60.0),
    ("tokens", "tokens-month", _MONTH_S),
)


def duration_s(text: str) -> float | None:
    """Read a Go-like duration such as 1h8m25.745s, 17.4s or 26ms; None when it is none."""
    found = re.fullmatch(_DURATION, text.strip()) if text.strip() else None
    if found is None:
        return None
    days, hours, minutes, seconds, millis = (float(part) if part else 0.0 for part in found.groups())
    total = days * _DAY_S + hours * 3600 + minutes * 60 + seconds + millis / 1000
    return total if total <= _LONGEST_S else None


def wait_s(text: str, wall_s: float) -> float | None:
    """Read a wait: seconds, an HTTP or RFC 3339 date, an epoch, or a duration; past is 0, garbage is None."""
    text = text.strip()
    if re.fullmatch(_NUMBER, text):
        value = float(text)
        if value >= _EPOCH_MS:
            value = value / 1000 - wall_s
        elif value >= _EPOCH_S:
            value -= wall_s
        return _believable(value)
    instant = _rfc3339(text) or _http_date(text)
    return duration_s(text) if instant is None else _believable(instant - wall_s)


def retry_after_s(
    status: int, headers: Mapping[str, str], body: bytes, provider: Provider, *, wall_s: float
) -> float | None:
    """Return how long a failed answer asks to wait, None when it does not say.

    Where retry-after and retry-after-ms disagree the longer one holds: Azure sends 1 beside 0. On a success the
    headers mean nothing: Anthropic sends retry-after on 200. A date is read by the server's own clock where it tells
    it, since the clock of this machine (`wall_s`) may be wrong by hours.
    """
    if 200 <= status < 400:
        return None
    told_s = _http_date(headers.get("date", ""))
    if told_s is not None:
        wall_s = told_s
    told = [wait_s(headers.get("retry-after", ""), wall_s)]
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        millis = headers.get(name, "").strip()
        if re.fullmatch(_NUMBER, millis):
            told.append(_believable(float(millis) / 1000))
    known = [seconds for seconds in told if seconds is not None]
    if known:
        return max(known)
    hint = _hint(body)
    if hint is not None or status != 429:
        return hint
    spent = [
        seen.reset_s
        for seen in limits_seen(headers, provider, wall_s=wall_s)
        if seen.remaining == 0 and seen.reset_s is not None
    ]
    return max(spent, default=None)


def limits_seen(headers: Mapping[str, str], provider: Provider, *, wall_s: float) -> tuple[LimitSeen, ...]:
    """Return what the headers of any answer say of the provider's limits."""
    kind = provider.limits
    rows = _NAMES.get(kind)
    if rows is not None:
        found = [_named(headers, row, wall_s) for row in rows]
    elif kind == "mistral":
        found = [_mistral(headers, *row) for row in _MISTRAL_NAMES]
    elif kind == "none":
        return ()
    else:
        found = [_single(headers, wall_s, known_period=kind == "openrouter")]
    return tuple([seen for seen in found if seen is not None])


def _named(headers: Mapping[str, str], row: _Row, wall_s: float) -> LimitSeen | None:
    dimension, limit_name, remaining_name, reset_name, period_s = row
    told, left = headers.get(limit_name), headers.get(remaining_name)
    if told and left and told.isdecimal() and left.isdecimal() and left != "0" and len(told) < 16 > len(left):
        limit = int(told)  # by far the most common form, read without the detours below
        if limit:
            return LimitSeen(dimension=dimension, limit=limit, remaining=int(left), period_s=period_s)
    if told is None and left is None:
        return None
    limited, remaining = _count(told), _count(left)
    # The reset is only of interest where nothing is left: OpenAI tells the time to a full bucket on every answer.
    reset_s = wait_s(headers.get(reset_name, ""), wall_s) if remaining == 0 and reset_name else None
    return _seen(dimension, limited, remaining, reset_s, period_s)


def _mistral(headers: Mapping[str, str], dimension: Dimension, name: str, period_s: float) -> LimitSeen | None:
    limit = _count(headers.get(f"x-ratelimit-limit-{name}"))
    remaining = _count(headers.get(f"x-ratelimit-remaining-{name}"))
    return _seen(dimension, limit, remaining, None, period_s)


def _single(headers: Mapping[str, str], wall_s: float, *, known_period: bool) -> LimitSeen | None:
    reset_s = wait_s(headers.get("x-ratelimit-reset", ""), wall_s)
    period_s = _DAY_S if reset_s is not None and reset_s > 60 else 60.0
    limit, remaining = _count(headers.get("x-ratelimit-limit")), _count(headers.get("x-ratelimit-remaining"))
    if not known_period:  # "2 requests" per what? Adopted as a minute's limit it would starve the lane
        limit = None
    return _seen("requests", limit, remaining, reset_s, period_s)


def _seen(
    dimension: Dimension, limit: int | None, remaining: int | None, reset_s: float | None, period_s: float
) -> LimitSeen | None:
    if limit == 0:  # a sentinel: Azure sends 0 and -1 for limits that it does not tell
        limit = remaining = None
    if limit is None and remaining is None:
        return None
    return LimitSeen(dimension=dimension, limit=limit, remaining=remaining, reset_s=reset_s, period_s=period_s)


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip()
    if not re.fullmatch(_NUMBER, text):
        return None
    value = int(float(text)) if "." in text else int(text[:30])
    return value if value < _UNLIMITED else None


def _believable(seconds: float) -> float | None:
    if not math.isfinite(seconds) or seconds > _LONGEST_S:
        return None
    return max(seconds, 0.0)


def _rfc3339(text: str) -> float | None:
    if len(text) < 19 or text[4] != "-":
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _http_date(text: str) -> float | None:
    found = re.fullmatch(_HTTP_DATE, text) or re.fullmatch(_ASCTIME, text)
    if found is None:
        return None
    parts = found.groupdict()
    year = int(parts["year"])
    if year < 100:
        year += 1900 if year >= 70 else 2000
    zone = parts.get("zone") or "GMT"
    offset = timedelta(0)
    if zone[0] in "+-":
        offset = timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[3:]))
    try:
        month = _MONTHS.index(parts["month"].lower()) + 1
        clock = (int(parts["h"]), int(parts["m"]), int(parts["s"]))
        return datetime(year, month, int(parts["day"]), *clock, tzinfo=timezone(offset)).timestamp()
    except (ValueError, OverflowError):
        return None


def _hint(body: bytes) -> float | None:
    if not body:
        return None
    said = parse(body[:1_000_000])
    if said.retry_delay:
        told = wait_s(said.retry_delay, 0.0)
        if told is not None:
            return told
    found = re.search(_HINT, said.message)
    value = found.group("value") if found else ""
    if not found or not value:
        return None
    unit = (found.group("unit") or "").strip().lower()
    if re.fullmatch(_NUMBER, value):
        scale = 60.0 if unit.startswith("minute") else 0.001 if unit.startswith("milli") else 1.0
        return _believable(float(value) * scale)
    return duration_s(value)
