"""`penstock doctor`: what is set, where it comes from, and what is installed. A key is never shown."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Final

import click
import msgspec

from .. import __version__
from .._io.settings import Settings, load
from .._io.tokenizer import VOCABULARIES, present
from ..errors import ConfigError, MissingKey
from .shown import table, write_json

PARTS: Final = {
    "aiohttp": "async transport",
    "urllib3": "sync transport",
    "msgspec": "JSON",
    "httpx2": "transport 'httpx2' (extra: httpx2)",
    "uvloop": "faster event loop for bulk runs (extra: fast)",
    "rich": "progress pictures",
    "prometheus-client": "metrics (extra: metrics)",
    "opentelemetry-api": "spans (extra: otel)",
    "tiktoken": "token counts of OpenAI models (extra: tokens)",
}


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Show settings with their sources, which keys are found, which files are read, and versions.

    \b
    penstock doctor
    penstock doctor --json | jq .keys
    """  # noqa: D301 - click wants the backspace itself
    found = _look(load())
    if as_json:
        write_json(found)
        return
    click.echo(f"penstock {found['version']}, Python {found['python']}, {found['platform']}\n")
    click.echo(f"settings files: {', '.join(found['files']) or 'none (penstock.toml would be read here)'}")
    for name, value in found["settings"].items():
        click.echo(f"  {name} = {value}")
    if found["budget_file"]:
        click.echo(f"budget shared in {found['budget_file']} (penstock budget show)")
    click.echo(f"prices of {found['prices']['date']} ({found['prices']['source']})\n")
    keys = [(name, key["from"], key["base_url"], key["base_url_from"]) for name, key in found["keys"].items()]
    if keys:
        click.echo(table(keys, ("provider", "key from", "address", "address from")))
    else:
        click.echo("no API key is set: export OPENAI_API_KEY or ANTHROPIC_API_KEY, or run `penstock sim`")
    click.echo()
    parts = [(name, version or "not installed", PARTS[name]) for name, version in found["parts"].items()]
    click.echo(table(parts, ("part", "version", "for")))
    here = [name for name, is_here in found["tokens"].items() if is_here]
    click.echo()
    if here:
        click.echo(f"token counts: with tiktoken's {', '.join(here)} for OpenAI models, else estimated")
    else:
        click.echo("token counts: estimated, within a third; corrected by what each model reports while a client runs")


def _look(settings: Settings) -> dict[str, Any]:
    said = msgspec.to_builtins(settings.file, enc_hook=lambda secret: "***")
    return {
        "version": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(terse=True),
        "files": list(settings.files),
        "settings": {name: value for name, value in said.items() if name not in ("providers", "prices")},
        "providers": len(settings.providers),
        "own_providers": sorted(settings.file.providers),
        "own_prices": sorted(settings.file.prices),
        "budget_file": None if settings.budget is None or not settings.budget.file else str(settings.budget.file),
        "prices": {"date": settings.prices.date, "source": settings.prices.source},
        "keys": {name: found for name in settings.providers if (found := _key(settings, name)) is not None},
        "parts": {name: _version(name) for name in PARTS},
        "tokens": {name: present(name) for name in VOCABULARIES},
    }


def _key(settings: Settings, name: str) -> dict[str, str] | None:
    provider = settings.providers[name]
    try:
        secret, origin = settings.key(provider)
    except MissingKey:
        return None
    try:
        address = settings.base_url(provider)
    except ConfigError as error:
        return {"from": origin, "base_url": str(error), "base_url_from": "-"}
    if secret is None and address.origin == "provider table":
        return None
    return {"from": origin, "base_url": address.value, "base_url_from": address.origin}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None if find_spec(name) is None else "unknown"
