"""What all runs of many rows share while they run: news of calls that ended, how a worker ends, and a stop's grace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from .._policy.schedule import Planner
from ..errors import PenstockError

GRACE_S: Final = 10.0
"""After a stop, calls under way have this long to bring their answers home; they are paid already."""


class Change:
    """Tells those who wait that a call ended."""

    def __init__(self) -> None:
        self._next: asyncio.Event | None = None  # made by the first who waits: mostly nobody does

    def tell(self) -> None:
        """A call ended, or the run is to stop."""
        event, self._next = self._next, None
        if event is not None:
            event.set()

    async def wait(self, seconds: float | None) -> None:
        """Wait for that, at most so long."""
        event = self._next = self._next or asyncio.Event()
        try:
            async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                await event.wait()
        except TimeoutError:
            pass


@contextlib.contextmanager
def working(planner: Planner, change: Change) -> Iterator[None]:
    """Put around what a worker does: an error that is no row's stops the run, and the others hear that it ended."""
    try:
        yield
    except PenstockError as error:  # the input changed or vanished under our hands
        planner.stop("failed", error)
    except Exception:
        planner.stop("failed")
        raise
    finally:
        change.tell()
