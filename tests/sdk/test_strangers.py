"""Every official SDK behind the gate, in both colours, against the simulator: its answers, its errors, one bill."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import Budget, RetryPolicy, sdk
from penstock.errors import PenstockError
from penstock.sim import SimServer

from .clients import STRANGERS, Colour, Stranger, during

ONCE = RetryPolicy(attempts=1, unknown_outcomes=0, rate_limits=0)
FAULT = '[[rule]]\nfault = { kind = "status", status = 500 }\n'

PRICED = [each for each in STRANGERS if each.provider not in ("mistral", "groq")]
"""Those whose price is known of the model that the simulator has; without one a budget holds nothing to compare."""

colours = pytest.mark.parametrize("colour", ["sync", "async"])
strangers = pytest.mark.parametrize("stranger", STRANGERS, ids=lambda each: each.__name__)


@colours
@strangers
def test_a_call_is_answered_and_accounted(sim: SimServer, stranger: type[Stranger], colour: Colour) -> None:
    """The SDK's own figures are the gate's."""

    def ask(own: Stranger) -> Any:
        asked.append(own)
        return own.whole()

    asked: list[Stranger] = []
    text, gate = during(sim, stranger, colour, ask)
    totals = gate.usage()
    assert "db" in text.lower()
    assert (totals.calls, totals.attempts, totals.failed) == (1, 1, 0)
    assert totals.usage.total == asked[0].tokens
    assert not totals.usage.estimated
    if not totals.unpriced:
        assert totals.cost_nano == sim.bill()["total_nano"]


@colours
@strangers
def test_a_stream_is_accounted_as_it_passes(sim: SimServer, stranger: type[Stranger], colour: Colour) -> None:
    """By the provider's figures where it tells any, else by an estimate that says so; the text is all there."""
    text, gate = during(sim, stranger, colour, lambda own: own.pieces())
    totals = gate.usage()
    assert "db" in text.lower()
    assert (totals.calls, totals.attempts, totals.failed) == (1, 1, 0)
    assert totals.usage.estimated is not stranger.told
    assert sim.settle()
    (row,) = sim.bill()["by_model"].values()
    assert totals.usage.completion == pytest.approx(row["output_tokens"], rel=0.0 if stranger.told else 0.35)


@pytest.mark.prove(5)
@colours
@strangers
def test_what_fails_is_sent_once(sim: SimServer, stranger: type[Stranger], colour: Colour) -> None:
    """The gate has its own retries, here none, and the SDK makes no more of them; it raises its own error."""
    sim.play(FAULT)

    def ask(own: Stranger) -> Any:
        if own.sync:
            return caught_of(own.whole)

        async def later() -> Any:
            try:
                await own.whole()
            except Exception as error:  # noqa: BLE001 - each SDK has its own
                return error
            raise AssertionError("nothing was raised")

        return later()

    error, gate = during(sim, stranger, colour, ask, retry=ONCE)
    assert not isinstance(error, PenstockError)
    assert code_of(error) == "server_fault"
    assert len(sim.log()) == 1
    assert gate.usage().attempts == 1


def code_of(error: Any) -> str:
    """Return the code of Penstock's error behind an SDK's; Cohere's errors keep headers only."""
    found = sdk.error_of(error)
    return error.headers["x-penstock-error"] if found is None else found.code


def caught_of(do: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each SDK has its own
        do()
    return caught.value


@colours
@strangers
def test_the_gate_mends_what_fails_once(sim: SimServer, stranger: type[Stranger], colour: Colour) -> None:
    """The SDK sees none of it."""
    sim.play('[[rule]]\nmatch = { nth = 1 }\nfault = { kind = "status", status = 500 }\n')
    text, gate = during(sim, stranger, colour, lambda own: own.pieces(), retry=RetryPolicy(base_s=0.001, cap_s=0.001))
    assert text
    assert gate.usage().attempts == 2


@pytest.mark.parametrize("stranger", PRICED, ids=lambda each: each.__name__)
def test_a_budget_holds_before_anything_is_sent(sim: SimServer, stranger: type[Stranger]) -> None:
    """Nothing is sent that the budget cannot pay, and the SDK's error has Penstock's inside."""
    error, _ = during(
        sim, stranger, "sync", lambda own: caught_of(own.whole), budget=Budget(total="0.0000001"), retry=ONCE
    )
    assert code_of(error) == "budget_exceeded"
    assert "budget" in str(error)
    assert sim.log() == []
