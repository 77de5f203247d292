"""Run Penstock and other bulk runners against the same limited provider: `make bench-bulk`.

Prints a table for each world, after a kill -9 and for the cost of a row, writes build/bench-bulk.json, and exits with 1
when a promise of Penstock's is missed or was not measured.
"""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from bench.bulk import costs, field, kills, scenarios, table, turns
from bench.bulk.field import OURS, Contestant
from bench.bulk.scenarios import World
from bench.processes import ROOT
from bench.promises import Figure
from bench.run import show
from bench.table import summary

OUT: Final = ROOT / "build" / "bench-bulk.json"
AT_ONCE: Final = 6
"""Turns side by side: at 20 rows a second they mostly wait. The cost of a row is measured alone."""
QUICK_PEERS: Final = frozenset({"A"})


@dataclass(frozen=True)
class Plan:
    """What to run."""

    quick: bool
    worlds: list[World]
    kill: bool
    cost: bool
    everybody: tuple[Contestant, ...]
    keep: Path | None

    def contestants(self, world: World) -> list[Contestant]:
        """Who plays a world: a quick run leaves the peers out of all but the first."""
        found = world.contestants(self.everybody)
        return found if not self.quick or world.letter in QUICK_PEERS else [each for each in found if each.name == OURS]


def arguments(given: list[str]) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench-bulk", description=__doc__, usage="make bench-bulk ARGS='…'")
    parser.add_argument(
        "--quick", action="store_true", help="a third of the rows, peers in A alone, under four minutes"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="A to K, A_told …, kill or cost; repeat it for more of them"
    )
    peers = [each.name for each in field.EVERYBODY if each.name != OURS]
    parser.add_argument(
        "--against", action="append", metavar="PEER", choices=(*peers, "nobody"), help="with these peers only"
    )
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep the provider's log of every turn there")
    asked = parser.parse_args(given)
    every = scenarios.every(scenarios.QUICK_S if asked.quick else scenarios.FULL_S)
    known = {*(world.letter for world in every), *(world.name for world in every), "kill", "cost"}
    if strange := sorted(set(asked.only or ()) - known):
        parser.error(f"--only {' '.join(strange)}: expected {', '.join(sorted(known))}")
    chosen = {OURS, *(asked.against or peers)}
    return Plan(
        quick=asked.quick,
        worlds=[world for world in every if not asked.only or {world.letter, world.name} & set(asked.only)],
        kill=not asked.only or "kill" in asked.only,
        cost=not asked.only or "cost" in asked.only,
        everybody=tuple(each for each in field.EVERYBODY if each.name in chosen),
        keep=asked.logs,
    )


def play(plan: Plan, rows: list[table.Row], progress: Callable[[str], None]) -> None:
    """Add to `rows`: the worlds and kills side by side, then what a row costs, one contestant after the other."""
    side_by_side(plan, rows, progress)
    if plan.cost:
        sizes = costs.SIZES_QUICK if plan.quick else costs.SIZES
        for contestant in plan.everybody[: 1 if plan.quick else None]:
            progress(f"cost of a row: {contestant.label}")
            rows.append(table.of_costs(costs.measure(contestant, sizes)))


def side_by_side(plan: Plan, rows: list[table.Row], progress: Callable[[str], None]) -> None:
    """Everything that mostly waits."""
    jobs: list[Callable[[], table.Row]] = [
        partial(world_row, world, contestant, plan.keep)
        for world in plan.worlds
        for contestant in plan.contestants(world)
    ]
    size = kills.ROWS_QUICK if plan.quick else kills.ROWS
    if plan.kill:
        jobs += [
            partial(kill_row, contestant, size, torn=torn)
            for torn in (False, True)
            for contestant in plan.everybody
            if contestant.journal and (not plan.quick or contestant.name == OURS)
        ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        progress(f"0 of {len(jobs)} turns")
        try:
            for row in pool.map(lambda job: job(), jobs):
                rows.append(row)
                progress(f"{len(rows)} of {len(jobs)} turns")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            turns.Running.end_all()
            raise


def world_row(world: World, contestant: Contestant, keep: Path | None) -> table.Row:
    return table.of_turn(turns.turn(world, contestant, keep))


def kill_row(contestant: Contestant, rows: int, *, torn: bool) -> table.Row:
    return table.of_killed(kills.kill(contestant, rows, torn=torn))


def missed(figures: Sequence[Figure]) -> list[str]:
    """A line for each promise that does not hold, and for each that nobody measured."""
    return [
        f"{each.verdict}: {each.name}, promised {each.promised}, "
        + ("no figure" if each.value is None else f"measured {each.value.middle:.4g}")
        for each in figures
        if each.verdict in ("MISSED", "NOT MEASURED")
    ]


def stop(number: int, frame: object) -> NoReturn:
    """End like Ctrl-C, so that every process is stopped on the way out."""
    raise KeyboardInterrupt


def main() -> int:
    """Play, print, write, judge."""
    plan = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, stop)
    if plan.keep is not None:
        plan.keep.mkdir(parents=True, exist_ok=True)
    absent = field.absent(plan.everybody)
    there = tuple(each for each in plan.everybody if each.name not in absent)
    plan = replace(plan, everybody=there)
    began = time.monotonic()
    rows: list[table.Row] = []
    try:
        play(plan, rows, show)
    except KeyboardInterrupt:
        print("\n".join(table.lines(rows, absent)))
        print("\nstopped; these turns had ended, and nothing was written", file=sys.stderr)
        return 130
    finally:
        show("")
    versions = ", ".join(f"{each.package} {field.version_of(each)}" for each in there)
    print(f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}; {versions}")
    print("\n".join(table.lines(rows, absent)))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": table.flat(rows)}, indent=2) + "\n", encoding="utf-8")
    found = table.figures(rows)
    print("\n".join(missed(found)))
    print(f"{summary(found)}, in {(time.monotonic() - began) / 60:.1f} minutes; figures in {OUT.relative_to(ROOT)}")
    return int(bool(missed(found)))


if __name__ == "__main__":
    sys.exit(main())
