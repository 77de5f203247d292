"""Identical calls against the simulator, whose log and bill say how many there really were."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock import AsyncClient, Cache, Client
from penstock.sim import Latency, SimConfig, SimServer

from ..flow.crowd import until

ASKED: dict[str, Any] = {"model": "openai:gpt-4o-mini", "temperature": 0, "max_tokens": 2000}
SLOW = SimConfig(latency=Latency(first_token_s=0.1))
CALLS = 100


def settings(sim: SimServer, **more: Any) -> dict[str, Any]:
    """Point a client with a cache at the simulator."""
    urls = {"openai": sim.url + "/v1", "anthropic": sim.url}
    keys = {"openai": "k", "anthropic": "k"}
    return {"base_urls": urls, "keys": keys, "config": False, "env": {}, "cache": Cache(), **more}


def with_threads(sim: SimServer, stream: Callable[[int], bool], **asked: Any) -> tuple[list[Any], Any]:
    """Ask the same from as many threads as calls; some of them as streams."""
    options = ASKED | asked
    with Client(**settings(sim)) as client, ThreadPoolExecutor(CALLS) as pool:

        def ask(number: int) -> Any:
            if stream(number):
                return client.stream("Why?", **options).finish()
            return client.complete("Why?", **options)

        return list(pool.map(ask, range(CALLS))), client


def with_tasks(sim: SimServer, stream: Callable[[int], bool], **asked: Any) -> tuple[list[Any], Any]:
    """Ask the same from as many tasks as calls; some of them as streams."""
    options = ASKED | asked

    async def main() -> tuple[list[Any], Any]:
        async with AsyncClient(**settings(sim)) as client:
            calls = [
                client.stream("Why?", **options).finish() if stream(number) else client.complete("Why?", **options)
                for number in range(CALLS)
            ]
            return list(await asyncio.gather(*calls)), client

    return asyncio.run(main())


@pytest.mark.prove(19)
@pytest.mark.parametrize("model", ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"])
@pytest.mark.parametrize("kind", ["complete", "stream", "both"])
@pytest.mark.parametrize("ask", [with_threads, with_tasks])
def test_a_hundred_identical_calls_are_one_on_the_servers_log(
    ask: Any, kind: str, model: str, record_property: Any
) -> None:
    """Whole or streamed or both; one is billed, and everybody has its answer."""
    streams = {"complete": lambda _: False, "stream": lambda _: True, "both": lambda number: number % 2 == 0}[kind]
    with SimServer(SLOW) as sim:
        answers, client = ask(sim, streams, model=model)
        assert sim.settle()
        upstream, billed = len(sim.log()), sim.bill()["total_nano"]
    record_property("upstream", upstream)
    assert upstream == 1
    assert len({answer.text for answer in answers}) == 1
    assert sum(answer.cost_nano for answer in answers) == billed == client.usage().cost_nano
    assert client.usage().saved_nano == billed * (CALLS - 1)
    assert client.cache().flights == 0


@pytest.mark.prove(18)
def test_a_stored_answer_is_the_one_that_the_server_gave(tmp_path: Any) -> None:
    """Whole or replayed, by the same client or another one that has the same file."""
    cache = Cache(path=str(tmp_path / "answers.db"))
    with SimServer() as sim:
        with Client(**settings(sim, cache=cache)) as client:
            chunks = list(client.stream("Why?", **ASKED))
        with Client(**settings(sim, cache=cache)) as client:
            replay = client.stream("Why?", **ASKED)
            assert list(replay) == chunks
            assert replay.response.text == client.complete("Why?", **ASKED).text
            assert client.usage().cost_nano == 0
            assert not client.complete("Why not?", **ASKED).cached
        assert len(sim.log()) == 2


LEADERS_STALL = """
[[rule]]
match = { nth = [1, 2, 3, 4, 5] }
fault = { kind = "stall" }
"""


def ended_at(sim: SimServer, number: int) -> None:
    """Wait until the server knows that so many exchanges ended."""
    until(lambda: len(sim.log()) >= number)


@pytest.mark.prove(19)
def test_leaders_cancelled_one_after_the_other_leave_no_follower_behind(record_property: Any) -> None:
    """Of 40 identical tasks the one that leads is cancelled five times; the other 35 have the answer of one call."""

    async def main(sim: SimServer) -> tuple[list[Any], AsyncClient]:
        async with AsyncClient(**settings(sim)) as client:
            calls = [asyncio.create_task(client.complete("Why?", **ASKED)) for _ in range(40)]
            for number, leader in enumerate(calls[:5]):
                await asyncio.to_thread(until, lambda: sim.simulator.open > 0)
                leader.cancel()
                await asyncio.to_thread(ended_at, sim, number + 1)
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            state = client.cache()
            assert state is not None
            assert state.flights == 0
            return ended, client

    with SimServer() as sim:
        sim.play(LEADERS_STALL)
        ended, client = asyncio.run(main(sim))
        assert sim.settle()
        upstream = len(sim.log())
    assert all(isinstance(one, asyncio.CancelledError) for one in ended[:5])
    assert len({one.text for one in ended[5:]}) == 1
    record_property("upstream_beyond_one_per_leader", upstream - 6)
    assert upstream == 6
    assert client.usage().cached == 34


INTERRUPTED = """
import sys, threading, time
from penstock import Cache, Client

