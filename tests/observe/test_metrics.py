"""Metrics: what they count, that their labels are closed and bounded, and how they are served."""

from __future__ import annotations

import gc
import random
import sqlite3
import sys
import urllib.request
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock import Budget, Cache, Client, Limits
from penstock._policy.alerts import BudgetAlert
from penstock.errors import ConfigError, MissingExtra, all_errors
from penstock.events import AttemptEnded, CallEnded, LaneChanged, RecordsLost
from penstock.observe import Metrics
from penstock.observe.tallies import OPERATIONS, OUTCOMES, SAVINGS, SCOPES, STATES, TOKENS
from penstock.testing import Scripted, ScriptedTransport
from penstock.types import Usage
from tests.flow.colours import KEYS, QUICK, openai_error, openai_events, openai_reply
from tests.observe.watching import MODEL, watched

both = pytest.mark.parametrize("colour", ["sync", "async"])
LANE = {"provider": "openai", "model": "gpt-4o-mini"}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample; None when there is none."""
    found: float | None = metrics.registry.get_sample_value(name, labels)
    return found


def client(*answers: Scripted, **settings: Any) -> Client:
    """A client that is answered by a script."""
    return Client(transport=ScriptedTransport(answers), keys=KEYS, config=False, env={}, retry=QUICK, **settings)


@both
def test_a_call_is_counted_with_its_attempts_tokens_cost_and_time(colour: str) -> None:
    """A 429 first: two attempts, one retry, one call."""
    metrics = watched(colour, [openai_error(429, **{"retry-after-ms": "1"}), openai_reply()], Metrics, max_tokens=20)
    assert value(metrics, "penstock_calls_total", **LANE, operation="complete", outcome="ok") == 1
    assert value(metrics, "penstock_attempts_total", **LANE, outcome="rate_limited") == 1
    assert value(metrics, "penstock_attempts_total", **LANE, outcome="ok") == 1
    assert value(metrics, "penstock_retries_total", **LANE) == 1
    assert value(metrics, "penstock_tokens_total", **LANE, kind="input") == 10
    assert value(metrics, "penstock_tokens_total", **LANE, kind="output") == 5
    assert value(metrics, "penstock_cost_usd_total", **LANE) == pytest.approx((10 * 150 + 5 * 600) / 1e9)
    assert value(metrics, "penstock_unpriced_attempts_total", **LANE) == 0
    assert value(metrics, "penstock_call_duration_seconds_count", **LANE, operation="complete", result="ok") == 1
    assert value(metrics, "penstock_limiter_wait_seconds_count", **LANE) == 2
    assert value(metrics, "penstock_first_token_seconds_count", **LANE) == 0


@both
def test_a_stream_has_the_time_to_its_first_token(colour: str) -> None:
    """In a histogram of its own."""
    metrics = watched(colour, [Scripted(body=openai_events("a", "b"))], Metrics, stream=True, max_tokens=20)
    assert value(metrics, "penstock_calls_total", **LANE, operation="stream", outcome="ok") == 1
    assert value(metrics, "penstock_first_token_seconds_count", **LANE) == 1
    assert value(metrics, "penstock_first_token_seconds_bucket", **LANE, le="+Inf") == 1


def test_failures_are_counted_by_class_and_refusals_apart() -> None:
    """What Penstock itself refused was no exchange."""
    metrics = watched("sync", [openai_error(400)], Metrics, calls=2, client={"budget": Budget(per_call="0.0000000001")})
    assert value(metrics, "penstock_calls_total", **LANE, operation="complete", outcome="budget_exceeded") == 2
    assert value(metrics, "penstock_refused_attempts_total", **LANE, outcome="budget_exceeded") == 2
    assert value(metrics, "penstock_attempts_total", **LANE, outcome="budget_exceeded") is None
    metrics = watched("sync", [openai_error(400)], Metrics)
    assert value(metrics, "penstock_calls_total", **LANE, operation="complete", outcome="invalid_request") == 1
    assert value(metrics, "penstock_call_duration_seconds_count", **LANE, operation="complete", result="error") == 1


def test_what_the_cache_saved_is_counted() -> None:
    """A hit is a call of no cost."""
    metrics = watched("sync", [openai_reply()], Metrics, calls=3, client={"cache": Cache()}, temperature=0)
    assert value(metrics, "penstock_cache_hits_total", **LANE) == 2
    assert value(metrics, "penstock_saved_usd_total", **LANE, by="cache") == pytest.approx(2 * 4500 / 1e9)
    assert value(metrics, "penstock_attempts_total", **LANE, outcome="ok") == 1


def test_gauges_show_the_moment_of_the_scrape() -> None:
    """Limits, breakers, budgets and caches as they are then; nothing of a client that is closed or gone."""
    first = client(openai_reply(), limits=Limits(rpm=10), budget=Budget(daily=5, tags={"a=b": 1}), cache=Cache())
    metrics = Metrics(first)
    first.complete("hi", model=MODEL, temperature=0)
    assert value(metrics, "penstock_limiter_limit", **LANE, limit="requests") == 10
    assert value(metrics, "penstock_limiter_utilization_ratio", **LANE, limit="requests") == pytest.approx(0.1)
    assert value(metrics, "penstock_attempts_waiting", **LANE) == 0
    assert value(metrics, "penstock_breaker_state", **LANE, breaker="lane", state="closed") == 1
    assert value(metrics, "penstock_breaker_state", **LANE, breaker="account", state="open") == 0
    assert value(metrics, "penstock_budget_cap_usd", scope="day") == 5
    assert value(metrics, "penstock_budget_remaining_usd", scope="day") == pytest.approx(5 - 4500 / 1e9)
    assert value(metrics, "penstock_budget_cap_usd", scope="tag") is None
    assert value(metrics, "penstock_cache_answers") == 1
    first.close()
    assert value(metrics, "penstock_budget_cap_usd", scope="day") is None
    assert value(metrics, "penstock_limiter_limit", **LANE, limit="requests") is None
    assert value(metrics, "penstock_cost_usd_total", **LANE) == pytest.approx(4500 / 1e9)


def test_several_clients_add_up_and_one_that_is_gone_is_let_go(tmp_path: Path) -> None:
    """A budget that they share in a file counts once."""
    file = tmp_path / "spend.db"
    metrics = Metrics()
    clients = [client(openai_reply(), limits=Limits(rpm=10), budget=Budget(total=3, file=file)) for _ in range(2)]
    for each in clients:
        metrics.watch(each)
        each.complete("hi", model=MODEL, max_tokens=20)
    assert value(metrics, "penstock_calls_total", **LANE, operation="complete", outcome="ok") == 2
    assert value(metrics, "penstock_limiter_limit", **LANE, limit="requests") == 20
    assert value(metrics, "penstock_budget_cap_usd", scope="total") == 3
    assert value(metrics, "penstock_budget_spent_usd", scope="total") == pytest.approx(2 * 4500 / 1e9)
    clients.pop().close()
    del each
    gc.collect()
    assert value(metrics, "penstock_limiter_limit", **LANE, limit="requests") == 10
    clients.pop().close()


def test_a_budget_that_cannot_be_read_takes_no_other_metric_with_it(tmp_path: Path) -> None:
    """It is left out and the log says why."""
    file = tmp_path / "spend.db"
    broken = client(openai_reply(), budget=Budget(total=3, file=file))
    metrics = Metrics(broken)
    broken.complete("hi", model=MODEL, max_tokens=20)
    file.rename(tmp_path / "moved.db")
    sqlite3.connect(file).close()
    assert value(metrics, "penstock_budget_cap_usd", scope="total") is None
    assert value(metrics, "penstock_calls_total", **LANE, operation="complete", outcome="ok") == 1
    (tmp_path / "moved.db").rename(file)
    broken.close()


def test_rare_things_are_counted_from_zero() -> None:
    """So that the first one is an increase, which is what an alert looks for."""
    watching = client()
    metrics = Metrics(watching)
    hub = watching._gate.hub
    assert hub is not None
    assert value(metrics, "penstock_budget_alerts_total", scope="day") == 0
    assert value(metrics, "penstock_events_lost_total") == 0
    hub.emit(BudgetAlert(scope="day 2026-11-20", share=0.5, cap_nano=2, spent_nano=1, held_nano=0))
    hub.emit(RecordsLost(subscriber="ledger", count=7, why="slow", at_s=0.0))
    hub.emit(LaneChanged(lane=MODEL, was="closed", state="open", at_s=0.0, account=True))
    assert value(metrics, "penstock_budget_alerts_total", scope="day") == 1
    assert value(metrics, "penstock_events_lost_total") == 7
    assert value(metrics, "penstock_breaker_changes_total", **LANE, breaker="account", state="open") == 1
    assert value(metrics, "penstock_breaker_changes_total", **LANE, breaker="lane", state="open") == 0
    watching.close()


CLOSED: dict[str, frozenset[str] | set[str]] = {
    "operation": OPERATIONS,
    "outcome": OUTCOMES,
    "result": {"ok", "error"},
    "kind": set(TOKENS),
    "by": set(SAVINGS),
    "breaker": {"lane", "account"},
    "state": set(STATES),
    "scope": set(SCOPES),
    "limit": {"requests", "tokens", "input_tokens", "output_tokens"},
    "version": {"0.1.0"},
}


@pytest.mark.prove(26)
def test_labels_are_a_closed_and_bounded_set(record_property: Any) -> None:
    """10,000 random models, tags, outcomes and scopes: no new label, no new value of a closed one, a bounded number."""
    dice = random.Random(26)
    watching = client()
    metrics = Metrics(watching, models=20)
    hub = watching._gate.hub
    assert hub is not None
    providers = ["openai", "anthropic", "mine"]
    outcomes = ["ok", "cancelled", "made_up", *[error.code for error in all_errors()]]
    for number in range(10_000):
        model, tags = f"model-{dice.random()}", {f"tag-{dice.random()}": f"CANARY-{number}"}
        provider, outcome = dice.choice(providers), dice.choice(outcomes)
        shared: dict[str, Any] = {
            "call_id": f"CANARY-{number}",
            "operation": dice.choice(["complete", "stream", "embed", "made_up"]),
            "provider": provider,
            "model": model,
            "outcome": outcome,
            "at_s": 0.0,
            "latency_s": dice.random(),
            "tags": tags,
            "usage": Usage(input=1),
        }
        hub.emit(CallEnded(asked=f"{provider}:{model}", message="CANARY", **shared))
        hub.emit(AttemptEnded(number=1, wire="openai_chat", lane="CANARY", sent=True, wait_s=0.0, **shared))
        if number % 10:
            continue
        hub.emit(LaneChanged(lane=f"{provider}:{model}", was="closed", state="open", at_s=0.0, reason="CANARY"))
        hub.emit(BudgetAlert(scope=f"tag t=CANARY-{number}", share=0.5, cap_nano=2, spent_nano=1, held_nano=0))
        hub.emit(RecordsLost(subscriber=f"CANARY-{number}", count=1, why="CANARY", at_s=0.0))
    watching.close()
    text = metrics.text().decode()
    assert "CANARY" not in text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    for sample in samples:
        for name, found in sample.labels.items():
            assert name in {"provider", "model", "le"} or found in CLOSED[name], (sample.name, name, found)
    pairs = {(each.labels["provider"], each.labels["model"]) for each in samples if "model" in each.labels}
    assert {model for _, model in pairs} >= {"other"}
    assert len(pairs) <= 20 + len(providers)
    assert value(metrics, "penstock_calls_total", provider="mine", model="other", operation="other", outcome="other")
    assert sum(each.value for each in samples if each.name == "penstock_calls_total") == 10_000
    record_property("metric series under 10,000 random models", len(samples))


def test_metrics_are_served_and_a_taken_port_is_said() -> None:
    """At any free port, for this machine alone unless told; closing ends the thread and frees the port."""
    metrics = Metrics()
    with metrics.serve(0) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(server.url) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert b"penstock_build_info" in answer.read()
        with pytest.raises(
            ConfigError, match=rf"cannot be served at 127.0.0.1:{server.port}: .* in use; choose another"
        ):
            metrics.serve(server.port)
    metrics.serve(server.port).close()
    with pytest.raises(ConfigError, match=r"cannot be served at 192\.0\.2\.1:9464"):
        metrics.serve(9464, "192.0.2.1")
    with pytest.raises(ConfigError, match="choose another port"):
        metrics.serve(99_999)
    everywhere = metrics.serve(0, "")
    assert everywhere.url == f"http://localhost:{everywhere.port}/metrics"
    everywhere.close()


def test_a_registry_of_the_user_takes_them_once() -> None:
    """Beside metrics of its own; a second time is a mistake with a remedy."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("mine", "Of the user.", registry=registry).inc()
    metrics = Metrics(registry=registry)
    assert b"mine_total 1.0" in metrics.text()
    assert b"penstock_build_info" in metrics.text()
    with pytest.raises(ConfigError, match=r"add a client to those with metrics.watch\(client\)"):
        Metrics(registry=registry)
    with pytest.raises(ConfigError, match="models is 0; expected how many"):
        Metrics(models=0)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtra, match=r"pip install 'penstock\[metrics\]'"):
        Metrics()
