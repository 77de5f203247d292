"""The options of `penstock batch run` for the batch interfaces of providers, and what is said of shards."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from .. import AsyncClient
from ..batch import Batch, BatchOptions, RowFile, Shard, ViaBatch, check_shards, open_shards, withdraw_batches
from .keeping import AsyncKeepingClient
from .loop import run
from .shards import told_of
from .shown import count, note, write_json
from .streams import is_plain

F = TypeVar("F", bound=Callable[..., Any])

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Duration(click.ParamType[float]):
    """A time with its unit: 90s, 30m, 6h, 2d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, or say what is wrong with it."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value).strip(), re.ASCII)
        seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
        if not 0 < seconds < 1e9:
            self.fail(f"{value!r} is no time; write it with its unit, like 90s, 30m, 6h or 2d", param, ctx)
        return seconds


_OPTIONS: Final = (
    click.option(
        "--via",
        type=click.Choice(["online", "batch-api", "auto"]),
        default="online",
        show_default=True,
        help="online: calls now. batch-api: the provider's batches, at half the price, within a day. auto: by deadline "
        "and price.",
    ),
    click.option(
        "--deadline", type=Duration(), metavar="TIME", help="With batches: after this, as in 6h, the rest goes online."
    ),
    click.option(
        "--then",
        type=click.Choice(["batch", "online"]),
        default="batch",
        show_default=True,
        help="Where rows go that a batch left unanswered.",
    ),
    click.option(
        "--wait/--no-wait",
        default=True,
        show_default=True,
        help="Whether to wait for batches; the same command collects them later.",
    ),
    click.option(
        "--queue-tokens",
        type=click.IntRange(min=1),
        metavar="N",
        help="The most prompt tokens in one batch, if you know the queue limit.",
    ),
)


def via_options(command: F) -> F:
    """Add the options for batches to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_via(options: dict[str, Any]) -> None:
    """Refuse options that say nothing for the way that rows go.

    Raises: click.UsageError.
    """
    if options["via"] != "online":
        if options["hedge"]:
            raise click.UsageError(
                "--hedge sends a second call beside a late one, and a row of a batch is no call; leave it out, or "
                "write --via online"
            )
        return
    for name, flag in (("deadline", "--deadline"), ("queue_tokens", "--queue-tokens")):
        if options[name] is not None:
            raise click.UsageError(f"{flag} is for batches; write --via batch-api or --via auto as well")
    if options["then"] == "online" or not options["wait"]:
        raise click.UsageError("--then and --no-wait are for batches; write --via batch-api or --via auto as well")


def made(
    file: RowFile,
    output: str,
    client: AsyncClient,
    options: dict[str, Any],
    more: BatchOptions,
    *,
    quiet: bool,
    as_json: bool,
) -> Batch:
    """Make the run that the options ask for.

    Raises: InputError for calls where rows are in batches already, ConfigError.
    """
    if options["via"] == "online":
        check_shards(output)
        return Batch(file, output, client=client, **more)

    def told(shard: Shard, what: str) -> None:
        tell(shard, what, quiet=quiet, as_json=as_json)

    return ViaBatch(
        file,
        output,
        via=options["via"],
        then=options["then"],
        deadline_s=options["deadline"],
        wait=options["wait"],
        queue_tokens=options["queue_tokens"],
        told=told,
        chosen=None if quiet or as_json else lambda choice: note(f"{choice.via}: {choice.reason}"),
        client=client,
        **more,
    )


def tell(shard: Shard, what: str, *, quiet: bool, as_json: bool) -> None:
    """Say what happened to a shard."""
    if as_json:
        write_json({"event": "shard", **told_of(shard), "what": what})
    elif not quiet and (is_plain(sys.stderr) or not shard.is_open):  # else the picture shows it
        of = f" of {shard.rows:,}" if shard.rows_done is not None and shard.is_open else ""
        done = f", {shard.rows_done:,}{of} done" if of else ""
        name = f" ({shard.batch_id})" if shard.batch_id else ""
        note(f"shard {shard.id}, {count(shard.rows, 'row')} for {shard.lane}{name}: {what}{done}")


def withdraw(output: str) -> bool:
    """End the batches of a job at their providers and write down what they had answered; False when it has none."""
    if not open_shards(output):
        return False

    async def main() -> tuple[Shard, ...]:
        async with AsyncKeepingClient() as client:
            return await withdraw_batches(
                output, client=client, told=lambda shard, what: tell(shard, what, quiet=False, as_json=False)
            )

    shards = run(main())
    answered, missing = sum(shard.answered for shard in shards), sum(shard.missing for shard in shards)
    note(f"{output}: its batches have ended with {count(answered, 'row')} answered and {missing:,} not executed")
    return True
