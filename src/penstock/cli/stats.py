"""`penstock stats`: what calls cost and how they went, from the ledger."""

from __future__ import annotations

import csv
import difflib
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, get_args

import click

from .._policy.figures import Figures, Where
from .._policy.period import Period
from .._policy.rollup import USAGE
from ..events import Operation
from ..ledger import LedgerReader, Stats, between, open_ledger, period
from ..remedies import REMEDIES
from ..types import to_usd
from .shown import count, in_cells, note, one_form, span, table, usd, write_json

PERCENTS: Final = (50, 95, 99)
DAY_S: Final = 86_400
OUTCOMES: Final = ("ok", "failed", *REMEDIES, "cancelled", "bug")


class StatsGroup(click.Group):
    """Questions with a period, or `reconcile`: the one word that is no period."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments of `reconcile` for it; no other word can follow a period, as it would after a group."""
        if args[:1] == ["reconcile"]:
            ctx.meta["penstock.reconcile"] = args[1:]
            args = []
        return click.Command.parse_args(self, ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Answer, or hand over."""
        rest = ctx.meta.get("penstock.reconcile")
        if rest is None:
            return click.Command.invoke(self, ctx)
        command = import_reconcile()
        with command.make_context("reconcile", rest, parent=ctx) as inner:
            return command.invoke(inner)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The one command."""
        return ["reconcile"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        return import_reconcile() if cmd_name == "reconcile" else None


class PeriodArgument(click.Argument):
    """The period, which is no part of the name of `stats reconcile`."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show it in the usage of its own command only."""
        return super().get_usage_pieces(ctx) if self in ctx.command.params else []


def import_reconcile() -> click.Command:
    """Return `penstock stats reconcile`."""
    from .reconcile import command as found

    return found


def which(*, tags: Sequence[str], task: str | None, **others: str | None) -> Where:
    """Read the options that choose calls.

    Raises: click.UsageError for a tag without a value, or an outcome that no call can have.
    """
    outcome = others.get("outcome")
    if outcome is not None and outcome not in OUTCOMES:
        near = difflib.get_close_matches(outcome, OUTCOMES, n=1)
        hint = f"did you mean {near[0]}?" if near else "expected ok, failed, or the code of an error, as rate_limited"
        raise click.UsageError(f"--outcome {outcome}: no call ends so; {hint}")
    found = {}
    for tag in tags:
        name, mark, value = tag.partition("=")
        if not mark or not name:
            raise click.UsageError(f"--tag {tag}: expected a name and a value, as in --tag team=sre")
        found[name] = value
    task = found.pop("task", task)
    return Where(tags=found, task=task, **others)


def when(text: str | None, since: str | None, until: str | None, default: str) -> Period:
    """Read the period of a question.

    Raises: ConfigError; click.UsageError where both kinds are given.
    """
    if since is None and until is None:
        return period(text or default)
    if text is not None:
        raise click.UsageError(f"give a period ({text}) or --since and --until, not both")
    return between(since, until)


@click.group(
    cls=StatsGroup,
    name="stats",
    invoke_without_command=True,
    subcommand_metavar="",
    context_settings={"allow_interspersed_args": True, "allow_extra_args": False},
)
@click.argument("when_", cls=PeriodArgument, metavar="[PERIOD]", required=False)
@click.option("--since", metavar="TIME", help="From this instant: a date, a time (UTC), or how long ago, as 3h.")
@click.option("--until", metavar="TIME", help="Up to this instant.")
@click.option("-m", "--model", metavar="MODEL", help="Only this model, with or without its provider.")
@click.option("--provider", metavar="NAME", help="Only this provider.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only calls with this tag; repeatable.")
@click.option("--outcome", metavar="WORD", help="Only 'ok', 'failed', or the code of an error, as rate_limited.")
@click.option("--operation", type=click.Choice(get_args(Operation)), help="Only what was asked so.")
@click.option("--task", metavar="ID", help="Only the calls of one task (the tag 'task'), of all time unless told.")
@click.option("--by", metavar="WHAT", help="A line for each: model, provider, operation, outcome, day, hour, tag:NAME.")
@click.option("--ledger", metavar="FILE", help="Another ledger than the user's own.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the lines as CSV.")
def command(
    when_: str | None,
    since: str | None,
    until: str | None,
    by: str | None,
    ledger: str | None,
    as_json: bool,
    as_csv: bool,
    **options: Any,
) -> None:
    """Show what calls cost and how they went, in a PERIOD (all times are UTC): today unless told.

    A PERIOD is today, yesterday, week, month, last-month, year, all, a span up to now such as 24h, 7d or 4w, a day
    (2026-11-20) or a month (2026-11). Percentiles are within 2 %.

    \b
    penstock stats
    penstock stats 7d --by day
    penstock stats month --by tag:team --csv
    penstock stats --task 8f14 --json
    penstock stats reconcile bill.csv
    """  # noqa: D301 - click wants the backspace itself
    one_form(as_json=as_json, as_csv=as_csv)
    where = which(**options)
    asked = when(when_, since, until, "all" if where.task is not None else "today")
    grouped = by or "model"
    with open_ledger(ledger) as reader:
        found = reader.stats(asked, where, by=grouped)
        if as_json:
            write_json(_tree(found, grouped, reader.path))
        elif as_csv:
            _write_csv(found, grouped)
        else:
            _show(found, grouped, reader)


def days(stats: Stats) -> float:
    """Return how many days a period has had so far, from its first record on; at least one hour."""
    if stats.first_s is None:
        return 1.0
    start = max(stats.period.start_s, stats.first_s // DAY_S * DAY_S)
    return max(min(time.time(), stats.period.end_s) - start, 3600.0) / DAY_S


def figures(one: Figures) -> dict[str, Any]:
    """Return figures as they are printed for programs: dollars as numbers, seconds, and every sum."""
    return {
        "calls": one.calls,
        "failed": one.failed,
        "error_rate": one.error_rate,
        "cost": one.cost,
        "cost_per_call": one.cost_per_call,
        "unpriced_attempts": one.unpriced,
        "estimated_attempts": one.estimated,
        "estimated_cost": to_usd(one.estimated_nano),
        "attempts": one.attempts,
        "retries": one.retries,
        "rate_limited": one.rate_limited,
        "refused": one.refused,
        "cached": one.cached,
        "cache_saved": to_usd(one.saved_nano),
        "batched": one.batched,
        "batch_saved": to_usd(one.batch_saved_nano),
        "routed": one.routed,
        "route_saved": to_usd(one.route_saved_nano),
        "tokens": {name: getattr(one, name) for name in USAGE},
        "latency_s": {f"p{percent}": one.latency_s(percent) for percent in PERCENTS},
        "first_token_s": {f"p{percent}": one.first_token_s(percent) for percent in PERCENTS},
        "wait_s": one.wait_us / 1e6,
    }


def _tree(stats: Stats, by: str, path: str) -> dict[str, Any]:
    return {
        "ledger": path,
        "period": stats.period,
        "days": days(stats),
        "cost_per_day": to_usd(int(stats.total.cost_nano / days(stats))),
        "whole": stats.whole,
        "lost_records": stats.lost,
        "total": figures(stats.total),
        "by": by,
        "groups": {name: figures(one) for name, one in _ordered(stats, by)},
    }


def _ordered(stats: Stats, by: str) -> list[tuple[str, Figures]]:
    """Return groups as people look for them: time in its order, all else by what it cost."""
    if by in ("day", "hour"):
        return sorted(stats.groups.items())
    return sorted(stats.groups.items(), key=lambda one: (-one[1].cost_nano, -one[1].calls, one[0]))


def _write_csv(stats: Stats, by: str) -> None:
    rows = [in_cells({by: name, **_flat(figures(one))}) for name, one in _ordered(stats, by)]
    writer = csv.DictWriter(sys.stdout, [by, *_flat(figures(Figures()))], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= {
                f"{inner}_{name}" if name == "tokens" else f"{name}_{inner}": each for inner, each in value.items()
            }
        else:
            found[name] = value
    return found


def _show(stats: Stats, by: str, reader: LedgerReader) -> None:
    total = stats.total
    if not total.calls and not total.attempts:
        click.echo(f"no such call (period: {stats.period.name}, UTC); the ledger is {reader.path}")
        return
    lines = [("calls", _calls(total)), ("cost", _cost(stats)), ("tokens", _tokens(total))]
    lines += [("latency", _percentiles(total.latency_s)), ("first token", _percentiles(total.first_token_s))]
    lines.append(("attempts", _attempts(total)))
    saved = _saved(total)
    lines += [("saved", saved)] if saved else []
    click.echo(f"{stats.period.name} (UTC)")
    for name, value in lines:
        if value:
            click.echo(f"  {name:<12}{value}")
    click.echo()
    click.echo(table([_cells(name, one) for name, one in _ordered(stats, by)], (by, *_HEAD)))
    if not stats.whole:
        note("Some of it is no longer there: single calls are kept for a while only (keep_days), sums for ever.")
    if stats.lost:
        note(f"{count(stats.lost, 'record')} of this period could not be written and are not in these figures.")


_HEAD: Final = ("calls", "failed", "cost", "a call", "in", "out", "p50", "p95", "p99", "first p50", "p95")


def _cells(name: str, one: Figures) -> tuple[str, ...]:
    return (
        name,
        f"{one.calls:,}",
        f"{one.failed:,}",
        _money(one),
        "-" if one.cost_per_call is None else usd(one.cost_per_call),
        f"{one.tokens - one.output - one.reasoning - one.audio_out:,}",
        f"{one.output + one.reasoning + one.audio_out:,}",
        *(seconds(one.latency_s(percent)) for percent in PERCENTS),
        *(seconds(one.first_token_s(percent)) for percent in PERCENTS[:2]),
    )


def _money(one: Figures) -> str:
    if one.unpriced and not one.cost_nano:
        return "unknown"
    return usd(one.cost_nano) + (" +?" if one.unpriced else "")


def seconds(value: float | None) -> str:
    """Write a duration, a short one in milliseconds."""
    return "-" if value is None else span(value) if value >= 1 else f"{value * 1e3:.0f} ms"


def _calls(total: Figures) -> str:
    shown = f"{total.calls:,}"
    if total.failed:
        shown += f", {total.failed:,} failed ({total.failed / max(1, total.calls):.1%})"
    return shown + (f", {total.cached:,} from the cache" if total.cached else "")


def _cost(stats: Stats) -> str:
    total = stats.total
    shown = _money(total).removesuffix(" +?")
    if total.cost_per_call:
        shown += f", {usd(total.cost_per_call)} a call"
    over = days(stats)
    if over > 1 and total.cost_nano:
        shown += f", {usd(int(total.cost_nano / over))} a day"
    if total.estimated_nano:
        shown += f"; {usd(total.estimated_nano)} of it estimated ({count(total.estimated, 'attempt')})"
    if total.unpriced:
        shown += f"; {count(total.unpriced, 'attempt')} of unknown cost"
    return shown


def _tokens(total: Figures) -> str:
    named = {name: getattr(total, name) for name in USAGE}
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in named.items() if number)


def _percentiles(of: Any) -> str:
    values = [(percent, of(percent)) for percent in PERCENTS]
    return "" if values[0][1] is None else "  ".join(f"p{percent} {seconds(value)}" for percent, value in values)


def _attempts(total: Figures) -> str:
    parts = [f"{total.attempts:,}"]
    parts += [f"{total.retries:,} of them retries"] if total.retries else []
    parts += [f"{total.rate_limited:,} answered with 429"] if total.rate_limited else []
    parts += [f"{total.refused:,} more refused before sending"] if total.refused else []
    parts += [f"{span(total.wait_us / 1e6)} waited for limits"] if total.wait_us >= 10_000 else []
    return ", ".join(parts)


def _saved(total: Figures) -> str:
    parts = [
        (total.saved_nano, "by the cache"),
        (total.batch_saved_nano, "by batches"),
        (total.route_saved_nano, "by routing, against the strongest model"),
    ]
    return ", ".join(f"{usd(nano)} {how}" for nano, how in parts if nano)
