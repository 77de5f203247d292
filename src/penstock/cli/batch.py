"""`penstock batch run`: many rows in, one result out for each, resumable."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import click
import msgspec

from .. import Hedge, Limits
from .._io.settings import Settings
from ..batch import (
    Batch,
    BatchOptions,
    BatchReport,
    Checked,
    Forecast,
    Projection,
    RowFile,
    Template,
    failed_path,
    journal_of,
    reparse,
    standing,
)
from ..errors import EXIT_OK, EXIT_ROWS_FAILED, InputError
from ..types import to_nano
from .batch_jobs import cancel, resume, status
from .bounds import bounded
from .choice import Calls, Number, budget_of, default_model, meant, weighed
from .job import Recorded, args_of, conduct, finish
from .keeping import AsyncKeepingClient
from .leave import CONFIRM_USD, go_on
from .loop import run
from .progress import Form, usd_cap
from .schema import SCHEMA_HELP, enum_fields, load_schema
from .shown import count, note, span, usd, write_json
from .signals import interruptible
from .via import check_via, made, via_options
from .watched import metrics_option, watched

HEDGED_PERCENT: Final = 95.0
LABELS_FROM: Final = 4
"""Answers for each label, on the average, that make labels of them."""


@click.group(name="batch")
def command() -> None:
    """Answer many rows: one row in, one result out; resumable.

    \b
    penstock batch run tickets.jsonl -o answers.jsonl --prompt "Urgent? {text}" -m openai:gpt-4o-mini
    penstock batch status answers.jsonl
    """  # noqa: D301 - click wants the backspace itself


@command.command(name="run", cls=Recorded)
@click.argument("rows", metavar="IN")
@click.option("-o", "--output", required=True, metavar="OUT",
              help="Where the answers go and what a rerun resumes: .csv, .tsv, .parquet, else JSON lines.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["jsonl", "csv", "tsv", "parquet"]),
              help="What IN holds [default: by the end of its name, else jsonl].")  # fmt: skip
@click.option(
    "--prompt", metavar="TEXT", help="The prompt, with {column} for a field of the row; {{ and }} are braces."
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="PROVIDER:NAME[=WEIGHT]",
    help="Repeat it to share the rows out; with weights, as in a=3 and b, one has three times the calls.",
)
@click.option("--system", metavar="TEXT", help="A system message for every row; with --prompt it takes columns too.")
@click.option("--schema", metavar="SCHEMA", help=f"What answers are to be: {SCHEMA_HELP}")
@click.option("--reasks", type=click.IntRange(0, 5), default=1, show_default=True,
              help="With --schema: how often a model is told what does not fit; in a batch never.")  # fmt: skip
@click.option("--reparse", is_flag=True, help="Ask nothing: read the answers that OUT has again, with this --schema.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer.")
@click.option("--temperature", type=Number(), help="How much chance is in an answer.")
@click.option("--concurrency", type=Calls(), default="auto", show_default=True, help="Calls at once, at most.")
@click.option("--dedupe", is_flag=True, help="Ask rows with the same question once; the others get a copy.")
@click.option("--hedge", is_flag=True, help="Send the slowest of the last calls twice; both may be paid.")
@bounded
@click.option("--keep-columns", metavar="NAMES", help="Fields of IN to keep in OUT, as in id,service; * for all.")
@click.option("--order", type=click.Choice(["input", "completed"]), default="input", show_default=True,
              help="How the finished output is sorted.")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Ask only rows that failed before.")
@click.option("--only", metavar="CODES", help="With --retry-failed: only these errors, as in rate_limited,overloaded.")
@click.option("--summary", metavar="FIELD", help="Count the values of this field of the answers at the end.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N",
              help="Ask N rows from all over IN, and say what the rest costs and how long it takes.")  # fmt: skip
@via_options
@metrics_option
@click.option("-y", "--yes", is_flag=True, help=f"Do not ask before more than ${CONFIRM_USD} may be spent.")
@click.option("--json", "as_json", is_flag=True, help="Print progress and summary as lines of JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no summary.")
@click.pass_context
def run_command(
    context: click.Context,
    /,
    rows: str,
    output: str,
    models: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Answer every row of IN (JSON lines, CSV, Parquet, an OpenAI batch file, - for stdin) into OUT.

    A row is {"prompt": "…"} or {"messages": […]}, with an "id" and parameters such as "max_tokens" if you like; with
    --prompt it is any record, its parameters in "params". Each result has id, model, text, usage, cost, error.
    Run the same command again to resume: only rows that are new, changed or failed are asked.

    \b
    penstock batch run logs.jsonl -o classes.jsonl --prompt "P1, P2, P3 or P4? {log}" \\
        -m openai:gpt-4o-mini -m anthropic:claude-haiku-4-5 --max-tokens 5 --budget 2.50
    """  # noqa: D301 - click wants the backspace itself
    if output == "-":
        raise click.UsageError("the output is a file that a rerun resumes, and stdout is none; write -o OUT.jsonl")
    check_via(options)
    if options["only"] and not options["retry_failed"]:
        raise click.UsageError("--only chooses among failed rows; write --retry-failed --only CODES")
    system = None if options["system"] is None or options["prompt"] is None else Template(options["system"], "system")
    if system is not None and not system.columns:
        options["system"], system = system.fill({}), None
    schema = load_schema(options["schema"]) if options["schema"] else None
    if options["reparse"] and schema is None:
        raise click.UsageError("--reparse reads answers again with a schema; write --schema too")
    with tempfile.TemporaryDirectory(prefix="penstock-") as side:
        file = RowFile(
            _spooled(rows, Path(side)) if _flows(rows) else rows,
            template=options["prompt"],
            system=None if system is None else system.text,
            limit=options["limit"],
            on_bad_row=options["on_bad_row"],
            form=options["form"],
            name="stdin" if rows == "-" else rows,
        )
        params = {name: options[name] for name in ("max_tokens", "temperature") if options[name] is not None}
        if system is None and options["system"] is not None:
            params["system"] = options["system"]
        if schema is not None:
            params["reasks"] = options["reasks"]
            options["schema"] = schema
        told = _Told(quiet=quiet, as_json=as_json, yes=options["yes"], cap=options["budget"])
        report = run(_run(file, output, models, params, options, told, args_of(context)))
    fields = [] if schema is None else enum_fields(schema)
    if options["summary"] and options["summary"] not in fields:
        fields = [*fields, options["summary"]]
    more = "" if quiet else _classes(output, fields) or _labels(output)
    if report.failed:
        more += f"\nFailed rows, as they came in: {os.path.relpath(failed_path(Path(output)))}"
    finish(report, output, quiet=quiet, as_json=as_json, cap=options["budget"], more=more)


