"""The peers' table for people, and its figures with what Penstock promises of them."""

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from bench.peers.contest import OURS, Metric, Turn
from bench.promises import Figure
from bench.rounds import Spread
from bench.table import number

LABEL_WIDTH: Final = 44
CELL_WIDTH: Final = 33


def figures(turns: Iterable[Turn]) -> list[Figure]:
    """One figure for each row and column, named peers.<scenario>.<who>.<what>."""
    return [figure(turn, metric) for turn in turns for metric in turn.scenario.metrics]


def figure(turn: Turn, metric: Metric) -> Figure:
    """One cell; the promises are Penstock's alone."""
    value = turn.numbers.get(metric.name)
    promised = turn.entrant.name == OURS
    return Figure(
        name=f"peers.{turn.scenario.name}.{turn.entrant.name}.{metric.name}",
        section=turn.scenario.title,
        label=turn.entrant.label,
        column=metric.title,
        unit=metric.unit,
        value=None if value is None else Spread(value, value, value),
        at_most=metric.at_most if promised else None,
        at_least=metric.at_least if promised else None,
    )


def flat(turns: Iterable[Turn]) -> dict[str, float]:
    """Name to number."""
    return {each.name: round(each.value.middle, 4) for each in figures(turns) if each.value is not None}


def lines(turns: Iterable[Turn]) -> list[str]:
    """A section for each scenario, a row for each entrant, a column for each metric."""
    shown = []
    for scenario, group in groupby(turns, lambda turn: turn.scenario):
        shown += ["", scenario.title]
        shown.append(row("", [f"{each.title}{promise(each)}" for each in scenario.metrics]))
        for turn in group:
            cells = [cell(turn, metric) for metric in scenario.metrics]
            shown.append(row(turn.entrant.label, ["–  " + turn.failure] if turn.failure else cells))
        shown += [row(who, ["–  " + reason]) for who, reason in scenario.absent.items()]
    return shown


def row(label: str, cells: list[str]) -> str:
    """One line."""
    return f"  {label:<{LABEL_WIDTH}}{''.join(f'{each:<{CELL_WIDTH}}' for each in cells)}".rstrip()


def promise(metric: Metric) -> str:
    """What Penstock promises of a column, behind its title."""
    least, most = metric.at_least, metric.at_most
    if least is not None and least == most:
        return f" (= {least:g})"
    if most is not None:
        return f" (≤ {most:g}{metric.unit})"
    return "" if least is None else f" (≥ {least:g}{metric.unit})"


def cell(turn: Turn, metric: Metric) -> str:
    """The number, its unit, and whether a promise holds."""
    value = turn.numbers.get(metric.name)
    if value is None:
        return "–"
    if metric.ceiling is not None and value >= metric.ceiling:
        return f"> {metric.ceiling:g}{metric.unit}"
    shown = f"{value:.0f}" if value == int(value) else number(value)
    return f"{shown}{metric.unit} {figure(turn, metric).verdict}".rstrip()


def versions(turns: Iterable[Turn]) -> dict[str, str]:
    """Module to version, of all that took part."""
    return {turn.entrant.module: turn.version for turn in turns if turn.version}