client = Client(base_urls={"openai": sys.argv[1] + "/v1"}, keys={"openai": "k"}, config=False, cache=Cache())
options = {"model": "openai:gpt-4o-mini", "temperature": 0}
answers = []
began = threading.Event()

def follow():
    began.wait()
    answers.append(client.complete("Why?", **options))

threads = [threading.Thread(target=follow) for _ in range(5)]
for thread in threads:
    thread.start()

def watch():
    began.set()
    flights = client._gate.answers._flights._flights
    while sum(len(flight.parked) for flight in list(flights.values())) < 5:
        time.sleep(0.001)
    print("waiting", flush=True)

def when_leading():
    while not client._gate.answers._flights:
        time.sleep(0.001)
    watch()

threading.Thread(target=when_leading).start()
try:
    client.complete("Why?", **options)
except KeyboardInterrupt:
    pass
for thread in threads:
    thread.join()
print(len(answers), sum(answer.cached for answer in answers), client.cache().flights)
"""

FIRST_STALLS = """
[[rule]]
match = { nth = 1 }
fault = { kind = "stall" }
"""


@pytest.mark.prove(19, 23)
def test_ctrl_c_in_the_leading_thread_hands_the_lead_on() -> None:
    """Five threads wait for the main thread, which is interrupted; one of them asks anew and all have the answer."""
    with SimServer() as sim:
        sim.play(FIRST_STALLS)
        program = subprocess.Popen([sys.executable, "-c", INTERRUPTED, sim.url], stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        assert program.stdout.readline() == "waiting\n"
        until(lambda: sim.simulator.open > 0)
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=60)
        upstream = len(sim.log())
    assert out.split() == ["5", "4", "0"]
    assert upstream == 2


KILLED = """
import sys
from penstock import Cache, Client

client = Client(base_urls={"openai": sys.argv[1] + "/v1"}, keys={"openai": "k"}, config=False,
                cache=Cache(path=sys.argv[2]))
for number in range(1000):
    client.complete(f"Why {number}?", model="openai:gpt-4o-mini", temperature=0, max_tokens=2000)
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.prove(18, 19)
def test_a_killed_process_leaves_a_file_that_others_can_use(tmp_path: Any) -> None:
    """kill -9 in the middle of writing, five times: every answer that was told of is there, and none is wrong."""
    path = str(tmp_path / "answers.db")
    told = 0
    with SimServer() as sim:
        for _ in range(5):
            program = subprocess.Popen([sys.executable, "-c", KILLED, sim.url, path], stdout=subprocess.PIPE, text=True)
            assert program.stdout is not None
            for _ in range(told + 40):
                told = max(told, int(program.stdout.readline()))
            os.kill(program.pid, signal.SIGKILL)
            program.communicate(timeout=60)
        with Client(**settings(sim, cache=Cache(path=path))) as client, Client(**settings(sim, cache=None)) as plain:
            for number in range(told + 1):
                kept = client.complete(f"Why {number}?", **ASKED)
                assert kept.cached
                assert kept.text == plain.complete(f"Why {number}?", **ASKED).text
            state = client.cache()
    assert state is not None
    assert state.trouble is None