class _Told(NamedTuple):
    """What the user wants to be told and asked."""

    quiet: bool
    as_json: bool
    yes: bool
    cap: Decimal | None


async def _run(
    file: RowFile,
    output: str,
    models: tuple[str, ...],
    params: dict[str, Any],
    options: dict[str, Any],
    told: _Told,
    args: list[str],
) -> BatchReport:
    limits = Limits(rpm=options["rpm"], tpm=options["tpm"]) if options["rpm"] or options["tpm"] else None
    only = [code.strip() for code in (options["only"] or "").split(",") if code.strip()]
    made_client = AsyncKeepingClient(limits=limits, budget=budget_of(told.cap))
    async with watched(made_client, options["metrics"], quiet=told.quiet) as client:
        more: BatchOptions = {
            "models": weighed(models) or (default_model(client.settings),),
            "concurrency": options["concurrency"],
            "params": params,
            "schema": options["schema"],
            "keep_columns": [name.strip() for name in (options["keep_columns"] or "").split(",") if name.strip()],
            "order": options["order"],
            "retry_failed": only or options["retry_failed"],
            "count_earlier": True,
            "dedupe": options["dedupe"],
            "sample": options["sample"],
            "hedge": Hedge(after_percentile=HEDGED_PERCENT) if options["hedge"] else None,
            "command": args,
            "approve": lambda projection: _approve(projection, told),
        }
        batch = made(file, output, client, options, more, quiet=told.quiet, as_json=told.as_json)
        if options["reparse"]:
            _reread(batch, output, told)
        with interruptible(interrupts=True):
            checked = batch.check()
        silent = told.quiet or told.as_json
        if not silent:
            _announce(checked)
        form: Form = "none" if told.quiet else "json" if told.as_json else "text"
        report = await conduct(batch, client, title=Path(output).name, form=form, cap=told.cap)
        if options["retry_failed"] and not silent and report.stopped is None and not (report.answered or report.failed):
            note(f"no row of {output} failed that asks what these rows ask, so that nothing was asked again")
        if options["sample"] and not silent:
            _say_forecast(batch.forecast())
        if report.failures.get("not_found"):
            _say_meant(client.settings, report)
        return report


