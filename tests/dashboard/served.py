"""The page as it is served: a real server on loopback, in a thread of the test."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from penstock.dashboard.serve import Page

ENDS_S = 30.0


@contextlib.contextmanager
def served(ledger: Path, *, host: str = "127.0.0.1") -> Iterator[Page]:
    """Serve a ledger; the server must end by itself when the block does."""
    page = Page(ledger, host=host)
    loops: list[asyncio.AbstractEventLoop] = []
    begun = threading.Event()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        begun.set()
        await page.serve()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="served")
    thread.start()
    try:
        assert begun.wait(ENDS_S)
        yield page
    finally:
        loops[0].call_soon_threadsafe(page.stop)
        thread.join(ENDS_S)
        page.close()
        assert not thread.is_alive(), "the server does not end"
