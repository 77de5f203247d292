"""The page of the command line says what the commands say."""

from __future__ import annotations

import re

import pytest
from tools.help_pages import PAGE, helps, main, problems

from penstock import errors

TEXT = PAGE.read_text(encoding="utf-8")
BASES = {errors.PenstockError, errors.Refused, errors.CallError}
CLASSES = sorted({*errors.all_errors()} - BASES, key=lambda cls: cls.__name__)


def code_beside(name: str) -> int | None:
    """The exit code in whose row a class stands."""
    row = re.search(rf"^\| (\d+) \| .*`{name}`", TEXT, re.MULTILINE)
    return int(row[1]) if row else None


def test_every_help_text_is_that_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    """An option that was added, removed or renamed is seen on the page; the tool says how to mend it."""
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_a_page_that_is_out_of_date_is_noticed() -> None:
    """A changed text, a command without a place and a place without a command are each told."""
    said = helps()
    assert "tools/help_pages.py" in problems(TEXT.replace("--max-tokens", "--most-tokens"), said)[0]
    assert "'penstock new' has no place" in problems(TEXT, said | {"penstock new": "x"})[0]
    assert "'penstock demo' is no command" in problems(TEXT, {name: said[name] for name in said if "demo" not in name})


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_stands_beside_its_exit_code(cls: type[errors.PenstockError]) -> None:
    """A script that looks at exit codes finds the class there."""
    assert code_beside(cls.__name__) == cls.exit_code
