"""The table of errors is that of the classes, and each class says how grave it is and what to do."""

from __future__ import annotations

from typing import get_args

import pytest
from tools.error_page import PAGE, filled, main

from penstock import errors
from penstock.remedies import REMEDIES, Severity
from tests.policy.test_routing import made, own_errors

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_table_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """A class that was added or changed is seen on the page; the tool says how to mend it."""
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_a_table_that_is_out_of_date_is_noticed() -> None:
    """A changed severity makes the page differ."""
    assert filled(TEXT.replace("| critical |", "| warning |")) == TEXT


@pytest.mark.parametrize("cls", own_errors(), ids=lambda cls: cls.code)
def test_every_class_says_how_grave_it_is_and_what_to_do(cls: type[errors.PenstockError]) -> None:
    """In its own row: what passes by itself is a warning, and only that may be retried."""
    assert cls.code in REMEDIES, f"give {cls.__name__} a row in remedies.py"
    error = made(cls)
    assert error.severity in get_args(Severity)
    assert error.action
    assert not error.action.endswith(".")
    if error.retriable:
        assert error.severity == "warning"


def test_no_remedy_is_of_a_class_that_is_gone() -> None:
    """Each row belongs to a class."""
    assert REMEDIES.keys() == {cls.code for cls in own_errors()}


def test_an_error_of_a_users_own_has_its_parents_remedy() -> None:
    """Also where it has a code of its own."""

    class Mine(errors.RateLimited):
        code = "mine"

    assert Mine("slow").action == errors.RateLimited("slow").action
