"""The long proofs of bulk runs: 100 kills, and a million rows with memory and CPU, to build/prove-bulk.json.

`--rows 100000 --kills 20` makes it shorter. Exits with 1 when a figure misses its promise.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
OUT = ROOT / "build" / "prove-bulk.json"

from tests.cli.terminal import command  # noqa: E402
from tests.whole.kills import kill_often  # noqa: E402

from penstock import AsyncClient  # noqa: E402
from penstock._io.journal import Journal  # noqa: E402
from penstock._io.row_lines import answer_line  # noqa: E402
from penstock.batch import JobFile, RowFile, run_batch  # noqa: E402
from penstock.sim import Latency, SimConfig, SimServer  # noqa: E402
from penstock.types import Choice, Response, Text, Usage  # noqa: E402

LOOK_EVERY_S = 0.5
RSS_ABOVE_START_MB = 150
SLOPE_BYTES_PER_ROW = 100
"""The table of the journal takes 32 bytes for each row on average, and half as much again while it grows."""

CPU_MS_PER_ROW = 0.6
FIRST_ANSWER_S = 5.0
RESUME_RSS_MB = 200
JOURNAL_ROWS_PER_S = 20_000
JOURNAL_ROWS = 100_000
QUICKER = 5.0
QUICKER_ROWS = 20
"""So many prompts are asked one at a time and then as the runner likes; it is to be so many times as quick."""

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


def run(folder: Path, url: str, concurrency: str = str(CONCURRENCY)) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "k"}
    options = ("-m", "openai:gpt-4o-mini", "--max-tokens", "4", "--concurrency", concurrency, "-q")
    args = command("batch", "run", "in.jsonl", "-o", "out.jsonl", "--prompt", "Error or not? {log}", *options)
    return subprocess.Popen(args, cwd=folder, env=environment)


def watch(folder: Path, program: subprocess.Popen[bytes]) -> tuple[list[tuple[int, int]], float, float, int]:
    """Return (rows, RSS) as they were seen, the CPU seconds, how long the first answer took, and the RSS until then."""
    out, seen, cpu_s, first_s, first_rss = folder / "out.jsonl", [], 0.0, 0.0, 0
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
        if not first_s:
            first_rss = max(first_rss, rss)
        if not first_s and out.exists() and out.stat().st_size > before:
            first_s = time.monotonic() - began
        time.sleep(0.02 if not first_s else LOOK_EVERY_S)
    if program.wait() != 0:
        raise RuntimeError(f"the run exited with {program.returncode}")
    return seen, cpu_s, first_s, first_rss


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
        seen, cpu_s, _, _ = watch(folder, run(folder, url))
        took_s = time.monotonic() - began
        write(folder / "in.jsonl", rows + max(1, rows // ADDED_SHARE), rows)
        _, _, first_s, first_rss = watch(folder, run(folder, url))
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
        "resume_rss_mb": round(first_rss / 2**20, 1),
    }


def prove_journal(folder: Path) -> dict[str, float]:
    """Write lines as a run does, one by one."""
    choice = Choice(content=(Text("Error"),), stop_reason="stop")
    answer = Response(provider="openai", model="gpt-4o-mini", choices=(choice,), usage=Usage(input=20, output=2))
    with Journal.open(folder / "out.jsonl") as journal:
        began = time.monotonic()
        for number in range(JOURNAL_ROWS):
            key = f"{number:032x}"
            journal.append(number, key, answer_line(number, key, answer), answered=True)
        took_s = time.monotonic() - began
    return {"journal_rows_per_s": round(JOURNAL_ROWS / took_s, 1)}


def prove_pace(folder: Path) -> dict[str, float]:
    """Ask a few prompts of a provider that takes its time, one at a time and as the runner likes."""
    write(folder / "in.jsonl", QUICKER_ROWS)
    took_s: list[float] = []
    with SimServer(SimConfig(latency=Latency(first_token_s=0.2))) as sim:
        took_s.extend(asyncio.run(elapsed_s(folder, sim.url, concurrency)) for concurrency in (1, "auto"))
    return {"quicker_than_one_at_a_time": round(took_s[0] / took_s[1], 1)}


async def elapsed_s(folder: Path, url: str, concurrency: Any) -> float:
    """Ask the rows of a folder and say how long it took."""
    rows = RowFile(folder / "in.jsonl", template="Error or not? {log}")
    base_urls = {"openai": f"{url}/v1"}
    async with AsyncClient(base_urls=base_urls, keys={"openai": "k"}, config=False, env={}) as client:
        output, models = folder / f"out-{concurrency}.jsonl", ["openai:gpt-4o-mini"]
        report = await run_batch(rows, output, client=client, models=models, concurrency=concurrency)
    if report.answered != QUICKER_ROWS:
        raise RuntimeError(f"the run answered {report.answered} rows")
    return report.elapsed_s


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
    with tempfile.TemporaryDirectory() as folder:
        figures |= prove_journal(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        figures |= prove_pace(Path(folder))
    least = {"journal_rows_per_s": JOURNAL_ROWS_PER_S, "quicker_than_one_at_a_time": QUICKER}
    missed += [f"{name} is {figures[name]}, promised {most}" for name, most in least.items() if figures[name] < most]
    if options.rows:
        with tempfile.TemporaryDirectory() as folder:
            figures |= prove_size(Path(folder), options.rows)
        promises = {
            "rows_lost": 0,
            "rss_peak_above_start_mb": RSS_ABOVE_START_MB,
            "rss_slope_bytes_per_row": SLOPE_BYTES_PER_ROW,
            "cpu_ms_per_row": CPU_MS_PER_ROW,
            "resume_first_answer_s": FIRST_ANSWER_S,
            "resume_rss_mb": RESUME_RSS_MB,
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
