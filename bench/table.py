"""The table of a run, for people, and its figures, for machines."""

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from bench.promises import Figure

LABEL_WIDTH: Final = 54
PROMISE_WIDTH: Final = 10
CELL_WIDTH: Final = 27


def lines(figures: list[Figure]) -> list[str]:
    """One row per pair of contestants, one column per concurrency, the promise beside them."""
    shown = []
    sections = dict.fromkeys(figure.section for figure in figures if figure.section)
    for section in sections:
        rows = [figure for figure in figures if figure.section == section]
        columns = list(dict.fromkeys(figure.column for figure in rows))
        heads = "".join(f"{at_once(column):<{CELL_WIDTH}}" for column in columns)
        shown += ["", f"{section:<{LABEL_WIDTH}}{'promised':<{PROMISE_WIDTH}}{heads}".rstrip()]
        for label in dict.fromkeys(figure.label for figure in rows):
            shown.append(row(label, [figure for figure in rows if figure.label == label], columns))
    return shown


def at_once(column: str) -> str:
    """The head of a column."""
    return {"": "", "1": "1 at a time"}.get(column, f"{column} at once")


def row(label: str, figures: list[Figure], columns: list[str]) -> str:
    """One line of the table."""
    by_column = {figure.column: cell(figure) for figure in figures}
    promised = next((figure.promised for figure in figures if figure.promised), "")
    cells = "".join(f"{by_column.get(column, ''):<{CELL_WIDTH}}" for column in columns)
    return f"  {label:<{LABEL_WIDTH - 2}}{promised:<{PROMISE_WIDTH}}{cells}".rstrip()


def cell(figure: Figure) -> str:
    """Median, lowest to highest, verdict."""
    if figure.value is None:
        return figure.verdict or "–"
    low, middle, high = (number(value) for value in (figure.value.low, figure.value.middle, figure.value.high))
    return f"{middle}{figure.unit} ({low}..{high}) {figure.verdict}".rstrip()


def number(value: float) -> str:
    """Three digits, whatever the size."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def flat(figures: Iterable[Figure]) -> dict[str, float]:
    """Name to number: the median under the figure's own name, lowest and highest beside it."""
    found: dict[str, float] = {}
    for figure in figures:
        if figure.value is not None:
            found[figure.name] = round(figure.value.middle, 4)
            found[f"{figure.name}_min"] = round(figure.value.low, 4)
            found[f"{figure.name}_max"] = round(figure.value.high, 4)
    return found


def summary(figures: list[Figure]) -> str:
    """How many promises hold."""
    verdicts = sorted(figure.verdict for figure in figures if figure.verdict)
    counts = {verdict: len(list(group)) for verdict, group in groupby(verdicts)}
    return (
        ", ".join(f"{count} {verdict.lower()}" for verdict, count in counts.items()) or "nothing promised was measured"
    )
