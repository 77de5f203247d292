"""Budgets around a call, in both colours: what is held, what is put into the request, who is told."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from penstock import Budget, BudgetAlert, Client, Limits, RetryPolicy, Thinking
from penstock._io import gate
from penstock._io.stores.budget_sqlite import SharedBook
from penstock.errors import BudgetExceeded, BudgetUnavailable, OutcomeUnknown, StreamInterrupted
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport

from .colours import KEYS, Outcome, anthropic_reply, openai_error, openai_events, openai_reply, run

both = pytest.mark.parametrize("colour", ["sync", "async"])
NANO_A_TOKEN = 600  # of output of gpt-4o-mini


def bound(outcome: Outcome) -> int | None:
    """The bound on the answer in the first request as it left, by the name of either wire."""
    body: dict[str, Any] = json.loads(outcome.transport.sent[0].body)
    found: int | None = body.get("max_completion_tokens", body.get("max_tokens"))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a shared budget is kept."""
    return tmp_path / "spend.db"


@both
def test_the_rest_of_a_budget_bounds_an_answer_that_has_no_bound(colour: str) -> None:
    """The largest max_tokens that the rest can pay is sent, told in the attempt, and nothing is held afterwards."""
    outcome = run(colour, [openai_reply()], client={"budget": Budget(total="0.002")})
    assert outcome.response is not None
    sent = bound(outcome)
    assert sent is not None
    assert 3_000 < sent < 2_000_000 // NANO_A_TOKEN
    assert outcome.response.attempts[0].max_tokens == sent
    assert outcome.client.budget().scopes[0].held_nano == 0
    assert outcome.client.lanes()[0].limiter.in_flight == 0


@both
def test_a_lowered_bound_is_what_the_limiter_counts_and_what_a_cut_stream_can_cost(colour: str) -> None:
    """What was put in at first would not pass the limit, and would let more be spent than is held."""
    limited = run(colour, [openai_reply()], client={"budget": Budget(total="0.002"), "limits": Limits(tpm=5000)})
    assert limited.response is not None, limited.error
    chatter = Scripted(body=[*openai_events("many words " * 1000, done=False), OutcomeUnknown("cut")])
    cut = run(colour, [chatter], stream=True, client={"budget": Budget(total="0.0003")})
    assert isinstance(cut.error, StreamInterrupted)
    state = cut.client.budget()
    assert state.overshoot_nano == 0
    assert 290_000 < state.scopes[0].spent_nano <= 300_000


@both
def test_a_large_budget_puts_in_what_it_always_does(colour: str) -> None:
    """As much as the model can give, where that is less; and room to think on top."""
    outcome = run(colour, [openai_reply()], client={"budget": Budget(total=1)})
    assert (bound(outcome), outcome.response and outcome.response.attempts[0].max_tokens) == (8192, 8192)
    small = run(colour, [openai_reply()], client={"budget": Budget(total=1)}, model="openai:gpt-3.5-turbo")
    assert bound(small) == 4096
    thinks: dict[str, Any] = {
        "model": "anthropic:claude-haiku-4-5",
        "thinking": Thinking(mode="enabled", budget_tokens=10_000),
    }
    assert bound(run(colour, [anthropic_reply()], client={"budget": Budget(total=1)}, **thinks)) == 18_192
    with_room = run(colour, [anthropic_reply()], client={"budget": Budget(total="0.06")}, **thinks)
    assert 10_256 <= (bound(with_room) or 0) < 12_000
    assert isinstance(run(colour, [], client={"budget": Budget(total="0.05")}, **thinks).error, BudgetExceeded)


@both
def test_a_max_tokens_of_the_caller_is_never_changed(colour: str) -> None:
    """It fits or it is refused; without a budget nothing is put in."""
    budget = Budget(total="0.002")
    assert isinstance(run(colour, [], client={"budget": budget}, max_tokens=8192).error, BudgetExceeded)
    outcome = run(colour, [openai_reply()], client={"budget": budget}, max_tokens=3000)
    assert outcome.response is not None
    assert (bound(outcome), outcome.response.attempts[0].max_tokens) == (3000, None)
    free = run(colour, [openai_reply()])
    assert bound(free) is None


