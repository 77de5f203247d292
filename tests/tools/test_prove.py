"""The table of guarantees tells the truth about its proofs."""

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tools.guarantee_page import Guarantee, State, figures_of_page, read_guarantees, render
from tools.prove import Evidence, figures_of, print_table, simulate, verdict


def test_all_guarantees_are_read_in_order() -> None:
    """None is left out, none is malformed."""
    assert [guarantee.number for guarantee in read_guarantees()] == list(range(1, 27))


@pytest.mark.parametrize("claim", ["held", "partly"])
def test_a_claim_needs_a_passing_proof(claim: State) -> None:
    """What has proofs is unproved when none of them passed, and failed with a failing one."""
    assert verdict(claim, Evidence()) == "UNPROVED"
    assert verdict(claim, Evidence(passed=3)) == claim
    assert verdict(claim, Evidence(passed=3, failed=["tests/test_x.py::test_y"])) == "FAILED"


def test_a_line_is_held_by_its_proofs_and_by_what_is_missing() -> None:
    """Held: proofs and nothing missing. Partly: both. Not yet: no proof."""
    whole, partial = Guarantee(1, "a", "b"), Guarantee(2, "a", "b", missing="much")
    assert [whole.state(["test_x"]), partial.state(["test_x"]), whole.state([]), partial.state([])] == [
        "held",
        "partly",
        "not held yet",
        "not held yet",
    ]


def test_the_page_shows_what_it_was_given_and_its_figures_can_be_read_back() -> None:
    """State, figures, peers, proofs and what is missing, and the count below the table."""
    guarantees = [
        Guarantee(1, "Limits", "Kept.", peers="storms", missing="much", shown=("test_s",)),
        Guarantee(2, "Tokens", "Counted."),
    ]
    page = render(guarantees, {"test_a": {1}, "test_b": {1, 3}, "test_s": set()}, {1: {"used": 0.98, "n": "3 | 4"}})
    assert "| 1 | **Limits.** Kept. | partly | `used=0.98` `n=3 / 4` | storms | **Proved**: `test_a` `test_b`." in page
    assert "**Shown**: `test_s`. **Missing**: much |" in page
    assert "Of the 2 lines 0 are held, 1 partly and 1 not yet." in page
    assert figures_of_page(page) == {1: {"used": "0.98", "n": "3 / 4"}, 2: {}}


def test_figures_are_flat_and_named_by_guarantee() -> None:
    """Each figure stands under the number of its guarantee, beside the counts."""
    evidence = defaultdict(Evidence, {15: Evidence(passed=2, figures={"overshoot_usd": 0}), 16: Evidence(passed=1)})
    assert figures_of(["held", "partly", "not held yet", "UNPROVED"], evidence) == {
        "guarantees": 4,
        "held": 1,
        "partly": 1,
        "not_held_yet": 1,
        "failed": 0,
        "unproved": 1,
        "proofs_passed": 3,
        "g15.overshoot_usd": 0,
    }


def test_the_table_has_a_line_for_each_and_names_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """State, number of proofs, name, figures."""
    evidence = defaultdict(Evidence, {1: Evidence(passed=2, figures={"late_s": 0}), 2: Evidence(failed=["test_y"])})
    print_table([Guarantee(1, "Limits", "x"), Guarantee(2, "Tokens", "y")], ["partly", "FAILED"], evidence)
    first, second, failed = capsys.readouterr().out.splitlines()
    assert first.split() == ["1", "partly", "2", "proofs", "Limits", "late_s=0"]
    assert second.split() == ["2", "FAILED", "0", "proofs", "Tokens"]
    assert failed.strip() == "failed: test_y"


@pytest.mark.parametrize("broken", [None, "tests.world", "tests.world.mutants"])
def test_the_world_and_its_mutants_give_figures_and_can_fail(
    monkeypatch: pytest.MonkeyPatch, broken: str | None
) -> None:
    """Each is a program of its own; one that fails is not good, and what it could say is kept."""

    def played(command: list[str], **options: Any) -> Any:
        module, out = command[2], Path(command[4])
        if module != broken:
            out.write_text(json.dumps({module: command[5:]}), encoding="utf-8")
        return SimpleNamespace(returncode=int(module == broken))

    monkeypatch.setattr("tools.prove.subprocess.run", played)
    good, figures = simulate(["--hours=2"])
    assert good is (broken is None)
    every = {"tests.world": ["--hours=2"], "tests.world.mutants": []}
    assert figures == {name: value for name, value in every.items() if name != broken}
