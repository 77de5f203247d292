"""`penstock postmortem`: what is written after an incident."""

from __future__ import annotations

from typing import Any

import click

from ..sre import questions
from .incident_options import Asked, shared, tokens_option
from .piped import context_of, stdin_or_usage
from .reports import answer
from .streams import check_stdout


@click.command(name="postmortem")
@click.argument("file", required=False)
@click.option("--title", default="", metavar="TEXT", help="What to call the incident.")
@tokens_option
@shared
def command(file: str | None, title: str, tokens: int, **options: Any) -> None:
    """Write the post-mortem of notes, chats and logs: impact, timeline, root cause, follow-ups. Blameless.

    \b
    penstock postmortem incident-4711.md --text > postmortem.md
    cat channel.txt web.log | penstock postmortem --title "Checkout down for 40 minutes"
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    asked = Asked(options, tier="complex")
    if file in (None, "-"):
        stdin_or_usage("there is nothing to write about; name a file of notes, or pipe them in")
    name = "stdin" if file in (None, "-") else str(file)
    answer(
        lambda kit, given: questions.postmortem(
            context_of(file or "-") or b"", title=title, clean=kit.clean(), tokens=kit.room(given, tokens), name=name
        ),
        asked,
    )
