"""The options that bound a bulk command: money, the provider's limits, and which rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from .choice import Dollars

_OPTIONS: Final = (
    click.option("--budget", type=Dollars(), metavar="DOLLARS",
                 help="The most these rows may cost, earlier runs included; it cannot be overspent."),
    click.option("--rpm", type=click.IntRange(min=1), help="Requests per minute of each model, if you know the limit."),
    click.option("--tpm", type=click.IntRange(min=1), help="Tokens per minute of each model, if you know the limit."),
    click.option("--on-bad-row", type=click.Choice(["stop", "skip"]), default="stop", show_default=True,
                 help="stop: nothing is sent when a row is bad. skip: bad rows get their error as result."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows."),
)  # fmt: skip


def bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, in their order."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
