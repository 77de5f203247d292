"""`penstock chat`: a conversation, turn by turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from .. import Client
from ..errors import ContextTooLong, InputError, PenstockError
from ..streaming import TerminalWriter, timing
from .choice import Dollars, Number, budget_of, default_model
from .conversation import Conversation, load
from .keeping import KeepingClient
from .shown import count, figures_line, note, settled, usd, write_line
from .signals import interruptible
from .streams import check_stdout, printing

HELP: Final = """\
/model [PROVIDER:NAME]  show or change who answers
/system [TEXT]          show or change the system message
/cost                   what the conversation cost so far
/save [FILE]            write it to a file; --resume FILE goes on from there
/clear                  forget all turns
/quit                   end (Ctrl-D too); Ctrl-C stops an answer
A line that ends with \\ goes on in the next one."""


@click.command(name="chat")
@click.option("-m", "--model", metavar="PROVIDER:NAME", help="Whom to ask, e.g. anthropic:claude-haiku-4-5.")
@click.option("--system", metavar="TEXT", help="A system message.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="FILE",
              help="Go on with a conversation that was saved; it is saved again after each turn.")  # fmt: skip
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer.")
@click.option("--temperature", type=Number(), help="How much chance is in the answers.")
@click.option("--budget", type=Dollars(), metavar="DOLLARS", help="The most the conversation may cost from here on.")
@click.option("--deadline", "deadline_s", type=Number(positive=True), metavar="SECONDS",
              help="When to give up on an answer, retries included.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per answer.")
def command(
    model: str | None, system: str | None, resume: Path | None, budget: Decimal | None, as_json: bool, **options: Any
) -> None:
    """Talk with a model; it is told all earlier turns. Answers come as they are produced.

    Ctrl-C stops an answer and not the conversation, Ctrl-D ends it; /help lists what else can be done. From a pipe
    every line is a turn.

    \b
    penstock chat -m anthropic:claude-haiku-4-5 --system "You know PostgreSQL by heart."
    penstock chat --resume incident.chat.json --budget 0.50
    printf 'My name is Ada.\\nWhat is my name?\\n' | penstock chat
    """  # noqa: D301 - click wants the backspace itself
    check_stdout()
    asked = {name: value for name, value in options.items() if value is not None}
    with KeepingClient(budget=budget_of(budget)) as client, interruptible(EOFError):
        talk = load(resume) if resume is not None else Conversation(model or default_model(client.settings))
        talk.model = model or talk.model
        talk.system = talk.system if system is None else system
        chat = Chat(client, talk, asked, as_json=as_json)
        try:
            code = chat.run()
        finally:
            chat.close()
    raise click.exceptions.Exit(code)


class Chat:
    """Reads lines, asks, and does what lines with a slash say."""

    def __init__(self, client: Client, talk: Conversation, options: dict[str, Any], *, as_json: bool) -> None:
        self._client = client
        self._talk = talk
        self._options = options
        self._json = as_json
        self._live = sys.stdin.isatty()
        self._failed = 0
        self._saves = talk.file is not None
        self._window = client.preview("?", model=talk.model).window  # a name that cannot be asked is said now

    def run(self) -> int:
        """Talk until the lines end; return the exit code."""
        if self._live:
            earlier = f", {count(len(self._talk.turns), 'turn')} so far" if self._talk.turns else ""
            note(f"{self._talk.model}{earlier}. /help lists commands; Ctrl-D ends.", dim=True)
        try:
            for line in self._lines():
                if line.startswith("/"):
                    if self._command(line):
                        break
                elif line.strip():
                    self._turn(line)
        except EOFError:
            pass
        return self._failed

    def close(self) -> None:
        """Say what it all cost, on a terminal."""
        if self._live:
            note(self._cost(), dim=True)

    def _lines(self) -> Iterator[str]:
        if not self._live:
            yield from _piped()
            return
        _with_history()
        begun = ""
        while True:
            try:
                line = begun + input("... " if begun else "> ")
            except UnicodeDecodeError:
                note("that was no UTF-8; say it again")
                continue
            except KeyboardInterrupt:
                begun = ""
                note("\nCtrl-D or /quit ends the conversation")
                continue
            except EOFError:
                note("")
                return
            if line.endswith("\\"):
                begun = line[:-1] + "\n"
                continue
            begun = ""
            yield line

    def _turn(self, text: str) -> None:
        talk = self._talk
        messages = talk.ask(text)
        over = talk.near(self._window)
        if over is not None and over[0] > over[1]:
            talk.stopped("")
            self._fail(
                ContextTooLong(f"about {over[0]:,} tokens are more than the {over[1]:,} of {talk.model}; /clear, or "
                               "/model with a larger window")
            )  # fmt: skip
            return
        options: dict[str, Any] = {"priority": "interactive", **self._options, "model": talk.model}
        if talk.system:
            options["system"] = talk.system
        said: list[str] = []
        try:
            with printing("the answer came in part and is lost, though it was paid"):
                response = self._answer(messages, options, said)
        except (KeyboardInterrupt, EOFError) as stopped:
            talk.stopped("".join(said))
            note(f"{'' if said else chr(10)}stopped; {settled(self._client.usage())} in all", dim=True)
            if isinstance(stopped, EOFError) or not self._live:
                raise
            return
        except PenstockError as error:
            talk.stopped("".join(said))
            self._fail(error)
            return
        talk.answered(response)
        if self._live:
            usage = response.usage
            figures = [f"{usage.prompt:,} + {usage.completion:,} tokens", usd(response.cost), str(timing(response))]
            note(figures_line(figures), dim=True)
        if (filled := talk.near(self._window)) is not None:
            note(f"the conversation fills {filled[0] / filled[1]:.0%} of the {filled[1]:,} tokens of {talk.model}: "
                 "/clear it, or choose a /model with a larger window")  # fmt: skip
        if self._saves and talk.file is not None:
            talk.save(talk.file)

    def _answer(self, messages: Any, options: dict[str, Any], said: list[str]) -> Any:
        with self._client.stream(messages, **options) as stream:
            if self._json:
                response = stream.finish()
                write_line({"text": response.text, "model": f"{response.provider}:{response.model}",
                            "usage": {"input": 0, "output": 0, **msgspec.to_builtins(response.usage)},
                            "cost": response.cost, "latency_s": round(response.latency_s, 3)})  # fmt: skip
                return response
            with TerminalWriter(_Echo()) as out:  # type: ignore[arg-type]
                for text in stream.text:
                    said.append(text)
                    out.write(text)
            return stream.response

    def _fail(self, error: PenstockError) -> None:
        note(f"penstock: {error}")
        if not self._live:
            self._failed = error.exit_code

    def _cost(self) -> str:
        used = self._client.usage()
        unknown = " and calls of unknown cost" if used.unpriced else ""
        return f"{count(used.calls, 'call')}, {count(used.usage.total, 'token')}, {usd(used.cost_nano)}{unknown}"

    def _command(self, line: str) -> bool:
        """Do what a line with a slash says; return whether it ends the conversation."""
        name, _, rest = line[1:].partition(" ")
        rest = rest.strip()
        try:
            match name:
                case "quit" | "exit" | "q":
                    return True
                case "help" | "?":
                    note(HELP)
                case "cost":
                    note(self._cost())
                case "clear":
                    self._talk.clear()
                    note("all turns are forgotten")
                case "model":
                    self._model(rest)
                case "system":
                    self._talk.system = rest or self._talk.system
                    note(f"system: {self._talk.system or 'none'}")
                case "save":
                    self._save(rest)
                case _:
                    note(f"there is no /{name}; /help lists what there is")
        except PenstockError as error:
            self._fail(error)
        return False

    def _model(self, name: str) -> None:
        if name:
            self._window = self._client.preview("?", model=name).window
            self._talk.model = name
        note(f"model: {self._talk.model}")

    def _save(self, name: str) -> None:
        path = Path(name).expanduser() if name else self._talk.file
        if path is None:
            note("say where: /save FILE")
            return
        self._talk.save(path)
        note(f"saved to {path}; go on with: penstock chat --resume {path}")


def _piped() -> Iterator[str]:
    """Read the lines of stdin.

    Raises: InputError when there is none, and for one that is no text.
    """
    number = 0
    for number, line in enumerate(sys.stdin.buffer, 1):
        if b"\0" in line:
            raise InputError(f"line {number:,} of stdin is binary, not text; each line is a turn")
        try:
            yield line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"line {number:,} of stdin is not UTF-8: byte {error.start} of it") from None
    if not number:
        raise InputError("stdin is empty, so there is nothing to say")


class _Echo:
    """Stdout as the commands write to it, so that what it fails of is known."""

    def write(self, text: str) -> None:
        click.echo(text, nl=False)

    def flush(self) -> None:
        """Each write was flushed."""


def _with_history() -> None:
    """Give the prompt of a terminal its arrows and its history, where Python has readline."""
    try:
        import readline
    except ImportError:
        return
    readline.set_history_length(1000)
