"""How a bulk job shows itself while it runs: a live picture on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, Protocol

from .. import AsyncClient
from ..batch import BatchReport, Speed, ViaBatch, binding, live, live_figures, projected_nano
from .shards import lines_of
from .shown import note, span, usd, write_json
from .streams import is_plain

if TYPE_CHECKING:
    from rich.console import RenderableType

Form = Literal["text", "json", "none"]
"""How a run is shown: to people on stderr, to machines on stdout, or not at all."""

DRAWN_EVERY_S: Final = 0.125
SAID_EVERY_S: Final = 5.0
SHARDS_DRAWN: Final = 5
"""So many shards under way fit beside the figures."""

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


def line(report: BatchReport, speed: Speed, cap: Decimal | None) -> str:
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
            f"{speed.rows:.1f} rows/s",
            f"{usd(counted)} of {usd_cap(cap)}" if cap else _of_projected(report),
        ]
    )


def _of_projected(report: BatchReport) -> str:
    """Write what the run cost so far, and what all of it will cost at that rate."""
    projected = projected_nano(report)
    more = f" of ~{usd(projected)}" if projected and report.left else ""
    return usd(report.cost_nano) + more


def _left(report: BatchReport, speed: Speed) -> str:
    seconds = speed.left_s(report)
    return "?" if seconds is None else span(seconds)


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
    speed = Speed()
    speed.see(time.monotonic(), batch.report)
    while True:
        await asyncio.sleep(SAID_EVERY_S)
        report = batch.report
        speed.see(time.monotonic(), report)
        if not _only_batches(report):
            write_json({"event": "progress", **live_figures(report, client, speed, batch.concurrency)})


def _only_batches(report: BatchReport) -> bool:
    """Whether all that goes on goes on at providers, which may take a day and is told of as it happens."""
    return bool(report.in_batches) and not report.in_flight


async def _say(batch: Watched, client: AsyncClient, cap: Decimal | None) -> None:
    speed = Speed()
    speed.see(time.monotonic(), batch.report)
    while True:
        await asyncio.sleep(SAID_EVERY_S)
        now, report = time.monotonic(), live(batch.report, client)
        speed.see(now, report)
        if _only_batches(report):
            continue
        still = f" · {found}" if (found := waits(client, now)) else ""
        held = f" · held by {binding(report, client, batch.concurrency)}"
        note(
            f"{report.done:,}/{report.rows:,} rows · {line(report, speed, cap)} · {_left(report, speed)} left"
            + held
            + still
        )


async def _draw(batch: Watched, client: AsyncClient, title: str, cap: Decimal | None) -> None:
    from rich.console import Console
    from rich.live import Live

    speed = Speed()
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as shown:
        try:
            while True:
                now, report = time.monotonic(), live(batch.report, client)
                speed.see(now, report)
                held = binding(report, client, batch.concurrency)
                shards = lines_of(batch.open_shards) if isinstance(batch, ViaBatch) else []
                still = "\n".join([*shards[:SHARDS_DRAWN], *filter(None, [waits(client, now)])])
                shown.update(_picture(report, speed, title, cap, still, held), refresh=True)
                await asyncio.sleep(DRAWN_EVERY_S)
        finally:
            shown.update(_picture(batch.report, speed, title, cap), refresh=True)


def _picture(
    report: BatchReport, speed: Speed, title: str, cap: Decimal | None, still: str = "", held: str = ""
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
        Text(f"{report.done:,}/{report.rows:,} {share}, {_left(report, speed)} left"),
    )
    lanes = [f"{lane.model} {lane.answered:,}{' closed' if lane.closed else ''}" for lane in report.lanes if lane.model]
    under_way = f"{report.in_flight:,} under way" + (f" (held by {held})" if held else "")
    if report.in_batches:
        under_way = f"{report.in_batches:,} in batches"
    more = [under_way, f"{speed.tokens:,.0f} tokens/s", *lanes]
    more += [f"{number:,} {code}" for code, number in sorted(report.failures.items()) if number]
    waiting = [Text(still, style="yellow")] if still else []
    return Group(bar, Text(line(report, speed, cap)), Text(" · ".join(more), style="dim"), *waiting)
