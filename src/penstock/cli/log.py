"""`penstock log`: single calls, as they are written into the ledger."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any, Final, get_args

import click

from .._policy.figures import Where
from ..events import Operation
from ..ledger import CallRow, LedgerReader, open_ledger
from .shown import in_dollars, note, usd, write_line
from .stats import seconds, which
from .streams import is_plain

POLL_S: Final = 0.25
"""How often a followed ledger is looked at; asking whether anything changed costs microseconds."""

ONCE: Final = 1_000
"""Calls printed at once."""


@click.group(name="log")
def command() -> None:
    """Show single calls of the ledger.

    \b
    penstock log tail
    penstock log tail -f --outcome failed
    """  # noqa: D301 - click wants the backspace itself


@command.command(name="tail")
@click.option("-f", "--follow", is_flag=True, help="Go on with new calls as they are written, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0, max=100_000), default=20, show_default=True, help="How many.")
@click.option("-m", "--model", metavar="MODEL", help="Only this model, with or without its provider.")
@click.option("--provider", metavar="NAME", help="Only this provider.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only calls with this tag; repeatable.")
@click.option("--outcome", metavar="WORD", help="Only 'ok', 'failed', or the code of an error, as rate_limited.")
@click.option("--operation", type=click.Choice(get_args(Operation)), help="Only what was asked so.")
@click.option("--task", metavar="ID", help="Only the calls of one task.")
@click.option("--ledger", metavar="FILE", help="Another ledger than the user's own.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def tail(follow: bool, lines: int, ledger: str | None, as_json: bool, **options: Any) -> None:
    """Show the newest calls, oldest first; with -f go on as they come.

    \b
    penstock log tail -n 50 --model gpt-4o-mini
    penstock log tail -f --json | jq 'select(.outcome != "ok")'
    """  # noqa: D301 - click wants the backspace itself
    where = which(**options)
    with open_ledger(ledger) as reader:
        last = reader.last_id()
        rows = reader.tail(limit=lines, where=where) if lines else []
        for row in rows:
            _print(row, as_json=as_json)
        if lines and not rows:
            note(f"no such call yet; the ledger is {reader.path}")
        if follow:
            _follow(reader, where, last, as_json=as_json)


def _follow(reader: LedgerReader, where: Where, last: int, *, as_json: bool) -> None:
    seen = -1
    while True:
        version = reader.version
        if version == seen:
            time.sleep(POLL_S)
            continue
        seen = version
        newest = reader.last_id()
        rows = reader.tail(after_id=last, limit=ONCE, where=where)
        for row in rows:
            _print(row, as_json=as_json)
        last = rows[-1].id if len(rows) == ONCE else max(newest, rows[-1].id if rows else 0)
        if len(rows) == ONCE:
            seen = -1


def _print(row: CallRow, *, as_json: bool) -> None:
    if as_json:
        write_line(in_dollars(row))
    else:
        click.echo(_line(row))


def _line(row: CallRow) -> str:
    at = datetime.fromtimestamp(row.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    tokens = "" if row.usage is None else f"{row.usage.prompt:,}→{row.usage.completion:,}"
    extra = [f"{row.attempts} attempts"] if row.attempts > 1 else []
    extra += ["cached"] if row.cached else []
    extra += ["estimated"] if row.usage is not None and row.usage.estimated else []
    extra += [f"{name}={value}" for name, value in row.tags.items()]
    outcome = row.outcome
    if not is_plain(sys.stdout):
        outcome = click.style(outcome, fg="green" if outcome == "ok" else "red")
    padded = outcome + " " * max(0, 12 - len(row.outcome))
    parts = [at, row.call_id, f"{row.provider}:{row.model}", row.operation, padded, seconds(row.latency_s), tokens]
    return "  ".join([*(part for part in parts if part), usd(row.cost_nano), *extra])
