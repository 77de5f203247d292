"""`penstock analyze`: what logs of any size say, from pipes and files, many at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import EXIT_ROWS_FAILED, PenstockError
from ..sre import questions
from .incident_options import EXIT_FOUND, SEVERITIES, Asked, at_least, fail_option, shared, tokens_option
from .keeping import AsyncKeepingClient
from .piped import Progress, pieces, stdin_or_usage
from .reports import answer, figures, form_of, tell, tell_shown
from .shown import columns, count, note, settled, table, usd, write_line
from .streams import check_stdout, printing

if TYPE_CHECKING:
    from ..sre import Analysis, Report

AT_ONCE: Final = 8
"""Files that are asked about at the same time; the limiter of the lane holds beside it."""

HEAD: Final = ("SEVERITY", "FILE", "SERVICE", "SUMMARY")


@click.command(name="analyze")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--question", default="", metavar="TEXT", help="What you want to know of the logs.")
@tokens_option
@fail_option
@shared
def command(files: tuple[str, ...], question: str, tokens: int, fail_on: str | None, **options: Any) -> None:
    """Find out what logs say: severity, probable causes with their lines, timeline, what to do.

    Logs come from a pipe or from files, of any size: a long one is read in pieces, lines that differ only in numbers
    and ids become one pattern with its count, and what is left out is said. Several files are asked about at once and
    shown the worst first; into a pipe each is a line of JSON. Secrets and personal data are replaced before anything is
    sent.

    \b
    kubectl logs web-7d9 --since 1h | penstock analyze
    penstock analyze /var/log/nginx/error.log --question "Why did the 502s begin at 02:14?"
    penstock analyze logs/*.log --fail-on P1 > findings.jsonl
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    asked = Asked(options, tier="complex")
    if len(files) > 1:
        from .loop import run, stoppable

        code = run(stoppable(_many(files, question, tokens, asked, fail_on)))
        raise click.exceptions.Exit(code)
    name = files[0] if files and files != ("-",) else "stdin"
    source: Any = (
        stdin_or_usage("there is nothing to analyze; name log files, or pipe logs in") if name == "stdin" else name
    )

    def make(kit: Any, given: dict[str, Any]) -> Any:
        from pathlib import Path

        logs = pieces(source) if name == "stdin" else Path(name)
        return questions.analyze(
            logs, kit.clean(), tokens=kit.room(given, tokens), question=question, name=name, progress=Progress(name)
        )

    answer(make, asked, fail_on=fail_on)


async def _many(files: tuple[str, ...], question: str, tokens: int, asked: Asked, fail_on: str | None) -> int:
    """Ask about several files at once, print what was found the worst first, and return the exit code."""
    import asyncio

    from ..sre import AsyncSRE

    async with AsyncKeepingClient(**asked.settings_of_client()) as client:
        options = {**asked.options_of_calls(client.settings), "priority": "batch"}
        kit = AsyncSRE(client, redact=asked.redact)
        room = asyncio.Semaphore(AT_ONCE)
        done = 0

        async def one(name: str) -> Report[Analysis] | PenstockError:
            nonlocal done
            async with room:
                try:
                    asking = await asyncio.to_thread(_question, kit, name, options, tokens, question)
                    found: Report[Analysis] | PenstockError = await kit.ask(asking, **options)
                except PenstockError as error:
                    found = error
            done += 1
            if sys.stderr.isatty():
                note(_short(f"{done}/{len(files)} {name}: {_verdict(found)}", columns()), dim=True)
            return found

        tasks = [asyncio.ensure_future(one(name)) for name in files]
        try:
            found = await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            note(f"stopped; {settled(client.usage())}", dim=True)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return _print(list(zip(files, found, strict=True)), asked, fail_on)


def _question(kit: Any, name: str, options: dict[str, Any], tokens: int, question: str) -> Any:
    from pathlib import Path

    room = kit.room(options, tokens)
    return questions.analyze(Path(name), kit.clean(), tokens=room, question=question, name=name)


def _verdict(found: Report[Analysis] | PenstockError) -> str:
    if isinstance(found, PenstockError):
        return f"failed: {found}"
    return f"{found.value.severity} {found.value.service}: {found.value.summary}"


def _rank(item: tuple[str, Report[Analysis] | PenstockError]) -> tuple[int, float]:
    _, found = item
    if isinstance(found, PenstockError):
        return len(SEVERITIES), 0.0
    return SEVERITIES.index(found.value.severity), -found.value.confidence


def _print(found: list[tuple[str, Report[Analysis] | PenstockError]], asked: Asked, fail_on: str | None) -> int:
    found.sort(key=_rank)
    form = form_of(asked)
    with printing("the findings came and are lost"):
        if form == "json":
            for name, each in found:
                if isinstance(each, PenstockError):
                    write_line({"file": name, "error": {"code": each.code, "message": each.message}})
                else:
                    write_line({"file": name, **figures(each)})
        else:
            _print_text(found)
    for name, each in found:
        if isinstance(each, PenstockError):
            note(f"penstock: {name}: {each}")
    reports = [each for _, each in found if not isinstance(each, PenstockError)]
    worst = [f"{number} {severity}" for severity in SEVERITIES if (number := _number(reports, severity))]
    failed = len(found) - len(reports)
    costs = [each.extracted.cost_nano for each in reports]
    cost = None if None in costs else sum(each for each in costs if each is not None)
    more = f", {failed} failed" if failed else ""
    note(f"{count(len(found), 'file')}: {', '.join(worst) or 'nothing found'}{more} · {usd(cost)}")
    if any(at_least(each.value.severity, fail_on) for each in reports):
        return EXIT_FOUND
    return EXIT_ROWS_FAILED if failed else 0


def _number(reports: list[Report[Analysis]], severity: str) -> int:
    return sum(each.value.severity == severity for each in reports)


def _print_text(found: list[tuple[str, Report[Analysis] | PenstockError]]) -> None:
    import msgspec

    from .rendered import show

    rows = [
        (each.value.severity, name, each.value.service, each.value.summary)
        if not isinstance(each, PenstockError)
        else ("-", name, "", f"failed: {each.message}")
        for name, each in found
    ]
    width = columns() if sys.stdout.isatty() else 120
    left = width - sum(2 + max(len(row[at]) for row in [*rows, HEAD]) for at in range(3))
    click.echo(table([(*row[:3], _short(row[3], max(20, left))) for row in rows], HEAD))
    for name, each in found:
        if isinstance(each, PenstockError):
            continue
        if each.value.severity in ("P1", "P2"):
            click.echo(f"\n=== {name} ===")
            show(msgspec.to_builtins(each.value))
            tell(each, "text")
        else:
            tell_shown(each, f"{name}: ")


def _short(text: str, most: int) -> str:
    line = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    return line if len(line) <= most else f"{line[: most - 1]}…"
