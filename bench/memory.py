"""What 1,000 calls in flight take: the server answers none before all have arrived, in a fresh process each time."""

from collections.abc import Callable
from typing import Final

from bench.processes import Failed, Worker
from bench.rounds import python_of

IN_FLIGHT: Final = 1000
ARRIVE_S: Final = 20.0
"""All calls must have arrived by then; a client that holds some back until others are answered never gets there."""
CASES: Final = (
    ("penstock", "async"),
    ("penstock", "sync"),
    ("aiohttp", "async"),
    ("urllib3", "sync"),
    ("openai", "async"),
)


def play(url: str, rounds: int, progress: Callable[[str], None]) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Megabytes at the highest, over a bare start of Python, by 'family_colour'; and who failed, with the reason."""
    peaks: dict[str, list[float]] = {}
    out: dict[str, str] = {}
    for number in range(rounds):
        for family, colour in (case for case in CASES if " ".join(case) not in out):
            progress(f"memory {number + 1} of {rounds}: {family}, {colour}")
            try:
                with Worker(python_of(family), family, colour, f"{url}/hold/{IN_FLIGHT}") as worker:
                    figures = worker.turn("call", IN_FLIGHT, IN_FLIGHT, warm_up=0, within_s=ARRIVE_S)
            except Failed as failure:
                out[f"{family} {colour}"] = f"with {IN_FLIGHT} in flight: {failure}"
            else:
                peaks.setdefault(f"{family}_{colour}", []).append(figures["peak_mb"] - figures["start_mb"])
    return peaks, out
