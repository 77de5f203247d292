"""Play worlds: `python -m tests.world`, or exactly one that failed before, with its scenario and seed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from . import campaign
from .campaign import Case
from .scenarios import SCENARIOS
from .schedule import Cut


def main() -> int:
    """Exit with 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("--hours", type=float, default=50.0, help="simulated hours at least (default: 50)")
    parser.add_argument("--faults", type=int, help="with a scenario: at most so many; else at least (default: 90000)")
    parser.add_argument("--scenario", choices=list(SCENARIOS), help="play one world of this kind")
    parser.add_argument("--seed", type=int, default=0, help="the seed, or the first of them")
    parser.add_argument("--calls", help="only the calls with these numbers, as in 3,17,40")
    parser.add_argument("--happenings", type=int, help="only the first so many")
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    options = parser.parse_args()
    if options.scenario is not None:
        calls = None if options.calls is None else tuple(map(int, options.calls.split(",")))
        return _one(Case(options.scenario, options.seed, Cut(calls, options.faults, options.happenings)))
    return _many(options.hours, 90_000 if options.faults is None else options.faults, options.seed, options.json)


def _one(case: Case) -> int:
    outcome = campaign.play(case)
    for violation in outcome.violations:
        print(f"{violation.at:.6f}  {violation.rule}: {violation.what}")
    print(f"{outcome.calls} calls, {outcome.attempts} attempts, {len(outcome.violations)} violations")
    return int(bool(outcome.violations))


def _many(hours: float, faults: int, seed: int, out: Path | None) -> int:
    began = time.monotonic()
    sums = campaign.run(hours, faults, seed)
    figures = {**sums.figures(), "world.wall_s": round(time.monotonic() - began, 1)}
    for name, value in figures.items():
        print(f"{name} = {value}")
    if out is not None:
        out.write_text(json.dumps(figures), encoding="utf-8")
    for case, violation in sums.failed[:3]:
        smallest = campaign.minimise(case, violation.rule)
        campaign.keep(smallest, violation)
        print(f"\nBROKEN: {violation.rule}: {violation.what}\n  {smallest.command()}", file=sys.stderr)
    return int(bool(sums.failed))


if __name__ == "__main__":
    sys.exit(main())
