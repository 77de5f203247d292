"""The command line. Each command is a file of its own, imported when it is called: `--help` loads none of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from .streams import STDOUT, StdoutLost, is_of_stdout, let_go, mend, stdout_is_lost, tell, why

__all__ = ["main", "root"]

COMMANDS = {
    "ask": "Ask a model and print its answer.",
    "extract": "Ask for a value of a type, and print it as JSON.",
    "agent": "Let a model use tools until it has done a task.",
    "batch": "Answer many rows: one JSON line in, one out.",
    "embed": "Turn texts into vectors: arguments, lines of a file, a column of a table.",
    "compare": "Ask several models the same, side by side.",
    "chat": "Talk with a model, turn by turn.",
    "classify": "Say how bad one log line or alert is, and what to do next.",
    "analyze": "Find out what logs of any size say.",
    "incident": "Get a plan for an incident that was just reported.",
    "runbook": "Write the runbook for one kind of trouble.",
    "postmortem": "Write the post-mortem of notes, chats and logs.",
    "rerank": "Order documents by how relevant they are to a query.",
    "parse": "Read a value out of text that is on disk, and say what was mended.",
    "budget": "Set, show or reset the budget that programs share.",
    "stats": "Show what calls cost and how they went, from the ledger.",
    "log": "Show single calls of the ledger, and follow it.",
    "providers": "Show the providers, their keys and addresses.",
    "models": "Show what models take: pictures, tools, how much of both.",
    "route": "Say which model would answer a prompt, or fit the router to outcomes.",
    "dashboard": "Show spend, latency, errors, budgets and lanes as a live page.",
    "prices": "Show what models cost.",
    "doctor": "Show settings, keys and versions, and where each came from.",
    "sim": "Run the provider simulator.",
    "demo": "Watch 600 incidents go through limits, faults and a budget.",
}

EXIT_USAGE = 64
EXIT_IO = 74
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141  # 128 + SIGPIPE, what a shell reports for a writer whose reader left


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and says errors in one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            let_go(sys.stdout, STDOUT)
            ctx.exit(EXIT_PIPE)
        except KeyboardInterrupt:
            tell("penstock: interrupted")
            ctx.exit(EXIT_INTERRUPTED)
        except StdoutLost as error:
            tell(f"penstock: {error}")
            ctx.exit(EXIT_IO)
        except Exception as error:
            from ..errors import PenstockError

            if not isinstance(error, PenstockError) or ctx.params.get("debug"):
                raise
            tell(f"penstock: {error}")
            ctx.exit(error.exit_code)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 some rows failed, 10 --fail-on met, 64 usage, 65 bad input, 69 provider "
    "unavailable, 73 and 74 output, 75 try later or raise the budget, 77 key refused, 78 settings, 130 interrupted.",
)
@click.version_option(package_name="penstock", message="penstock %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("-v", "--verbose", count=True, help="Log a line for each call to stderr; -vv: for each attempt too.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is logged, by name.")
@click.option("--log-json", is_flag=True, help="Log lines of JSON.")
def root(debug: bool, verbose: int, log_level: str | None, log_json: bool) -> None:
    """Send prompts to LLM providers: at the limit, inside the budget, nothing lost.

    \b
    penstock ask "Error or not? ERROR [db] refused" -m anthropic:claude-haiku-4-5
    penstock batch run rows.jsonl -o answers.jsonl --prompt "Classify: {log}" -m openai:gpt-4o-mini
    penstock sim          a provider on your own machine, to try everything without a key
    """  # noqa: D301 - click wants the backspace itself
    if verbose or log_level or log_json:
        from .logs import set_up

        set_up(verbose, log_level, as_json=log_json)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    mend()
    code = _code(args)
    if stdout_is_lost():
        let_go(sys.stdout, STDOUT)
        code = code or EXIT_IO
    sys.exit(code)


def _code(args: Sequence[str] | None) -> int:
    try:
        code = root.main(args=args, prog_name="penstock", standalone_mode=False)
    except click.Abort:
        tell("penstock: interrupted")
        return EXIT_INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        tell(error.format_message())
        return EXIT_USAGE
    except click.ClickException as error:
        place = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "penstock"
        what = " ".join(error.format_message().split()).rstrip(".")
        tell(f"{place}: {what}; see {place} --help")
        return EXIT_USAGE if isinstance(error, click.UsageError) else error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        if not is_of_stdout(error):
            raise
        if isinstance(error, BrokenPipeError):
            return EXIT_PIPE
        tell(f"penstock: cannot write to stdout: {why(error)}")
        return EXIT_IO
    return code if isinstance(code, int) else 0
