"""Counts and gauges as Prometheus reads them. Every name that Penstock exports is on this page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily

from .lanes import Clients
from .tallies import SAVINGS, STATES, TOKENS, Histogram, Tallies

LANE = ["provider", "model"]


def families(tallies: Tallies, clients: Clients, version: str) -> Iterator[Any]:
    """Yield all families."""
    yield InfoMetricFamily("penstock_build", "The version of Penstock.", value={"version": version})
    with tallies.lock:
        found = [*_calls(tallies), *_attempts(tallies), *_money(tallies), *_rare(tallies)]
    yield from found
    yield from _lanes(tallies, clients)
    yield from _budgets(clients)
    held = clients.caches()
    if held is not None:
        yield GaugeMetricFamily("penstock_cache_answers", "Answers that the cache holds.", value=held[0])
        yield GaugeMetricFamily("penstock_cache_bytes", "What these answers take.", value=held[1])


def _calls(tallies: Tallies) -> Iterator[Any]:
    calls = CounterMetricFamily(
        "penstock_calls",
        "Calls that ended, by outcome: ok or the code of an error.",
        labels=[*LANE, "operation", "outcome"],
    )
    seconds = HistogramMetricFamily(
        "penstock_call_duration_seconds", "From a call's start to its end.", labels=[*LANE, "operation", "result"]
    )
    first = HistogramMetricFamily(
        "penstock_first_token_seconds", "From a streamed call's start to its first output.", labels=LANE
    )
    for labels, lane in tallies.lanes.items():
        for (operation, outcome), ended in lane.calls.items():
            calls.add_metric([*labels, operation, outcome], ended.count)
        for (operation, ok), durations in lane.durations.items():
            _add(seconds, [*labels, operation, "ok" if ok else "error"], durations)
        _add(first, [*labels], lane.first_token)
    yield from (calls, seconds, first)


def _attempts(tallies: Tallies) -> Iterator[Any]:
    attempts = CounterMetricFamily("penstock_attempts", "HTTP exchanges, by outcome.", labels=[*LANE, "outcome"])
    refused = CounterMetricFamily(
        "penstock_refused_attempts", "Attempts that Penstock refused before they were sent.", labels=[*LANE, "outcome"]
    )
    retries = CounterMetricFamily("penstock_retries", "HTTP exchanges that repeat one.", labels=LANE)
    wait = HistogramMetricFamily(
        "penstock_limiter_wait_seconds", "How long attempts waited for their turn.", labels=LANE
    )
    for labels, lane in tallies.lanes.items():
        for outcome, number in lane.attempts.items():
            attempts.add_metric([*labels, outcome], number)
        for outcome, number in lane.refused.items():
            refused.add_metric([*labels, outcome], number)
        retries.add_metric(labels, lane.retries)
        _add(wait, [*labels], lane.wait)
    yield from (attempts, refused, retries, wait)


def _money(tallies: Tallies) -> Iterator[Any]:
    tokens = CounterMetricFamily("penstock_tokens", "Tokens, in disjoint kinds.", labels=[*LANE, "kind"])
    cost = CounterMetricFamily("penstock_cost_usd", "What attempts of known price cost.", labels=LANE)
    unpriced = CounterMetricFamily("penstock_unpriced_attempts", "Attempts whose cost is unknown.", labels=LANE)
    hits = CounterMetricFamily("penstock_cache_hits", "Calls that the cache answered.", labels=LANE)
    saved = CounterMetricFamily(
        "penstock_saved_usd", "What the cache, batches and routing saved.", labels=[*LANE, "by"]
    )
    for labels, lane in tallies.lanes.items():
        for kind, number in zip(TOKENS, lane.tokens, strict=True):
            tokens.add_metric([*labels, kind], number)
        cost.add_metric(labels, lane.cost_nano / 1e9)
        unpriced.add_metric(labels, lane.unpriced)
        hits.add_metric(labels, lane.cache_hits)
        for by in SAVINGS:
            saved.add_metric([*labels, by], lane.saved_nano[by] / 1e9)
    yield from (tokens, cost, unpriced, hits, saved)


def _rare(tallies: Tallies) -> Iterator[Any]:
    changes = CounterMetricFamily(
        "penstock_breaker_changes", "Breakers that went into a state.", labels=[*LANE, "breaker", "state"]
    )
    for labels, lane in tallies.lanes.items():
        for (breaker, state), number in lane.changes.items():
            changes.add_metric([*labels, breaker, state], number)
    alerts = CounterMetricFamily("penstock_budget_alerts", "Thresholds of budgets that were reached.", labels=["scope"])
    for kind, number in tallies.alerts.items():
        alerts.add_metric([kind], number)
    lost = CounterMetricFamily("penstock_events_lost", "Events that a subscriber, as the ledger, did not get.")
    lost.add_metric([], tallies.lost)
    yield from (changes, alerts, lost)


def _lanes(tallies: Tallies, clients: Clients) -> Iterator[Any]:
    with tallies.lock:
        lanes = clients.lanes(tallies.labels)
    waiting = GaugeMetricFamily("penstock_attempts_waiting", "Attempts that wait for their turn.", labels=LANE)
    flying = GaugeMetricFamily("penstock_attempts_in_flight", "Attempts that are at the provider.", labels=LANE)
    limit = GaugeMetricFamily(
        "penstock_limiter_limit",
        "The limit that is obeyed, per minute unless named otherwise.",
        labels=[*LANE, "limit"],
    )
    used = GaugeMetricFamily("penstock_limiter_used", "What was used of it in its window.", labels=[*LANE, "limit"])
    share = GaugeMetricFamily("penstock_limiter_utilization_ratio", "The used share of it.", labels=[*LANE, "limit"])
    breaker = GaugeMetricFamily(
        "penstock_breaker_state", "1 for the state that a breaker is in.", labels=[*LANE, "breaker", "state"]
    )
    for labels, lane in lanes.items():
        waiting.add_metric(labels, lane.waiting)
        flying.add_metric(labels, lane.in_flight)
        for name, figure in lane.limit.items():
            limit.add_metric([*labels, name], figure)
            used.add_metric([*labels, name], lane.used[name])
            share.add_metric([*labels, name], lane.utilization[name])
        for kind, number in lane.breakers.items():
            for at, state in enumerate(STATES):
                breaker.add_metric([*labels, kind, state], int(at == number))
    yield from (waiting, flying, limit, used, share, breaker)


def _budgets(clients: Clients) -> Iterator[Any]:
    told = {
        "cap": "The cap of a budget.",
        "spent": "What was spent of it, possible costs included.",
        "held": "What calls under way may cost yet.",
        "remaining": "What can still be held.",
    }
    budgets = clients.budgets()
    for figure, text in told.items():
        family = GaugeMetricFamily(f"penstock_budget_{figure}_usd", text, labels=["scope"])
        for kind, sums in budgets.items():
            family.add_metric([kind], sums[figure])
        yield family


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    total, buckets = 0, []
    for bound, number in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += number
        buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(total)))
    family.add_metric(labels, buckets, histogram.total)
