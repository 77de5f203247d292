"""Penstock whose calls are watched by what Penstock brings along: ledger and metrics."""

from bench.contestants import observed, penstock_

PACKAGE = penstock_.PACKAGE
Sync = observed.sync("ledger", "metrics")
Async = observed.asyncio("ledger", "metrics")
