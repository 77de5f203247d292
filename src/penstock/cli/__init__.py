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
    "batch": "Answer many rows: one JSON line in, one out.",
    "embed": "Turn texts into vectors: arguments, lines of a file, a column of a table.",
    "rerank": "Order documents by how relevant they are to a query.",
    "parse": "Read a value out of text that is on disk, and say what was mended.",
    "providers": "Show the providers, their keys and addresses.",
    "models": "Show what models take: pictures, tools, how much of both.",
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
    epilog="Exit codes: 0 done, 1 some rows failed, 64 usage, 65 bad input, 69 provider unavailable, 73 and 74 output, "
    "75 try later or raise the budget, 77 key refused, 78 settings, 130 interrupted.",
)
@click.version_option(package_name="penstock", message="penstock %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def root(debug: bool) -> None:
    """Send prompts to LLM providers: at the limit, inside the budget, nothing lost.

    \b
    penstock ask "Error or not? ERROR [db] refused" -m anthropic:claude-haiku-4-5
    penstock batch run rows.jsonl -o answers.jsonl --prompt "Classify: {log}" -m openai:gpt-4o-mini
    penstock sim          a provider on your own machine, to try everything without a key
    """  # noqa: D301 - click wants the backspace itself


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
