"""The page of guarantees is what its source, the tests and their marks make of it."""

from __future__ import annotations

from functools import cache

from tools.guarantee_page import PAGE, figures_of_page, marked_tests, read_guarantees, render

marked = cache(marked_tests)


def test_the_page_is_fresh() -> None:
    """A test that was added, renamed or marked, and a promise that was changed, are on the page after `make prove`."""
    page = PAGE.read_text(encoding="utf-8")
    assert render(read_guarantees(), marked(), figures_of_page(page)) == page


def test_tests_that_are_only_shown_exist_and_prove_nothing() -> None:
    """A proof is marked; what is shown beside the proofs is not, or not for this line."""
    shown = [(each.number, name) for each in read_guarantees() for name in each.shown]
    assert [name for _, name in shown if name not in marked()] == []
    assert [name for number, name in shown if number in marked()[name]] == []


def test_every_promise_is_proved_or_says_what_is_missing() -> None:
    """No line of the page is silent about why it is not held."""
    proved = set().union(*marked().values())
    assert [each.number for each in read_guarantees() if each.number not in proved and not each.missing] == []
