"""`penstock embed`: texts in, vectors out; a few to stdout, many into a file that a rerun resumes."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, get_args

import click

from .. import AsyncClient, Embeddings, Limits
from .._flow.texts import CONCURRENCY
from .._io.records import Format
from .._io.textfile import USUAL_COLUMN, TextFile, write_lines, write_texts
from ..batch import BatchReport, Projection, failed_path
from ..batch.embedding import EmbedJob
from ..embeddings import InputType
from ..errors import EXIT_ROWS_FAILED, ConfigError, InputError, PenstockError
from ..types import to_nano
from .bounds import bounded
from .choice import budget_of
from .job import Recorded, args_of, conduct, finish
from .keeping import AsyncKeepingClient
from .leave import CONFIRM_USD, go_on
from .loop import run, stoppable
from .progress import Form, usd_cap
from .shown import count, note, usd, write_json
from .signals import interruptible
from .streams import check_stdout, printing
from .watched import metrics_option, watched

FORMS: Final = ("txt", "jsonl", "csv", "tsv", "parquet")


@click.command(name="embed", cls=Recorded)
@click.argument("texts", nargs=-1)
@click.option(
    "-m", "--model", required=True, metavar="PROVIDER:NAME", help="What embeds, e.g. openai:text-embedding-3-small."
)
@click.option(
    "-f", "--file", metavar="FILE", help="Texts: a line each, or a column of JSON lines, CSV, Parquet; - for stdin."
)
@click.option("--column", metavar="NAME", help=f"Where the text of a row is [default: {USUAL_COLUMN}].")
@click.option("--format", "form", type=click.Choice(FORMS),
              help="What FILE holds [default: by the end of its name, else txt].")  # fmt: skip
@click.option("-o", "--output", metavar="OUT", help="Where the vectors go: .jsonl, .parquet or .npy [default: stdout].")
@click.option("--dimensions", type=click.IntRange(min=1), help="Shorter vectors, where the model can.")
@click.option("--input-type", type=click.Choice(get_args(InputType)),
              help="What the vectors are for, where the model makes a difference (Cohere must be told).")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(min=1), default=CONCURRENCY, show_default=True,
              help="Requests at once; each holds as many texts as the provider takes.")  # fmt: skip
@bounded
@metrics_option
@click.option("-y", "--yes", is_flag=True, help=f"Do not ask before more than ${CONFIRM_USD} may be spent.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object; with -o progress and summary, a line each."
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no summary.")
@click.pass_context
def command(
    context: click.Context,
    /,
    texts: tuple[str, ...],
    file: str | None,
    output: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn texts into vectors, in as few requests as the provider's limits allow; equal texts are paid once.

    Without -o the vectors go to stdout, a line of JSON each. With -o they go into a file, and the same command again
    goes on where a run ended: rows that are new, changed or failed are asked, nothing else is paid.

    \b
    penstock embed "the database is down" -m openai:text-embedding-3-small
    penstock embed -f notes.txt -m openai:text-embedding-3-small -o notes.npy
    penstock embed -f tickets.csv --column body -m mistral:mistral-embed -o tickets.parquet --budget 2.50
    """  # noqa: D301 - click wants the backspace itself
    if texts and file is not None:
        raise click.UsageError("there are texts and a file; give one of them")
    taken = next((text for text in texts if os.path.isfile(text)), None)
    if taken is not None:
        raise click.UsageError(
            f"{taken!r} is a file here; to embed what is in it write -f {taken}, to embed its name itself pipe it in"
        )
    if not texts and file is None:
        if sys.stdin.isatty():
            raise click.UsageError(
                'there is nothing to embed; write penstock embed "…" -m MODEL, or name a file with -f'
            )
        file = "-"
    args = args_of(context)
    if file == "-" and "-" not in args:
        args += ["-f", "-"]
    if output == "-":
        output = None
    with _rows(texts, file, options) as rows:
        if output is None:
            _print(rows, as_json, options)
        else:
            _save(rows, output, as_json, options, args)


@contextlib.contextmanager
def _rows(texts: tuple[str, ...], file: str | None, options: dict[str, Any]) -> Iterator[TextFile]:
    """Put the texts, wherever they are, into a file of rows that can be read more than once."""
    name = "the arguments" if file is None else "stdin" if file == "-" else file
    form = "args" if file is None else options["form"] or _form_of(file)
    lines = form in ("args", "txt")
    if lines and options["column"] is not None:
        raise ConfigError(f"--column {options['column']} is for tables, and {name} has one text a line; say --format")
    settings: dict[str, Any] = {"limit": options["limit"], "on_bad_row": options["on_bad_row"], "name": name}
    if not lines:
        settings["column"] = options["column"] or USUAL_COLUMN
    with tempfile.TemporaryDirectory(prefix="penstock-") as side:
        path = Path(side) / "rows.jsonl"
        if file is None:
            with path.open("wb") as copy:
                write_texts(texts, copy)
        elif lines or file == "-":
            with _opened(file) as source, path.open("wb") as copy:
                if lines:
                    write_lines(source, copy, name)
                else:
                    copy.writelines(source)
        else:
            path = Path(file)
        known: Format = "jsonl" if lines else form  # type: ignore[assignment]
        yield TextFile(path, form=known, **settings)


