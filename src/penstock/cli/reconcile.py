"""`penstock stats reconcile`: a provider's bill beside the ledger."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from typing import Any, Final

import click
import msgspec

from .._io.ledger.bills import UNNAMED, Bill, read_bill
from .._policy.figures import Where
from .._policy.period import Period, instant
from .._policy.reconcile import Difference, reconcile
from ..errors import EXIT_ROWS_FAILED
from ..ledger import LedgerReader, open_ledger
from ..types import to_usd
from .shown import count, in_cells, in_dollars, note, one_form, table, usd, write_json

DAY_S = 86_400
QUIET = ("equal", "near")


@click.command(name="reconcile")
@click.argument("bill")
@click.option("--provider", metavar="NAME", help="Whose bill it is, where the file does not tell.")
@click.option("--ledger", metavar="FILE", help="Another ledger than the user's own.")
@click.option("--all", "show_all", is_flag=True, help="Show the lines that agree, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print all lines as CSV.")
def command(bill: str, provider: str | None, ledger: str | None, show_all: bool, as_json: bool, as_csv: bool) -> None:
    """Say where a provider's BILL and the ledger differ, by UTC day and model; exits with 1 when they do.

    BILL is a cost or usage export of OpenAI or Anthropic (CSV of the dashboard, JSON of the admin interface), or a CSV
    or JSON with date, model and cost in dollars. Within 1 % or a cent counts as near: so much may be estimated.

    \b
    penstock stats reconcile cost_2026-11-01_2026-11-30.csv
    penstock stats reconcile bill.csv --provider openai --json
    """  # noqa: D301 - click wants the backspace itself
    one_form(as_json=as_json, as_csv=as_csv)
    told = read_bill(bill)
    with open_ledger(ledger) as reader:
        found = _compared(told, provider or told.provider, reader)
    differ = [one for one in found if one.verdict not in QUIET]
    if as_json:
        write_json({"bill": bill, "ledger": reader.path, "provider": provider or told.provider, **_sums(found),
                    "lines": [_tree(one) for one in found]})  # fmt: skip
    elif as_csv:
        rows = [in_cells(_tree(one)) for one in found]
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _show(found, differ, show_all=show_all)
    if differ:
        raise click.exceptions.Exit(EXIT_ROWS_FAILED)


def _compared(bill: Bill, provider: str | None, reader: LedgerReader) -> list[Difference]:
    days = sorted(line.day for line in bill.lines)
    asked = Period(instant(days[0], 0.0), instant(days[-1], 0.0) + DAY_S, f"{days[0]} to {days[-1]}")
    kept = reader.lines(asked, Where(provider=provider))
    if all(line.model == UNNAMED for line in bill.lines):
        kept = [msgspec.structs.replace(line, model=UNNAMED) for line in kept]
    return reconcile(bill.lines, kept)


def _tree(one: Difference) -> dict[str, Any]:
    return {f"{name}_cost" if f"{name}_nano" in _AMOUNTS else name: value for name, value in in_dollars(one).items()}


_AMOUNTS: Final = ("bill_nano", "ledger_nano", "apart_nano")


def _sums(found: list[Difference]) -> dict[str, Any]:
    return {
        "bill_cost": to_usd(sum(one.bill_nano or 0 for one in found)),
        "ledger_cost": to_usd(sum(one.ledger_nano or 0 for one in found)),
        "differing": sum(one.verdict not in QUIET for one in found),
    }


def _show(found: list[Difference], differ: list[Difference], *, show_all: bool) -> None:
    shown = found if show_all else differ
    if shown:
        rows = [
            (
                one.day,
                one.model,
                _money(one.bill_nano),
                _money(one.ledger_nano),
                _money(one.apart_nano),
                one.verdict,
                one.why,
            )
            for one in shown
        ]
        click.echo(table(rows, ("day", "model", "bill", "ledger", "apart", "", "")))
        click.echo()
    sums = _sums(found)
    verdicts = Counter(one.verdict for one in found)
    click.echo(
        f"bill {usd(sums['bill_cost'])}, ledger {usd(sums['ledger_cost'])}: "
        + ", ".join(f"{number:,} {verdict}" for verdict, number in verdicts.most_common())
    )
    if not differ:
        note(f"{count(len(found), 'line')} agree.", dim=True)


def _money(nano: int | None) -> str:
    return "-" if nano is None else usd(nano)
