"""A function that is told of events: in a thread of its own, in an event loop, or where they happen."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..errors import ConfigError
from ..events import Event
from .hub import KINDS, Hub
from .mailbox import CLOSE_S, Mailbox

QUEUE: Final = 10_000
"""How many events may wait for one subscriber: some seconds of a busy client."""

INTERVAL_S: Final = 0.05
"""How often a subscriber is handed what gathered."""


class Subscription:
    """A subscriber, until it is closed. `lost` counts the events that it did not get or failed over."""

    def __init__(
        self,
        hub: Hub,
        kinds: tuple[type, ...],
        handler: Callable[[Any], object],
        *,
        name: str,
        content: bool,
        inline: bool,
        queue: int,
    ) -> None:
        self.name = name
        self.kinds = kinds
        self.content = content
        self._hub = hub
        self._handler = handler
        self._loop = asyncio.get_running_loop() if _is_async(handler) else None
        self._told = False
        self._failed = 0
        self._box: Mailbox | None = None
        self.post: Callable[[Any], None] = self._now
        if not inline:
            self._box = Mailbox(name, self._read, most=queue, interval_s=INTERVAL_S, lost=self._lost)
            self.post = self._box.post

    @property
    def lost(self) -> int:
        """How many events it did not get, or failed over."""
        return self._failed + (0 if self._box is None else self._box.lost)

    def _now(self, event: Any) -> None:
        try:
            self._handler(event)
        except Exception:
            self._failed += 1
            if not self._told:
                self._told = True
                logging.getLogger("penstock").exception("%s failed over an event; calls go on", self.name)

    def _read(self, events: list[Any]) -> None:
        if self._loop is None:
            for event in events:
                self._now(event)
            return
        handler: Any = self._handler
        for event in events:
            asyncio.run_coroutine_threadsafe(self._later(handler(event)), self._loop).result()

    async def _later(self, handled: Coroutine[Any, Any, object]) -> None:
        try:
            await handled
        except Exception:
            self._failed += 1
            if not self._told:
                self._told = True
                logging.getLogger("penstock").exception("%s failed over an event; calls go on", self.name)

    def _lost(self, count: int, why: str) -> None:
        self._hub.lost(self.name, count, why)

    def flush(self, patience_s: float = CLOSE_S) -> bool:
        """Wait until it was handed all that happened so far; False when it is not done by then."""
        return self._box is None or self._box.flush(patience_s)

    def close(self, patience_s: float = CLOSE_S) -> None:
        """Hand over what is left, and end. Again changes nothing."""
        self._hub.leave(self)
        self.settle(patience_s)

    def settle(self, patience_s: float = CLOSE_S) -> None:
        """Hand over what is left and end the thread, but stay: an event that comes later is handed over as well."""
        if self._box is not None:
            self._box.close(patience_s)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def subscribe(
    hub: Hub,
    kinds: object,
    handler: object,
    *,
    name: str | None = None,
    content: bool = False,
    inline: bool = False,
    queue: object = QUEUE,
) -> Subscription:
    """Have a function called for every event of these kinds.

    Raises: ConfigError.
    """
    given: tuple[Any, ...] = kinds if isinstance(kinds, tuple) else (kinds,)
    for kind in given:
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            known = ", ".join(each.__name__ for each in KINDS)
            raise ConfigError(f"on: {kind!r} is no kind of event; expected one of {known}, or a tuple of them")
    wanted = tuple([kind for kind in KINDS if issubclass(kind, given)])
    if not callable(handler):
        raise ConfigError(f"on: {handler!r} is no function; expected one that takes an event")
    if isinstance(queue, bool) or not isinstance(queue, int) or queue < 1:
        raise ConfigError(f"on: queue is {queue!r}; expected how many events may wait, at least 1")
    if _is_async(handler):
        _check_loop(inline)
    found = Subscription(
        hub,
        wanted,
        handler,
        name=name or str(getattr(handler, "__qualname__", type(handler).__name__)),
        content=content,
        inline=inline,
        queue=queue,
    )
    hub.enlist(found)
    return found


def _check_loop(inline: bool) -> None:
    if inline:
        raise ConfigError("on: a coroutine function cannot run in place; leave out inline=True")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigError(
            "on: a coroutine function is called in the event loop that runs when it is given, and none does; call "
            "on() inside of it, or give a plain function"
        ) from None


def _is_async(handler: object) -> bool:
    return any(map(inspect.iscoroutinefunction, (handler, getattr(handler, "__call__", None))))  # noqa: B004
