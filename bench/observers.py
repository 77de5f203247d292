"""What observers add to the CPU of a call, each alone and all together: `python -m bench.observers`.

The same calls as `make bench`, by one client that nobody watches and by watched ones, turn by turn.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from bench.processes import VENV, Server, Worker
from bench.rounds import OURS, WARM_UP, Spread, spread

WATCHED: Final = ("penstock_metrics", "penstock_kept", "penstock_logs", "penstock_spans", "penstock_observed")
ALL_MAX: Final = 0.15
"""All observers on cost at most this share of a call's CPU."""

ROUNDS: Final = 7
CALLS: Final = 1_200
CONCURRENCY: Final = 32


def play(url: str, rounds: int, progress: Callable[[str], None]) -> dict[str, Spread]:
    """Return what each adds, as a share of an unwatched call, by 'who colour', and the microseconds of a bare one."""
    taken: dict[str, list[float]] = {}
    for number in range(rounds):
        for colour in ("async", "sync"):
            progress(f"round {number + 1} of {rounds}: {colour}")
            who = (OURS, *WATCHED)
            with ExitStack() as stack:
                workers = {each: stack.enter_context(Worker(VENV, each, colour, url)) for each in who}
                cost = {}
                for each in who if number % 2 == 0 else reversed(who):
                    done = workers[each].turn("call", CALLS, CONCURRENCY, warm_up=max(CONCURRENCY, WARM_UP))
                    cost[each] = done["cpu_s"] / CALLS
            for each in WATCHED:
                taken.setdefault(f"{each} {colour}", []).append(cost[each] / cost[OURS] - 1.0)
            taken.setdefault(f"{OURS} {colour} µs", []).append(cost[OURS] * 1e6)
    return {name: found for name, numbers in taken.items() if (found := spread(numbers)) is not None}


def main() -> int:
    """Measure and print; exits with 1 when all of them together cost too much."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with Server() as server:
        found = play(server.url, rounds, lambda step: print(step, file=sys.stderr))
    for name, each in found.items():
        print(f"{name:<26} {each.middle:8.3f}  ({each.low:.3f}..{each.high:.3f})")
    return int(any(found[f"penstock_observed {colour}"].middle > ALL_MAX for colour in ("async", "sync")))


if __name__ == "__main__":
    raise SystemExit(main())
