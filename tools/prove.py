"""Run the tests that prove guarantees, print the table, write build/prove.json and docs/guarantees.md.

A test proves line 15 of docs/guarantees.toml by `@pytest.mark.prove(15)` and adds a figure by
`record_property("overshoot_usd", 0)`, which becomes `g15.overshoot_usd`. Then the simulated world is played for as many
hours as `--hours` says (50 unless told) and every mutant is planted. Exits with 1 when a test fails, when a line has
proofs and none of them passed, when a rule of the world is broken or a mutant survives; the page is written only when
nothing did. Any other argument goes to pytest, and then only the tests are run.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
OUT = ROOT / "build" / "prove.json"

from tools.guarantee_page import PAGE, Guarantee, State, marked_tests, proofs_of, read_guarantees, render  # noqa: E402


@dataclass
class Evidence:
    """What the tests of one guarantee showed."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)


class Collector:
    """A pytest plugin that files each result under the guarantees it is evidence for; tests/conftest.py names them."""

    def __init__(self) -> None:
        self.evidence: dict[int, Evidence] = defaultdict(Evidence)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call":
            return
        figures = dict(report.user_properties)
        numbers: Any = figures.pop("guarantees", ())
        for number in numbers:
            evidence = self.evidence[number]
            if report.passed:
                evidence.passed += 1
                evidence.figures.update(figures)
            elif report.failed:
                evidence.failed.append(report.nodeid)


def verdict(state: State, evidence: Evidence) -> str:
    """The state of a line, unless a test failed or none of its proofs passed."""
    if evidence.failed:
        return "FAILED"
    if state != "not held yet" and not evidence.passed:
        return "UNPROVED"
    return state


def figures_of(verdicts: list[str], evidence: dict[int, Evidence]) -> dict[str, object]:
    """The flat map that build/prove.json holds."""
    figures: dict[str, object] = {
        "guarantees": len(verdicts),
        **{state.replace(" ", "_"): verdicts.count(state) for state in get_args(State)},
        "failed": verdicts.count("FAILED"),
        "unproved": verdicts.count("UNPROVED"),
        "proofs_passed": sum(each.passed for each in evidence.values()),
    }
    for number in sorted(evidence):
        figures.update({f"g{number}.{name}": value for name, value in evidence[number].figures.items()})
    return figures


def print_table(guarantees: list[Guarantee], verdicts: list[str], evidence: dict[int, Evidence]) -> None:
    """One line for each guarantee: verdict, proofs, figures, name."""
    for guarantee, said in zip(guarantees, verdicts, strict=True):
        shown = evidence[guarantee.number]
        figures = "".join(f"  {name}={value}" for name, value in shown.figures.items())
        state = f"{guarantee.number:>2}  {said:<12}  {shown.passed:>3} proofs"
        print(f"{state}  {guarantee.name}{figures}")
        for test in shown.failed:
            print(f"    failed: {test}")


def simulate(options: list[str]) -> tuple[bool, dict[str, object]]:
    """Play the world and plant the mutants; say whether both came out well, and their figures."""
    good = True
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for module, more in (("tests.world", options), ("tests.world.mutants", [])):
            out = Path(folder) / f"{module}.json"
            command = [sys.executable, "-m", module, "--json", str(out), *more]
            good &= subprocess.run(command, cwd=ROOT, check=False).returncode == 0
            figures.update(json.loads(out.read_text(encoding="utf-8")) if out.exists() else {})
    return good, figures


def main() -> int:
    """Prove what can be proved and say what cannot."""
    guarantees, marked = read_guarantees(), marked_tests()
    collector = Collector()
    ours = [argument for argument in sys.argv[1:] if argument.startswith("--hours=")]
    chosen = [argument for argument in sys.argv[1:] if argument not in ours]
    spread = ["--numprocesses=logical", "--maxprocesses=4", "--dist=worksteal"]
    status = pytest.main(["-q", "-m", "prove", *spread, str(ROOT / "tests"), *chosen], plugins=[collector])
    evidence = collector.evidence
    states = [each.state(proofs_of(each.number, marked)) for each in guarantees]
    verdicts = [verdict(state, evidence[each.number]) for state, each in zip(states, guarantees, strict=True)]
    print_table(guarantees, verdicts, evidence)
    unbroken, simulated = (True, {}) if chosen else simulate(ours)
    figures = {**figures_of(verdicts, evidence), **simulated}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures}, indent=2) + "\n", encoding="utf-8")
    print(
        f"Of {figures['guarantees']} guarantees {figures['held']} are held, {figures['partly']} partly,"
        f" {figures['not_held_yet']} not yet; figures in {OUT.relative_to(ROOT)}"
    )
    good = unbroken and status == pytest.ExitCode.OK and not figures["failed"] and not figures["unproved"]
    if good and not chosen:
        shown = {number: each.figures for number, each in evidence.items()}
        PAGE.write_text(render(guarantees, marked, shown), encoding="utf-8")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
