"""`penstock ask`: one question, its answer as it comes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import select
import stat
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from .. import AsyncStream
from ..errors import InputError, NotFound, PenstockError
from ..types import Document, Image, Message, Part, Response, Text
from .choice import STRATEGIES, TIERS, Dollars, Number, budget_of, default_model, meant
from .keeping import AsyncKeepingClient
from .loop import run, stoppable
from .shown import figures_line, note, settled, span, usd, write_json
from .streams import check_stdout, printing

PICTURES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
FILE_MAX_BYTES: Final = 64 * 1024 * 1024
PIPE_MAX_BYTES: Final = 10 * 1024 * 1024
"""Of what may never end: stdin, a pipe, a device."""

PATIENCE_S: Final = 2.0
"""How long stdin may be silent before the user is told that it is waited for."""


@click.command(name="ask")
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", metavar="PROVIDER:NAME", help="Whom to ask, e.g. anthropic:claude-haiku-4-5.")
@click.option("--tier", type=click.Choice(TIERS), help="Let the router choose; auto goes by the prompt.")
@click.option("--truncate", type=click.Choice(STRATEGIES), help="How to cut what is too long; by default nothing is.")
@click.option("--system", metavar="TEXT", help="A system message.")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE",
              help="Add a text file, picture or PDF; repeat it for more.")  # fmt: skip
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer.")
@click.option("--temperature", type=Number(), help="How much chance is in the answer.")
@click.option("--budget", type=Dollars(), metavar="DOLLARS", help="The most this may cost.")
@click.option("--deadline", "deadline_s", type=Number(positive=True), metavar="SECONDS",
              help="When to give up, retries included.")  # fmt: skip
@click.option("--stdin/--no-stdin", default=True, help="Add what is piped in (default), or leave stdin alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: text, usage, cost, latency.")
@click.option("--stream/--no-stream", default=None, help="As it is produced (default on a terminal), or at the end.")
@click.option("--timing", is_flag=True, help="Say on stderr when the first token came, when the last, and how fast.")
def command(
    prompt: tuple[str, ...],
    files: tuple[str, ...],
    stdin: bool,
    as_json: bool,
    stream: bool | None,
    timing: bool,
    **options: Any,
) -> None:
    """Ask a model and print its answer; text that is piped in is added to the prompt.

    In a loop that reads its lines from a pipe, say --no-stdin, or the first question takes all lines.

    \b
    penstock ask "What does exit code 137 mean?"
    kubectl logs web-7d9 | penstock ask "What is wrong here?" -m anthropic:claude-haiku-4-5
    penstock ask -f design.md -f diagram.png "What is missing?" --json
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    message = message_of(prompt, files, stdin=stdin)
    streamed = stream if stream is not None else sys.stdout.isatty() and not as_json
    asked = {name: value for name, value in options.items() if value is not None and name != "budget"}
    shown = streamed and not as_json
    response = run(stoppable(_ask(message, asked, options["budget"], streamed=shown, timed=timing)))
    with printing(f"the answer came ({usd(response.cost)}) and is lost"):
        if as_json:
            write_json(_figures(response))
        elif not streamed:
            click.echo(response.text)
    for notice in () if as_json else response.notices:
        if notice.kind == "adapted":  # the others are warnings of the log
            note(notice.message)
    if timing:
        from ..streaming import timing as taken

        note(str(taken(response)))
    elif sys.stdout.isatty() and not as_json:
        note(_footer(response), dim=True)


async def _ask(
    message: Message, options: dict[str, Any], budget: Decimal | None, *, streamed: bool, timed: bool
) -> Response:
    async with AsyncKeepingClient(budget=budget_of(budget)) as client:
        if "model" not in options and "tier" not in options:
            options["model"] = default_model(client.settings)
        options = {"priority": "interactive", **options}
        try:
            if not streamed and timed:  # only a stream tells when its first token came
                return await client.stream([message], **options).finish()
            if not streamed:
                return await client.complete([message], **options)
            with printing("the answer came in part and is lost, though it was paid"):
                return await _streamed(client.stream([message], **options))
        except NotFound as error:
            if near := meant(client.settings, f"{error.provider}:{error.model}"):
                error.message += f"; {near}"
            raise
        except asyncio.CancelledError:
            if streamed and sys.stdout.isatty():
                with contextlib.suppress(OSError):  # the terminal may be what went away
                    click.echo()
            note(f"stopped; {settled(client.usage())}", dim=True)
            raise


async def _streamed(stream: AsyncStream) -> Response:
    async with stream as answer:
        said = ""
        try:
            async for text in answer.text:
                click.echo(text, nl=False)
                said = text
        except PenstockError:
            if said and not said.endswith("\n"):
                click.echo()
            raise
        if not said.endswith("\n"):
            click.echo()
        return answer.response


