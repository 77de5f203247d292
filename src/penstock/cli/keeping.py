"""The client of the commands: its calls are in the ledger, unless the settings say otherwise."""

from __future__ import annotations

from .. import AsyncClient


class KeepingClient(AsyncClient):
    """An AsyncClient with the user's ledger."""

    _keeps_ledger = True
