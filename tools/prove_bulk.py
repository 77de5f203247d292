"""The long proofs of bulk runs: 100 kills, and a million rows with memory and CPU, to build/prove-bulk.json.

`--rows 100000 --kills 20` makes it shorter. Exits with 1 when a figure misses its promise.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
OUT = ROOT / "build" / "prove-bulk.json"

from tests.cli.terminal import command  # noqa: E402
from tests.whole.kills import kill_often  # noqa: E402

from penstock.batch import JobFile  # noqa: E402

LOOK_EVERY_S = 0.5
RSS_ABOVE_START_MB = 150
SLOPE_BYTES_PER_ROW = 100
"""The table of the journal takes 32 bytes for each row on average, and half as much again while it grows."""

CPU_MS_PER_ROW = 0.6
FIRST_ANSWER_S = 5.0
CONCURRENCY = 256
ADDED_SHARE = 1000
"""One row in so many is new in the second run."""


def simulator() -> tuple[subprocess.Popen[str], str]:
    """Start a simulator in a process of its own; return it with its URL."""
    program = subprocess.Popen(
        command("sim", "--port", "0"), stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    for line in program.stdout:
        for word in line.split():
            if word.startswith("http://"):
                return program, word.rstrip("/.,").removesuffix("/v1")
    raise RuntimeError("the simulator did not start")


def write(path: Path, rows: int, start: int = 0) -> None:
    with path.open("a", encoding="utf-8") as file:
        for n in range(start, rows):
            file.write(json.dumps({"id": f"r{n}", "log": f"ERROR [db] connection refused by host {n}"}) + "\n")


def run(folder: Path, url: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "k"}
    options = ("-m", "openai:gpt-4o-mini", "--max-tokens", "4", "--concurrency", str(CONCURRENCY), "-q")
    args = command("batch", "run", "in.jsonl", "-o", "out.jsonl", "--prompt", "Error or not? {log}", *options)
    return subprocess.Popen(args, cwd=folder, env=environment)


def watch(folder: Path, program: subprocess.Popen[bytes]) -> tuple[list[tuple[int, int]], float, float]:
    """Return (rows, RSS) as they were seen, the CPU seconds, and how long the first answer took."""
    out, seen, cpu_s, first_s = folder / "out.jsonl", [], 0.0, 0.0
    process, began = psutil.Process(program.pid), time.monotonic()
    before = out.stat().st_size if out.exists() else 0
    while program.poll() is None:
        try:
            rss, times = process.memory_info().rss, process.cpu_times()
        except psutil.Error:
            break
        cpu_s = max(cpu_s, times.user + times.system)
        state = JobFile(out).read()
        if state is not None and not state.ended:
            seen.append((state.figures.get("answered", 0), rss))
        if not first_s and out.exists() and out.stat().st_size > before:
            first_s = time.monotonic() - began
        time.sleep(0.02 if not first_s else LOOK_EVERY_S)
    if program.wait() != 0:
        raise RuntimeError(f"the run exited with {program.returncode}")
    return seen, cpu_s, first_s


def slope(seen: list[tuple[int, int]]) -> float:
    """Least squares: bytes of memory for each row, once a tenth of the rows are done."""
    points = [(rows, rss) for rows, rss in seen if rows >= seen[-1][0] / 10]
    if len({rows for rows, _ in points}) < 2:
        return 0.0
    x = sum(rows for rows, _ in points) / len(points)
    y = sum(rss for _, rss in points) / len(points)
    return sum((rows - x) * (rss - y) for rows, rss in points) / sum((rows - x) ** 2 for rows, _ in points)


def prove_size(folder: Path, rows: int) -> dict[str, float]:
    """Answer many rows, then a few more in a second run."""
    program, url = simulator()
    try:
        write(folder / "in.jsonl", rows)
        began = time.monotonic()
        seen, cpu_s, _ = watch(folder, run(folder, url))
        took_s = time.monotonic() - began
        write(folder / "in.jsonl", rows + max(1, rows // ADDED_SHARE), rows)
        _, _, first_s = watch(folder, run(folder, url))
        lines = (folder / "out.jsonl").read_bytes().count(b"\n")
    finally:
        program.send_signal(signal.SIGINT)
        program.communicate()
    start = seen[0][1]
    return {
        "rows": rows,
        "rows_lost": rows + max(1, rows // ADDED_SHARE) - lines,
        "rows_per_s": round(rows / took_s, 1),
        "cpu_ms_per_row": round(1000 * cpu_s / rows, 4),
        "rss_start_mb": round(start / 2**20, 1),
        "rss_peak_above_start_mb": round((max(rss for _, rss in seen) - start) / 2**20, 1),
        "rss_slope_bytes_per_row": round(slope(seen), 1),
        "resume_first_answer_s": round(first_s, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    missed: list[str] = []
    if options.kills:
        with tempfile.TemporaryDirectory() as folder:
            kills = kill_often(Path(folder), rows=100 * options.kills, kills=options.kills, seed=options.seed)
        figures |= {"kills": kills.kills, "torn_tails": kills.torn, "paid_again": kills.paid - kills.rows}
        figures["paid_again_allowed"] = kills.allowed - kills.rows
        if not (kills.ids_once and kills.answered and kills.paid <= kills.allowed and kills.kills == options.kills):
            missed.append(f"kills: {kills}")
    if options.rows:
        with tempfile.TemporaryDirectory() as folder:
            figures |= prove_size(Path(folder), options.rows)
        promises = {
            "rows_lost": 0,
            "rss_peak_above_start_mb": RSS_ABOVE_START_MB,
            "rss_slope_bytes_per_row": SLOPE_BYTES_PER_ROW,
            "cpu_ms_per_row": CPU_MS_PER_ROW,
            "resume_first_answer_s": FIRST_ANSWER_S,
        }
        missed += [
            f"{name} is {figures[name]}, promised {most}" for name, most in promises.items() if figures[name] > most
        ]
    for name, value in figures.items():
        print(f"{name:<26}{value:>14,}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures}, indent=2) + "\n", encoding="utf-8")
    print(
        "\n".join(f"missed: {what}" for what in missed) or "every promise held", f"; figures in {OUT.relative_to(ROOT)}"
    )
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
