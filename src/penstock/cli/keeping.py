"""The clients of the commands: their calls are in the ledger, unless the settings say otherwise."""

from __future__ import annotations

from .. import AsyncClient, Client


class KeepingClient(Client):
    """A Client with the user's ledger."""

    _keeps_ledger = True


class AsyncKeepingClient(AsyncClient):
    """An AsyncClient with the user's ledger."""

    _keeps_ledger = True
