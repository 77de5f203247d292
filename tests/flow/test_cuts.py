"""Ten thousand streams that end anywhere: the client's books against the bill of a server that it knows nothing of."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from penstock import Client, RetryPolicy
from penstock._flow.effects import Expired
from penstock._io.http import Target
from penstock._wire.protocol import Outbound
from penstock.errors import CallError, OutcomeUnknown, StreamInterrupted
from penstock.ledger import open_ledger, period
from penstock.sim import SimRequest, Simulator
from penstock.sim.plan import Head, Send

from .colours import KEYS

NOW = 1_795_000_000.0
CUTS = 10_000
MODELS = ("openai:gpt-4o-mini", "anthropic:claude-haiku-4-5")
Way = Literal["reset", "silence", "left", "whole"]


class Wired:
    """A transport into the simulator without a socket, whose next stream breaks after so many pieces."""

    def __init__(self) -> None:
        self.simulator = Simulator()
        self.break_after: int | None = None
        self.error: BaseException | None = None
        self.last: WiredExchange | None = None

    def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> WiredExchange:
        headers = {name.lower(): value for name, value in {**target.headers, **outbound.headers}.items()}
        self.last = WiredExchange(self, SimRequest("POST", outbound.path, headers, outbound.body))
        return self.last

    def close(self) -> None:
        """Nothing to close."""


class WiredExchange:
    """Performs a plan of the simulator as fast as it is read, and settles it when it is left."""

    def __init__(self, wired: Wired, request: SimRequest) -> None:
        self._simulator = wired.simulator
        self._plan = self._simulator.begin(request, NOW)
        self._left = wired.break_after
        self._error = wired.error
        self._pieces = self._perform()
        self._ended = False
        head = next(step for step in self._plan.steps if isinstance(step, Head))
        self.status = head.status
        self.headers = {name.lower(): value for name, value in head.headers}
        self.billed_nano = 0

    def _perform(self) -> Iterator[bytes]:
        for step in self._plan.steps:
            if isinstance(step, Send) and self._left is not None:
                self._left -= 1
                if self._left < 0 and self._error is not None:
                    raise self._error
            self._simulator.passed(self._plan, step, NOW)
            if isinstance(step, Send):
                yield step.data
        self._ended = True

    def read(self, until: float, idle_s: float | None) -> bytes:
        return next(self._pieces, b"")

    def read_all(self, until: float) -> bytes:
        return b"".join(self._pieces)

    def close(self) -> None:
        if not self._ended and self._left is None:
            next(self._pieces, b"")  # whoever leaves does so while the next piece is on its way
        self.billed_nano = self._simulator.finish(self._plan, NOW, aborted=not self._ended).billed_nano


def prompt(dice: random.Random) -> str:
    """Return a question of a size and kind as they come."""
    words = "the pod of checkout was killed for want of memory while latency rose to 2,300 ms on host db-17"
    kinds = [
        " ".join(dice.choices(words.split(), k=dice.randint(5, 300))),
        "2026-11-20T12:00:01Z ERROR [db] refused\n" * 9,
    ]
    return dice.choice(kinds) + "\nExplain."


def ask(client: Client, wired: Wired, way: Way, dice: random.Random) -> tuple[Any, int, bool]:
    """Make one stream and end it in that way; return what it told, its bill, and whether usage was estimated."""
    wired.break_after = dice.randint(0, 60) if way in ("reset", "silence") else None
    wired.error = OutcomeUnknown("reset") if way == "reset" else Expired(time.monotonic(), idle=True)
    leave_after = dice.randint(1, 60) if way == "left" else 10**9
    stream = client.stream(prompt(dice), model=dice.choice(MODELS), max_tokens=dice.randint(5, 400))
    try:
        for number, _ in enumerate(stream):
            if number >= leave_after:
                break
        stream.close()
        told: Any = stream.partial
    except StreamInterrupted as error:
        told = error.partial
    except CallError as error:
        told = error
    assert wired.last is not None
    return told, wired.last.billed_nano, getattr(told, "usage", None) is None or told.usage.estimated


@pytest.mark.slow
@pytest.mark.prove(12)
def test_the_books_of_ten_thousand_random_cuts_are_the_bill_within_a_percent(
    record_property: Any, tmp_path: Path
) -> None:
    """And to the nano-dollar where the provider reported usage; the ledger has the same to the last digit."""
    path = tmp_path / "ledger.db"
    dice = random.Random(20261120)
    wired = Wired()
    billed_exactly = estimated = 0
    options: dict[str, Any] = {"keys": KEYS, "config": False, "env": {}, "retry": RetryPolicy(attempts=1)}
    with Client(transport=wired, ledger=path, **options) as client:
        for _ in range(CUTS):
            way: Way = dice.choice(("reset", "silence", "left", "whole"))
            told, billed, guessed = ask(client, wired, way, dice)
            if guessed:
                estimated += 1
            else:
                assert told.cost_nano == billed
                billed_exactly += 1
        books = client.usage().cost_nano
    bill = wired.simulator.bill.total_nano
    record_property("books_over_bill", round(books / bill, 5))
    with open_ledger(path) as reader:
        kept = reader.stats(period("all")).total
    assert (kept.calls, kept.cost_nano, kept.estimated) == (CUTS, books, estimated)
    assert estimated > CUTS // 4
    assert billed_exactly > CUTS // 4
    assert abs(books - bill) <= 0.01 * bill
