"""How figures look on a screen, and where things are written: answers to stdout, all else to stderr."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..types import to_usd
from .streams import is_plain, tell

if TYPE_CHECKING:
    from .._policy.tally import Totals

_encoder = msgspec.json.Encoder(decimal_format="number")


def usd(amount: Decimal | int | None) -> str:
    """Write dollars (a Decimal) or nano-dollars (an int) with as many places as say something."""
    if amount is None:
        return "unknown cost"
    value = to_usd(amount) if isinstance(amount, int) else amount
    if value == 0:
        return "$0"
    size = abs(value)
    places = 2 if size >= 10 else 4 if size >= Decimal("0.01") else 6 if size >= Decimal("0.0001") else 9
    shown = f"${value:,.{places}f}"
    return shown.rstrip("0") if places == 9 else shown


def exact_usd(nano: int) -> str:
    """Write nano-dollars to the last digit."""
    return f"${to_usd(nano):,.9f}"


def in_dollars(record: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a record for programs: an amount `cost_nano` is `cost`, in dollars."""
    told: dict[str, Any] = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name.endswith("_nano"):
            name, value = name.removesuffix("_nano"), None if value is None else to_usd(value)
        told[name] = value
    return told


def in_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for CSV: amounts without exponents."""
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in row.items()}


def span(seconds: float) -> str:
    """Write a duration: 0.42 s, 12.3 s, 3:05 or 2:03:05."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def count(number: int, noun: str) -> str:
    """Write a number with its noun: 1 row, 2,000 rows; '429' stays as it is."""
    many = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def columns() -> int:
    """Return how wide the terminal is."""
    return shutil.get_terminal_size().columns


def table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """Lay out plain columns, wide enough for each cell."""
    cells = [head, *rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def note(text: str, *, dim: bool = False) -> None:
    """Say something to the user beside the answer."""
    tell(click.style(text, dim=True) if dim and not is_plain(sys.stderr) else text)


def one_form(*, as_json: bool, as_csv: bool) -> None:
    """Refuse to choose between two forms of output.

    Raises: click.UsageError.
    """
    if as_json and as_csv:
        raise click.UsageError("give --json or --csv, not both")


def figures_line(parts: Sequence[str]) -> str:
    """Join figures with dots; on a terminal that is too narrow for all of them, over lines."""
    lines = [parts[0]]
    for part in parts[1:]:
        joined = f"{lines[-1]} · {part}"
        if sys.stderr.isatty() and len(joined) > columns():
            lines.append(part)
        else:
            lines[-1] = joined
    return "\n".join(lines)


def write_line(value: Any) -> None:
    """Print one JSON value on one line, wherever it goes."""
    click.echo(_encoder.encode(value))


def write_json(value: Any) -> None:
    """Print one JSON value: on one line into a pipe, indented on a terminal."""
    data = _encoder.encode(value)
    click.echo(
        msgspec.json.format(data, indent=2 if sys.stdout.isatty() else 0).decode() if sys.stdout.isatty() else data
    )


def settled(used: Totals) -> str:
    """Say what calls that were stopped have cost."""
    if not used.attempts:
        return "nothing was sent"
    if not used.unpriced:
        return f"settled at {_spent(used)}"
    return "the request went out, and what it cost is unknown"


def _spent(used: Totals) -> str:
    if used.unpriced and not used.cost_nano:
        return "unknown cost"
    return f"{'about ' if used.usage.estimated or used.unpriced else ''}{usd(used.cost_nano)}"
