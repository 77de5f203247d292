"""A run as it goes: its pace, what binds it, and when it will be over. Whoever shows it shows the same figures."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from ..client import AsyncClient
from ..types import to_usd
from .report import BatchReport

RATE_OVER_S: Final = 10.0
"""The pace is that of so many last seconds, or of half the run if that is longer: answers come in gusts."""


class Speed:
    """Rows and tokens per second over the last while."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()
        self._began: float | None = None

    def see(self, now: float, report: BatchReport) -> None:
        """Note where the run is."""
        done = report.answered + report.failed
        if not done:  # the first answers take their time, which says nothing of the pace
            self._seen.clear()
        if self._began is None or not done:
            self._began = now
        self._seen.append((now, done, report.usage.total))
        over_s = max(RATE_OVER_S, (now - self._began) / 2)
        while now - self._seen[0][0] > over_s:
            self._seen.popleft()

    def _per_s(self, column: int) -> float:
        if not self._seen:
            return 0.0
        first, last = self._seen[0], self._seen[-1]
        return (last[column] - first[column]) / (last[0] - first[0]) if last[0] > first[0] else 0.0

    @property
    def rows(self) -> float:
        """Rows finished per second."""
        return self._per_s(1)

    @property
    def tokens(self) -> float:
        """Tokens per second."""
        return self._per_s(2)

    def left_s(self, report: BatchReport) -> float | None:
        """How long the rest takes at this pace, None while there is none."""
        return report.left / self.rows if self.rows > 0 else None


def live(report: BatchReport, client: AsyncClient) -> BatchReport:
    """Add what calls under way have sent so far to the figures of a run, which count calls that ended."""
    limiters = [lane.limiter for lane in client.lanes()]
    sent = sum(limiter.granted for limiter in limiters)
    begun = report.answered + report.failed + report.in_flight
    return msgspec.structs.replace(
        report,
        attempts=max(report.attempts, sent),
        retries=max(report.retries, sent - begun),
        rate_limited=max(report.rate_limited, sum(limiter.rejected for limiter in limiters)),
    )


def binding(report: BatchReport, client: AsyncClient, concurrency: int) -> str:
    """Name what holds the run back now: a dimension of a limit, a number of calls at once, or the provider's speed."""
    if report.stopped == "budget":
        return "budget"
    queued = [lane.limiter for lane in client.lanes() if lane.limiter.queued]
    if not queued:
        return "concurrency" if report.in_flight >= concurrency else "provider"
    limiter = max(queued, key=lambda each: each.queued)
    if limiter.paused_until is not None:
        return "retry-after"
    if limiter.in_flight_cap is not None and limiter.in_flight >= limiter.in_flight_cap:
        return "in-flight cap"
    return max(limiter.dimensions, key=lambda each: each.utilisation).name if limiter.dimensions else "provider"


def projected_nano(report: BatchReport) -> int | None:
    """Scale what this run cost so far to all of its rows; None before its first result."""
    done = report.answered + report.failed
    return report.cost_nano * (done + report.left) // done if done else None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows that are left will take, by those that were asked: nano-dollars (None: unknown) and seconds.

    `bound` names what the time follows from: a limit, or 'concurrency' where none is known; 'batch' where the rows go
    through batches, whose `seconds` are not known.
    """

    rows: int
    cost_nano: int | None
    seconds: float | None
    bound: str


def forecast(report: BatchReport, client: AsyncClient, concurrency: int, latency_s: float) -> Forecast | None:
    """Scale a sample to the rows that are left, None without an answer. `latency_s` is how long an answer took.

    The time is that of the tightest limit the client knows, and of the last answer.
    """
    if not report.answered:
        return None
    done, left = report.answered + report.failed, report.left
    calls = max(1, report.attempts) / done * left
    tokens = {
        "requests": calls,
        "input_tokens": report.usage.prompt / done * left,
        "output_tokens": report.usage.completion / done * left,
        "tokens": report.usage.total / done * left,
    }
    times = {"concurrency": left * latency_s / min(concurrency, left) if left else 0.0}
    lanes = client.lanes()
    for lane in lanes:
        for each in lane.limiter.dimensions:
            needed = tokens[each.name] / len(lanes) * each.period_s / each.limit
            times[each.name] = max(times.get(each.name, 0.0), needed)
    bound = max(times, key=lambda name: times[name])
    cost_nano = None if report.unpriced else report.cost_nano * left // done
    return Forecast(rows=left, cost_nano=cost_nano, seconds=times[bound] + latency_s, bound=bound)


def live_figures(report: BatchReport, client: AsyncClient, speed: Speed, concurrency: int) -> dict[str, Any]:
    """Return the figures of a run with its pace, for machines."""
    shown, left_s, projected = live(report, client), speed.left_s(report), projected_nano(report)
    return {
        **shown.figures(),
        "rows_per_s": round(speed.rows, 3),
        "tokens_per_s": round(speed.tokens, 1),
        "eta_s": None if left_s is None else round(left_s, 1),
        "cost_projected": None if projected is None else to_usd(projected),
        "binding": binding(shown, client, concurrency),
        "limits": {
            lane.name: {each.name: round(each.utilisation, 4) for each in lane.limiter.dimensions}
            for lane in client.lanes()
        },
    }
