"""Asking a person before much is spent."""

from __future__ import annotations

import signal
import sys

import click

CONFIRM_USD = 1
"""On a terminal, a run that may cost more dollars than this is asked for first."""


def go_on() -> bool:
    """Ask on a terminal whether to go on; where nobody can answer, the answer is yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # the loop's own would wait for the answer
    try:
        return click.confirm("Go on?", err=True)
    except click.Abort:
        return False
    finally:
        signal.signal(signal.SIGINT, heard)
