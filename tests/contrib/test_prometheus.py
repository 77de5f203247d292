"""The alert rules and the dashboard, checked by a real Prometheus that scrapes a client at work."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import Budget, Cache, Client, Limits, RetryPolicy
from penstock.errors import PenstockError
from penstock.observe import Metrics
from penstock.sim import SimServer
from tests.contrib.prometheus import CONTRIB, Prometheus, needs_prometheus, scraping

DASHBOARD = json.loads((CONTRIB / "grafana" / "penstock.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(f"{panel['title']} {target['refId']}", target["expr"]) for panel in PANELS for target in panel["targets"]]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
RULES = (CONTRIB / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
EXPRESSIONS = re.findall(r"^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", RULES, re.MULTILINE)


@needs_prometheus
@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml", "spend_test.yml"],
    ],
    ids=" ".join,
)
def test_promtool_is_content(command: list[str]) -> None:
    """With the rules, with the example of a configuration, and with what each rule tells in its unit tests."""
    done = subprocess.run(
        ["promtool", *command], cwd=CONTRIB / "prometheus", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_unit_test() -> None:
    """And says what to do."""
    tested = "".join(each.read_text(encoding="utf-8") for each in (CONTRIB / "prometheus").glob("*_test.yml"))
    names = re.findall(r"- alert: (\w+)", RULES)
    assert len(names) == len(EXPRESSIONS) >= 10
    assert [name for name in names if f"alertname: {name}\n" not in tested] == []
    assert RULES.count("summary:") == RULES.count("description:") == RULES.count("severity:") == len(names)


def test_rules_and_panels_ask_only_for_metrics_that_there_are() -> None:
    """A metric that is renamed takes its panels and rules with it."""
    metrics = Metrics()
    known = {
        f"{family.name}{suffix}"
        for family in metrics.describe()
        for suffix in ({"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}).get(
            family.type, ("",)
        )
    }
    asked = set(re.findall(r"\bpenstock_\w+", " ".join(expr for _, expr in TARGETS)))
    asked |= {name for rule in EXPRESSIONS for name in re.findall(r"\bpenstock_\w+", "".join(rule))}
    asked |= {name for each in VARIABLES.values() for name in re.findall(r"\bpenstock_\w+", str(each["query"]))}
    assert asked - known == set()


FAULTS = """
[[rule]]
match = { every = 7 }
fault = { kind = "status", status = 400 }

[[rule]]
match = { every = 11 }
fault = { kind = "rate_limit", retry_after_ms = "1" }
"""


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped a client through answers, streams, faults, 429s, hits and a spent budget."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        SimServer() as sim,
        Client(
            base_urls={"openai": f"{sim.url}/v1"},
            keys={"openai": "sim"},
            config=False,
            limits=Limits(rpm=60_000),
            budget=Budget(daily="0.01", alerts=(0.5,)),
            cache=Cache(),
            retry=RetryPolicy(base_s=0.001, not_sent_base_s=0.001),
        ) as client,
    ):
        sim.play(FAULTS)
        metrics = Metrics(client)
        with metrics.serve(0) as server, scraping(server.port, folder) as prometheus:
            prometheus.until("penstock_build_info")
            work(client)
            calls = metrics.registry.get_sample_value(
                "penstock_calls_total",
                {"provider": "openai", "model": "gpt-4o-mini", "operation": "complete", "outcome": "ok"},
            )
            prometheus.until(f'penstock_calls_total{{operation="complete", outcome="ok"}} == {calls}')
            work(client)  # so that counters have grown between two scrapes
            prometheus.until(f'penstock_calls_total{{operation="complete", outcome="ok"}} > {calls}')
            prometheus.until("count_over_time(penstock_budget_cap_usd[10s]) > 4")
            yield prometheus


def work(client: Client) -> None:
    """Make some calls of each kind, whatever they end in."""
    for number in range(30):
        for ask in (
            lambda: client.complete("again", model="openai:gpt-4o-mini", max_tokens=400, temperature=0),
            lambda: client.complete(f"{number}", model="openai:gpt-4o-mini", max_tokens=20),  # noqa: B023
            lambda: list(client.stream("s", model="openai:gpt-4o-mini", max_tokens=20)),
        ):
            try:
                ask()
            except PenstockError:
                continue
    with pytest.raises(PenstockError):
        client.complete("too much", model="openai:gpt-4o-mini", max_tokens=100_000)


def filled(expression: str) -> str:
    """An expression as Grafana would ask it, with everything chosen."""
    expression = expression.replace("$__rate_interval", "10s").replace("$__range", "1m")
    for name in VARIABLES:
        expression = expression.replace(f"${name}", ".*")
    assert "$" not in expression
    return expression


@needs_prometheus
@pytest.mark.slow
def test_a_real_prometheus_scrapes_a_client_and_answers_every_panel_and_rule(scraped: Prometheus) -> None:
    """Each query of the dashboard gives data, each variable has values, each rule is evaluated without an error."""
    target = scraped.ask("targets")["activeTargets"][0]
    assert (target["health"], target["lastError"]) == ("up", "")
    empty = [title for title, expression in TARGETS if not scraped.query(filled(expression))]
    assert empty == []
    for name, each in VARIABLES.items():
        if each["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", each["definition"])
            assert found is not None
            values = scraped.query(f"group by ({found[2]}) ({filled(found[1])})")
            assert [value["metric"][found[2]] for value in values], name
    scraped.until('ALERTS{alertname="PenstockBudgetRefusesCalls"}')
    groups = scraped.ask("rules")["groups"]
    rules: list[Any] = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(EXPRESSIONS)
    assert [rule["name"] for rule in rules if rule["health"] != "ok" or rule.get("lastError")] == []


@needs_prometheus
@pytest.mark.slow
def test_what_prometheus_read_is_what_the_client_counted(scraped: Prometheus) -> None:
    """To the nano-dollar."""
    spent = scraped.query("sum(penstock_cost_usd_total)")[0]["value"][1]
    budget = scraped.query('penstock_budget_spent_usd{scope="day"}')[0]["value"][1]
    assert float(spent) == pytest.approx(float(budget), abs=1e-9)
    assert float(scraped.query("sum(penstock_cache_hits_total)")[0]["value"][1]) > 0
    quantile = "histogram_quantile(0.95, sum by (le) (penstock_call_duration_seconds_bucket))"
    assert 0 < float(scraped.query(quantile)[0]["value"][1]) < 60


def test_the_dashboard_is_one_that_grafana_can_load() -> None:
    """Unique panels on its grid, each with a unit, a query on the chosen data source and all variables in use."""
    assert DASHBOARD["schemaVersion"] >= 39
    assert set(VARIABLES) == {"datasource", "job", "instance", "provider", "model"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    text = " ".join(expression for _, expression in TARGETS)
    assert all(f"${name}" in text for name in VARIABLES if name != "datasource")
