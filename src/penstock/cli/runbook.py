"""`penstock runbook`: how to handle one kind of trouble, step by step."""

from __future__ import annotations

from typing import Any

import click

from ..sre import questions
from .incident_options import Asked, shared, tokens_option
from .piped import context_of
from .reports import answer
from .streams import check_stdout


@click.command(name="runbook")
@click.argument("topic", nargs=-1, required=True)
@click.option("--service", default="", metavar="NAME", help="The service that it is for.")
@click.option("-f", "--file", "file", metavar="FILE", help="What is known: architecture, old incidents, manifests.")
@tokens_option
@shared
def command(topic: tuple[str, ...], service: str, file: str | None, tokens: int, **options: Any) -> None:
    """Write the runbook for one kind of trouble: how it shows, diagnose, mitigate, verify, roll back, escalate.

    \b
    penstock runbook "disk full on the primary database" --service payments-db
    penstock runbook "certificate expired" -f ingress.yaml --text > runbook.md
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    asked = Asked(options, tier="complex")
    answer(
        lambda kit, given: questions.runbook(
            " ".join(topic), service=service, context=context_of(file), clean=kit.clean(),
            tokens=kit.room(given, tokens),
        ),
        asked,
    )  # fmt: skip
