"""What the SRE commands cost: `penstock classify` up to its request, and a long log through `penstock analyze`.

`make bench-sre` prints both with what was promised, writes build/bench-sre.json, and exits with 1 when one is missed.
"""

import argparse
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.processes import ROOT, VENV, environment

OUT: Final = ROOT / "build" / "bench-sre.json"
COMMAND: Final = VENV.parent / "penstock"
SENT_OVER_CLICK_MAX: Final = 3.0
PEAK_MB_MAX: Final = 150.0
"""Python, the command with its libraries, and what a miner may keep."""
WAIT_S: Final = 60.0
LINE: Final = b"FATAL [payments-db] could not write to file pg_wal/xlogtemp.2211: No space left on device\n"


def cpu_ms(usage: resource.struct_rusage) -> float:
    return (usage.ru_utime + usage.ru_stime) * 1000


def started(arguments: list[str | Path], url: str = "", stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a program that reaches nobody but one server."""
    keys = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "any"} if url else {}
    env = environment() | keys
    return subprocess.Popen(
        arguments, cwd=ROOT, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def reaped(child: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """Wait for the end of a child, and return what it used."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.stdout is not None:
        child.stdout.close()
    return usage


def click_ms() -> float:
    """CPU of an empty click program."""
    return cpu_ms(reaped(started([VENV, ROOT / "bench" / "empty_click.py", "--help"])))


def sent_ms() -> float:
    """CPU of `penstock classify` from its start until its request is whole at the server, which ends it there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        child = started([COMMAND, "classify", "-m", "openai:gpt-4o-mini"], url, subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(LINE)
        child.stdin.close()
        connection, _ = server.accept()
        with connection:
            connection.settimeout(WAIT_S)
            request(connection)
            child.kill()
            return cpu_ms(reaped(child))


def request(connection: socket.socket) -> bytes:
    """Read one request to the last byte of its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split()[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body


def log(megabytes: int) -> Iterator[bytes]:
    """A log with ids, times and numbers on every line: pieces of about a megabyte, of 64 different ones."""
    rng = random.Random(1)
    shapes = (
        "2025-03-11T02:{:02}:{:02}Z INFO [checkout-api] GET /v1/cart/{} 200 in {} ms request_id={:032x}\n",
        "2025-03-11T02:{:02}:{:02}Z WARN [checkout-api] slow query {} took {} ms trace={:032x}\n",
        "2025-03-11T02:{:02}:{:02}Z ERROR [payments-db] connection {} refused after {} ms trace={:032x}\n",
    )
    made = [
        "".join(
            rng.choices(shapes, (90, 8, 2))[0].format(
                rng.randrange(60), rng.randrange(60), rng.randrange(10**6), rng.randrange(3000), rng.getrandbits(128)
            )
            for _ in range(9_000)
        ).encode()
        for _ in range(min(64, megabytes))
    ]
    size = sum(map(len, made)) / len(made)
    for number in range(round(megabytes * 1e6 / size)):
        yield made[number % len(made)]


def through_analyze(megabytes: int) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak megabytes of `penstock analyze` on a log from a pipe, up to its request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        child = started([COMMAND, "analyze", "-m", "openai:gpt-4o-mini"], url, subprocess.PIPE)
        assert child.stdin is not None
        begun = time.monotonic()
        for piece in log(megabytes):
            child.stdin.write(piece)
        child.stdin.close()
        server.settimeout(WAIT_S)
        connection, _ = server.accept()
        with connection:
            assert b"checkout-api" in request(connection)
            taken = time.monotonic() - begun
            # Not ru_maxrss: that of a child begins with the memory of the program that started it.
            told = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")
            child.kill()
            usage = reaped(child)
    peak_kb = int(told.partition("VmHWM:")[2].split()[0])
    return taken, cpu_ms(usage) / 1000, peak_kb / 1000


def main() -> int:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(prog="make bench-sre", description=__doc__, usage="make bench-sre ARGS='…'")
    parser.add_argument("--megabytes", type=int, default=1000, help="how long the log is (1000)")
    parser.add_argument("--rounds", type=int, default=31, help="how often the start is measured (31)")
    asked = parser.parse_args()
    pairs = [(sent_ms(), click_ms()) for _ in range(max(2, asked.rounds) + 1)][1:]  # the first one warms the disk
    # Other work slows both programs of a round; what remains of it in a ratio is shown by the middle half of them.
    low, ratio, high = statistics.quantiles([sent / click for sent, click in pairs], method="inclusive")
    taken, cpu, peak = through_analyze(asked.megabytes)
    _, _, small = through_analyze(max(1, asked.megabytes // 10))
    figures = {
        "classify_sent_over_click": round(ratio, 2),
        "classify_sent_over_click_low": round(low, 2),
        "classify_sent_over_click_high": round(high, 2),
        "classify_sent_ms": round(statistics.median(sent for sent, _ in pairs), 1),
        "empty_click_ms": round(statistics.median(click for _, click in pairs), 1),
        "log_mb": asked.megabytes,
        "log_seconds": round(taken, 1),
        "log_cpu_seconds": round(cpu, 1),
        "log_peak_mb": round(peak, 1),
        "tenth_of_log_peak_mb": round(small, 1),
    }
    print(f"penstock classify, from start to request sent: {figures['classify_sent_ms']} ms of CPU, "
          f"{ratio:.2f}x an empty click program (half of {len(pairs)} rounds {low:.2f}..{high:.2f}x; "
          f"promised: at most {SENT_OVER_CLICK_MAX:g}x)")  # fmt: skip
    print(f"penstock analyze of {asked.megabytes} MB from a pipe: {taken:.1f} s ({cpu:.1f} s of CPU), "
          f"peak {peak:.0f} MB; of a tenth of it {small:.0f} MB (promised: at most {PEAK_MB_MAX:g} MB)")  # fmt: skip
    held = ratio <= SENT_OVER_CLICK_MAX and peak <= PEAK_MB_MAX
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures, "held": held}, indent=2) + "\n", encoding="utf-8")
    return 0 if held else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home  # no settings of the user
        sys.exit(main())
