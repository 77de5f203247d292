"""How a bulk job shows itself while it runs: a live picture on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from .. import AsyncClient
from ..batch import BatchReport
from ..types import to_usd
from .shown import note, span, usd, write_json
from .streams import is_plain

if TYPE_CHECKING:
    from rich.console import RenderableType

Form = Literal["text", "json", "none"]
"""How a run is shown: to people on stderr, to machines on stdout, or not at all."""

DRAWN_EVERY_S: Final = 0.125
SAID_EVERY_S: Final = 5.0
RATE_OVER_S: Final = 10.0
WORTH_SAYING_S: Final = 1.0
"""A shorter wait for a limit is the ordinary pace of a run."""


class Watched(Protocol):
    """A run of many rows, as far as it is shown."""

    begun: asyncio.Event
    concurrency: int

    @property
    def report(self) -> BatchReport:
        """The run as it stands."""
        ...


class Pace:
    """Rows and tokens per second over the last ten seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()

    def see(self, now: float, report: BatchReport) -> None:
        """Note where the run is."""
        self._seen.append((now, report.answered + report.failed, report.usage.total))
        while now - self._seen[0][0] > RATE_OVER_S:
            self._seen.popleft()

    def _per_s(self, column: int) -> float:
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

    def left(self, report: BatchReport) -> str:
        """How long the rest takes at this pace."""
        return span(report.left / self.rows) if self.rows > 0 else "?"


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
    """Name what holds the run back now: a dimension of a limit, a number of calls at once, or the provider's pace."""
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


def waits(client: AsyncClient, now: float) -> str:
    """Say which lanes stand still and for how long; empty while all go on."""
    still: list[str] = []
    lanes = client.lanes()
    for lane in lanes:
        who = f"{lane.name}: " if len(lanes) > 1 else ""
        shut_s = (lane.breaker.open_until or now) - now
        limit_s = max(lane.limiter.paused_until or now, lane.limiter.next_at or now) - now
        if shut_s > 0:
            still.append(f"{who}failed too often, tried again in {shut_s:.0f} s")
        elif limit_s >= WORTH_SAYING_S and lane.limiter.queued:
            still.append(f"{who}waiting for the provider's limit ({limit_s:.0f} s)")
    return "; ".join(still)


def line(report: BatchReport, pace: Pace, cap: Decimal | None) -> str:
    """Write the figures of a run on one line; beside a cap stands what counts against it."""
    counted = report.cost_nano + report.cost_before_nano
    before = [f"{report.before:,} before"] if report.before else []
    return " · ".join(
        [
            f"{report.answered:,} answered",
            *before,
            f"{report.failed:,} failed",
            f"{report.retries:,} retried",
            f"{report.rate_limited:,}×429",
            f"{pace.rows:.1f} rows/s",
            f"{usd(counted)} of {usd_cap(cap)}" if cap else _of_projected(report),
        ]
    )


def _of_projected(report: BatchReport) -> str:
    """Write what the run cost so far, and what all of it will cost at that rate."""
    projected = projected_nano(report)
    more = f" of ~{usd(projected)}" if projected and report.left else ""
    return usd(report.cost_nano) + more


def usd_cap(cap: Decimal) -> str:
    """Write a budget as it was given."""
    return f"${cap:f}"


async def watch(batch: Watched, client: AsyncClient, *, title: str, form: Form, cap: Decimal | None) -> None:
    """Show a run until cancelled; `client` serves nothing else."""
    if form == "none":
        return
    await batch.begun.wait()
    if form == "json":
        await _emit(batch, client)
    elif is_plain(sys.stderr):
        await _say(batch, client, cap)
    else:
        await _draw(batch, client, title, cap)


async def _emit(batch: Watched, client: AsyncClient) -> None:
    pace = Pace()
    pace.see(time.monotonic(), batch.report)
    while True:
        await asyncio.sleep(SAID_EVERY_S)
        now, report = time.monotonic(), live(batch.report, client)
        pace.see(now, report)
        projected = projected_nano(report)
        write_json(
            {
                "event": "progress",
                **report.figures(),
                "rows_per_s": round(pace.rows, 3),
                "tokens_per_s": round(pace.tokens, 1),
                "eta_s": round(report.left / pace.rows, 1) if pace.rows > 0 else None,
                "cost_projected": None if projected is None else to_usd(projected),
                "binding": binding(report, client, batch.concurrency),
                "limits": {
                    lane.name: {each.name: round(each.utilisation, 4) for each in lane.limiter.dimensions}
                    for lane in client.lanes()
                },
            }
        )


async def _say(batch: Watched, client: AsyncClient, cap: Decimal | None) -> None:
    pace = Pace()
    pace.see(time.monotonic(), batch.report)
    while True:
        await asyncio.sleep(SAID_EVERY_S)
        now, report = time.monotonic(), live(batch.report, client)
        pace.see(now, report)
        still = f" · {found}" if (found := waits(client, now)) else ""
        held = f" · held by {binding(report, client, batch.concurrency)}"
        note(
            f"{report.done:,}/{report.rows:,} rows · {line(report, pace, cap)} · {pace.left(report)} left{held}{still}"
        )


async def _draw(batch: Watched, client: AsyncClient, title: str, cap: Decimal | None) -> None:
    from rich.console import Console
    from rich.live import Live

    pace = Pace()
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as shown:
        try:
            while True:
                now, report = time.monotonic(), live(batch.report, client)
                pace.see(now, report)
                held = binding(report, client, batch.concurrency)
                shown.update(_picture(report, pace, title, cap, waits(client, now), held), refresh=True)
                await asyncio.sleep(DRAWN_EVERY_S)
        finally:
            shown.update(_picture(batch.report, pace, title, cap), refresh=True)


def _picture(
    report: BatchReport, pace: Pace, title: str, cap: Decimal | None, still: str = "", held: str = ""
) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    share = f"{report.done / report.rows:.0%}" if report.rows else "0%"
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(title, style="bold"),
        ProgressBar(total=max(1, report.rows), completed=report.done, width=24),
        Text(f"{report.done:,}/{report.rows:,} {share}, {pace.left(report)} left"),
    )
    lanes = [f"{lane.model} {lane.answered:,}{' closed' if lane.closed else ''}" for lane in report.lanes if lane.model]
    under_way = f"{report.in_flight:,} under way" + (f" (held by {held})" if held else "")
    more = [under_way, f"{pace.tokens:,.0f} tokens/s", *lanes]
    more += [f"{number:,} {code}" for code, number in sorted(report.failures.items()) if number]
    waiting = [Text(still, style="yellow")] if still else []
    return Group(bar, Text(line(report, pace, cap)), Text(" · ".join(more), style="dim"), *waiting)
