"""`penstock prices`: what models cost, and as of when."""

from __future__ import annotations

from decimal import Decimal
from fnmatch import fnmatchcase

import click

from .._io.settings import Settings, load
from .._policy.prices import PriceRow
from .._wire.registry import resolve
from ..errors import PenstockError, UnknownModel
from .shown import note, table, write_json


@click.command(name="prices")
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the date and the rows.")
def command(pattern: str, as_json: bool) -> None:
    """Show prices in dollars per million tokens, of the models that match PATTERN (* and ? stand for anything).

    \b
    penstock prices claude
    penstock prices "openai:gpt-4o*" --json
    """  # noqa: D301 - click wants the backspace itself
    settings = load()
    prices = settings.prices
    rows = _matching(settings, pattern)
    if not rows:
        raise UnknownModel(
            f"no price is known for {pattern!r}; what it costs will be shown as unknown. Your own prices go into "
            "[prices] of penstock.toml"
        )
    if as_json:
        write_json({"date": prices.date, "source": prices.source, "unit": "USD per million tokens", "prices": rows})
        return
    cells = [
        (
            f"{row.provider}:{row.model}",
            _usd(row.input),
            _usd(row.output),
            _usd(row.cache_read),
            _usd(row.cache_write),
            _more(row),
        )
        for row in rows
    ]
    click.echo(table(cells, ("model", "input", "output", "cache read", "cache write", "")))
    note(f"Dollars per million tokens. Prices of {prices.date}, {prices.source}.", dim=True)


def _matching(settings: Settings, pattern: str) -> list[PriceRow]:
    wanted = pattern.lower() if any(mark in pattern for mark in "*?[") else f"*{pattern.lower()}*"
    found = (settings.prices.find(*name) for name in settings.prices.names() if _matches(name, wanted))
    rows = {(row.provider, row.model): row for row in found if row is not None}
    if not rows:
        try:
            provider_row, name = resolve(pattern, settings.providers)
        except PenstockError:
            return []
        row = settings.prices.find(provider_row.prices or provider_row.name, name)
        return [] if row is None else [row]
    return list(rows.values())


def _matches(name: tuple[str, str], wanted: str) -> bool:
    return fnmatchcase(":".join(name).lower(), wanted)


def _usd(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount.normalize():f}"


def _more(row: PriceRow) -> str:
    shown = [f"above {band.above_tokens:,} tokens: {_usd(band.input)} / {_usd(band.output)}" for band in row.bands]
    if row.per_request:
        shown.append(f"+ {_usd(row.per_request)} per request")
    return "; ".join(shown)
