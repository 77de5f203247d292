"""Letting Prometheus watch a command while it runs: `--metrics :9464`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import click

from .. import AsyncClient
from .shown import note

LOOPBACK: Final = "127.0.0.1"
PORT_MOST: Final = 65_535


class Address(click.ParamType[tuple[str, int]]):
    """Where to listen: PORT on this machine alone, :PORT on all its addresses, or HOST:PORT."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Read it, or say what is wrong with it."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(?:(?P<host>[^:\s]*|\[[0-9a-fA-F:.]+\]):)?(?P<port>\d{1,5})", str(value), re.ASCII)
        if found is None or int(found["port"]) > PORT_MOST:
            self.fail(f"{value!r} is no address; write :9464, 9464 (for this machine alone) or HOST:9464", param, ctx)
        host = found["host"]
        return LOOPBACK if host is None else host.strip("[]"), int(found["port"])


metrics_option = click.option(
    "--metrics",
    type=Address(),
    metavar="[HOST]:PORT",
    help="Serve Prometheus metrics there while it runs, as in :9464 (extra: metrics).",
)


@contextlib.asynccontextmanager
async def watched(client: AsyncClient, address: tuple[str, int] | None, *, quiet: bool) -> AsyncIterator[AsyncClient]:
    """Open a client, with its metrics served for as long as it is open.

    Raises: ConfigError when the port is taken, MissingExtra.
    """
    async with client:
        if address is None:
            yield client
            return
        from ..observe import Metrics

        host, port = address
        with Metrics(client).serve(port, host) as server:
            if not quiet:
                note(f"metrics at {server.url}")
            yield client
