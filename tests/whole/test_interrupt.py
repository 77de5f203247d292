"""Ctrl-C in a blocked call: it ends at once, settled."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from penstock.sim import SimServer

WAIT_S = 30.0
SOON_S = 10.0  # each of the waits that are interrupted would last longer

PROGRAM = """
import sys, threading, time
from penstock import Budget, Client, Hedge, Limits

url, mode = sys.argv[1:]
limits = Limits(rpm=1) if mode == "queued" else None
client = Client(base_urls={"openai": url + "/v1"}, keys={"openai": "k"}, config=False, limits=limits,
                budget=Budget(total="1"))
options = {"model": "openai:gpt-4o-mini", "max_tokens": 20}
if mode == "hedged":
    options["hedge"] = Hedge(after_s=0.01)
if mode == "queued":
    client.complete("first", **options)

    def tell_when_parked():
        # CPython cannot see a signal that comes in the instant before a thread blocks, so look for a settled wait.
        main, seen = threading.main_thread().ident, 0
        while seen < 20:
            seen = seen + 1 if sys._current_frames()[main].f_code.co_name == "wait" else 0
            time.sleep(0.001)
        print("asking", flush=True)

    watcher = threading.Thread(target=tell_when_parked)
    watcher.start()
try:
    if mode in ("waiting", "hedged"):
        print("asking", flush=True)
    if mode == "stream":
        with client.stream("stall", **options) as stream:
            for chunk in stream:
                print("output", flush=True)
    else:
        client.complete("stall", **options)
except KeyboardInterrupt:
    held = sum(scope.held_nano for scope in client.budget().scopes)
    lane = client.lanes()[0].limiter
    if mode == "queued":
        watcher.join()
    print("interrupted", held, lane.in_flight, lane.queued, len(threading.enumerate()), flush=True)
"""

STALL = """
[[rule]]
match = { contains = "stall", stream = false }
fault = { kind = "stall" }
[[rule]]
match = { contains = "stall", stream = true }
fault = { kind = "stall", when = "mid_stream", after_chunks = 3 }
"""


@pytest.mark.prove(23)
@pytest.mark.parametrize("mode", ["waiting", "stream", "queued", "hedged"])
def test_ctrl_c_ends_a_blocked_call_at_once_and_settled(mode: str) -> None:
    """Waiting for an answer, inside a stream or in the queue of the limiter: no hold, ticket or thread is left."""
    with SimServer() as sim:
        sim.play(STALL)
        program = subprocess.Popen([sys.executable, "-c", PROGRAM, sim.url, mode], stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        ready = "output\n" if mode == "stream" else "asking\n"
        while program.stdout.readline() != ready:
            assert program.poll() is None
        under_way = {"waiting": 1, "hedged": 2}.get(mode, 0)
        until = time.monotonic() + WAIT_S
        while sim.simulator.open < under_way:
            assert time.monotonic() < until
            time.sleep(0.005)
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=SOON_S)
    assert out.splitlines()[-1] == "interrupted 0 0 0 1"
    assert program.returncode == 0
