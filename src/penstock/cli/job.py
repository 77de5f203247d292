"""Running a bulk job from the command line: signals, progress, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
from decimal import Decimal
from typing import Final, Protocol

import click

from .. import AsyncClient
from ..batch import BatchReport
from ..errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_ROWS_FAILED, EXIT_UNAVAILABLE, BudgetExceeded
from .progress import Form, Watched, usd_cap, watch
from .shown import count, note, span, usd, write_json
from .signals import on_stop
from .streams import printing

_ARGS: Final = "penstock.args"


class Recorded(click.Command):
    """A command that remembers how it was called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, and keep them."""
        ctx.meta[_ARGS] = list(args)
        return super().parse_args(ctx, args)


def args_of(context: click.Context) -> list[str]:
    """Return how a command was called."""
    args: list[str] = context.meta[_ARGS]
    return args


class Job(Watched, Protocol):
    """A checked run of many rows: a `Batch`, or an `EmbedJob`."""

    async def run(self) -> BatchReport:
        """Do it."""
        ...

    def stop(self) -> None:
        """End it gently."""
        ...

    def cancel(self) -> None:
        """End it at once."""
        ...


async def conduct(
    batch: Job, client: AsyncClient, *, title: str, form: Form = "text", cap: Decimal | None = None
) -> BatchReport:
    """Run a checked job and show its progress; the first Ctrl-C stops it gently, the second at once."""
    presses = 0

    def on_signal() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            waiting = batch.report.in_flight
            if waiting:
                note(f"\nstopping: waiting for {count(waiting, 'call')} under way; Ctrl-C again cuts them")
            batch.stop()
        else:
            batch.cancel()

    shown = asyncio.create_task(watch(batch, client, title=title, form=form, cap=cap))
    with on_stop(on_signal):
        try:
            await asyncio.sleep(0)  # a Ctrl-C from before this line ends it here, and not once calls are under way
            return await batch.run()
        finally:
            shown.cancel()
            # A picture that can no longer be drawn, as on a terminal that went away, takes no result with it.
            with contextlib.suppress(asyncio.CancelledError, OSError, ValueError):
                await shown


def summary(report: BatchReport, output: str, cap: Decimal | None = None) -> str:
    """Say in a few lines how a run ended."""
    parts = [f"{report.answered:,} answered"]
    if report.failed:
        codes = ", ".join(f"{number:,} {code}" for code, number in sorted(report.failures.items()) if number)
        parts.append(f"{report.failed:,} failed ({codes})" if codes else f"{report.failed:,} failed")
    if report.before:
        parts.append(f"{report.before:,} answered before")
    if report.kept:
        parts.append(f"{report.kept:,} failed before")
    if report.left:
        away = f", {report.in_batches:,} of them in batches at the provider" if report.in_batches else ""
        parts.append(f"{report.left:,} left{away}")
    tokens = report.usage.total
    cost = usd(report.cost_nano) if report.cost_nano or not report.unpriced else "cost unknown"
    unpriced = (
        f" (+ {count(report.unpriced, 'attempt')} of unknown cost)" if report.unpriced and report.cost_nano else ""
    )
    earlier = f" (+ {usd(report.cost_before_nano)} by earlier runs)" if report.cost_before_nano else ""
    budget = f" of the budget of {usd_cap(cap)}" if cap is not None else ""
    cut = (
        f" {count(report.cut, 'call')} under way {'was' if report.cut == 1 else 'were'} cut: paid perhaps, at a cost "
        "that nobody told."
        if report.cut
        else ""
    )
    torn = (
        f"A torn last line of {count(report.mended.torn_bytes, 'byte')}, left by a killed run, was cut off and its row "
        "asked again.\n"
        if report.mended.torn_bytes
        else ""
    )
    retries = count(report.retries, "retry")
    return torn + (
        f"{count(report.rows, 'row')}: {', '.join(parts)}. {retries}, {report.rate_limited:,}×429, "
        f"{count(tokens, 'token')}, {cost}{unpriced}{earlier}{budget}, {span(report.elapsed_s)}.{cut}\nOutput: {output}"
    )


def explain(report: BatchReport, *, resumes: bool = True) -> str:
    """Say why a run ended early and how to go on, where it can be resumed; empty when it did not."""
    if report.stopped is None:
        return ""
    lines = []
    if report.cause is not None:
        lines.append(f"stopped: {report.cause}")
    if report.unwritten:
        lines.append(
            f"{count(report.unwritten, 'answer')} came after the output could not grow and will be asked again"
        )
    again = shlex.join(["penstock", *sys.argv[1:]])
    left = f"{count(report.left, 'row')} left"
    match report.stopped:
        case _ if not resumes:
            lines.append(f"{left}; run again, it starts afresh")
        case "submitted":
            lines.append(f"{left}, in batches at the provider, which go on by themselves. To collect them:\n  {again}")
        case "interrupted" if report.in_batches:
            lines.append(
                f"stopped with {left}; {report.in_batches:,} of them are in batches at the provider, which go on and "
                f"are paid. To collect them and go on:\n  {again}"
            )
        case "interrupted":
            lines.append(f"stopped with {left}. To go on:\n  {again}")
        case "budget" if _is_spent(report.cause):
            lines.append(f"{left}; raise the budget and go on with the same command:\n  {again}")
        case _ if report.left:
            lines.append(f"{left}; to go on once that is mended:\n  {again}")
        case _:
            lines.append("every row has its line; what is made of the lines (order, table, failed rows) is missing")
    return "\n".join(lines)


def _is_spent(cause: object) -> bool:
    """Whether a higher budget is the remedy: not where a price is unknown or one call alone costs too much."""
    return isinstance(cause, BudgetExceeded) and cause.needed_nano is not None and cause.scope != "per_call"


def exit_code(report: BatchReport) -> int:
    """Choose what the command exits with."""
    if report.stopped == "interrupted":
        return EXIT_INTERRUPTED
    if report.stopped == "submitted":
        return EXIT_OK
    if report.stopped is not None:
        return report.cause.exit_code if report.cause else EXIT_UNAVAILABLE
    return EXIT_ROWS_FAILED if report.failed or report.kept else EXIT_OK


def finish(
    report: BatchReport, output: str, *, quiet: bool, as_json: bool = False, cap: Decimal | None = None, more: str = ""
) -> None:
    """Print how the run ended, with `more` lines or as JSON, and exit."""
    if not quiet and not as_json:
        note(summary(report, output, cap) + more)
    if why := explain(report):
        note(f"penstock: {why}")
    if as_json:
        with printing(f"the run has ended and {output} is written, but its summary is lost"):
            write_json({"event": "end", "output": output, **report.figures()})
    raise click.exceptions.Exit(exit_code(report))
