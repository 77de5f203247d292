"""What the page shows, as values: one `View` per period and filter, one `CallShown` per call that is opened.

Amounts are whole nano-dollars, times seconds since 1970 (UTC), durations seconds. None is "unknown", never 0. A series
has one value per step of its chart, from `Series.t` on.
"""

from __future__ import annotations

import msgspec


class _Shown(msgspec.Struct, frozen=True, kw_only=True):
    pass


class PeriodShown(_Shown, frozen=True, kw_only=True):
    """The period of a view, cut to whole steps; `words` is its length in words, empty where it is everything."""

    name: str
    label: str
    words: str
    since: float
    until: float
    step_s: int


class LedgerShown(_Shown, frozen=True, kw_only=True):
    """Where the figures come from."""

    name: str
    path: str
    empty: bool


class Scope(_Shown, frozen=True, kw_only=True):
    """One capped budget; `where` tells budgets of one name apart: the file, or the process that keeps it."""

    name: str
    where: str
    cap_nano: int
    spent_nano: int
    held_nano: int


class Today(_Shown, frozen=True, kw_only=True):
    """What was spent since 00:00 UTC by all calls of the ledger, and the budget of the day where one is set."""

    spent_nano: int
    daily: Scope | None


class Tokens(_Shown, frozen=True, kw_only=True):
    """Tokens in the buckets that the page tells apart; cache writes of all lifetimes are one, and so is audio."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    audio: int = 0


class TotalsShown(_Shown, frozen=True, kw_only=True):
    """The sums of a period."""

    calls: int
    failed: int
    cached: int
    attempts: int
    rate_limited: int
    cost_nano: int
    unpriced: int
    estimated_nano: int
    usage: Tokens
    saved_cache_nano: int
    saved_batch_nano: int
    saved_routing_nano: int


class Percentiles(_Shown, frozen=True, kw_only=True):
    """Percentiles of `count` durations; None where there are none."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class PercentileSeries(_Shown, frozen=True, kw_only=True):
    """The same for each step."""

    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


class TokenSeries(_Shown, frozen=True, kw_only=True):
    """Tokens for each step."""

    input: list[int]
    cache_read: list[int]
    cache_write: list[int]
    output: list[int]
    reasoning: list[int]
    audio: list[int]


class ModelSeries(_Shown, frozen=True, kw_only=True):
    """Spend and calls of a model, the dearest first; the last one without a name stands for all others."""

    name: str
    cost_nano: list[int]
    calls: list[int]


class ErrorSeries(_Shown, frozen=True, kw_only=True):
    """Attempts that ended in an error class, the most frequent first; the last one without a code is all others."""

    code: str
    values: list[int]


class Series(_Shown, frozen=True, kw_only=True):
    """What the charts draw; `t` are the beginnings of the steps."""

    t: list[int]
    models: list[ModelSeries]
    tokens: TokenSeries
    latency: PercentileSeries
    first_token: PercentileSeries
    errors: list[ErrorSeries]


class LimitShown(_Shown, frozen=True, kw_only=True):
    """One limit of a lane and how much of it is in use; `name` is its unit, like 'requests per minute'."""

    name: str
    used: float
    limit: float


class LaneShown(_Shown, frozen=True, kw_only=True):
    """A lane as the client that uses it last told it; `stale` when that is a while ago."""

    name: str
    where: str
    state: str
    reason: str
    until_s: float | None
    in_flight: int
    queued: int
    limits: list[LimitShown]
    at_s: float
    stale: bool


class Row(_Shown, frozen=True, kw_only=True):
    """A call in a list."""

    id: str
    at_s: float
    model: str
    operation: str
    tags: dict[str, str]
    tokens: int
    attempts: int
    first_token_s: float | None
    latency_s: float
    cost_nano: int | None
    estimated: bool
    outcome: str
    cached: bool


class Lists(_Shown, frozen=True, kw_only=True):
    """The calls worth a look. `whole` is False where the dearest and slowest are those among the noted ones only."""

    dearest: list[Row]
    slowest: list[Row]
    failed: list[Row]
    latest: list[Row]
    whole: bool


class Name(_Shown, frozen=True, kw_only=True):
    """A model or tag that can be filtered by, and what it cost in the period where that is known."""

    name: str
    cost_nano: int | None


class Names(_Shown, frozen=True, kw_only=True):
    """What the menus offer."""

    models: list[Name]
    tags: list[Name]


class Before(_Shown, frozen=True, kw_only=True):
    """The period of the same length before."""

    cost_nano: int
    calls: int


class View(_Shown, frozen=True, kw_only=True):
    """All that the page shows for one period, model and tag. `version` changes with each commit in the ledger."""

    version: int
    at: float
    period: PeriodShown
    ledger: LedgerShown
    today: Today
    budgets: list[Scope]
    totals: TotalsShown
    previous: Before | None
    latency: Percentiles
    first_token: Percentiles
    series: Series
    lanes: list[LaneShown]
    calls: Lists
    names: Names
