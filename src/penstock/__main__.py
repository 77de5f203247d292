"""The command line as a program: the `penstock` script, and `python -m penstock` where that is not on the path."""

from __future__ import annotations

import gc

YOUNG_MOST = 50_000
"""New objects before the collector looks for cycles: its own 700 cost a start a twentieth of its time, for nothing."""


def main() -> None:
    """Run the command line and exit."""
    gc.set_threshold(YOUNG_MOST)
    from .cli import main as run

    run()


if __name__ == "__main__":
    main()
