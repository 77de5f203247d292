"""The table of guarantees tells the truth about its proofs."""

from collections import defaultdict

from tools.prove import PAGE, Evidence, Guarantee, figures_of, read_guarantees, verdict


def test_the_page_lists_all_guarantees_in_order() -> None:
    """Every row of the page is read, none is malformed."""
    assert [guarantee.number for guarantee in read_guarantees(PAGE.read_text(encoding="utf-8"))] == list(range(1, 27))


def test_a_claim_needs_a_passing_proof() -> None:
    """What the page calls held is unproved without a test and failed with a failing one."""
    claimed = Guarantee(1, "limits", claimed=True)
    assert verdict(claimed, Evidence()) == "UNPROVED"
    assert verdict(claimed, Evidence(passed=3)) == "held"
    assert verdict(claimed, Evidence(passed=3, failed=["tests/test_x.py::test_y"])) == "FAILED"


def test_a_passing_proof_alone_claims_nothing() -> None:
    """A guarantee that the page does not claim is at most held in part."""
    unclaimed = Guarantee(2, "tokens", claimed=False)
    assert verdict(unclaimed, Evidence()) == "not held yet"
    assert verdict(unclaimed, Evidence(passed=1)) == "in part"


def test_figures_are_flat_and_named_by_guarantee() -> None:
    """Each figure stands under the number of its guarantee, beside the counts."""
    evidence = defaultdict(Evidence, {15: Evidence(passed=2, figures={"overshoot_usd": 0})})
    figures = figures_of([Guarantee(15, "budget", claimed=True), Guarantee(16, "breaker", claimed=False)], evidence)
    assert figures == {
        "guarantees": 2,
        "held": 1,
        "failed": 0,
        "unproved": 0,
        "proofs_passed": 2,
        "g15.overshoot_usd": 0,
    }
