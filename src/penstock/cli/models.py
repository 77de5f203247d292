"""`penstock models`: which models are known, and what they take."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import click

from .._io.settings import Settings, load
from .._wire.capabilities import family, no_schema
from .._wire.protocol import Provider
from .._wire.registry import resolve
from ..errors import UnknownModel
from .shown import count, note, table, write_json

ABILITIES = ("vision", "documents", "audio", "tools", "schema", "reasoning")


@click.command(name="models")
@click.argument("pattern", default="*")
@click.option("--provider", metavar="NAME", help="Only models of this provider.")
@click.option("--vision", is_flag=True, help="Only models that see pictures.")
@click.option("--documents", is_flag=True, help="Only models that read files.")
@click.option("--audio", is_flag=True, help="Only models that hear.")
@click.option("--tools", is_flag=True, help="Only models that call tools.")
@click.option("--schema", is_flag=True, help="Only models that can be held to a JSON Schema.")
@click.option("--reasoning", is_flag=True, help="Only models that think before they answer.")
@click.option("--min-context", type=click.IntRange(min=1), metavar="TOKENS", help="Only models that read as much.")
@click.option("--min-output", type=click.IntRange(min=1), metavar="TOKENS", help="Only models that write as much.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def command(
    pattern: str, provider: str | None, min_context: int | None, min_output: int | None, as_json: bool, **wanted: bool
) -> None:
    """Show what models take, of those that match PATTERN (* and ? stand for anything).

    What nobody knows of a model is a "?", and no filter finds it. Other models can be asked all the same.

    \b
    penstock models gpt-5
    penstock models --provider anthropic --min-context 500000
    penstock models --vision --tools --json
    """  # noqa: D301 - click wants the backspace itself
    settings = load()
    only = None if provider is None else resolve(f"{provider}:*", settings.providers)[0].owner
    rows = [row for row in _rows(settings, only) if _matches(row["model"], pattern)]
    if not rows:
        raise UnknownModel(f"no known model is like {pattern!r}; it can be asked all the same, as provider:name")
    needs = [name for name in ABILITIES if wanted[name]]
    fitting = [row for row in rows if all(row[name] for name in needs) and _holds(row, min_context, min_output)]
    unknown = sum(any(row[name] is None for name in needs) for row in rows)
    if as_json:
        write_json(fitting)
        return
    cells = [
        (
            row["model"],
            _tokens(row["context"]),
            _tokens(row["max_output"]),
            *(_said(row[name]) for name in ABILITIES),
            _usd(row["input"]),
            _usd(row["output"]),
        )
        for row in fitting
    ]
    click.echo(table(cells, ("model", "context", "output", *ABILITIES, "$ in", "$ out")))
    note(f"{count(len(fitting), 'model')}. Dollars per million tokens of {settings.prices.date}.", dim=True)
    if unknown:
        note(f"Of {count(unknown, 'model')} nobody knows whether they take {' and '.join(needs)}: not shown.", dim=True)


def _rows(settings: Settings, only: str | None) -> Iterator[dict[str, Any]]:
    owners = {row.prices or row.name: row for row in settings.providers.values() if not row.account}
    for shelf, model in settings.prices.names():
        provider = owners.get(shelf)
        if provider is not None and only in (None, provider.name):
            yield _row(settings, provider, model)


def _row(settings: Settings, provider: Provider, model: str) -> dict[str, Any]:
    known = family(model) if provider.families else None
    price = settings.prices.find(provider.name, model)
    schema = known.schema if known else None
    return {
        "model": f"{provider.name}:{model}",
        "context": settings.prices.window(provider.name, model) or (known.context if known else None),
        "max_output": known.max_output if known else None,
        "vision": known.images if known else None,
        "documents": known.documents if known else None,
        "audio": False if provider.wire == "anthropic" else known.audio if known else None,
        "tools": False if "tools" in provider.unsupported else known.tools if known else None,
        "schema": False if no_schema(model, provider) else schema,
        "reasoning": known.reasoning if known else None,
        "rejects": [*dict.fromkeys((*provider.unsupported, *(known.rejects if known else ())))],
        "wires": list(known.wires) if known and known.wires else None,
        "limits": provider.limits,
        "counting": provider.counting,
        "input": price.input if price else None,
        "output": price.output if price else None,
    }


def _matches(model: str, pattern: str) -> bool:
    wanted = pattern.lower() if any(mark in pattern for mark in "*?[") else f"*{pattern.lower()}*"
    return fnmatchcase(model.lower(), wanted)


def _holds(row: dict[str, Any], min_context: int | None, min_output: int | None) -> bool:
    return (row["context"] or 0) >= (min_context or 0) and (row["max_output"] or 0) >= (min_output or 0)


def _tokens(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _said(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


def _usd(amount: Decimal | None) -> str:
    return "?" if amount is None else f"{amount.normalize():f}"
