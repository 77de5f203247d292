"""A key that goes through everything at once: no observer ever sees it."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pythonjsonlogger.json import JsonFormatter

from penstock import AsyncClient, Budget, Client
from penstock.errors import PenstockError
from penstock.events import Event
from penstock.observe import Metrics, Tracing
from penstock.sim import SimServer
from tests.io.loopback import Loopback, Peer
from tests.observe.test_tracing import Spans

KEY = "sk-CANARY-of-the-user"
REFUSED = "revoked-CANARY"
SECRET = "/hooks/CANARY?token=CANARY"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What every library writes at DEBUG, fields included."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.prove(25)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_key_is_in_no_metric_span_log_event_or_webhook(colour: str, log: io.StringIO) -> None:
    """With a good key and a refused one, content on, and a budget that is told by a webhook with a secret address."""
    metrics, spans, seen, posted, arrived = Metrics(), Spans(), list[Event](), list[bytes](), threading.Event()

    def receive(peer: Peer) -> None:
        posted.append(peer.request().partition(b"\r\n\r\n")[2])
        peer.answer(b"", "Connection: close")
        arrived.set()

    def watch(client: Any) -> None:
        metrics.watch(client)
        Tracing(client, tracer_provider=spans.provider, content=True)
        client.on(Event, seen.append, inline=True, content=True)

    with SimServer() as sim, Loopback(receive) as hook:
        for key in (KEY, REFUSED):
            settings: dict[str, Any] = {
                "base_urls": {"openai": f"{sim.url}/v1"},
                "keys": {"openai": key},
                "config": False,
                "budget": Budget(total="0.01", alerts=(0.000001,), webhook=hook.url + SECRET),
            }
            if colour == "sync":
                with Client(**settings) as client:
                    watch(client)
                    ask(client)
            else:
                asyncio.run(ask_async(settings, watch))
        assert arrived.wait(10)
    told = {
        "metrics": metrics.text().decode(),
        "log": log.getvalue(),
        "events": repr(seen),
        "webhook": repr(posted),
        "spans": "".join(span.to_json() for span in spans.ended),
    }
    assert 'outcome="authentication"' in told["metrics"]
    assert "budget_alert" in told["log"]
    assert "chatcmpl" in told["spans"]
    assert [name for name, text in told.items() if "CANARY" in text] == []


def ask(client: Client) -> None:
    try:
        client.complete("hi", model="openai:gpt-4o-mini", max_tokens=5)
        list(client.stream("hi", model="openai:gpt-4o-mini", max_tokens=5))
    except PenstockError:
        return


async def ask_async(settings: dict[str, Any], watch: Any) -> None:
    async with AsyncClient(**settings) as client:
        watch(client)
        try:
            await client.complete("hi", model="openai:gpt-4o-mini", max_tokens=5)
            [chunk async for chunk in client.stream("hi", model="openai:gpt-4o-mini", max_tokens=5)]
        except PenstockError:
            return
