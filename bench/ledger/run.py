"""Measure the ledger against its promises: `make bench-ledger`.

Prints what it costs a call, how fast it is written, how long `penstock stats` takes over ten million rows, and how soon
the cost page shows them in Chromium; writes build/bench-ledger.json, and exits with 1 when a promise is missed. The ten
million rows are made in some minutes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.ledger import page
from bench.ledger.calls import caller_us, shares
from bench.ledger.rows import build
from bench.processes import ROOT, Server
from tools.chromium import find

from penstock._io.ledger.settings import Ledger
from penstock._io.ledger.writer import LedgerWriter
from penstock.events import AttemptEnded, CallEnded
from penstock.types import Usage

OUT: Final = ROOT / "build" / "bench-ledger.json"
ROWS: Final = 10_000_000
ROWS_QUICK: Final = 200_000
RECORDS: Final = 200_000
AT_ONCE: Final = (1, 32)
PROMISED: Final = {
    "caller_us": ("<=", 10.0, "CPU on the caller's side of a call, µs"),
    "records_per_s": (">=", 20_000.0, "records written a second"),
    "stats_s": ("<=", 1.0, "`penstock stats all`, as a command, s"),
    "page_first_paint_s": ("<=", page.FIRST_PAINT_MAX_S, "first paint of the cost page, s"),
    "page_update_s": ("<=", page.UPDATE_MAX_S, "a commit on the screen, s"),
    "kept_share.1": ("<=", 0.15, "ledger and metrics, share of a call's CPU"),
    "kept_share.32": ("<=", 0.15, "... of 32 calls at once"),
    "own_share.1": ("<=", 0.15, "all observers, without SDK and logging"),
    "own_share.32": ("<=", 0.15, "... of 32 calls at once"),
}


def records(path: Path, count: int) -> tuple[float, float]:
    """Return how many records are written a second, and the CPU of one in µs."""
    usage, lane = Usage(input=900, output=120), "openai:gpt-4o-mini"
    events: list[AttemptEnded | CallEnded] = []
    for number in range(count // 2):
        given = {
            "call_id": f"bench-{number:x}", "operation": "complete", "provider": "openai", "model": "gpt-4o-mini",
            "outcome": "ok", "at_s": 1_796_000_000 + number / 100, "latency_s": 0.2 + number % 997 / 500,
            "tags": {"team": f"t{number % 5}"}, "usage": usage, "cost_nano": 207_000, "status": 200,
        }  # fmt: skip
        attempt = {"number": 1, "wire": "openai_chat", "lane": lane, "sent": True, "wait_s": 0.0}
        events.append(AttemptEnded(**given, **attempt, request_id=f"req_{number:020x}"))  # type: ignore[arg-type]
        events.append(CallEnded(**given, asked=lane, attempts=1, prices="2026-11-09"))  # type: ignore[arg-type]
    writer = LedgerWriter(Ledger(path=str(path), keep_days=None), str(path))
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(events), 10_000):
        for event in events[start : start + 10_000]:
            writer.post(event)
        writer.flush()
    writer.settle()
    took = time.perf_counter() - wall
    assert writer.lost == 0
    return count / took, (time.process_time() - cpu) / count * 1e6


def asked(path: Path, *args: str, times: int = 3) -> float:
    """Return how long a question takes as a command, in seconds: the quickest of some."""
    command = [sys.executable, "-c", "from penstock.cli import main; main()", "stats", *args, "--ledger", str(path)]
    found = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - began)
    return min(found)


def measure(folder: Path, rows: int, quick: bool, say: Callable[[str], None]) -> dict[str, float]:
    """Take all figures."""
    figures: dict[str, float] = {}
    say("a call")
    figures["caller_us"] = caller_us(folder / "caller.db", 100 if quick else 600)
    say("records")
    written = [records(folder / f"records{turn}.db", RECORDS) for turn in range(1 if quick else 3)]
    figures["records_per_s"], figures["record_us"] = max(one[0] for one in written), min(one[1] for one in written)
    say("observers")
    for at_once in AT_ONCE:
        (folder / f"calls{at_once}").mkdir()
        with Server() as server:
            found = shares(server.url, folder / f"calls{at_once}", 5 if quick else 30, at_once)
        figures[f"call_us.{at_once}"] = found.pop("call_us")
        found["own"] = found["watched"] - found["floor"]
        figures |= {f"{name}_share.{at_once}": share for name, share in found.items()}
    path = folder / "year.db"
    began = time.perf_counter()
    build(path, rows, say)
    figures["rows"], figures["built_s"] = float(rows), time.perf_counter() - began
    figures["bytes_per_row"] = path.stat().st_size / rows
    for name, args in (("stats_s", ("all",)), ("stats_today_s", ()), ("stats_7d_by_day_s", ("7d", "--by", "day")),
                       ("stats_year_by_tag_s", ("all", "--by", "tag:team"))):  # fmt: skip
        say(" ".join(("penstock stats", *args)))
        figures[name] = asked(path, *args)
    say("the cost page")
    if find() is not None:
        figures |= page.measure(path)
    return figures


def main() -> int:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(prog="make bench-ledger", description=__doc__, usage="make bench-ledger ARGS='…'")
    parser.add_argument("--quick", action="store_true", help=f"{ROWS_QUICK:,} rows, in under two minutes")
    parser.add_argument("--rows", type=int, help=f"how many rows the large ledger has [{ROWS:,}]")
    told = parser.parse_args()
    rows = told.rows or (ROWS_QUICK if told.quick else ROWS)

    def say(step: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{step}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), rows, told.quick, say)
    say("")
    missed = 0
    for name, (sign, bound, what) in PROMISED.items():
        value = figures.get(name)
        if value is None:
            missed += 1
            print(f"{what:<42} {'needs Chromium':>12}   {sign} {bound:g}  NOT MEASURED")
            continue
        held = value <= bound if sign == "<=" else value >= bound
        missed += not held
        print(f"{what:<42} {value:>12,.3f}   {sign} {bound:g}  {'held' if held else 'MISSED'}")
    for name in sorted(figures.keys() - PROMISED.keys()):
        print(f"{name:<42} {figures[name]:>12,.3f}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures}, indent=2) + "\n", encoding="utf-8")
    print(f"figures in {OUT.relative_to(ROOT)}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
