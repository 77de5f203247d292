"""Ten thousand calls on real parts: threads, tasks, a fork and Ctrl-C in the middle of them; nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client, PenstockError
from penstock.sim import Latency, SimConfig, SimServer

from .test_limits_and_money import MODEL, assert_nothing_is_held, settings

THREAD_CALLS = TASK_CALLS = 5000
THREADS, TASKS, LOOPS = 16, 64, 5
FAULTS = """
[[rule]]
match = { share = 0.02 }
fault = { kind = "status", status = 500 }
[[rule]]
match = { share = 0.02, stream = true }
fault = { kind = "reset", when = "mid_stream", after_chunks = 2 }
"""


def sockets() -> int:
    """How many sockets this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:  # the one that listed them
            continue
    return found


def options(number: int) -> dict[str, Any]:
    """Questions of two sizes."""
    return {"model": MODEL, "max_tokens": 5 if number % 3 else 30}


def from_threads(sim: SimServer) -> int:
    """Ask and stream from many threads; return how many calls were answered."""
    client = Client(**settings(sim, budget=Budget(total="100")))

    def ask(number: int) -> int:
        try:
            if number % 4:
                client.complete(f"hello {number}", **options(number))
            else:
                with client.stream(f"hello {number}", **options(number)) as stream:
                    deque(islice(stream, None if number % 8 else 3), maxlen=0)
        except PenstockError:
            return 0
        return 1

    with client, ThreadPoolExecutor(THREADS) as pool:
        answered = sum(pool.map(ask, range(THREAD_CALLS)))
    assert_nothing_is_held(client)
    assert client.usage().calls == THREAD_CALLS
    return answered


def from_tasks(sim: SimServer) -> int:
    """Ask and stream from many tasks of several loops, and cancel some; return how many calls were answered."""

    async def ask(client: AsyncClient, number: int, turns: asyncio.Semaphore) -> int:
        async with turns:
            try:
                async with asyncio.timeout(0.004 if number % 50 == 0 else None):
                    if number % 4:
                        await client.complete(f"hello {number}", **options(number))
                    else:
                        await client.stream(f"hello {number}", **options(number)).finish()
            except (PenstockError, TimeoutError):
                return 0
            return 1

    async def main() -> int:
        turns = asyncio.Semaphore(TASKS)
        async with AsyncClient(**settings(sim, budget=Budget(total="100"))) as client:
            answered = sum(await asyncio.gather(*(ask(client, at, turns) for at in range(TASK_CALLS // LOOPS))))
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert_nothing_is_held(client)
            assert client.usage().calls == TASK_CALLS // LOOPS
        return answered

    return sum(asyncio.run(main()) for _ in range(LOOPS))


@pytest.mark.slow
@pytest.mark.prove(23)
def test_ten_thousand_calls_leave_no_socket_no_task_and_no_thread(record_property: Any) -> None:
    """With faults among them, streams that are left, and calls that are cancelled."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0.002))) as sim:
        sim.play(FAULTS)
        with Client(**settings(sim)) as client:
            client.complete("hello", model=MODEL, max_tokens=3)
        gc.collect()
        threads, open_before = set(threading.enumerate()), sockets()
        answered = from_threads(sim) + from_tasks(sim)
        gc.collect()
        deadline = time.monotonic() + 10
        while sockets() > open_before and time.monotonic() < deadline:
            time.sleep(0.02)
        record_property("soak_calls", THREAD_CALLS + TASK_CALLS)
        record_property("soak_sockets_left", sockets() - open_before)
        assert sockets() <= open_before
        assert set(threading.enumerate()) == threads
        assert answered > 0.7 * (THREAD_CALLS + TASK_CALLS)
        assert sim.settle()
        assert sim.simulator.open == 0


FORKED = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from penstock import Budget, Client

client = Client(base_urls={"openai": sys.argv[1] + "/v1"}, keys={"openai": "k"}, config=False, budget=Budget(total="9"))

def ask(number):
    return bool(client.complete(f"hello {number}", model="openai:gpt-4o-mini", max_tokens=5).text)

def left():
    lane = client.lanes()[0].limiter
    return lane.in_flight, lane.queued, client.budget().calls_under_way

with ThreadPoolExecutor(8) as pool:
    asked = [pool.submit(ask, number) for number in range(400)]
    for turn in range(5):
        asked[turn * 60].result()
        child = os.fork()
        if child == 0:
            os._exit(0 if all([ask(f"child {turn} {number}") for number in range(10)]) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(sum(each.result() for each in asked), *left(), threading.active_count() <= 9)
"""

INTERRUPTED = """
import sys, threading
from penstock import Budget, Client, Limits

client = Client(base_urls={"openai": sys.argv[1] + "/v1"}, keys={"openai": "k"}, config=False, budget=Budget(total="9"),
                limits=Limits(concurrency=4))
options = {"model": "openai:gpt-4o-mini", "max_tokens": 5}
threads = [threading.Thread(target=lambda: [client.complete("x", **options) for _ in range(60)]) for _ in range(8)]
for thread in threads:
    thread.start()
interrupts = 0
print("ready", flush=True)
while any(thread.is_alive() for thread in threads):
    try:
        client.complete("main", **options)
    except KeyboardInterrupt:
        interrupts += 1
        print("ready", flush=True)
client.complete("after", **options)
lane = client.lanes()[0].limiter
print(interrupts, lane.in_flight, lane.queued, client.budget().calls_under_way, threading.active_count())
"""


@pytest.mark.slow
@pytest.mark.prove(23)
def test_a_fork_in_the_middle_of_calls_hurts_neither_side() -> None:
    """Eight threads have calls under way; the child asks with the same client, and the parent's calls all end."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0.01))) as sim:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKED, sim.url],
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
    assert done.stdout.split() == ["400", "0", "0", "0", "True"], done.stderr


@pytest.mark.slow
@pytest.mark.prove(23)
def test_ctrl_c_among_the_calls_of_other_threads_leaves_them_alone() -> None:
    """Three interrupts of the main thread, in calls and in the queue; the others go on and nothing is held."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0.02))) as sim:
        command = [sys.executable, "-c", INTERRUPTED, sim.url]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert program.stdout is not None
        for _ in range(3):
            assert program.stdout.readline() == "ready\n"
            time.sleep(0.15)
            program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert out.split() == ["ready", "3", "0", "0", "0", "1"], err
