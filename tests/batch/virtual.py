"""An event loop whose time is virtual: when nothing is left to do now, it is the next timer's time at once."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH_S = 1_790_000_000.0


class _Selector(selectors.SelectSelector):
    """Sleeps by moving the time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits for something that nobody will do"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module. What would go to a thread is done at once."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Do it now."""
        done = self.create_future()
        done.set_result(func(*args))
        return done


class VirtualClock:
    """The clock of a client that lives in such a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int = 0) -> None:
        self.now = loop.time
        self.chance = random.Random(seed).random

    def wall(self) -> float:
        """Seconds since 1970."""
        return EPOCH_S + self.now()


def run(main: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


class Answer:
    """An HTTP answer that came whole."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    async def read(self, until: float, idle_s: float | None) -> bytes:
        """Give the body, then its end."""
        body, self._body = self._body, b""
        return body

    async def read_all(self, until: float) -> bytes:
        """Give the body."""
        return await self.read(until, None)

    def close(self) -> None:
        """Nothing to give back."""
