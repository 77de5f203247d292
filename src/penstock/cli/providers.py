"""`penstock providers`: which providers there are, and which of them can be asked now."""

from __future__ import annotations

from typing import Any

import click

from .._io.settings import Settings, load
from ..errors import ConfigError, MissingKey
from .shown import note, table, write_json


@click.command(name="providers")
@click.argument("pattern", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def command(pattern: str | None, as_json: bool) -> None:
    """Show the providers: is a key set, where requests go, which bare model names belong to them.

    \b
    penstock providers
    penstock providers anthropic --json
    """  # noqa: D301 - click wants the backspace itself
    settings = load()
    rows = [_row(settings, name) for name in settings.providers if pattern is None or pattern.lower() in name.lower()]
    if not rows:
        known = ", ".join(settings.providers)
        raise ConfigError(f"there is no provider like {pattern!r}; known are {known}")
    if as_json:
        write_json(rows)
        return
    cells = [
        (
            row["provider"],
            _key(row),
            row["base_url"] or "not set",
            " ".join(row["models"][:4]) or "any, as provider:name",
        )
        for row in rows
    ]
    click.echo(table(cells, ("provider", "key", "address", "bare names")))
    note(
        "Write a model as provider:name. A provider of your own is a table [providers.NAME] in penstock.toml.", dim=True
    )


def _row(settings: Settings, name: str) -> dict[str, Any]:
    provider = settings.providers[name]
    try:
        secret, origin = settings.key(provider)
        key = "set" if secret is not None else "not needed"
    except MissingKey:
        key, origin = "missing", ""
    try:
        address = settings.base_url(provider)
        base_url, base_from = address.value, address.origin
    except ConfigError:
        base_url, base_from = None, "not set"
    return {
        "provider": name,
        "wire": provider.wire,
        "account": provider.owner,
        "limits": provider.limits,
        "counting": provider.counting,
        "key": key,
        "key_from": origin,
        "key_env": list(provider.key_env),
        "base_url": base_url,
        "base_url_from": base_from,
        "models": list(provider.models),
        "aliases": list(provider.aliases),
        "docs": provider.docs,
    }


def _key(row: dict[str, Any]) -> str:
    if row["key"] == "missing":
        return f"set {row['key_env'][0]}" if row["key_env"] else "missing"
    return f"set ({row['key_from']})" if row["key"] == "set" else "not needed"
