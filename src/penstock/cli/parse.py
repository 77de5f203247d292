"""`penstock parse`: a value out of text that is already on disk; no model is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .._text.result import MAX_CHARS, POLICIES, Parsed, Repair, plain
from ..errors import Candidate, InputError, ParseError
from .schema import load_schema
from .shown import count, note, write_json


@click.command(name="parse")
@click.argument("file", default="-", type=click.Path(allow_dash=True, path_type=str))
@click.option(
    "--schema",
    metavar="SCHEMA",
    help="What is wanted: FILE of JSON Schema, FILE.py:Type or module:Type; else any JSON.",
)
@click.option(
    "--policy", type=click.Choice(POLICIES), default="safe", show_default=True, help="How much may be mended."
)
@click.option("--partial", is_flag=True, help="The text is the beginning of one that still grows.")
@click.option("--yaml", is_flag=True, help="Read YAML too (needs penstock[yaml]).")
@click.option("--explain", is_flag=True, help="Say what was tried and what was mended, on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: value, complete, repairs, candidates.")
def command(
    file: str, schema: str | None, policy: Any, *, partial: bool, yaml: bool, explain: bool, as_json: bool
) -> None:
    """Read a value out of FILE (- is stdin) and print it as JSON.

    \b
    penstock parse answer.txt --schema incident.schema.json
    pbpaste | penstock parse - --schema myapp.models:Incident --explain
    """  # noqa: D301 - click wants the backspace itself
    from .._text.parse import parse  # with its patterns, which no help needs

    wanted = None if schema is None else load_schema(schema)
    text = _text_of(file)
    try:
        parsed = parse(text, wanted, policy=policy, partial=partial, yaml=yaml)
    except ParseError as error:
        if explain:
            explain_candidates(error.candidates)
        raise
    if explain:
        _explain_repairs(parsed)
    else:
        say_mended(parsed.repairs)
        if not parsed.complete and not partial:
            note("penstock: the text ends before the value does, so that there may be more")
    value = plain(parsed.value)
    if as_json:
        write_json(
            {
                "value": value,
                "complete": parsed.complete,
                "repairs": parsed.repairs,
                "candidates": [candidate._asdict() for candidate in parsed.candidates],
            }
        )
    else:
        write_json(value)


def _text_of(file: str) -> bytes:
    limit = 4 * MAX_CHARS + 1
    try:
        if file == "-":
            return sys.stdin.buffer.read(limit)
        with Path(file).open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


def say_mended(repairs: Sequence[Repair], place: str = "the text") -> None:
    """Say that a value is not what stood there."""
    mended = [repair for repair in repairs if repair.kind != "cut"]
    if mended:
        kinds = ", ".join(dict.fromkeys(repair.kind for repair in mended))
        note(f"penstock: {place} was mended: {count(len(mended), 'repair')} ({kinds}); --explain says where")


def tell_repairs(repairs: Sequence[Repair]) -> None:
    """Say on stderr what was mended, one line each."""
    for repair in repairs:
        note(f"mended {repair.path}: {repair.note} ({repair.kind})")
    if not repairs:
        note("nothing was mended")


def _explain_repairs(parsed: Parsed[Any]) -> None:
    explain_candidates(parsed.candidates)
    tell_repairs(parsed.repairs)
    if not parsed.complete:
        note("the text ends before the value does")


def explain_candidates(candidates: tuple[Candidate, ...]) -> None:
    """Say on stderr what was tried as the value, one line each."""
    for candidate in candidates:
        note(f"{candidate.source} at characters {candidate.start} to {candidate.end}: {candidate.outcome}", dim=True)
