"""Penstock whose calls are watched: metrics."""

from bench.contestants import observed, penstock_

PACKAGE = penstock_.PACKAGE
Sync = observed.sync("metrics")
Async = observed.asyncio("metrics")