@both
def test_what_could_pay_no_useful_answer_is_refused_with_the_figures(colour: str) -> None:
    """256 tokens are the least."""
    outcome = run(colour, [], client={"budget": Budget(total="0.0001")})
    assert isinstance(outcome.error, BudgetExceeded)
    assert "even with max_tokens=256, and $0.0001 of the budget 'total' is left" in str(outcome.error)
    assert outcome.client.budget().scopes[0].held_nano == 0


@pytest.mark.prove(15)
@both
@pytest.mark.parametrize("kept", ["memory", "file"])
def test_every_attempt_holds_its_own_worst_case(colour: str, kept: str, file: Path) -> None:
    """A retry passes only if what is left after the worst of the first attempt can pay it."""
    worst = 1000 * NANO_A_TOKEN
    shared = file if kept == "file" else None
    retry = RetryPolicy(base_s=0.001)
    for total, sent in ((1.5 * worst, 1), (2.5 * worst, 2)):
        answers = [Scripted(error=OutcomeUnknown("reset")), openai_reply()]
        budget = Budget(total=f"{total / 1e9:.9f}", file=shared and shared.with_name(f"{sent}.db"))
        outcome = run(colour, answers, client={"budget": budget, "retry": retry}, max_tokens=1000)
        assert len(outcome.transport.sent) == sent
        assert isinstance(outcome.error, BudgetExceeded) is (sent == 1)
        account = outcome.client.budget().scopes[0]
        assert (account.held_nano, account.spent_nano > worst) == (0, True)
        assert account.spent_nano <= account.cap_nano


