"""The event loop of a command that has one: run to its end, or stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .signals import on_stop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop where it is installed, else on asyncio's own loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def stoppable(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that a request to stop cancels, as Ctrl-C does.

    Raises: KeyboardInterrupt once it has settled.
    """
    stopped = False
    task = asyncio.ensure_future(main)

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    with on_stop(stop, interrupts=False):
        try:
            return await task
        except asyncio.CancelledError:
            if stopped:
                raise KeyboardInterrupt from None
            raise
