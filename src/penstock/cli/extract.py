"""`penstock extract`: a value of a type out of a prompt, a file, or many files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any, Final

import click
import msgspec

from .. import AsyncClient
from .._flow.extracted import Extracted
from .._flow.mode import MODES
from .._text.result import POLICIES, plain
from ..errors import EXIT_ROWS_FAILED, NotFound, ParseError, PenstockError
from ..types import Message
from .ask import message_of
from .choice import STRATEGIES, TIERS, Dollars, Number, budget_of, default_model, meant
from .keeping import AsyncKeepingClient
from .loop import run, stoppable
from .parse import explain_candidates, say_mended, tell_repairs
from .schema import SCHEMA_HELP, load_schema
from .shown import note, settled, usd, write_json, write_line
from .streams import check_stdout, printing
from .watched import metrics_option, watched

AT_ONCE: Final = 8
"""Files that are asked about at the same time; the limiter of the lane holds beside it."""


@click.command(name="extract")
@click.argument("prompt", nargs=-1)
@click.option("--schema", required=True, metavar="SCHEMA", help=f"What is wanted: {SCHEMA_HELP}")
@click.option("-m", "--model", metavar="PROVIDER:NAME", help="Whom to ask, e.g. anthropic:claude-haiku-4-5.")
@click.option("--tier", type=click.Choice(TIERS), help="Let the router choose; auto goes by the prompt.")
@click.option("--truncate", type=click.Choice(STRATEGIES), help="How to cut what is too long; by default nothing is.")
@click.option("--system", metavar="TEXT", help="A system message.")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE",
              help="A text file, picture or PDF; each of several is a question and a line of its own.")  # fmt: skip
@click.option("--mode", type=click.Choice(MODES), default="auto", show_default=True,
              help="How to ask: held to the schema, by a forced tool, or told it.")  # fmt: skip
@click.option("--reasks", type=click.IntRange(0, 5), default=1, show_default=True,
              help="How often the model is told what does not fit.")  # fmt: skip
@click.option(
    "--policy", type=click.Choice(POLICIES), default="safe", show_default=True, help="How much may be mended."
)
@click.option("--helper", metavar="PROVIDER:NAME", help="A cheap model that may read an answer that nobody else can.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer.")
@click.option("--temperature", type=Number(), help="How much chance is in the answer.")
@click.option("--budget", type=Dollars(), metavar="DOLLARS", help="The most this may cost, all files together.")
@click.option("--deadline", "deadline_s", type=Number(positive=True), metavar="SECONDS",
              help="When to give up on a question, retries included.")  # fmt: skip
@click.option("--stdin/--no-stdin", default=True, help="Add what is piped in (default), or leave stdin alone.")
@click.option("--explain", is_flag=True, help="Say how it was asked, what was tried and what was mended, on stderr.")
@click.option("--json", "as_json", is_flag=True,
              help="Print one JSON object: value, repairs, mode, usage, cost.")  # fmt: skip
@metrics_option
def command(
    prompt: tuple[str, ...],
    files: tuple[str, ...],
    stdin: bool,
    schema: str,
    explain: bool,
    as_json: bool,
    budget: Decimal | None,
    metrics: tuple[str, int] | None,
    **options: Any,
) -> None:
    """Ask a model for a value of a type, check it, and print it as JSON.

    One question prints its value; several files print a line of JSON each, {"file", "value"} or {"file", "error"}.

    \b
    penstock extract --schema incident.schema.json "ERROR [db] connection refused"
    kubectl logs web-7d9 | penstock extract --schema models.py:Incident "What broke?"
    penstock extract --schema app.models:Invoice -f a.pdf -f b.pdf -m anthropic:claude-haiku-4-5 > invoices.jsonl
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    wanted = load_schema(schema)
    if len(files) > 1:
        messages = [message_of(prompt, (name,), stdin=False) for name in files]
    else:
        messages = [message_of(prompt, files, stdin=stdin)]
    asked = {name: value for name, value in options.items() if value is not None}
    client = watched(AsyncKeepingClient(budget=budget_of(budget)), metrics, quiet=False)
    if run(stoppable(_extract(client, wanted, messages, files, asked, explain=explain, as_json=as_json))):
        raise click.exceptions.Exit(EXIT_ROWS_FAILED)


