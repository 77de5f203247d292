"""`penstock classify`: how bad one line is, whose, and what to do next."""

from __future__ import annotations

from typing import Any

import click

from ..errors import InputError
from ..sre import questions
from .incident_options import Asked, fail_option, shared
from .piped import pieces, stdin_or_usage
from .reports import answer
from .streams import check_stdout

TEXT_MOST = 64 * 1024
"""Bytes of what is classified; longer text is a log to analyze."""


@click.command(name="classify")
@click.argument("text", nargs=-1)
@fail_option
@shared
def command(text: tuple[str, ...], fail_on: str | None, **options: Any) -> None:
    """Say how bad one log line, alert or message is: severity, service, category, next action.

    On a terminal it is printed for people, into a pipe as a JSON object. Secrets and personal data are replaced before
    anything is sent.

    \b
    penstock classify "FATAL [payments-db] no space left on device"
    tail -n 1 /var/log/app.log | penstock classify | jq -r .severity
    penstock classify "$ALERT" --fail-on P2 || page-somebody
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    asked = Asked(options, tier="simple")
    given = " ".join(text) if text and text != ("-",) else _piped()
    answer(lambda kit, _: questions.classify(given, kit.clean()), asked, fail_on=fail_on, streamed=False)


def _piped() -> bytes:
    data = b""
    for piece in pieces(stdin_or_usage('there is nothing to classify; write penstock classify "…", or pipe it in')):
        data += piece
        if len(data) > TEXT_MOST:
            raise InputError(f"stdin has more than {TEXT_MOST // 1024} KiB; that is a log: penstock analyze takes it")
    if not data.strip():
        raise InputError("stdin is empty, so there is nothing to classify")
    return data
