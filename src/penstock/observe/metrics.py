"""Prometheus metrics of clients: counts fed by events, gauges read from the clients when somebody scrapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .. import __version__
from .._io.extras import extra
from .._policy.alerts import BudgetAlert
from ..errors import ConfigError
from ..events import AttemptEnded, CallEnded, LaneChanged, RecordsLost
from .lanes import AnyClient, Clients
from .server import MetricsServer
from .tallies import Tallies

MODELS: Final = 64
"""Models that have a label of their own; what comes beyond them is 'other'."""


class Metrics:
    """The metrics of one or more clients, in a registry of prometheus-client.

        metrics = Metrics(client)
        metrics.serve(9464)

    `registry` is where they are registered, a new one unless told. At most `models` pairs of provider and model have
    labels of their own, the others share 'other'. Tags, ids and texts are never labels.

    Raises: MissingExtra without prometheus-client; ConfigError when the registry has metrics of Penstock already.
    """

    def __init__(self, *clients: AnyClient, registry: Any = None, models: int = MODELS) -> None:
        prometheus = extra("prometheus_client", "metrics")
        if models < 1:
            raise ConfigError(f"metrics: models is {models!r}; expected how many may have labels, at least 1")
        self.registry = prometheus.CollectorRegistry() if registry is None else registry
        self._prometheus = prometheus
        self._tallies = Tallies(models)
        self._clients = Clients()
        try:
            self.registry.register(self)
        except ValueError:
            raise ConfigError(
                "this registry has metrics of Penstock already; add a client to those with metrics.watch(client)"
            ) from None
        for client in clients:
            self.watch(client)

    def watch(self, client: AnyClient) -> None:
        """Count what happens in another client, too."""
        tallies = self._tallies
        client.on(CallEnded, tallies.call, name="metrics", inline=True)
        client.on(AttemptEnded, tallies.attempt, name="metrics", inline=True)
        client.on(LaneChanged, tallies.changed, name="metrics", inline=True)
        client.on(BudgetAlert, tallies.alert, name="metrics", inline=True)
        client.on(RecordsLost, tallies.records_lost, name="metrics", inline=True)
        self._clients.add(client)

    def collect(self) -> Iterator[Any]:
        """Yield the families; prometheus-client calls this at every scrape."""
        from .families import families

        return families(self._tallies, self._clients, __version__)

    def describe(self) -> Iterator[Any]:
        """Yield empty families, so that a registry knows the names before there is a value."""
        from .families import families

        return families(Tallies(1), Clients(), __version__)

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them, for an endpoint of your own."""
        text: bytes = self._prometheus.generate_latest(self.registry)
        return text

    def serve(self, port: int = 9464, host: str = "127.0.0.1") -> MetricsServer:
        """Serve them at http://host:port/metrics from a thread of its own, until the server is closed.

        `host` '' stands for all addresses of this machine, port 0 for any that is free.

        Raises: ConfigError when the port is taken.
        """
        return MetricsServer(self._prometheus.make_wsgi_app(self.registry), port, host)
