"""The signals that end a command in order: Ctrl-C, a request to stop, and a terminal that went away."""

from __future__ import annotations

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
    import asyncio  # a command without a loop shall not pay for it

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


@contextlib.contextmanager
def interruptible(raised: type[BaseException] = KeyboardInterrupt, *, interrupts: bool = False) -> Iterator[None]:
    """Have a request to stop, or a terminal that went away, end what never waits for a loop as Ctrl-C does.

    With `interrupts` Ctrl-C too, whose own loop would first wait for the end.
    """

    def stop(number: int, frame: object) -> None:
        raise raised

    before = {}
    for number in _heeded(interrupts=interrupts):
        with contextlib.suppress(ValueError):  # not in the main thread
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
