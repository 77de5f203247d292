"""Penstock with all observers on."""

from bench.contestants import observed, penstock_

PACKAGE = penstock_.PACKAGE
Sync = observed.sync("ledger", *observed.OBSERVERS)
Async = observed.asyncio("ledger", *observed.OBSERVERS)
