"""What leaves a client for platforms that watch it: Prometheus metrics and OpenTelemetry spans.

    from penstock.observe import Metrics, Tracing

    Metrics(client).serve(9464)      # pip install 'penstock[metrics]'
    Tracing(client)                  # pip install 'penstock[otel]'

Log lines need nothing: see the logger 'penstock'.
"""

from __future__ import annotations

from .metrics import Metrics
from .server import MetricsServer
from .tracing import Tracing

__all__ = ["Metrics", "MetricsServer", "Tracing"]
