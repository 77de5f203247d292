"""`penstock incident`: a plan for an incident that was just reported."""

from __future__ import annotations

from typing import Any

import click

from ..sre import questions
from .incident_options import Asked, fail_option, shared, tokens_option
from .piped import context_of
from .reports import answer
from .streams import check_stdout


@click.command(name="incident")
@click.option("--service", required=True, metavar="NAME", help="What is affected.")
@click.option("--symptoms", required=True, metavar="TEXT", help="What is seen: errors, alerts, what users say.")
@click.option("--duration", default="", metavar="TEXT", help="Since when or for how long, as '15 minutes'.")
@click.option("--impact", default="", metavar="TEXT", help="Who notices what, as 'no checkout in the EU'.")
@click.option("-f", "--file", "file", metavar="FILE", help="Logs or notes that belong to it; piped in works too.")
@tokens_option
@fail_option
@shared
def command(
    service: str, symptoms: str, duration: str, impact: str, file: str | None, tokens: int, fail_on: str | None,
    **options: Any,
) -> None:  # fmt: skip
    """Get a plan for an incident: severity, hypotheses with their checks, the first fifteen minutes, a status message.

    \b
    penstock incident --service checkout --symptoms "502 on 30 % of requests" --duration "10 min" --impact "EU users"
    kubectl logs checkout-1 | penstock incident --service checkout --symptoms "pods restart"
    penstock incident --service db --symptoms "replication lag 40 min" --json | jq -r .status_update
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    asked = Asked(options, tier="complex")
    answer(
        lambda kit, given: questions.incident(
            service=service, symptoms=symptoms, duration=duration, impact=impact, context=context_of(file),
            clean=kit.clean(), tokens=kit.room(given, tokens),
        ),
        asked,
        fail_on=fail_on,
    )  # fmt: skip