def _form_of(file: str) -> str:
    suffix = Path(file).suffix.lower().removeprefix(".")
    return suffix if suffix in FORMS else "txt"


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """Raises: InputError."""
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as source:
            yield source
    except OSError as error:
        what = "stdin" if file == "-" else file
        raise InputError(f"cannot read {what}: {error.strerror or error}") from error


def _params(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("dimensions", "input_type") if options[name] is not None}


def _client(options: dict[str, Any]) -> AsyncClient:
    limits = Limits(rpm=options["rpm"], tpm=options["tpm"]) if options["rpm"] or options["tpm"] else None
    return AsyncKeepingClient(limits=limits, budget=budget_of(options["budget"]))


def _print(rows: TextFile, as_json: bool, options: dict[str, Any]) -> None:
    """Embed all texts at once and print them."""
    check_stdout()
    checked = rows.check()
    if checked.bad and not options["quiet"]:
        note(f"skipping {checked.summary}")
    good = [row for row in rows if row.problem is None]
    failure: PenstockError | None = None
    try:
        found = run(stoppable(_embed([str(row.prompt) for row in good], options)))
    except PenstockError as error:
        if error.embedded is None or not error.embedded.requests:
            raise
        failure, found = error, error.embedded  # what was answered is paid, and is the user's
    with printing(f"the vectors came ({usd(found.cost)}) and are lost"):
        if as_json:
            write_json(_figures(found))
        else:
            for index, row in enumerate(good):
                if found.vectors.has(index):
                    _print_line({"id": row.id, "embedding": found.vectors[index].tolist()})
    if failure is not None:
        raise failure
    for each in found.errors:
        note(f"penstock: the text of {good[each.index].id} was refused: {each.message}")
    if found.errors or checked.bad:
        raise click.exceptions.Exit(EXIT_ROWS_FAILED)


async def _embed(texts: list[str], options: dict[str, Any]) -> Embeddings:
    async with watched(_client(options), options["metrics"], quiet=options["quiet"]) as client:
        return await client.embed(
            texts,
            model=options["model"],
            on_bad_input="skip" if options["on_bad_row"] == "skip" else "raise",
            concurrency=options["concurrency"],
            **_params(options),
        )


def _print_line(value: Any) -> None:
    """Print one JSON value on a line of its own, on a terminal too: a vector is long."""
    import msgspec

    click.echo(msgspec.json.encode(value))


def _figures(found: Embeddings) -> dict[str, Any]:
    return {
        "model": f"{found.provider}:{found.model}",
        "dimensions": found.dimensions,
        "embeddings": [vector.tolist() for vector in found],
        "errors": [{"index": each.index, "code": each.code, "message": each.message} for each in found.errors],
        "usage": {"input": found.usage.prompt},
        "cost": found.cost,
        "requests": found.requests,
        "latency_s": round(found.latency_s, 3),
    }


class _Told(NamedTuple):
    """What the user wants to be told and asked."""

    silent: bool
    yes: bool
    cap: Decimal | None


def _save(rows: TextFile, output: str, as_json: bool, options: dict[str, Any], args: list[str]) -> None:
    """Embed into a file, and say how it went."""
    quiet, cap = options["quiet"], options["budget"]
    told = _Told(silent=quiet or as_json, yes=options["yes"], cap=cap)
    form: Form = "none" if quiet else "json" if as_json else "text"
    report = run(_job(rows, output, options, told, form, args))
    more = ""
    if report.failed:
        more = f"\nFailed rows, as they came in: {os.path.relpath(failed_path(Path(output)))}"
    finish(report, output, quiet=quiet, as_json=as_json, cap=cap, more=more)


async def _job(
    rows: TextFile, output: str, options: dict[str, Any], told: _Told, form: Form, args: list[str]
) -> BatchReport:
    async with watched(_client(options), options["metrics"], quiet=options["quiet"]) as client:
        job = EmbedJob(
            rows,
            output,
            client=client,
            model=options["model"],
            params=_params(options),
            concurrency=options["concurrency"],
            command=args,
            approve=lambda projection: _approve(projection, told),
        )
        with interruptible(interrupts=True):
            checked = job.check()
        if checked.bad and not told.silent:
            note(f"skipping {checked.summary}")
        return await conduct(job, client, title=Path(output).name, form=form, cap=told.cap)


def _approve(projection: Projection, told: _Told) -> bool:
    """Tell what the texts may cost; on a terminal, ask before much is spent."""
    likely, cap = projection.likely_nano, None if told.cap is None else to_nano(told.cap)
    most = min((each for each in (likely, cap) if each is not None), default=None)
    price = "at a price that is not known" if likely is None else f"about {usd(likely)}"
    words = f"{count(projection.rows, 'text')} to embed: {price}"
    if told.cap is not None:
        words += f"; never more than {usd_cap(told.cap)}"
    if not told.silent:
        note(words)
    little = most is not None and most <= to_nano(CONFIRM_USD)
    return told.yes or little or go_on()
