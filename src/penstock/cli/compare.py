"""`penstock compare`: one question to several models, side by side."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from typing import Any

import click
import msgspec

from ..compare import Compared, Comparison, compare_async
from ..errors import EXIT_ROWS_FAILED
from ..streaming import timing
from ..types import Message
from .ask import message_of
from .choice import Dollars, Number, budget_of
from .keeping import AsyncKeepingClient
from .loop import run, stoppable
from .shown import note, settled, span, table, usd, write_json
from .streams import check_stdout, printing


@click.command(name="compare")
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", "models", multiple=True, required=True, metavar="PROVIDER:NAME",
              help="A model to ask; repeat it for more.")  # fmt: skip
@click.option("--system", metavar="TEXT", help="A system message.")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE",
              help="Add a text file, picture or PDF; repeat it for more.")  # fmt: skip
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer.")
@click.option("--temperature", type=Number(), help="How much chance is in the answers.")
@click.option("--budget", type=Dollars(), metavar="DOLLARS", help="The most this may cost, all models together.")
@click.option("--deadline", "deadline_s", type=Number(positive=True), metavar="SECONDS",
              help="When to give up on a model, retries included.")  # fmt: skip
@click.option("--stdin/--no-stdin", default=True, help="Add what is piped in (default), or leave stdin alone.")
@click.option("--answers/--no-answers", default=True, help="Print the answers (default), or the figures alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: a row per model.")
def command(
    prompt: tuple[str, ...],
    models: tuple[str, ...],
    files: tuple[str, ...],
    stdin: bool,
    answers: bool,
    as_json: bool,
    budget: Decimal | None,
    **options: Any,
) -> None:
    """Ask several models the same at the same time: time to the first token, in all, tokens, cost, and the answers.

    A model that fails is a row with its error. Exits with 1 when some failed.

    \b
    penstock compare "What does exit code 137 mean?" -m openai:gpt-4o-mini -m anthropic:claude-haiku-4-5
    penstock compare -f incident.txt "Root cause?" -m openai:gpt-4o -m openai:gpt-4o-mini --no-answers
    penstock compare "Ping" -m openai:gpt-4o-mini -m groq:llama-3.3-70b-versatile --json | jq '.rows[].latency_s'
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    message = message_of(prompt, files, stdin=stdin)
    asked = {name: value for name, value in options.items() if value is not None}
    found = run(stoppable(_compare(message, models, asked, budget)))
    with printing("the answers came and are lost"):
        if as_json:
            write_json({"rows": [_figures(row) for row in found.rows]})
        else:
            _print(found, answers=answers)
    failed = [row.error for row in found.rows if row.error is not None]
    if failed:
        every = len(failed) == len(found.rows)
        raise click.exceptions.Exit(failed[0].exit_code if every else EXIT_ROWS_FAILED)


async def _compare(
    message: Message, models: tuple[str, ...], options: dict[str, Any], budget: Decimal | None
) -> Comparison:
    async with AsyncKeepingClient(budget=budget_of(budget)) as client:
        try:
            return await compare_async(client, [message], models, on_done=_say, priority="interactive", **options)
        except asyncio.CancelledError:
            note(f"stopped; {settled(client.usage())}", dim=True)
            raise


def _say(row: Compared) -> None:
    if row.error is not None:
        words = str(row.error)
        note(f"penstock: {words if words.startswith(row.model) else f'{row.model}: {words}'}")
    elif row.response is not None and sys.stderr.isatty():
        note(f"{row.model}: {timing(row.response)}", dim=True)


def _print(found: Comparison, *, answers: bool) -> None:
    rows = [_cells(row) for row in found.rows]
    click.echo(table(rows, ("MODEL", "FIRST TOKEN", "IN ALL", "TOKENS", "COST", "ENDED BY")))
    if answers:
        for row in found.answered:
            click.echo(f"\n── {row.model} ──\n{row.text}")


def _cells(row: Compared) -> tuple[str, ...]:
    if row.response is None:
        return (row.model, "", "", "", usd(row.cost) if row.cost else "", row.error.code if row.error else "")
    usage, response = row.response.usage, row.response
    return (
        row.model,
        "" if response.first_token_s is None else span(response.first_token_s),
        span(response.latency_s),
        f"{usage.prompt:,} + {usage.completion:,}",
        usd(response.cost),
        response.stop_reason,
    )


def _figures(row: Compared) -> dict[str, Any]:
    if row.response is None:
        assert row.error is not None
        return {"model": row.model, "error": {"code": row.error.code, "message": row.error.message}, "cost": row.cost}
    response = row.response
    return {
        "model": row.model,
        "text": response.text,
        "first_token_s": None if response.first_token_s is None else round(response.first_token_s, 3),
        "latency_s": round(response.latency_s, 3),
        "usage": {"input": 0, "output": 0, **msgspec.to_builtins(response.usage)},
        "cost": response.cost,
        "stop_reason": response.stop_reason,
        "attempts": len(response.attempts),
    }
