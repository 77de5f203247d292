"""`penstock agent`: a task, tools and limits; what it does is shown, and what changes something is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO, get_args

import click
import msgspec

from .. import AgentResult, AsyncAgent, McpServer, Transcript
from .._flow.agent import Protocol
from .._flow.tools import AgentTool, tool
from .._io.replaced import replaced
from .._text.result import plain
from ..agent.face import AsyncAgentStream
from ..errors import EXIT_TEMPFAIL, ConfigError, InputError, NotFound, PenstockError
from .acting import Showing, whole_call_of
from .ask import message_of
from .choice import Dollars, Number, budget_of, default_model, meant
from .imported import load_name
from .keeping import AsyncKeepingClient
from .loop import run, stoppable
from .schema import SCHEMA_HELP, load_schema
from .shown import count, figures_line, note, settled, span, usd, write_json
from .streams import check_stdout, printing

NOBODY: Final = "there is no terminal to ask at; whoever runs the command can allow it with --yes"
BEGINS: Final = (b'{"task"',)
"""How a transcript starts, so that what a killed run left may make place."""


@click.command(name="agent")
@click.argument("task", nargs=-1)
@click.option("--tool", "tools", multiple=True, metavar="MODULE:FUNCTION",
              help="A function that the model may use, or FILE.py:FUNCTION; repeat it for more.")  # fmt: skip
@click.option("--mcp", "servers", multiple=True, metavar="ADDRESS",
              help="A server of tools: 'stdio: COMMAND ARGUMENTS', or a URL; repeat it for more.")  # fmt: skip
@click.option("-m", "--model", metavar="PROVIDER:NAME", help="Whom to ask, e.g. anthropic:claude-haiku-4-5.")
@click.option("--tier", type=click.Choice(["simple", "moderate", "complex", "expert"]), help="Let the router choose.")
@click.option("--system", metavar="TEXT", help="A system message.")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE",
              help="Add a text file, picture or PDF; repeat it for more.")  # fmt: skip
@click.option("--schema", metavar="SCHEMA", help=f"What the answer is to be: {SCHEMA_HELP}")
@click.option("--max-steps", type=click.IntRange(min=1), default=10, show_default=True,
              help="Questions to the model.")  # fmt: skip
@click.option("--budget", type=Dollars(), metavar="DOLLARS", help="The most this run may cost.")
@click.option("--max-seconds", type=Number(positive=True), metavar="SECONDS", help="The longest this run may take.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest turn of the model.")
@click.option("--protocol", type=click.Choice(["auto", *get_args(Protocol)]), default="auto", show_default=True,
              help="How the model uses tools: its own way, or by writing.")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Do not ask before tools with side effects are used.")
@click.option("--transcript", metavar="FILE", help="Keep the conversation here, after every step.")
@click.option("--resume", metavar="FILE", help="Go on with a conversation that was kept.")
@click.option("--mcp-log", metavar="FILE",
              help="Where what the started servers say on stderr goes, and what of their words could not be read; "
                   "nowhere unless told.")  # fmt: skip
@click.option("--stdin/--no-stdin", default=True, help="Add what is piped in (default), or leave stdin alone.")
@click.option("-q", "--quiet", is_flag=True, help="Print the answer and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: answer, uses of tools, usage, cost.")
def command(
    task: tuple[str, ...],
    tools: tuple[str, ...],
    servers: tuple[str, ...],
    files: tuple[str, ...],
    stdin: bool,
    schema: str | None,
    transcript: str | None,
    resume: str | None,
    **options: Any,
) -> None:
    """Let a model use tools until it has done a task, and print its answer.

    Before a tool that is marked as having side effects is used, you are asked; without a terminal it is not used
    unless you say --yes. A run that met a limit or was stopped leaves its conversation in a file, and --resume goes on
    with it.

    \b
    penstock agent "Why is checkout slow?" --tool ops.py:query_logs --tool ops.py:restart
    penstock agent "What changed today?" --mcp "stdio: uvx mcp-server-git" -m anthropic:claude-haiku-4-5
    penstock agent --resume penstock-agent-1f3a.json --max-steps 20
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    begun = None if resume is None else _read_kept(resume)
    message = None
    if task or files or begun is None:
        message = message_of(task, files, stdin=stdin)
    found = [_tool(each) for each in tools]
    wanted = None if schema is None else load_schema(schema)
    shows = _Shows(options.pop("quiet"), options.pop("as_json"))
    kept = _Kept(transcript or resume, _options_again(tool=tools, mcp=servers, schema=schema, **options))
    job = _Job(found, servers, wanted, message, begun, kept, shows, options)
    result = run(stoppable(job.run()))
    job.print(result)
    if not result.answered:
        raise click.exceptions.Exit(EXIT_TEMPFAIL)


