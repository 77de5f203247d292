"""Budget alerts by webhook, against real servers: they arrive, or their loss is said, and no call ever waits."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from penstock import Budget, Client
from penstock._io import webhook
from penstock._io.alerts import Alerts
from penstock._io.webhook import Webhook
from penstock._policy.alerts import BudgetAlert
from penstock.testing import ScriptedTransport
from penstock.types import Secret
from tests.flow.colours import KEYS, openai_reply
from tests.io.loopback import Loopback, Peer

NOON = 1_795_176_000.0  # 2026-11-20 12:00 UTC
ALERT = BudgetAlert(scope="day 2026-11-20", share=0.8, cap_nano=5 * 10**9, spent_nano=4 * 10**9, held_nano=10**7)
WAIT_S = 30.0

Receiver = Callable[..., tuple[Loopback, list[bytes]]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Servers that answer each request with the next status, and keep what was asked."""
    with contextlib.ExitStack() as servers:

        def receive(*statuses: str) -> tuple[Loopback, list[bytes]]:
            seen: list[bytes] = []

            def handle(peer: Peer) -> None:
                if asked := peer.request():
                    seen.append(asked)
                    peer.answer(b"", "Connection: close", status=statuses[min(len(seen), len(statuses)) - 1])

            return servers.enter_context(Loopback(handle)), seen

        yield receive


def hook(server: Loopback, pauses: list[float] | None = None) -> Webhook:
    """A webhook whose address holds a secret, and which does not pause."""
    return Webhook(Secret(f"{server.url}/services/CANARY?key=CANARY"), pause=(pauses or []).append)


def test_an_alert_arrives_as_json_that_chat_services_show(receiver: Receiver) -> None:
    """Exact amounts in strings, a sentence in `text`, the time with its zone; and the path and query as they are."""
    server, seen = receiver("204 No Content")
    alerts = Alerts(Budget(daily=5, webhook=f"{server.url}/services/x?key=1"))
    alerts.tell([ALERT], NOON)
    assert alerts._webhook is not None
    assert alerts._webhook.close(WAIT_S)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /services/x?key=1 HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in head
    assert json.loads(body) == {
        "event": "budget_alert",
        "text": "penstock: budget 'day 2026-11-20' reached 80%: $4.00 of $5.00 spent, $0.01 held by calls under way",
        "scope": "day 2026-11-20",
        "share": 0.8,
        "cap_usd": "5.000000000",
        "spent_usd": "4.000000000",
        "held_usd": "0.010000000",
        "at": "2026-11-20T12:00:00Z",
    }


@pytest.mark.parametrize("again", ["500 Oops", "503 Later", "429 Slow", "408 Timeout"])
def test_a_fault_of_the_receiver_is_tried_again(receiver: Receiver, again: str) -> None:
    """Three tries at most, with pauses that double."""
    server, seen = receiver(again, again, "200 OK")
    pauses: list[float] = []
    sent = Webhook(Secret(f"{server.url}/x"), pause=pauses.append)
    sent.send(b"{}", "x")
    assert sent.close(WAIT_S)
    assert (len(seen), pauses, sent.lost) == (3, [1.0, 2.0], 0)


@pytest.mark.prove(25)
@pytest.mark.parametrize(
    ("status", "tries", "why"),
    [
        ("404 Gone", 1, "HTTP 404"),
        ("302 Found", 1, "HTTP 302, a redirect, which is not followed"),
        ("500 Oops", 3, "HTTP 500"),
    ],
)
def test_what_cannot_be_delivered_is_said_once_and_never_where_to(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, status: str, tries: int, why: str
) -> None:
    """The log has the host, the reason and the alert; path and query, which may be secret, are in no log at all."""
    server, seen = receiver(status)
    with caplog.at_level(logging.DEBUG):
        sent = hook(server)
        sent.send(b"{}", str(ALERT))
        assert sent.close(WAIT_S)
    assert (len(seen), sent.lost) == (tries, 1)
    assert [record.getMessage() for record in caplog.records if record.name == "penstock"] == [
        f"the webhook at 127.0.0.1 was not told ({why}): {ALERT}"
    ]
    assert "CANARY" not in caplog.text + repr(sent)


def test_nobody_there_is_said_without_the_address(caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection is tried again, then given up."""
    with Loopback(Peer.stall) as server:
        sent = hook(server)
    sent.send(b"{}", "x")
    assert sent.close(WAIT_S)
    assert "was not told (ConnectionRefusedError)" in caplog.text
    assert "CANARY" not in caplog.text


def test_a_receiver_that_hangs_holds_up_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that reached the share returns while the receiver still says nothing; close() does not wait either."""
    monkeypatch.setattr(webhook, "PAUSE_S", 0.0)
    asked, over = threading.Event(), threading.Event()

    def hang(peer: Peer) -> None:
        peer.request()
        asked.set()
        over.wait(WAIT_S)

    with Loopback(hang) as server:
        budget = Budget(total="0.001", alerts=(0.01,), webhook=server.url)
        transport = ScriptedTransport([openai_reply(completion=1000)])
        with Client(transport=transport, budget=budget, keys=KEYS, config=False, env={}) as client:
            began = time.monotonic()
            client.complete("hi", model="openai:gpt-4o-mini", max_tokens=1000)
        took_s = time.monotonic() - began
        assert asked.wait(WAIT_S)
        over.set()
        hooked = client._gate.alerts._webhook
        assert hooked is not None
        assert hooked.close(WAIT_S)
    assert took_s < webhook.TIMEOUT_S / 2


def test_what_waits_is_bounded_and_its_thread_ends(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """A flood of alerts is cut, the loss is counted, and afterwards there is no thread."""
    begun, over = threading.Event(), threading.Event()

    def slow(peer: Peer) -> None:
        peer.request()
        begun.set()
        over.wait(WAIT_S)
        peer.answer(b"", "Connection: close")

    with Loopback(slow) as server:
        sent = hook(server)
        sent.send(b"{}", "first")
        assert begun.wait(WAIT_S)
        for _ in range(webhook.WAITING_MOST + 2):
            sent.send(b"{}", "x")
        over.set()
        assert sent.close(WAIT_S)
    assert sent.lost == 2
    assert "budget-webhook loses events" in caplog.text
    assert sent._box._thread is None


def test_an_alert_of_the_last_call_is_delivered_before_the_program_ends(receiver: Receiver) -> None:
    """Though nobody waits for it."""
    server, seen = receiver("200 OK")
    code = (
        "from penstock._io.alerts import Alerts; from penstock import Budget, BudgetAlert\n"
        f"Alerts(Budget(daily=5, webhook={server.url!r})).tell(\n"
        "    [BudgetAlert(scope='total', share=1.0, cap_nano=1, spent_nano=1, held_nano=0)], 0.0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, len(seen)) == (0, 1), done.stderr


def test_the_log_has_each_alert_with_its_figures(caplog: pytest.LogCaptureFixture) -> None:
    """A warning with fields, also where nobody else is told."""
    with caplog.at_level(logging.WARNING, "penstock"):
        Alerts(Budget(daily=5, alerts=(0.8,))).tell([ALERT], NOON)
    record = caplog.records[0]
    assert record.getMessage() == str(ALERT)
    assert (record.__dict__["kind"], record.__dict__["share"], record.__dict__["spent_usd"]) == (
        "budget_alert",
        0.8,
        4.0,
    )
