"""How a bulk job shows itself while it runs: a live picture on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ..batch import Batch, BatchReport
from .shown import note, span, usd

if TYPE_CHECKING:
    from rich.console import RenderableType

DRAWN_EVERY_S: Final = 0.125
SAID_EVERY_S: Final = 5.0
RATE_OVER_S: Final = 10.0


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


async def watch(batch: Batch, *, title: str, quiet: bool, cap: Decimal | None) -> None:
    """Show a run until cancelled."""
    if quiet:
        return
    if sys.stderr.isatty():
        await _draw(batch, title, cap)
    else:
        await _say(batch, cap)


async def _say(batch: Batch, cap: Decimal | None) -> None:
    pace = Pace()
    pace.see(time.monotonic(), batch.report)
    while True:
        await asyncio.sleep(SAID_EVERY_S)
        report = batch.report
        pace.see(time.monotonic(), report)
        note(f"{report.done:,}/{report.rows:,} rows · {line(report, pace, cap)} · {pace.left(report)} left")


async def _draw(batch: Batch, title: str, cap: Decimal | None) -> None:
    from rich.console import Console
    from rich.live import Live

    pace = Pace()
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        try:
            while True:
                report = batch.report
                pace.see(time.monotonic(), report)
                live.update(_picture(report, pace, title, cap), refresh=True)
                await asyncio.sleep(DRAWN_EVERY_S)
        finally:
            live.update(_picture(batch.report, pace, title, cap), refresh=True)


def _picture(report: BatchReport, pace: Pace, title: str, cap: Decimal | None) -> RenderableType:
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
    return Group(bar, Text(line(report, pace, cap)), Text(" · ".join(more), style="dim"))
