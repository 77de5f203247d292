"""The table of guarantees tells the truth about its proofs."""

from collections import defaultdict

import pytest
from tools.prove import PAGE, Evidence, Guarantee, State, figures_of, print_table, read_guarantees, verdict


def test_the_page_lists_all_guarantees_in_order() -> None:
    """Every row of the page is read, none is malformed."""
    assert [guarantee.number for guarantee in read_guarantees(PAGE.read_text(encoding="utf-8"))] == list(range(1, 27))


def test_each_state_is_read() -> None:
    """A row whose state is none of the three is no row."""
    rows = "".join(
        f"| {n} | **p.** x | {state} | y |\n" for n, state in enumerate(("held", "partly", "not held yet", "?"))
    )
    assert [guarantee.claim for guarantee in read_guarantees(rows)] == ["held", "partly", "not held yet"]


@pytest.mark.parametrize("claim", ["held", "partly"])
def test_a_claim_needs_a_passing_proof(claim: State) -> None:
    """What the page calls held, or held partly, is unproved without a test and failed with a failing one."""
    claimed = Guarantee(1, "limits", claim)
    assert verdict(claimed, Evidence()) == "UNPROVED"
    assert verdict(claimed, Evidence(passed=3)) == claim
    assert verdict(claimed, Evidence(passed=3, failed=["tests/test_x.py::test_y"])) == "FAILED"


def test_a_passing_proof_alone_claims_nothing() -> None:
    """A guarantee that the page does not claim is not held, whatever passes."""
    unclaimed = Guarantee(2, "tokens", "not held yet")
    assert verdict(unclaimed, Evidence()) == "not held yet"
    assert verdict(unclaimed, Evidence(passed=1)) == "not held yet"
    assert verdict(unclaimed, Evidence(failed=["tests/test_x.py::test_y"])) == "FAILED"


def test_figures_are_flat_and_named_by_guarantee() -> None:
    """Each figure stands under the number of its guarantee, beside the counts."""
    evidence = defaultdict(Evidence, {15: Evidence(passed=2, figures={"overshoot_usd": 0}), 16: Evidence(passed=1)})
    states: list[State] = ["held", "partly", "not held yet", "partly"]
    figures = figures_of([Guarantee(15 + at, "promise", state) for at, state in enumerate(states)], evidence)
    assert figures == {
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
    """State, number of proofs, promise, figures."""
    evidence = defaultdict(Evidence, {1: Evidence(passed=2, figures={"late_s": 0}), 2: Evidence(failed=["test_y"])})
    print_table([Guarantee(1, "limits.", "partly"), Guarantee(2, "tokens.", "held")], evidence)
    first, second, failed = capsys.readouterr().out.splitlines()
    assert first.split() == ["1", "partly", "2", "proofs", "limits", "late_s=0"]
    assert second.split() == ["2", "FAILED", "0", "proofs", "tokens"]
    assert failed.strip() == "failed: test_y"
