"""How a 429 says how long to wait, and what an answer said of it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from email.utils import formatdate, parsedate_to_datetime
from typing import Literal

RetryForm = Literal["both", "seconds", "date", "none"]


def hinted_s(form: RetryForm, wait_s: float) -> float:
    """The wait as the words of a 429 put it: exactly beside milliseconds, else as the header rounds it."""
    return wait_s if form == "both" else _whole(wait_s)


def retry_headers(form: RetryForm, wait_s: float, now: float) -> tuple[tuple[str, str], ...]:
    """The headers that tell to wait `wait_s`; `now` in epoch seconds is for the date, which is never too early."""
    seconds = _whole(wait_s)
    match form:
        case "none":
            return ()
        case "date":
            return (("retry-after", formatdate(math.ceil(now + seconds), usegmt=True)),)
        case "seconds":
            return (("retry-after", str(seconds)),)
    return (("retry-after", str(seconds)), ("retry-after-ms", str(max(1, math.ceil(wait_s * 1000)))))


def told_s(headers: Iterable[tuple[str, str]], now: float) -> float | None:
    """The wait that headers tell, in seconds from `now` and at least 0; the milliseconds win. None: not told."""
    found = dict(headers)
    with contextlib.suppress(KeyError, ValueError):
        return max(0.0, float(found["retry-after-ms"]) / 1000)
    value = found.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    return None


def _whole(wait_s: float) -> int:
    return max(1, math.ceil(wait_s))
