"""The tables of a run, for people, and its figures with what Penstock promises of them, for machines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from bench.bulk.costs import Costs
from bench.bulk.field import OURS, Contestant
from bench.bulk.judges import Numbers
from bench.bulk.kills import CONCURRENCY, Killed
from bench.bulk.scenarios import FULL_S, World
from bench.bulk.turns import Turn
from bench.promises import Figure
from bench.rounds import Spread
from bench.table import number

CPU_MS_MAX: Final = 0.6
LABEL_WIDTH: Final = 20
CELL_WIDTH: Final = 28


@dataclass(frozen=True)
class Column:
    """One number of a row: `at_most` is Penstock's promise; `shown` is how many of `unit` are one."""

    name: str
    title: str
    unit: str = ""
    at_most: float | None = None
    shown: float = 1.0


@dataclass(frozen=True)
class Row:
    """One contestant in one section. `hollow` numbers are shown in brackets: a time with rows missing is no time."""

    section: str
    title: str
    contestant: Contestant
    numbers: Numbers
    columns: tuple[Column, ...]
    failure: str = ""
    note: str = ""
    hollow: frozenset[str] = frozenset()
    bounds: frozenset[str] = frozenset()


TIME: Final = ("over_best", "over_best_less_2_p99")


def of_turn(turn: Turn) -> Row:
    """One contestant in one world."""
    world, missing = turn.world, turn.numbers.get("lost", 0) > 0
    return Row(
        section=world.name,
        title=f"{world.letter}, {world.told}: {world.title}; {world.rows} rows",
        contestant=turn.contestant,
        numbers=turn.numbers,
        columns=columns_of(world),
        failure=turn.failure,
        note=turn.note,
        hollow=frozenset(TIME) if missing and not turn.stopped else frozenset(),
        bounds=frozenset(TIME) if turn.stopped else frozenset(),
    )


def columns_of(world: World) -> tuple[Column, ...]:
    """What is shown of a world, with the promises that belong to it.

    They are made for runs of a minute; a shorter one may lose as many seconds and as many 429s.
    """
    scale = FULL_S / world.seconds
    titles = {"over_best": "time / T*", "over_best_less_2_p99": "(t − 2 p99) / T*"}
    return (
        Column(world.bars.of, titles[world.bars.of], "x", 1 + scale * (world.bars.over_best - 1)),
        Column("share_429", "429s", " %", scale * world.bars.share_429, 100),
        Column("violations", "Retry-After broken", "", 0),
        Column("lost", "rows lost", "", 0),
    )


def of_killed(killed: Killed) -> Row:
    """One contestant after a kill; a torn line may cost the one row that stood in it."""
    torn = ", the last line torn" if killed.torn else ""
    return Row(
        section=killed.name,
        title=f"kill -9 at half of the rows{torn}, {CONCURRENCY} calls at once, and the same command again",
        contestant=killed.contestant,
        numbers=killed.numbers,
        columns=(
            Column("paid_again", "paid twice", "", CONCURRENCY + killed.torn),
            Column("lost", "rows lost", "", 0),
            Column("unreadable", "lines unreadable", "", 0),
            Column("in_flight", "in flight at the kill"),
        ),
        failure=killed.failure,
        note=killed.note,
    )


def of_costs(costs: Costs) -> Row:
    """What a row costs one contestant."""
    return Row(
        section="cost",
        title="Cost of a row, 64 calls at once, answers after 10 ms: slope between two sizes",
        contestant=costs.contestant,
        numbers=costs.numbers,
        columns=(
            Column("cpu_ms_per_row", "CPU", " ms", CPU_MS_MAX),
            Column("user_ms_per_row", "of it user", " ms"),
            Column("peak_kb_per_row", "peak RSS", " KB"),
            Column("peak_mb", "peak of the larger", " MB"),
        ),
        failure=costs.failure,
    )


def figure(row: Row, column: Column) -> Figure:
    """One cell; the promises are Penstock's alone."""
    raw = row.numbers.get(column.name)
    value = None if raw is None else raw * column.shown
    most = column.at_most if row.contestant.name == OURS else None
    return Figure(
        name=f"bulk.{row.section}.{row.contestant.name}.{column.name}",
        section=row.title,
        label=row.contestant.label,
        column=column.title,
        unit=column.unit,
        value=None if value is None else Spread(value, value, value),
        at_most=None if most is None else most * column.shown,
    )


def figures(rows: Iterable[Row]) -> list[Figure]:
    """Everything that is shown, cell by cell."""
    return [figure(row, column) for row in rows for column in row.columns]


def flat(rows: Iterable[Row]) -> dict[str, float]:
    """Name to number, the numbers that are not shown among them."""
    return {
        f"bulk.{row.section}.{row.contestant.name}.{name}": round(value, 4)
        for row in rows
        for name, value in row.numbers.items()
    }


def lines(rows: Sequence[Row], absent: Mapping[str, str]) -> list[str]:
    """A section for each world, a row for each contestant, a column for each number; who is absent, and why."""
    shown: list[str] = []
    for title, group in groupby(rows, lambda row: row.title):
        members = list(group)
        shown += ["", title, line("", [head(column) for column in members[0].columns])]
        shown += [line_of(row) for row in members]
    return shown + [""] * bool(absent) + [f"not measured: {name}: {reason}" for name, reason in absent.items()]


def line_of(row: Row) -> str:
    """One contestant."""
    if row.failure:
        return line(row.contestant.label, [f"–  {row.failure}"])
    shown = line(row.contestant.label, [cell(row, column) for column in row.columns])
    return f"{shown}  {row.note}" if row.note else shown


def line(label: str, cells: Iterable[str]) -> str:
    """One line of the table."""
    return f"  {label:<{LABEL_WIDTH}}{''.join(f'{each:<{CELL_WIDTH}}' for each in cells)}".rstrip()


def head(column: Column) -> str:
    """The title of a column, and what Penstock promises of it."""
    if column.at_most is None:
        return column.title
    return f"{column.title} (≤ {column.at_most * column.shown:g}{column.unit})"


def cell(row: Row, column: Column) -> str:
    """The number, its unit, and whether the promise holds."""
    value = row.numbers.get(column.name)
    if value is None:
        return "–"
    size = value * column.shown
    shown = (f"{size:.0f}" if size == int(size) else number(size)) + column.unit
    shown = f"({shown})" if column.name in row.hollow else f"> {shown}" if column.name in row.bounds else shown
    return f"{shown} {figure(row, column).verdict}".rstrip()
