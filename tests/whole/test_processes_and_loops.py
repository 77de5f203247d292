"""Clients across forks, event loops and their own end."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from penstock import Client
from penstock.errors import ClientClosed
from penstock.sim import SimServer

MODEL = "openai:gpt-4o-mini"

FORKED = """
import os, sys
from penstock import Client

url, transport = sys.argv[1:]
client = Client(base_urls={"openai": url + "/v1"}, keys={"openai": "k"}, config=False, transport=transport)

def ask(who):
    options = {"model": "openai:gpt-4o-mini", "max_tokens": 40}
    answers = [client.complete(f"Which one? {who}, {who} or {who}?", **options) for _ in range(5)]
    return all(answer.usage.prompt == answers[0].usage.prompt for answer in answers)

ask("before")
wrong = 0
for _ in range(8):
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        os._exit(0 if ask("child " * 9) else 1)
    os.write(go, b"x")
    wrong += not ask("parent")
    wrong += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print("wrong", wrong)
"""


@pytest.mark.prove(23)
@pytest.mark.parametrize("transport", ["urllib3", "httpx2"])
def test_a_forked_child_reads_its_own_answers(transport: str) -> None:
    """Parent and child ask at the same moment through a client made before the fork; nobody gets the other's answer."""
    with SimServer() as sim:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKED, sim.url, transport],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout.strip() == "wrong 0", done.stderr


def settings(sim: SimServer) -> dict[str, Any]:
    """Point a client at the simulator."""
    return {"base_urls": {"openai": sim.url + "/v1"}, "keys": {"openai": "k"}, "config": False, "env": {}}


LOOPS = """
import asyncio, sys
from penstock import AsyncClient

client = AsyncClient(base_urls={"openai": sys.argv[1] + "/v1"}, keys={"openai": "k"}, config=False)
for i in range(5):
    assert asyncio.run(client.complete(f"hello {i}", model="openai:gpt-4o-mini", max_tokens=3)).text
asyncio.run(client.close())
print("fine")
"""


@pytest.mark.prove(23)
def test_an_async_client_serves_one_loop_after_another() -> None:
    """Every asyncio.run() of a script may use it, without a word on the terminal."""
    with SimServer() as sim:
        command = [sys.executable, "-c", LOOPS, sim.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_a_closed_client_refuses_new_calls() -> None:
    """Nothing is sent behind the back of whoever closed it."""
    with SimServer() as sim:
        client = Client(**settings(sim))
        client.complete("hello", model=MODEL, max_tokens=3)
        client.close()
        with pytest.raises(ClientClosed, match="closed"):
            client.complete("hello", model=MODEL, max_tokens=3)
        assert len(sim.log()) == 1


def test_a_deadline_inside_a_stream_is_told_as_such() -> None:
    """The sentence names the clock that ended it."""
    with SimServer() as sim:
        sim.play('[[rule]]\nfault = { kind = "stall", when = "mid_stream", after_chunks = 3 }')
        with Client(**settings(sim)) as client, pytest.raises(Exception, match="deadline"):
            client.stream("Explain an OOM kill.", model=MODEL, max_tokens=60, deadline_s=0.3).finish()