class _Shows(msgspec.Struct):
    """What is printed."""

    quiet: bool
    as_json: bool

    @property
    def streamed(self) -> bool:
        """Whether the answer is printed as it comes."""
        return sys.stdout.isatty() and not self.as_json


class _Kept(msgspec.Struct, frozen=True):
    """Where the conversation is kept, None for only when it is needed, and the options to go on with it."""

    place: str | None
    options: list[str]


class _Job:
    """One run, from its settings to what is left of it."""

    def __init__(
        self,
        tools: list[AgentTool],
        servers: tuple[str, ...],
        wanted: Any,
        message: Any,
        begun: Transcript | None,
        kept: _Kept,
        shows: _Shows,
        options: dict[str, Any],
    ) -> None:
        self._tools = tools
        self._log = options.pop("mcp_log")
        self._yes = options.pop("yes")
        self._servers = servers
        self._wanted = wanted
        self._message = message
        self._begun = begun
        self._place = kept.place
        self._again = kept.options
        self._shows = shows
        self._budget: Decimal | None = options.pop("budget")
        self._options = {name: value for name, value in options.items() if value is not None}
        self._showing = Showing(streamed=shows.streamed and wanted is None, quiet=shows.quiet or shows.as_json)
        self._declined = False  # Ctrl-C was pressed at a question
        self.kept: str | None = None

    async def run(self) -> AgentResult:
        """Do it; however it ends, the call under way is settled and the conversation kept where that is of use."""
        async with AsyncKeepingClient(budget=budget_of(self._budget)) as client, contextlib.AsyncExitStack() as stack:
            if "model" not in self._options and "tier" not in self._options:
                self._options["model"] = default_model(client.settings)
            tools = [*self._tools, *await self._connect(stack)]
            agent = AsyncAgent(
                client,
                tools=tools,
                answer=self._wanted,
                approve=None if self._yes else self._approve,
                budget=self._budget,
                **{"priority": "interactive", **self._options},
            )
            stream = agent.stream(None if self._message is None else [self._message], resume=self._begun)
            try:
                return await self._read(stream)
            except NotFound as error:
                if near := meant(client.settings, f"{error.provider}:{error.model}"):
                    error.message += f"; {near}"
                raise
            except asyncio.CancelledError:
                self._showing.end()
                await stream.close()
                note(f"stopped; {settled(client.usage())}", dim=True)
                self._leave(stream.transcript)
                if self._declined:
                    raise KeyboardInterrupt from None
                raise

    async def _read(self, stream: AsyncAgentStream) -> AgentResult:
        try:
            async with stream:
                async for event in stream:
                    if event.kind == "step" and self._place is not None:
                        self._keep(stream.transcript, self._place)
                    with printing("the answer came in part and is lost, though it was paid"):
                        self._showing.take(event)
        except PenstockError:
            self._showing.end()
            self._leave(stream.transcript)
            raise
        self._showing.end()
        if stream.result.answered and self._place is not None:
            self._keep(stream.transcript, self._place)
        elif not stream.result.answered:
            note(f"penstock: no answer: {stream.result.reason}")
            self._leave(stream.transcript)
        return stream.result

    async def _connect(self, stack: contextlib.AsyncExitStack) -> list[McpServer]:
        if not self._servers:
            return []
        log = stack.enter_context(_log(self._log))
        sdk = logging.getLogger("mcp")  # it tells with a traceback of what it could not read
        sdk.addHandler(logging.StreamHandler(log))
        sdk.propagate = False
        servers = [McpServer(each, errors=log if each.startswith("stdio:") else None) for each in self._servers]
        return [await stack.enter_async_context(server) for server in servers]

    async def _approve(self, name: str, arguments: dict[str, Any]) -> bool | str:
        """Ask whether a tool may be used; the loop waits meanwhile, as nothing else is under way."""
        self._showing.end()
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            note(f"  not approved: {NOBODY}")
            return NOBODY
        heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # the loop's own would wait for the answer
        try:
            return click.confirm(f"{whole_call_of(name, arguments)} changes something. Use it?", err=True)
        except click.Abort:
            note("")
            self._declined = True
            raise asyncio.CancelledError from None
        finally:
            signal.signal(signal.SIGINT, heard)

    def _keep(self, transcript: Transcript, place: str) -> None:
        with replaced(Path(place), BEGINS) as file:
            file.write(transcript.to_json().encode())
        self.kept = place

    def _leave(self, transcript: Transcript) -> None:
        """Keep a conversation that has not ended, and say how to go on with it."""
        place = self._place or f"penstock-agent-{transcript.task}.json"
        try:
            self._keep(transcript, place)
        except PenstockError as error:
            note(f"penstock: the conversation could not be kept: {error}")
            return
        again = ["penstock", "agent", "--resume", place, *self._again]
        note(f"the conversation is in {place}; to go on:\n  {shlex.join(again)}")

    def print(self, result: AgentResult) -> None:
        """Print the answer."""
        with printing(f"the answer came ({usd(result.cost)}) and is lost"):
            if self._shows.as_json:
                write_json(self._figures(result))
            elif result.answered and self._wanted is not None:
                write_json(plain(result.answer))
            elif result.answered and not self._shows.streamed:
                click.echo(result.text)
        if sys.stdout.isatty() and not self._shows.as_json and not self._shows.quiet:
            words = [count(result.steps, "step"), count(len(result.uses), "use") + " of tools"]
            note(
                figures_line([*words, f"{result.usage.total:,} tokens", usd(result.cost), span(result.latency_s)]),
                dim=True,
            )

    def _figures(self, result: AgentResult) -> dict[str, Any]:
        return {
            "answer": plain(result.answer),
            "stopped": result.stopped,
            "reason": result.reason,
            "task": result.task,
            "steps": result.steps,
            "uses": result.uses,
            "reduced": result.reduced,
            "usage": {"input": 0, "output": 0, **msgspec.to_builtins(result.usage)},
            "cost": result.cost,
            "latency_s": round(result.latency_s, 3),
            "transcript": self.kept,
        }


def _options_again(**options: Any) -> list[str]:
    """Return the options without which a conversation could not be gone on with as it began."""
    names = ("tool", "mcp", "schema", "model", "tier", "system")
    given = [(name, options.get(name)) for name in names]
    each = [(name, value) for name, values in given for value in (values if isinstance(values, tuple) else (values,))]
    return [word for name, value in each if value is not None for word in (f"--{name}", value)]


def _tool(given: str) -> AgentTool:
    place, colon, name = given.rpartition(":")
    if not colon or not place:
        raise ConfigError(f"--tool {given} names no function; write MODULE:FUNCTION or FILE.py:FUNCTION")
    found = load_name(place, name, what="the tool's", option="--tool", noun="Function")
    return found if isinstance(found, AgentTool) else tool(found)


def _log(path: str | None) -> TextIO:
    """Open what servers write their errors to, which must be a file of the system: they are programs of their own."""
    try:
        return open(path or os.devnull, "a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write --mcp-log {path}: {error.strerror or error}") from error


def _read_kept(path: str) -> Transcript:
    try:
        return Transcript.from_json(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the transcript {path}: {error.strerror or error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error
