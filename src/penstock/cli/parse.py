"""`penstock parse`: a value out of text that is already on disk; no model is called."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec

from .._text.parse import MAX_CHARS, POLICIES, parse
from .._text.result import Parsed
from ..errors import Candidate, ConfigError, InputError, ParseError
from .shown import note, write_json


@click.command(name="parse")
@click.argument("file", default="-", type=click.Path(allow_dash=True, path_type=str))
@click.option("--schema", metavar="FILE|MODULE:TYPE", help="A JSON Schema in a file, or a type; without it, any JSON.")
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
    wanted = _wanted(schema)
    text = _text_of(file)
    try:
        parsed = parse(text, wanted, policy=policy, partial=partial, yaml=yaml)
    except ParseError as error:
        if explain:
            _explain(error.candidates)
        raise
    if explain:
        _explain_repairs(parsed)
    value = msgspec.to_builtins(parsed.value, enc_hook=_plain, str_keys=True)
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


def _plain(value: Any) -> Any:
    """Turn what msgspec does not know, such as a pydantic model, into what JSON has."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


def _wanted(schema: str | None) -> Any:
    if schema is None:
        return None
    path = Path(schema)
    if ":" in schema and not path.exists():
        return _type(schema)
    try:
        read = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"cannot read the schema {schema}: {error.strerror}; expected a file or module:Type"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the schema {schema} is not JSON: {error}") from error
    if not isinstance(read, dict):
        raise ConfigError(f"the schema {schema} is no JSON object; expected a JSON Schema")
    return read


def _type(name: str) -> Any:
    module, _, path = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` finds modules beside it
    try:
        found: Any = import_module(module)
        for step in path.split("."):
            found = getattr(found, step)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"cannot load the type {name}: {error}; expected module:Type, as in myapp.models:Incident"
        ) from error
    return found


def _text_of(file: str) -> bytes:
    limit = 4 * MAX_CHARS + 1
    try:
        if file == "-":
            return sys.stdin.buffer.read(limit)
        with Path(file).open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


def _explain_repairs(parsed: Parsed[Any]) -> None:
    _explain(parsed.candidates)
    for repair in parsed.repairs:
        note(f"mended {repair.path}: {repair.note} ({repair.kind})")
    if not parsed.repairs:
        note("nothing was mended")
    if not parsed.complete:
        note("the text ends before the value does")


def _explain(candidates: tuple[Candidate, ...]) -> None:
    for candidate in candidates:
        note(f"{candidate.source} at characters {candidate.start} to {candidate.end}: {candidate.outcome}", dim=True)
