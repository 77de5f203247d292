"""A bulk job that is killed again and again at points chosen by a seed, and what it lost and paid twice."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import msgspec

from penstock.sim import Latency, SimConfig, SimServer
from tests.cli.terminal import WAIT_S, results, start, write_rows

CONCURRENCY = 10
SPEED = SimConfig(latency=Latency(first_token_s=0.02))
TAIL_MAX_BYTES = 4096
LATEST_S = 0.15
"""A run is killed so long after its first new line, at most; or before that."""


class Kills(msgspec.Struct, kw_only=True):
    """How it went: `torn` of the `kills` also lost the end of their file, with `cut` whole lines in it.

    `paid` are the attempts on the provider's bill, and `allowed` how many there may be: a row each, those under way at
    each kill, and those whose lines were cut off.
    """

    rows: int
    kills: int = 0
    torn: int = 0
    cut: int = 0
    paid: int = 0
    ids_once: bool = False
    answered: bool = False

    @property
    def allowed(self) -> int:
        return self.rows + self.kills * CONCURRENCY + self.cut


def kill_often(folder: Path, *, rows: int, kills: int, seed: int) -> Kills:
    """Run a job of so many rows, kill it so often, and then let it end."""
    chance = random.Random(seed)
    found = Kills(rows=rows)
    write_rows(folder / "in.jsonl", rows)
    out = folder / "out.jsonl"
    model = ("-m", "openai:gpt-4o-mini", "--concurrency", str(CONCURRENCY))
    job = ("batch", "run", "in.jsonl", "-o", "out.jsonl", "--prompt", "Error or not? {log}", *model)
    with SimServer(SPEED) as sim:
        while found.kills < kills:
            program = start(*job, sim=sim, folder=folder)
            wait(program, out, chance)
            program.kill()
            program.communicate()
            if program.returncode == 0:
                break
            found.kills += 1
            if out.exists() and chance.random() < 0.5:
                tear(out, chance.randint(1, TAIL_MAX_BYTES), found)
        program = start(*job, sim=sim, folder=folder)
        _, stderr = program.communicate()
        assert program.returncode == 0, stderr
        found.paid = sim.bill()["attempts"]
    lines = results(out)
    found.ids_once = [row["id"] for row in lines] == [f"r{n}" for n in range(rows)]
    found.answered = all(row["error"] is None for row in lines)
    return found


def wait(program: subprocess.Popen[str], out: Path, chance: random.Random) -> None:
    """Let a run go to a point: seldom before it wrote anything, mostly in the middle of its answers."""
    until = time.monotonic() + WAIT_S
    if chance.random() < 0.1:
        time.sleep(chance.uniform(0, 0.5))
        return
    before = out.stat().st_size if out.exists() else 0
    while program.poll() is None and (not out.exists() or out.stat().st_size <= before):
        assert time.monotonic() < until
        time.sleep(0.001)
    time.sleep(chance.uniform(0, LATEST_S))


def tear(out: Path, cut: int, found: Kills) -> None:
    """Cut off the end of a file, as a power failure may."""
    data = out.read_bytes()
    left = data[: max(0, len(data) - cut)]
    out.write_bytes(left)
    found.torn += 1
    found.cut += data.count(b"\n") - left.count(b"\n")
