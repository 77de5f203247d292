"""The ledger from Python: what is kept, and what it cost.

from penstock.ledger import open_ledger, period

with open_ledger() as ledger:
stats = ledger.stats(period("7d"), by="model")
stats.total.cost, stats.groups["openai:gpt-4o-mini"].latency_s(95)
"""

from __future__ import annotations

import time

from ._io.ledger.read import LedgerReader, open_ledger
from ._io.ledger.records import AttemptRow, CallDetail, CallRow, Choices, Point, State, Stats
from ._io.ledger.settings import Ledger, file_of, home
from ._policy.figures import Figures, Where
from ._policy.period import Period
from ._policy.period import between as _between
from ._policy.period import period as _period

__all__ = [
    "AttemptRow",
    "CallDetail",
    "CallRow",
    "Choices",
    "Figures",
    "Ledger",
    "LedgerReader",
    "Period",
    "Point",
    "State",
    "Stats",
    "Where",
    "between",
    "file_of",
    "home",
    "open_ledger",
    "period",
]


def period(text: str, now_s: float | None = None) -> Period:
    """Read a period as people say it: 'today', '7d', 'month', '2026-11', …; in UTC.

    Raises: ConfigError.
    """
    return _period(text, time.time() if now_s is None else now_s)


def between(since: str | None = None, until: str | None = None, now_s: float | None = None) -> Period:
    """Read a period from two instants, each a date, a time or how long ago ('3h'); in UTC.

    Raises: ConfigError.
    """
    return _between(since, until, time.time() if now_s is None else now_s)
