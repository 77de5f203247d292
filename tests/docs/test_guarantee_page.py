"""The page of guarantees names tests that exist, and counts as proofs only those that are marked."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
LINES = {int(number): line for number, line in re.findall(r"^\| *(\d+) \|(.*)$", PAGE, re.MULTILINE)}
TEST = re.compile(r"`(test_\w+)`")


@cache
def marked() -> dict[str, set[int]]:
    """Every test of the project, and the guarantees that it is marked to prove."""
    found: dict[str, set[int]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
                given = re.findall(r"pytest\.mark\.prove\(([\d, ]+)\)", marks)
                numbers = {int(number) for each in given for number in each.split(",")}
                found.setdefault(node.name, set()).update(numbers)
    return found


@pytest.mark.parametrize("number", LINES)
def test_the_tests_of_a_line_exist_and_its_proofs_are_marked(number: int) -> None:
    """A renamed test is noticed, and what `make prove` does not run is not called a proof."""
    proved = re.search(r"\*\*Proved\*\*:(.*?)(?:\*\*|\|$)", LINES[number])
    claimed = set(TEST.findall(proved[1])) if proved else set()
    assert [name for name in TEST.findall(LINES[number]) if name not in marked()] == []
    assert [name for name in claimed if number not in marked()[name]] == []


def test_a_line_that_is_held_names_its_proof() -> None:
    """And says nothing of what is missing."""
    held = {number: line for number, line in LINES.items() if "| held |" in line}
    assert [number for number, line in held.items() if "**Proved**" not in line or "**Missing**" in line] == []
    assert ("none of the 26 lines is proved in full" in PAGE) is not bool(held)
    assert len(LINES) == 26
