"""Run the tests that prove guarantees, print the table, write build/prove.json.

A test proves line 15 of docs/guarantees.md by `@pytest.mark.prove(15)` and adds a figure by
`record_property("overshoot_usd", 0)`, which becomes `g15.overshoot_usd`.

The page says of each guarantee whether it is held (all of it is proved), held partly (what is not shown stands there)
or not held yet (nothing is proved). The first two are true only when every test that carries the number passes, and at
least one does. Exits with 1 when a test fails, or when the page claims what no test proves.
"""

import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "guarantees.md"
OUT = ROOT / "build" / "prove.json"

State = Literal["held", "partly", "not held yet"]

ROW = re.compile(r"^\| *(\d+) *\| *\*\*(.+?)\*\*.*?\| *(held|partly|not held yet) *\|", re.MULTILINE)


@dataclass(frozen=True)
class Guarantee:
    """One row of the page: what it promises, in the words in bold, and how far the page says that it is held."""

    number: int
    promise: str
    claim: State


@dataclass
class Evidence:
    """What the tests of one guarantee showed."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)


class Collector:
    """A pytest plugin that files each result under the guarantees it is evidence for."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = {}
        self.evidence: dict[int, Evidence] = defaultdict(Evidence)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.numbers[item.nodeid] = [number for mark in item.iter_markers("prove") for number in mark.args]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call":
            return
        for number in self.numbers[report.nodeid]:
            evidence = self.evidence[number]
            if report.passed:
                evidence.passed += 1
                evidence.figures.update(report.user_properties)
            elif report.failed:
                evidence.failed.append(report.nodeid)


def read_guarantees(page: str) -> list[Guarantee]:
    """The rows of the guarantees page."""
    return [Guarantee(int(number), promise, cast("State", state)) for number, promise, state in ROW.findall(page)]


def verdict(guarantee: Guarantee, evidence: Evidence) -> str:
    """What the page claims, unless a test failed or none proves it."""
    if evidence.failed:
        return "FAILED"
    if guarantee.claim != "not held yet" and not evidence.passed:
        return "UNPROVED"
    return guarantee.claim


def figures_of(guarantees: list[Guarantee], evidence: dict[int, Evidence]) -> dict[str, object]:
    """The flat map that build/prove.json holds."""
    verdicts = [verdict(guarantee, evidence[guarantee.number]) for guarantee in guarantees]
    figures: dict[str, object] = {
        "guarantees": len(guarantees),
        **{state.replace(" ", "_"): verdicts.count(state) for state in get_args(State)},
        "failed": verdicts.count("FAILED"),
        "unproved": verdicts.count("UNPROVED"),
        "proofs_passed": sum(each.passed for each in evidence.values()),
    }
    for number in sorted(evidence):
        figures.update({f"g{number}.{name}": value for name, value in evidence[number].figures.items()})
    return figures


def print_table(guarantees: list[Guarantee], evidence: dict[int, Evidence]) -> None:
    """One line for each guarantee: verdict, proofs, figures, promise."""
    for guarantee in guarantees:
        shown = evidence[guarantee.number]
        figures = "".join(f"  {name}={value}" for name, value in shown.figures.items())
        state = f"{guarantee.number:>2}  {verdict(guarantee, shown):<12}  {shown.passed:>3} proofs"
        print(f"{state}  {guarantee.promise.rstrip('.')}{figures}")
        for test in shown.failed:
            print(f"    failed: {test}")


def main() -> int:
    """Prove what can be proved and say what cannot."""
    guarantees = read_guarantees(PAGE.read_text(encoding="utf-8"))
    collector = Collector()
    status = pytest.main(["-q", "-m", "prove", str(ROOT / "tests"), *sys.argv[1:]], plugins=[collector])
    evidence = collector.evidence
    print_table(guarantees, evidence)
    figures = figures_of(guarantees, evidence)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures}, indent=2) + "\n", encoding="utf-8")
    print(
        f"Of {figures['guarantees']} guarantees {figures['held']} are held, {figures['partly']} partly,"
        f" {figures['not_held_yet']} not yet; figures in {OUT.relative_to(ROOT)}"
    )
    return int(status != pytest.ExitCode.OK or bool(figures["failed"]) or bool(figures["unproved"]))


if __name__ == "__main__":
    sys.exit(main())
