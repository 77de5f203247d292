"""The Chromium of this machine, driven by playwright, and a `penstock dashboard` for it to look at."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ENDS_S = 10


def find() -> str | None:
    """Where it is, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """A browser.

    Raises: FileNotFoundError where there is none.
    """
    path = find()
    if path is None:
        raise FileNotFoundError("needs Chromium (Debian, Ubuntu: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def dashboard(ledger: str | os.PathLike[str]) -> Iterator[str]:
    """The command on a ledger; yields the address of its page."""
    command = [sys.executable, "-m", "penstock", "dashboard", "--ledger", str(Path(ledger).absolute()), "--port", "0"]
    program = subprocess.Popen([*command, "--no-open"], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    try:
        url = program.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"penstock dashboard ended with {program.wait(ENDS_S)}")
        yield url
    finally:
        program.send_signal(signal.SIGTERM)
        program.wait(ENDS_S)
        program.stdout.close()
