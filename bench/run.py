"""Measure what Penstock costs and does beside the bare transports and its peers: `make bench`.

Prints the tables with what was promised, writes build/bench.json, exits with 1 when a promise is missed.
"""

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, NoReturn

from bench import memory, promises, rounds, startup, table
from bench.peers import contest, scenarios
from bench.peers import table as peers_table
from bench.processes import ROOT, Server

OUT: Final = ROOT / "build" / "bench.json"
ROUNDS: Final = 9
ROUNDS_QUICK: Final = 3
STARTS: Final = 7
STARTS_QUICK: Final = 1
MEMORY_ROUNDS: Final = 2


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    quick: bool
    scenarios: list[rounds.Scenario]
    chosen: frozenset[str]
    startup: bool
    memory: bool
    peers: list[contest.Scenario]


def arguments(given: list[str]) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, usage="make bench ARGS='…'")
    parser.add_argument("--quick", action="store_true", help="less of everything, in under a minute; for development")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="measure what has NAME in its name: call, stream, async, sync_c32 …, startup, memory, peers; repeatable",
    )
    parser.add_argument(
        "--peers",
        dest="only",
        action="append_const",
        const="peers.",
        help="put the peers under the same faults, and measure nothing else",
    )
    parser.add_argument(
        "--against",
        action="append",
        metavar="PEER",
        choices=(*rounds.PEERS, "nobody"),
        help="compare with these peers only; repeatable",
    )
    asked = parser.parse_args(given)
    every, faults = rounds.scenarios(quick=asked.quick), scenarios.every()

    def wanted(name: str) -> bool:
        return not asked.only or any(part in name for part in asked.only)

    peers = frozenset(asked.against or rounds.PEERS) - {"nobody"}
    chosen = peers | {rounds.OURS_ANTHROPIC} if "anthropic" in peers else peers
    plan = Plan(
        asked.quick,
        [each for each in every if wanted(each.name)],
        chosen,
        wanted("startup"),
        wanted("memory"),
        [each for each in faults if wanted(f"peers.{each.name}") and (asked.only or not asked.quick)],
    )
    if not (plan.scenarios or plan.startup or plan.memory or plan.peers):
        known = [each.name for each in every] + ["startup", "memory"] + [f"peers.{each.name}" for each in faults]
        parser.error(f"--only {' '.join(asked.only)} matches nothing; there are {', '.join(known)}")
    return plan


def measure(
    plan: Plan, progress: Callable[[str], None]
) -> tuple[list[promises.Figure], dict[str, str], dict[str, str]]:
    """Run the plan: figures, the versions measured, and who is out with the reason."""
    figures: list[promises.Figure] = []
    out: dict[str, str] = {}
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        if plan.scenarios:
            count = ROUNDS_QUICK if plan.quick else ROUNDS
            samples, field = rounds.play(server.url, plan.scenarios, count, plan.chosen, progress)
            figures += promises.of_scenarios(samples, plan.scenarios, plan.chosen)
            out.update(field.out)
            versions.update(field.versions)
        if plan.memory:
            peaks, failed = memory.play(server.url, 1 if plan.quick else MEMORY_ROUNDS, progress)
            figures += promises.of_memory(peaks)
            out.update(failed)
    if plan.startup:
        starts = startup.play(STARTS_QUICK if plan.quick else STARTS, progress)
        figures += promises.of_starts(starts)
        out.update(starts.out)
    return figures, versions, out


def show(step: str) -> None:
    """Say on a terminal what is being done; nothing into a pipe."""
    if sys.stderr.isatty():
        print(f"\r\033[K{step}", end="", file=sys.stderr, flush=True)


def stop(number: int, frame: object) -> NoReturn:
    """End like Ctrl-C, so that every process is stopped on the way out."""
    raise KeyboardInterrupt


def main() -> int:
    """Measure, print, write, judge."""
    plan = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, stop)
    try:
        figures, versions, out = measure(plan, show)
        turns = list(contest.play(plan.peers, show))
    except KeyboardInterrupt:
        print("\nstopped; nothing was written", file=sys.stderr)
        return 130
    finally:
        show("")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}"
    versions.update(peers_table.versions(turns))
    print(f"{machine}; {', '.join(f'{name} {version}' for name, version in versions.items())}")
    if figures:
        print("Ratios of CPU time, round by round: median (lowest..highest).")
        print("\n".join(table.lines(figures)))
    print("\n".join(peers_table.lines(turns)))
    for name, reason in out.items():
        print(f"not measured: {name}: {reason}")
    OUT.parent.mkdir(exist_ok=True)
    found = {**table.flat(figures), **peers_table.flat(turns)}
    OUT.write_text(json.dumps({"figures": found}, indent=2) + "\n", encoding="utf-8")
    figures += peers_table.figures(turns)
    print(f"\n{table.summary(figures)}; figures in {OUT.relative_to(ROOT)}")
    return int(any(figure.verdict in ("MISSED", "NOT MEASURED") for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