def message_of(prompt: tuple[str, ...], files: tuple[str, ...], *, stdin: bool) -> Message:
    """Put a prompt, files and what is piped in together.

    Raises: InputError for what cannot be read; click.UsageError when there is nothing to ask.
    """
    if prompt == ("-",):
        prompt, files = (), (*files, "-")
    asked = " ".join(prompt)
    parts: list[Part] = [Text(asked)] if asked.strip() else []
    parts.extend(_part(name) for name in files)
    if "-" not in files and stdin and _is_offered(alone=not parts):
        piped = _stdin()
        if piped.strip():
            parts.append(Text(piped))
    if not parts:
        raise click.UsageError("there is no prompt; write it behind the command, or pipe a text into it")
    texts = [part.text for part in parts if isinstance(part, Text)]
    return Message("user", "\n\n".join(texts) if len(texts) == len(parts) else tuple(parts))


def _is_offered(*, alone: bool) -> bool:
    """Whether stdin is there for us: a pipe, or a file that nobody else reads, such as the `while read` loop around us.

    Where it is all there is to ask (`alone`) it is ours in any case.
    """
    try:
        number = sys.stdin.fileno()
        kind = os.fstat(number).st_mode
        if stat.S_ISREG(kind):
            return alone or os.lseek(number, 0, os.SEEK_CUR) == 0
    except io.UnsupportedOperation:  # no file at all, as in a test
        return True
    except OSError:
        return False
    return stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)


def _stdin() -> str:
    try:
        data = _piped()
        if len(data) > PIPE_MAX_BYTES:
            raise InputError(f"stdin has more than {_mib(PIPE_MAX_BYTES)}; put what matters into a file (-f)")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read stdin as text: {error}") from error


def _piped() -> bytes:
    """Read stdin up to one byte more than is allowed, and say so when it keeps us waiting."""
    try:
        number = sys.stdin.fileno()
    except io.UnsupportedOperation:
        return sys.stdin.buffer.read(PIPE_MAX_BYTES + 1)
    data, told = bytearray(), False
    while len(data) <= PIPE_MAX_BYTES:
        if not told and not _comes(number):
            note("waiting for stdin to end; --no-stdin asks without it", dim=True)
            told = True
        piece = os.read(number, 65536)
        if not piece:
            break
        data += piece
    return bytes(data)


def _comes(number: int) -> bool:
    try:
        return bool(select.select([number], [], [], PATIENCE_S)[0])
    except (OSError, ValueError):  # Windows asks sockets only
        return True


def _mib(size: int) -> str:
    return f"{size // (1024 * 1024)} MiB"


def _part(name: str) -> Part:
    if name == "-":
        if not (piped := _stdin()).strip():
            raise InputError("stdin is empty, so there is nothing to ask about")
        return Text(piped)
    path = Path(name)
    try:
        with open(name, "rb") as file:
            whole = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            most = FILE_MAX_BYTES if whole else PIPE_MAX_BYTES
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"cannot read the file {name!r}: {said}") from error
    if len(data) > most:
        end = "no provider takes as many" if whole else "it is no regular file, and may never end"
        raise InputError(f"{name} has more than {_mib(most)}; {end}")
    if not data.strip():
        raise InputError(f"{name} is empty, so there is nothing to ask about")
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return Image(data=base64.b64encode(data).decode(), media_type=PICTURES[suffix])
    if suffix == ".pdf":
        return Document(data=base64.b64encode(data).decode(), media_type="application/pdf", title=path.name)
    try:
        return Text(f"{path.name}:\n{data.decode()}")
    except UnicodeDecodeError:
        known = ", ".join((*PICTURES, ".pdf"))
        raise InputError(f"{name} is neither UTF-8 text nor one of {known}") from None


def _footer(response: Response) -> str:
    usage = response.usage
    about = "about " if usage.estimated else ""
    shown = [f"{response.provider}:{response.model}", f"{about}{usage.prompt:,} + {usage.completion:,} tokens"]
    shown.append(usd(response.cost))
    if response.first_token_s is not None:
        shown.append(f"first token {span(response.first_token_s)}")
    shown.append(span(response.latency_s))
    if len(response.attempts) > 1:
        shown.append(f"{len(response.attempts)} attempts")
    if response.stop_reason not in ("stop", "unknown"):
        shown.append(f"ended by {response.stop_reason}")
    return figures_line(shown)


def _figures(response: Response) -> dict[str, Any]:
    import msgspec

    return {
        "text": response.text,
        "model": f"{response.provider}:{response.model}",
        "stop_reason": response.stop_reason,
        "usage": {"input": 0, "output": 0, **msgspec.to_builtins(response.usage)},
        "cost": response.cost,
        "latency_s": round(response.latency_s, 3),
        "first_token_s": None if response.first_token_s is None else round(response.first_token_s, 3),
        "attempts": [
            {
                "model": f"{attempt.provider}:{attempt.model}",
                "outcome": attempt.outcome,
                "status": attempt.status,
                "latency_s": round(attempt.latency_s, 3),
            }
            for attempt in response.attempts
        ],
        "notices": [notice.message for notice in response.notices],
        "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in response.tool_calls],
        "request_id": response.request_id,
    }
