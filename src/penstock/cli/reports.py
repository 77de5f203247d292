"""One question of the SRE kit from the command line: asked, shown as it grows or as JSON, and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from ..errors import NotFound, PenstockError
from ..sre import SRE
from .choice import meant
from .incident_options import EXIT_FOUND, Asked, Form, at_least
from .keeping import KeepingClient
from .shown import count, figures_line, note, settled, usd, write_json
from .signals import interruptible
from .streams import printing

if TYPE_CHECKING:
    from ..sre import Question, Report

T = TypeVar("T")


def form_of(asked: Asked) -> Form:
    """Choose how a report is printed: for people on a terminal, as JSON into a pipe, unless told otherwise."""
    return asked.form or ("text" if sys.stdout.isatty() else "json")


def answer(
    make: Callable[[SRE, dict[str, Any]], Question[T]],
    asked: Asked,
    *,
    fail_on: str | None = None,
    streamed: bool = True,
) -> None:
    """Put a question together, ask it, print the report and exit as `fail_on` says."""
    form = form_of(asked)
    with KeepingClient(**asked.settings_of_client()) as client, interruptible():
        options = asked.options_of_calls(client.settings)
        kit = SRE(client, redact=asked.redact)
        try:
            question = make(kit, options)
            if form == "text" and streamed and sys.stdout.isatty():
                report = _shown_growing(kit, question, options)
            else:
                report = kit.ask(question, **options)
                with printing(f"the report came ({usd(report.cost)}) and is lost"):
                    _print(report, form)
        except NotFound as error:
            if near := meant(client.settings, f"{error.provider}:{error.model}"):
                error.message += f"; {near}"
            raise
        except KeyboardInterrupt:
            note(f"stopped; {settled(client.usage())}", dim=True)
            raise
    tell(report, form)
    if at_least(getattr(report.value, "severity", ""), fail_on):
        raise click.exceptions.Exit(EXIT_FOUND)


def _shown_growing(kit: SRE, question: Question[T], options: dict[str, Any]) -> Report[T]:
    from .rendered import Growing

    growing = Growing()
    with printing("the report came in part and is lost, though it was paid"):
        try:
            with kit.stream(question, **options) as stream:
                for value in stream:
                    growing.show(value)
                report = stream.finish()
        except (PenstockError, KeyboardInterrupt):
            growing.leave()
            raise
        growing.finish(msgspec.to_builtins(report.value))
    return report


def _print(report: Report[Any], form: Form) -> None:
    if form == "json":
        write_json(figures(report))
    else:
        from .rendered import show

        show(msgspec.to_builtins(report.value))


def figures(report: Report[Any]) -> dict[str, Any]:
    """Write a report as one flat object: the fields of the value, then what it took and what it is of."""
    found = report.extracted
    return {
        **msgspec.to_builtins(report.value),
        "model": report.model,
        "usage": {"input": 0, "output": 0, **msgspec.to_builtins(found.usage)},
        "cost": found.cost,
        "latency_s": round(found.response.latency_s, 3),
        "redacted": report.redacted,
        "materials": [
            {"name": each.name, "lines": each.lines, "bytes": each.bytes, "levels": each.levels, "shown": each.shown,
             "left_out": each.left_out}
            for each in report.materials
        ],
        "unverified": list(report.unverified),
    }  # fmt: skip


def tell_shown(report: Report[Any], of: str = "") -> None:
    """Say on stderr what of its materials the model was not shown, or not as it is."""
    for material in report.materials:
        if material.left_out:
            note(f"{material.name}: {material.left_out}" if material.name else material.left_out, dim=True)
    if report.redacted:
        kinds = ", ".join(count(number, kind) for kind, number in report.redacted.items())
        note(f"{of}replaced before anything was sent: {kinds}", dim=True)


def tell(report: Report[Any], form: Form) -> None:
    """Say on stderr what the answer rests on; into a pipe of JSON only what must not be missed."""
    for quote in report.unverified:
        note(f"not in what was shown, so do not trust it: {quote[:160]!r}")
    if form == "json" and not sys.stderr.isatty():
        return
    tell_shown(report)
    usage, response = report.extracted.usage, report.extracted.response
    parts = [report.model, f"{usage.prompt:,} + {usage.completion:,} tokens", usd(report.cost)]
    if response.first_token_s is not None:
        parts.append(f"first token {response.first_token_s:.2f} s")
    note(figures_line([*parts, f"{response.latency_s:.2f} s"]), dim=True)
