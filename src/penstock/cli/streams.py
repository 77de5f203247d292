"""The three standard streams: there even where a shell closed them, and what to do when one cannot be written."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

STDIN, STDOUT, STDERR = 0, 1, 2


class StdoutLost(Exception):
    """Something could not be printed; the message is one sentence."""


def mend() -> None:
    """Open what a shell closed, as with `>&-`, before a socket or a file takes its number.

    Reading finds nothing then, stderr goes nowhere, and writing to stdout fails instead of being lost in silence.
    """
    for number, mode in ((STDIN, os.O_RDONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number is this one
    sys.stdin = sys.stdin or _text(STDIN, "r")
    sys.stdout = sys.stdout or _text(STDOUT, "w")
    sys.stderr = sys.stderr or _text(STDERR, "w")


def _text(number: int, mode: str) -> TextIO:
    stream: TextIO = open(number, mode, encoding="utf-8", closefd=False)  # type: ignore[assignment]  # noqa: SIM115
    return stream


def check_stdout() -> None:
    """Find out before money is spent whether stdout was closed.

    Raises: StdoutLost.
    """
    try:
        os.write(sys.stdout.fileno(), b"")
    except io.UnsupportedOperation:  # no file at all, as in a test
        return
    except OSError as error:
        raise StdoutLost(f"stdout cannot be written ({why(error)}), so nothing was sent") from error


def is_of_stdout(error: OSError) -> bool:
    """Whether an error comes from printing: `tell` swallows those of stderr, so it is stdout that failed."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at is not None and at.tb_frame.f_globals.get("__name__") == "click.utils"


@contextlib.contextmanager
def printing(lost: str) -> Iterator[None]:
    """Say what is lost when stdout fails in this block.

    Raises: StdoutLost; BrokenPipeError stays what it is.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if not is_of_stdout(error):
            raise
        raise StdoutLost(f"{lost}: stdout cannot be written ({why(error)})") from error


def stdout_is_lost() -> bool:
    """Whether something waits in the buffer of stdout that cannot be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return True
    return False


def let_go(stream: TextIO, number: int) -> None:
    """Send what waits in a stream's buffer nowhere, so that Python can end in peace."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
        stream.flush()


def tell(text: str) -> None:
    """Write a line to stderr; when nobody can hear it, nothing is said."""
    import click

    try:
        click.echo(text, err=True)
    except (OSError, ValueError):
        let_go(sys.stderr, STDERR)


def why(error: OSError) -> str:
    """Say in words what a write failed of."""
    return error.strerror or str(error)


def is_plain(stream: TextIO) -> bool:
    """Whether a stream is no place for colours and moving pictures: no terminal, or one that was said to have none."""
    return not stream.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
