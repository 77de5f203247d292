"""Write docs/guarantees.md from docs/guarantees.toml, the tests that prove its lines, and the figures of the last run.

With `--check` nothing is written: exits with 1 when the page differs. Its figures only `make prove` knows.
"""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "docs" / "guarantees.toml"
PAGE = ROOT / "docs" / "guarantees.md"

State = Literal["held", "partly", "not held yet"]

HEAD = """\
# Guarantees

What Penstock promises, what of it is proved today, and what is missing. `make prove` runs the proofs, prints this
table with their figures, writes the figures to `build/prove.json` and this page from `docs/guarantees.toml`.

A promise is **held** when its proofs cover all of it and pass. It is held **partly** when some of it is proved and the
last column says what is not; nothing of one that is **not held yet** is proved. `make prove` fails when a proof fails.

- **Peers**: what others did in the same place in November 2026; `make bench` runs many of them beside Penstock.
- **Proved**: tests that `make prove` runs and counts.
- **Shown**: tests that are not counted: they prove none of its claims, or need what is not always there.
- **Missing**: what no test proves, or what does not exist.

| # | guarantee | state | figures | peers | proved, shown, missing |
|---|---|---|---|---|---|
"""
TAIL = """
Of the {all} lines {held} are held, {partly} partly and {yet} not yet.

## How they are proved

- Pure policies against tiny reference models, by generated sequences of events.
- The whole client in simulated time: the real flow and policies on a virtual clock against a provider that keeps its
  own limits and its own bill, with a fault at every effect; and planted mutants, which must all be caught.
- The whole client against the simulator, which keeps its own limits and its own bill and shares no code with
  the client.
- The same simulator against the official SDKs: what they cannot use is a fault of the simulator.
- Recorded traffic of real providers, where it is present.

A test is a proof when it carries `@pytest.mark.prove(<number>)`; a figure is added with `record_property`. A test
compares this page with its source and with the tests that exist.
"""
ROW = re.compile(r"^\| (\d+) \| .*? \| (?:held|partly|not held yet) \| (.*?) \| ", re.MULTILINE)
FIGURE = re.compile(r"`([^`=]+)=([^`]*)`")


@dataclass(frozen=True)
class Guarantee:
    """One promise, what peers did in its place, and what is said of its proofs."""

    number: int
    name: str
    promise: str
    peers: str = ""
    note: str = ""
    missing: str = ""
    shown: tuple[str, ...] = ()

    def state(self, proofs: object) -> State:
        """Held, partly or not yet, by whether it has proofs and whether something is missing."""
        if not proofs:
            return "not held yet"
        return "partly" if self.missing else "held"


def read_guarantees() -> list[Guarantee]:
    """The promises in their order."""
    rows = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["guarantee"]
    return [Guarantee(**{**row, "shown": tuple(row.get("shown", ()))}) for row in rows]


def marked_tests() -> dict[str, set[int]]:
    """Every test of the project, and the guarantees that it is marked to prove."""
    found: dict[str, set[int]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
                given = re.findall(r"pytest\.mark\.prove\(([\d, ]+)\)", marks)
                numbers = {int(number) for each in given for number in each.split(",")}
                found.setdefault(node.name, set()).update(numbers)
    return found


def proofs_of(number: int, marked: Mapping[str, set[int]]) -> list[str]:
    """The tests that prove a line, in the order of their files."""
    return [name for name, numbers in marked.items() if number in numbers]


def figures_of_page(page: str) -> dict[int, dict[str, object]]:
    """The figures that a page shows, by line."""
    return {int(number): dict(FIGURE.findall(cell)) for number, cell in ROW.findall(page)}


def render(
    guarantees: list[Guarantee], marked: Mapping[str, set[int]], figures: Mapping[int, Mapping[str, object]]
) -> str:
    """The whole page."""
    rows, states = [], Counter[State]()
    for each in guarantees:
        proofs = proofs_of(each.number, marked)
        state = each.state(proofs)
        states[state] += 1
        shown = " ".join(f"`{name}={value}`".replace("|", "/") for name, value in figures.get(each.number, {}).items())
        cells = (each.number, f"**{each.name}.** {each.promise}", state, shown, each.peers, _evidence(each, proofs))
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    counts = {"all": len(guarantees), "held": states["held"], "partly": states["partly"], "yet": states["not held yet"]}
    return HEAD + "".join(rows) + TAIL.format(**counts)


def _evidence(guarantee: Guarantee, proofs: list[str]) -> str:
    parts = []
    if proofs:
        parts.append("**Proved**: " + " ".join(f"`{name}`" for name in proofs) + ".")
    if guarantee.shown:
        parts.append("**Shown**: " + " ".join(f"`{name}`" for name in guarantee.shown) + ".")
    if guarantee.note:
        parts.append(guarantee.note)
    if guarantee.missing:
        parts.append(f"**Missing**: {guarantee.missing}")
    return " ".join(parts)


def main() -> int:
    """Write the page with the figures that it has, or say that it is not what its source and the tests make of it."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    wanted = render(read_guarantees(), marked_tests(), figures_of_page(page))
    if wanted == page:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{PAGE.relative_to(ROOT)} is not what its source and the tests make of it. Run: make prove")
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
