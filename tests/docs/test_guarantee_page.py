"""The page of guarantees names tests that exist, and counts as proofs only those that are marked."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
LINES = {int(number): line for number, line in re.findall(r"^\| *(\d+) \|(.*)$", PAGE, re.MULTILINE)}
STATES = {number: line.split(" | ")[1] for number, line in LINES.items()}
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
def test_the_tests_of_a_line_exist_and_its_proofs_are_the_marked_ones(number: int) -> None:
    """A renamed test is noticed, and what `make prove` runs for a line is what the line calls its proofs."""
    proved = re.search(r"\*\*Proved\*\*:(.*?)(?:\*\*|\|$)", LINES[number])
    claimed = set(TEST.findall(proved[1])) if proved else set()
    assert [name for name in TEST.findall(LINES[number]) if name not in marked()] == []
    assert claimed == {name for name, numbers in marked().items() if number in numbers}


def test_the_state_of_a_line_fits_what_it_says() -> None:
    """Held names proofs and nothing that is missing, partly names both, not held yet names no proof."""
    parts = {"held": (True, False), "partly": (True, True), "not held yet": (False, True)}
    assert set(STATES.values()) <= parts.keys()
    says = {number: ("**Proved**" in line, "**Missing**" in line) for number, line in LINES.items()}
    assert [number for number, state in STATES.items() if says[number] != parts[state]] == []


def test_the_page_counts_its_lines() -> None:
    """The sentence below the table."""
    count = Counter(STATES.values())
    assert len(LINES) == 26
    said = f"Of the 26 lines {count['held']} are held, {count['partly']} partly and {count['not held yet']} not yet."
    assert said in PAGE