@pytest.mark.prove(15)
@both
def test_a_hold_is_in_the_file_before_the_request_leaves(
    colour: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens the file at that moment sees it, and after the answer what it cost."""
    seen: list[int] = []
    watcher = SharedBook(Budget(file=file))

    def look(self: Any, target: Any, outbound: Any) -> Scripted:
        seen.append(watcher.snapshot(0.0).scopes[0].held_nano)
        return openai_reply()

    for transport in (ScriptedTransport, AsyncScriptedTransport):
        real = transport.next

        def looking(self: Any, target: Any, outbound: Any, real: Any = real) -> Scripted:
            look(self, target, outbound)
            found: Scripted = real(self, target, outbound)
            return found

        monkeypatch.setattr(transport, "next", looking)
    outcome = run(colour, [openai_reply()], client={"budget": Budget(total=1, file=file)}, max_tokens=1000)
    assert outcome.response is not None, outcome.error
    assert seen[0] > 1000 * NANO_A_TOKEN
    state = watcher.snapshot(0.0).scopes[0]
    assert (state.held_nano, state.spent_nano) == (0, outcome.response.cost_nano)
    watcher.close()


@both
def test_a_locked_file_is_waited_for(colour: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process leaves after a while, and the call goes on."""
    Client(budget=Budget(file=file), config=False, env={}).close()
    other = sqlite3.connect(file, isolation_level=None)
    looks: list[int] = []

    def step(self: Any, until: float, looked: int) -> float:
        looks.append(looked)
        if len(looks) == 3:
            other.execute("ROLLBACK")
        return 0.0

    monkeypatch.setattr(gate.Gate, "_busy_step_s", step)

    def lock(alert: BudgetAlert) -> None:
        other.execute("BEGIN IMMEDIATE")

    budget = Budget(total=1, file=file, alerts=(0.0000001,), on_alert=lock)
    settings = {"budget": budget, "retry": RetryPolicy(base_s=0.001)}
    outcome = run(colour, [openai_error(500), openai_reply()], client=settings, max_tokens=10)
    assert outcome.response is not None, outcome.error
    assert looks == [0, 1, 2]
    other.close()


@pytest.mark.prove(15)
@both
@pytest.mark.parametrize("until", ["patience", "deadline"])
def test_a_file_that_stays_locked_lets_nothing_pass(
    colour: str, until: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for ever nor without a budget: in the end it is refused in a sentence, and no other lane is tried."""
    monkeypatch.setattr(gate, "BUSY_S", 0.02 if until == "patience" else 60.0)
    Client(budget=Budget(file=file), config=False, env={}).close()
    other = sqlite3.connect(file, isolation_level=None)

    def lock(alert: BudgetAlert) -> None:
        other.execute("BEGIN IMMEDIATE")

    budget = Budget(total=1, file=file, alerts=(0.0000001,), on_alert=lock)
    settings = {"budget": budget, "retry": RetryPolicy(base_s=0.001)}
    options: dict[str, Any] = {"deadline_s": 0.1} if until == "deadline" else {}
    options["fallbacks"] = ["anthropic:claude-haiku-4-5"]
    began = time.monotonic()
    outcome = run(colour, [openai_error(500)], client=settings, max_tokens=10, **options)
    assert time.monotonic() - began < 20.0, "the patience alone would take 60 s"
    assert isinstance(outcome.error, BudgetUnavailable), outcome.error
    assert outcome.error.busy
    assert "was locked by another process" in str(outcome.error)
    assert len(outcome.transport.sent) == 1
    assert [attempt.sent for attempt in outcome.error.attempts] == [True, False]
    other.close()


@both
def test_an_alert_that_fails_breaks_no_call(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is in the log."""
    alerts: list[BudgetAlert] = []

    def on_alert(alert: BudgetAlert) -> None:
        alerts.append(alert)
        raise ZeroDivisionError("the pager is down")

    budget = Budget(total="0.001", on_alert=on_alert, alerts=[0.5])
    with caplog.at_level(logging.ERROR, "penstock"):
        outcome = run(colour, [openai_reply(completion=1000)], client={"budget": budget}, max_tokens=1000)
    assert outcome.response is not None, outcome.error
    assert [(alert.scope, alert.share, alert.spent_nano) for alert in alerts] == [
        ("total", 0.5, outcome.response.cost_nano)
    ]
    assert "the pager is down" in caplog.text


def test_an_alert_is_told_outside_every_lock(file: Path) -> None:
    """Whoever is told may look at the budget, count more, or make another call."""
    states = []

    def on_alert(alert: BudgetAlert) -> None:
        states.append(client.budget())
        client.carry_spent(5)
        if len(states) == 1:
            client.complete("hi", model="openai:gpt-4o-mini", max_tokens=10)

    for shared in (None, file):
        transport = ScriptedTransport([openai_reply(completion=900), openai_reply()])
        budget = Budget(total="0.001", on_alert=on_alert, alerts=[0.5], file=shared)
        client = Client(transport=transport, budget=budget, keys=KEYS, config=False, env={})
        client.complete("hi", model="openai:gpt-4o-mini", max_tokens=1000)
        assert len(transport.sent) == 2
        assert states[-1].scopes[0].spent_nano > 500_000
        client.close()
        states.clear()


def test_what_an_earlier_run_spent_can_be_told_too() -> None:
    """Carried money reaches shares like any other."""
    alerts: list[BudgetAlert] = []
    client = Client(budget=Budget(total="0.001", on_alert=alerts.append), config=False, env={})
    client.carry_spent(900_000)
    assert [alert.share for alert in alerts] == [0.5, 0.8]
    client.close()


@pytest.mark.prove(15)
@both
@pytest.mark.parametrize("kept", ["memory", "file"])
def test_an_interrupt_between_the_yes_and_its_hearing_leaves_no_hold(
    colour: str, kept: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The book has set the money aside and nobody was told: it is given back all the same."""
    whole = gate.Gate.reserve

    def interrupted(self: gate.Gate, effect: Any) -> None:
        assert whole(self, effect) is not None
        raise KeyboardInterrupt

    monkeypatch.setattr(gate.Gate, "reserve", interrupted)
    budget = Budget(total=1, per_client=1, file=file if kept == "file" else None)
    outcome = run(colour, [], client={"budget": budget}, max_tokens=10)
    assert isinstance(outcome.error, KeyboardInterrupt)
    state = outcome.client.budget()
    assert state.calls_under_way == 0
    assert [(scope.held_nano, scope.spent_nano) for scope in state.scopes] == [(0, 0)] * 4
