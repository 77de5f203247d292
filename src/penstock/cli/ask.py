"""`penstock ask`: one question, its answer as it comes."""

from __future__ import annotations

import asyncio
import base64
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from .. import AsyncClient
from ..errors import InputError, NotFound
from ..types import Document, Image, Message, Part, Response, Text
from .choice import Dollars, Number, budget_of, default_model, meant
from .job import run
from .shown import note, span, usd, write_json

PICTURES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
FILE_MAX_BYTES: Final = 64 * 1024 * 1024


@click.command(name="ask")
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", metavar="PROVIDER:NAME", help="Whom to ask, e.g. anthropic:claude-haiku-4-5.")
@click.option("--tier", type=click.Choice(["simple", "moderate", "complex", "expert"]), help="Let the router choose.")
@click.option("--system", metavar="TEXT", help="A system message.")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE",
              help="Add a text file, picture or PDF; repeat it for more.")  # fmt: skip
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer.")
@click.option("--temperature", type=Number(), help="How much chance is in the answer.")
@click.option("--budget", type=Dollars(), metavar="DOLLARS", help="The most this may cost.")
@click.option("--deadline", "deadline_s", type=Number(positive=True), metavar="SECONDS",
              help="When to give up, retries included.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: text, usage, cost, latency.")
@click.option("--stream/--no-stream", default=None, help="As it is produced (default on a terminal), or at the end.")
def command(
    prompt: tuple[str, ...], files: tuple[str, ...], as_json: bool, stream: bool | None, **options: Any
) -> None:
    """Ask a model and print its answer; text on stdin is added to the prompt.

    \b
    penstock ask "What does exit code 137 mean?"
    kubectl logs web-7d9 | penstock ask "What is wrong here?" -m anthropic:claude-haiku-4-5
    penstock ask -f design.md -f diagram.png "What is missing?" --json
    """  # noqa: D301 - click wants the backspace itself
    message = _message(" ".join(prompt), files)
    streamed = stream if stream is not None else sys.stdout.isatty() and not as_json
    asked = {name: value for name, value in options.items() if value is not None and name != "budget"}
    response = run(_ask(message, asked, options["budget"], streamed=streamed and not as_json))
    if as_json:
        write_json(_figures(response))
    elif not streamed:
        click.echo(response.text)
    if sys.stdout.isatty() and not as_json:
        note(_footer(response), dim=True)


async def _ask(message: Message, options: dict[str, Any], budget: Decimal | None, *, streamed: bool) -> Response:
    async with AsyncClient(budget=budget_of(budget)) as client:
        if "model" not in options and "tier" not in options:
            options["model"] = default_model(client.settings)
        options = {"priority": "interactive", **options}
        try:
            if not streamed:
                return await client.complete([message], **options)
            async with client.stream([message], **options) as answer:
                ended = False
                async for text in answer.text:
                    click.echo(text, nl=False)
                    ended = text.endswith("\n")
                if not ended:
                    click.echo()
                return answer.response
        except NotFound as error:
            if near := meant(client.settings, f"{error.provider}:{error.model}"):
                error.message += f"; {near}"
            raise
        except asyncio.CancelledError:
            spent = client.usage()
            click.echo()
            note(f"stopped; settled at {usd(spent.cost_nano)}", dim=True)
            raise


def _message(prompt: str, files: tuple[str, ...]) -> Message:
    parts: list[Part] = [Text(prompt)] if prompt.strip() else []
    parts.extend(_part(name) for name in files)
    if "-" not in files and not sys.stdin.isatty():
        piped = _stdin()
        if piped.strip():
            parts.append(Text(piped))
    if not parts:
        raise click.UsageError('there is no prompt; write penstock ask "…", or pipe a text into it')
    texts = [part.text for part in parts if isinstance(part, Text)]
    return Message("user", "\n\n".join(texts) if len(texts) == len(parts) else tuple(parts))


def _stdin() -> str:
    try:
        return sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read stdin as text: {error}") from error


def _part(name: str) -> Part:
    if name == "-":
        return Text(_stdin())
    path = Path(name)
    try:
        with open(name, "rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"cannot read the file {name!r}: {said}") from error
    if len(data) > FILE_MAX_BYTES:
        raise InputError(f"{name} has more than {FILE_MAX_BYTES:,} bytes; no provider takes as many")
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
    return " · ".join(shown)


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
        "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in response.tool_calls],
        "request_id": response.request_id,
    }
