"""The signals that end a command in order: Ctrl-C, a request to stop, and a terminal that went away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def _heeded(*, interrupts: bool) -> list[signal.Signals]:
    found = [signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__]
    hup = getattr(signal, "SIGHUP", None)
    if hup is not None and signal.getsignal(hup) is signal.SIG_IGN:
        found.remove(hup)  # nohup means it
    return found if interrupts else found[1:]


@contextlib.contextmanager
def on_stop(heard: Callable[[], object], *, interrupts: bool = True) -> Iterator[None]:
    """Call `heard` in the running loop for each such signal; without `interrupts` Ctrl-C stays with its loop."""
    loop = asyncio.get_running_loop()
    handled = []
    for number in _heeded(interrupts=interrupts):
        # Windows and loops outside the main thread have no signal handlers; KeyboardInterrupt does there.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, heard)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
