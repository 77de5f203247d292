"""Penstock with somebody watching: who watches is put on a client once, as a program would do it."""

import logging
import os
import tempfile
from collections.abc import Callable
from typing import Any, Final

from bench.contestants import penstock_
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from penstock.observe import Metrics, Tracing


class Nowhere(SpanExporter):
    """Takes spans and keeps none: what an exporter does with them is not what is measured."""

    def export(self, spans: Any) -> SpanExportResult:
        """Say that it went well."""
        return SpanExportResult.SUCCESS


def metrics(client: Any) -> object:
    """Count everything."""
    return Metrics(client)


def spans(client: Any) -> object:
    """Make spans with the real SDK, and hand them over in batches."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return Tracing(client, tracer_provider=provider)


def logs(client: Any) -> object:
    """Write a line for each call into a file."""
    handler = logging.FileHandler(os.devnull)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("penstock")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler


OBSERVERS: Final[dict[str, Callable[[Any], object]]] = {"metrics": metrics, "logs": logs, "spans": spans}


def settings(names: tuple[str, ...]) -> dict[str, Any]:
    """Return what a client is told: a ledger is no observer that is put on it, but a setting."""
    return (
        {"ledger": os.path.join(tempfile.mkdtemp(prefix="penstock-bench-"), "ledger.db")} if "ledger" in names else {}
    )


def sync(*names: str) -> type[penstock_.Sync]:
    """Return the sync contestant that is watched by these."""

    class Sync(penstock_.Sync):
        def __init__(self, root: str) -> None:
            type(self).settings = settings(names)
            super().__init__(root)
            self.observers = [watch(self.client) for name, watch in OBSERVERS.items() if name in names]

    return Sync


def asyncio(*names: str) -> type[penstock_.Async]:
    """Return the async contestant that is watched by these."""

    class Async(penstock_.Async):
        def __init__(self, root: str) -> None:
            type(self).settings = settings(names)
            super().__init__(root)
            self.observers = [watch(self.client) for name, watch in OBSERVERS.items() if name in names]

    return Async
