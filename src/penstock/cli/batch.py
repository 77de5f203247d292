"""`penstock batch run`: many rows in, one line of JSON out for each, resumable."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import click

from .. import AsyncClient, Limits
from .._io.settings import Settings
from ..batch import CONCURRENCY, Batch, BatchReport, Checked, RowFile
from ..errors import InputError
from .choice import Dollars, Number, budget_of, default_model, meant
from .job import conduct, exit_code, explain, finish, run
from .shown import note, write_json
from .streams import printing


@click.group(name="batch")
def command() -> None:
    """Answer many rows: one JSON line in, one out.

    \b
    penstock batch run tickets.jsonl -o answers.jsonl --prompt "Urgent? {text}" -m openai:gpt-4o-mini
    """  # noqa: D301 - click wants the backspace itself


@command.command(name="run")
@click.argument(
    "rows",
    metavar="IN.jsonl",
)
@click.option(
    "-o", "--output", required=True, metavar="OUT.jsonl", help="Where the answers go; also what a rerun resumes."
)
@click.option(
    "--prompt", metavar="TEXT", help="The prompt, with {column} for a field of the row; {{ and }} are braces."
)
@click.option(
    "-m", "--model", "models", multiple=True, metavar="PROVIDER:NAME", help="Repeat it to share the rows out."
)
@click.option("--system", metavar="TEXT", help="A system message for every row.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer.")
@click.option("--temperature", type=Number(), help="How much chance is in an answer.")
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=CONCURRENCY, show_default=True, help="Calls at once."
)
@click.option("--budget", type=Dollars(), metavar="DOLLARS",
              help="The most these rows may cost, earlier runs included; it cannot be overspent.")  # fmt: skip
@click.option("--rpm", type=click.IntRange(min=1), help="Requests per minute of each model, if you know the limit.")
@click.option("--tpm", type=click.IntRange(min=1), help="Tokens per minute of each model, if you know the limit.")
@click.option("--on-bad-row", type=click.Choice(["stop", "skip"]), default="stop", show_default=True,
              help="stop: nothing is sent when a row is bad. skip: bad rows get their error as result.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no summary.")
def run_command(rows: str, output: str, models: tuple[str, ...], as_json: bool, quiet: bool, **options: Any) -> None:
    """Answer every row of IN.jsonl into OUT.jsonl.

    A row is {"prompt": "…"} or {"messages": […]}, with an "id" and parameters such as "max_tokens" if you like; with
    --prompt it is any object, its parameters in "params". Each answer is one line: id, model, text, usage, cost, error.
    Run the same command again to resume: only rows that are new, changed or failed are asked.

    \b
    penstock batch run logs.jsonl -o classes.jsonl --prompt "P1, P2, P3 or P4? {log}" \\
        -m openai:gpt-4o-mini -m anthropic:claude-haiku-4-5 --max-tokens 5 --budget 2.50
    """  # noqa: D301 - click wants the backspace itself
    if output == "-":
        raise click.UsageError("the output is a file that a rerun resumes, and stdout is none; write -o OUT.jsonl")
    with tempfile.TemporaryDirectory(prefix="penstock-") as side:
        file = RowFile(
            _spooled(rows, Path(side)) if _flows(rows) else rows,
            template=options["prompt"],
            limit=options["limit"],
            on_bad_row=options["on_bad_row"],
            name="stdin" if rows == "-" else rows,
        )
        report = run(_run(file, output, models, options, quiet=quiet or as_json))
    if as_json:
        if why := explain(report):
            note(f"penstock: {why}")
        with printing(f"the run has ended and {output} is written, but its summary is lost"):
            write_json({"output": output, **report.figures()})
        raise click.exceptions.Exit(exit_code(report))
    finish(report, output, quiet=quiet, cap=options["budget"])


async def _run(
    file: RowFile, output: str, models: tuple[str, ...], options: dict[str, Any], *, quiet: bool
) -> BatchReport:
    limits = Limits(rpm=options["rpm"], tpm=options["tpm"]) if options["rpm"] or options["tpm"] else None
    async with AsyncClient(limits=limits, budget=budget_of(options["budget"])) as client:
        params = {name: options[name] for name in ("system", "max_tokens", "temperature") if options[name] is not None}
        batch = Batch(
            file,
            output,
            client=client,
            models=models or (default_model(client.settings),),
            concurrency=options["concurrency"],
            params=params,
            count_earlier=True,
        )
        checked = batch.check()
        if not quiet:
            _announce(checked)
        report = await conduct(batch, client, title=Path(output).name, quiet=quiet, cap=options["budget"])
        if report.failures.get("not_found"):
            _say_meant(client.settings, report)
        return report


def _announce(checked: Checked) -> None:
    if checked.bad:
        note(f"skipping {checked.summary}")


def _say_meant(settings: Settings, report: BatchReport) -> None:
    for lane in report.lanes:
        if lane.failed and not lane.answered and (near := meant(settings, lane.model)):
            note(f"penstock: {lane.model} is not known to its provider; {near}")


def _flows(name: str) -> bool:
    """Whether the rows come through a pipe, which can be read only once."""
    try:
        return name == "-" or stat.S_ISFIFO(os.stat(name).st_mode)
    except (OSError, ValueError):
        return False


def _spooled(name: str, folder: Path) -> Path:
    """Copy rows to a file: they are read more than once.

    Raises: InputError.
    """
    path = folder / "rows"
    try:
        with open(0 if name == "-" else name, "rb", closefd=name != "-") as source, path.open("wb") as file:
            shutil.copyfileobj(source, file)
    except OSError as error:
        what = "stdin" if name == "-" else name
        raise InputError(f"cannot copy {what} to {folder}: {error.strerror or error}") from error
    return path