def _reread(batch: Batch, output: str, told: _Told) -> NoReturn:
    """Read the answers that are there again, say how it went, and exit."""
    found = reparse(batch)
    if told.as_json:
        write_json({"event": "end", "output": output, **msgspec.structs.asdict(found)})
    elif not told.quiet:
        left = f", {found.left:,} have no answer to this question" if found.left else ""
        note(
            f"{count(found.rows, 'row')}: {found.fits:,} read again, {found.misfits:,} do not fit{left}. Nothing was "
            f"asked.\nOutput: {output}"
        )
    raise click.exceptions.Exit(EXIT_ROWS_FAILED if found.misfits or found.left else EXIT_OK)


def _approve(projection: Projection, told: _Told) -> bool:
    """Tell what the rows may cost; on a terminal, ask before much is spent."""
    low, high = projection.low_nano, projection.high_nano
    cap = None if told.cap is None else to_nano(told.cap)
    most = min((each for each in (projection.likely_nano, cap) if each is not None), default=None)
    rows = count(projection.rows, "row")
    if low is None:
        words = f"{rows} to ask, at a price that is not known"
    elif high is None:
        words = f"{rows} to ask: about {usd(low)} for the prompts, and answers of any length (no --max-tokens)"
    else:
        words = f"{rows} to ask: about {usd(low)} for the prompts, {usd(high)} if every answer is as long as it may be"
    if told.cap is not None:
        words += f"; never more than {usd_cap(told.cap)}"
    if not (told.quiet or told.as_json):
        note(words)
    little = most is not None and most <= to_nano(CONFIRM_USD)
    return told.yes or little or go_on()


def _classes(output: str, fields: Sequence[str]) -> str:
    """Count the values of the fields that take one of a few."""
    if not fields:
        return ""
    found = standing(journal_of(output), fields)
    return "".join(
        f"\n{field}: " + ", ".join(f"{number:,} {value}" for value, number in sorted(values.items()))
        for field, values in found.classes.items()
        if values
    )


def _labels(output: str) -> str:
    """Count the answers themselves where they are a few short words that come again and again, such as P1 to P4."""
    found = standing(journal_of(output), texts=True).texts
    if not found or sum(found.values()) < LABELS_FROM * len(found):
        return ""
    return "\nanswers: " + ", ".join(f"{number:,} {text}" for text, number in sorted(found.items()))


def _say_forecast(found: Forecast | None) -> None:
    if found is None:
        note("no row of the sample was answered, so nothing can be said of the rest")
        return
    if found.seconds is None:
        long = "as long as their batches take, which may be a day"
    else:
        by = "as many calls as may be at once" if found.bound == "concurrency" else f"the limit of {found.bound}"
        long = f"{span(found.seconds)}, by {by}"
    note(f"the other {count(found.rows, 'row')}: about {usd(found.cost_nano)} and {long}")


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


for _command in (status, resume, cancel):
    command.add_command(_command)
