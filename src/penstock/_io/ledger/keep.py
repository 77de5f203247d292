"""A ledger for a client: from what its owner said to a subscriber that writes."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...events import AttemptEnded, CallEnded
from ..gate import Gate
from .settings import Ledger, file_of

if TYPE_CHECKING:
    from ..hub import Hub
    from .writer import LedgerWriter, Live


class LedgerDoor:
    """The ledger of a client. What writes it, SQLite too, is loaded with the first record: its call was sent before."""

    kinds: tuple[type, ...] = (AttemptEnded, CallEnded)

    def __init__(self, settings: Ledger, path: str, hub: Hub, live: Live) -> None:
        self.settings = settings
        self.path = path
        self.content = settings.content
        self._hub = hub
        self._live = live
        self._lock = threading.Lock()
        self._writer: LedgerWriter | None = None

    @property
    def lost(self) -> int:
        """How many records were lost."""
        return 0 if self._writer is None else self._writer.lost

    def post(self, event: Any) -> None:
        """Take a record; never waits for the disk and never raises. Later ones go to the writer itself."""
        self._opened().post(event)

    def flush(self) -> bool:
        """Write what is waiting; False when that is not done in time."""
        return self._writer is None or self._writer.flush()

    def settle(self) -> None:
        """Write what is waiting and close the file; records that come later open it again."""
        if self._writer is not None:
            self._writer.settle()

    def _opened(self) -> LedgerWriter:
        with self._lock:
            if self._writer is None:
                from .writer import LedgerWriter

                writer = LedgerWriter(self.settings, self.path, lost=partial(self._hub.lost, "ledger"))
                writer.live = self._live
                self._writer = writer
                self._hub.replace(self, writer)
            return self._writer


def keep(
    wanted: object, gate: Gate, env: Mapping[str, str], shown: Callable[[], Iterable[tuple[str, str, str]]]
) -> LedgerDoor:
    """Write what happens at a gate into a ledger; `shown` gives its state now.

    Raises: ConfigError.
    """
    if isinstance(wanted, str | os.PathLike):
        wanted = Ledger(path=os.fspath(wanted))
    settings = Ledger() if wanted is True else wanted
    if not isinstance(settings, Ledger):
        raise ConfigError(f"ledger is {wanted!r}; expected True, the name of a file, or a Ledger")
    hub = gate.listen()
    living = weakref.WeakMethod(shown) if hasattr(shown, "__self__") else None

    def live() -> Iterable[tuple[str, str, str]]:
        found = living() if living is not None else shown
        return () if found is None else found()

    path = file_of(settings.path, env)
    door = LedgerDoor(settings, path, hub, live)
    hub.enlist(door)
    return door
