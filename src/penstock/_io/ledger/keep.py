"""A ledger for a client: from what its owner said to a subscriber that writes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping

from ...errors import ConfigError
from ..gate import Gate
from .settings import Ledger, file_of
from .writer import LedgerWriter


def keep(
    wanted: object, gate: Gate, env: Mapping[str, str], shown: Callable[[], Iterable[tuple[str, str, str]]]
) -> LedgerWriter:
    """Write what happens at a gate into a ledger; `shown` gives its state now.

    Raises: ConfigError.
    """
    if isinstance(wanted, str | os.PathLike):
        wanted = Ledger(path=os.fspath(wanted))
    settings = Ledger() if wanted is True else wanted
    if not isinstance(settings, Ledger):
        raise ConfigError(f"ledger is {wanted!r}; expected True, the name of a file, or a Ledger")
    hub = gate.listen()
    writer = LedgerWriter(settings, file_of(settings.path, env), lost=lambda count, why: hub.lost("ledger", count, why))
    living = weakref.WeakMethod(shown) if hasattr(shown, "__self__") else None

    def live() -> Iterable[tuple[str, str, str]]:
        found = living() if living is not None else shown
        return () if found is None else found()

    writer.live = live
    hub.enlist(writer)
    return writer
