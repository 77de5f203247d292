"""Penstock whose calls are watched: logs."""

from bench.contestants import observed, penstock_

PACKAGE = penstock_.PACKAGE
Sync = observed.sync("logs")
Async = observed.asyncio("logs")
