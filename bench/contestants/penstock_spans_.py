"""Penstock whose calls are watched: spans."""

from bench.contestants import observed, penstock_

PACKAGE = penstock_.PACKAGE
Sync = observed.sync("spans")
Async = observed.asyncio("spans")
