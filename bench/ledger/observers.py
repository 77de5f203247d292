"""Who watches a client while its calls are measured, and what of that is not Penstock's own."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from bench.contestants.observed import Nowhere
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from penstock import AsyncClient
from penstock.observe import Metrics, Tracing

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
CALL: Final[dict[str, Any]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "server.address": "127.0.0.1",
    "server.port": 8080,
    "penstock.call.id": "0123456789ab-1",
    "gen_ai.request.max_tokens": 64,
    "penstock.call.attempts": 1,
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
    "penstock.cost_usd": 0.00003,
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.model": "gpt-4o-mini",
    "gen_ai.response.finish_reasons": ["stop"],
}
ATTEMPT: Final[dict[str, Any]] = {
    "penstock.attempt.number": 1,
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "penstock.limiter.wait_s": 0.0,
    "http.response.status_code": 200,
    "penstock.attempt.request_id": "req_0123456789abcdef",
    "penstock.cost_usd": 0.00003,
}
LINE: Final = "%s %s:%s %s in %.3f s, %s + %s tokens, %s%s"
FACTS: Final = ("complete", "openai", "gpt-4o-mini", "ok", 0.1, 100, 20, "$0.00003", "")


class Observers:
    """Spans by the real SDK, exported to nowhere, and log lines into a file, for the time of a block."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self.provider.add_span_processor(BatchSpanProcessor(Nowhere()))
        self._tracer = self.provider.get_tracer("bench")
        self._handler = logging.FileHandler(os.devnull)
        self._handler.setFormatter(logging.Formatter(FORMAT))
        self._log = logging.getLogger("bench.ledger")

    def watch(self, client: AsyncClient) -> None:
        """Put metrics and spans on a client; `writing` adds its log lines."""
        Metrics(client)
        Tracing(client, tracer_provider=self.provider)

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Write what a logger is told at INFO."""
        log = logging.getLogger(name)
        log.addHandler(self._handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(self._handler)
            log.setLevel(logging.NOTSET)
            log.propagate = True

    def floor(self) -> None:
        """Make the two spans and the line of a call by hand: nobody who makes them takes less."""
        span = self._tracer.start_span("chat gpt-4o-mini", None, trace.SpanKind.CLIENT, CALL, start_time=1)
        below = trace.set_span_in_context(span)
        attempt = self._tracer.start_span("attempt gpt-4o-mini", below, trace.SpanKind.CLIENT, ATTEMPT, start_time=1)
        attempt.end(2)
        span.end(2)
        self._log.info(LINE, *FACTS)