async def _extract(
    opened: AbstractAsyncContextManager[AsyncClient],
    wanted: Any,
    messages: list[Message],
    files: tuple[str, ...],
    options: dict[str, Any],
    *,
    explain: bool,
    as_json: bool,
) -> int:
    """Print what is in each message; return how many of several files gave nothing."""
    async with opened as client:
        if "model" not in options and "tier" not in options:
            options["model"] = default_model(client.settings)
        options = {"priority": "interactive" if len(messages) == 1 else "batch", **options}
        try:
            if len(messages) == 1:
                _print_one(await _value(client, wanted, messages[0], options, explain), explain, as_json)
                return 0
            failed = 0
            async for place, found in _values(client, wanted, messages, options):
                failed += isinstance(found, PenstockError)
                _print_line(files[place], found, explain, as_json)
            return failed
        except asyncio.CancelledError:
            note(f"stopped; {settled(client.usage())}", dim=True)
            raise


async def _value(
    client: AsyncClient, wanted: Any, message: Message, options: dict[str, Any], explain: bool
) -> Extracted[Any]:
    try:
        return await client.extract(wanted, [message], **options)
    except ParseError as error:
        if explain:
            explain_candidates(error.candidates)
        raise
    except NotFound as error:
        if near := meant(client.settings, f"{error.provider}:{error.model}"):
            error.message += f"; {near}"
        raise


async def _values(
    client: AsyncClient, wanted: Any, messages: list[Message], options: dict[str, Any]
) -> AsyncIterator[tuple[int, Extracted[Any] | PenstockError]]:
    """Ask about several messages at once, and give what comes in their order."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(message: Message) -> Extracted[Any] | PenstockError:
        async with room:
            try:
                return await _value(client, wanted, message, options, explain=False)
            except PenstockError as error:
                return error

    tasks = [asyncio.ensure_future(one(message)) for message in messages]
    try:
        for place, task in enumerate(tasks):
            yield place, await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _print_one(found: Extracted[Any], explain: bool, as_json: bool) -> None:
    _tell(found, explain, "the answer")
    with printing(f"the value came ({usd(found.cost)}) and is lost"):
        write_json(_figures(found) if as_json else plain(found.value))


def _print_line(file: str, found: Extracted[Any] | PenstockError, explain: bool, as_json: bool) -> None:
    if isinstance(found, PenstockError):
        note(f"penstock: {file}: {found}")
        if explain and isinstance(found, ParseError):
            explain_candidates(found.candidates)
        line = {"file": file, "error": {"code": found.code, "message": found.message}}
    else:
        _tell(found, explain, file)
        line = {"file": file, **(_figures(found) if as_json else {"value": plain(found.value)})}
    with printing(f"the value of {file} came and is lost"):
        write_line(line)


def _tell(found: Extracted[Any], explain: bool, place: str) -> None:
    if not explain:
        say_mended(found.repairs, place)
        return
    note(f"{place}: asked by {found.response.provider}:{found.response.model} in mode {found.mode}: {found.reason}")
    for lost in found.lossy:
        what = "anything" if lost.keyword == "*" else f"{lost.keyword} at {lost.path}"
        note(f"the provider does not enforce {what}; it was checked here", dim=True)
    tell_repairs(found.repairs)
    note(f"{len(found.responses)} asked, {len(found.attempts)} sent, {usd(found.cost)}", dim=True)


def _figures(found: Extracted[Any]) -> dict[str, Any]:
    return {
        "value": plain(found.value),
        "repairs": found.repairs,
        "mode": found.mode,
        "reason": found.reason,
        "lossy": [lost._asdict() for lost in found.lossy],
        "model": f"{found.response.provider}:{found.response.model}",
        "usage": {"input": 0, "output": 0, **msgspec.to_builtins(found.usage)},
        "cost": found.cost,
        "reasked": found.reasked,
        "attempts": len(found.attempts),
        "latency_s": round(found.response.latency_s, 3),
    }
