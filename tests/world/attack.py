"""Play small worlds of some scenarios until one breaks a rule: `python -m tests.world.attack <scenario> ...`."""

from __future__ import annotations

import sys
from typing import Final

from .campaign import Case, play
from .scenarios import SCENARIOS
from .schedule import Cut

CALLS: Final = 2000  # of a world: enough to break what is broken
SEEDS: Final = 3
TORN_SEEDS: Final = 60  # these worlds are tiny, and what they look for is rare


def main() -> int:
    """Exit with 1 at the first broken rule, and say which."""
    for name in sys.argv[1:]:
        scenario = SCENARIOS[name]
        calls = min(scenario.calls, CALLS)
        for seed in range(TORN_SEEDS if scenario.torn else SEEDS):
            outcome = play(Case(name, seed, Cut(tuple(range(calls)))))
            if outcome.violations:
                print(f"{name} {seed}: {outcome.violations[0].rule}: {outcome.violations[0].what}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
