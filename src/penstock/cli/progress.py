"""How a bulk job shows itself while it runs: a live picture on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from .. import AsyncClient
from ..batch import Batch, BatchReport
from .shown import note, span, usd
from .streams import is_plain

if TYPE_CHECKING:
    from rich.console import RenderableType

DRAWN_EVERY_S: Final = 0.125
SAID_EVERY_S: Final = 5.0
RATE_OVER_S: Final = 10.0
WORTH_SAYING_S: Final = 1.0
"""A shorter wait for a limit is the ordinary pace of a run."""


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
            f"{usd(counted)} of {usd_cap(cap)}" if cap else usd(report.cost_nano),
        ]
    )


def usd_cap(cap: Decimal) -> str:
    """Write a budget as it was given."""
    return f"${cap:f}"


async def watch(batch: Batch, client: AsyncClient, *, title: str, quiet: bool, cap: Decimal | None) -> None:
    """Show a run until cancelled; `client` serves nothing else."""
    if quiet:
        return
    if is_plain(sys.stderr):
        await _say(batch, client, cap)
    else:
        await _draw(batch, client, title, cap)


async def _say(batch: Batch, client: AsyncClient, cap: Decimal | None) -> None:
    pace = Pace()
    pace.see(time.monotonic(), batch.report)
    while True:
        await asyncio.sleep(SAID_EVERY_S)
        now, report = time.monotonic(), live(batch.report, client)
        pace.see(now, report)
        still = f" · {found}" if (found := waits(client, now)) else ""
        note(f"{report.done:,}/{report.rows:,} rows · {line(report, pace, cap)} · {pace.left(report)} left{still}")


async def _draw(batch: Batch, client: AsyncClient, title: str, cap: Decimal | None) -> None:
    from rich.console import Console
    from rich.live import Live

    pace = Pace()
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as shown:
        try:
            while True:
                now, report = time.monotonic(), live(batch.report, client)
                pace.see(now, report)
                shown.update(_picture(report, pace, title, cap, waits(client, now)), refresh=True)
                await asyncio.sleep(DRAWN_EVERY_S)
        finally:
            shown.update(_picture(batch.report, pace, title, cap, ""), refresh=True)


def _picture(report: BatchReport, pace: Pace, title: str, cap: Decimal | None, still: str) -> RenderableType:
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
    more = [f"{report.in_flight:,} under way", f"{pace.tokens:,.0f} tokens/s", *lanes]
    waiting = [Text(still, style="yellow")] if still else []
    return Group(bar, Text(line(report, pace, cap)), Text(" · ".join(more), style="dim"), *waiting)
