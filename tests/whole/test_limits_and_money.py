"""Many calls at once against the simulator, which keeps its own limits and its own bill."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client, Limits
from penstock.errors import BudgetExceeded
from penstock.sim import Limits as SimLimits
from penstock.sim import SimConfig, SimServer

from ..io.loopback import Loopback, Peer

MODEL = "openai:gpt-4o-mini"


def settings(sim: SimServer, **more: Any) -> dict[str, Any]:
    """Point a client at the simulator."""
    urls = {"openai": sim.url + "/v1", "anthropic": sim.url}
    return {"base_urls": urls, "keys": {"openai": "k", "anthropic": "k"}, "config": False, "env": {}, **more}


def most_requests(sim: SimServer) -> tuple[int, int]:
    """Return the most requests that the server saw in any 60 s, and the 429s it sent."""
    lanes = sim.limits()["lanes"].values()
    return max(lane["most_60s"]["requests"] for lane in lanes), int(sim.limits()["rejected_429"])


def ask_with_threads(sim: SimServer, calls: int, limits: Limits | None) -> Client:
    """Ask from 32 threads."""
    with Client(**settings(sim, limits=limits)) as client, ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda i: client.complete(f"hello {i}", model=MODEL, max_tokens=5), range(calls)))
    return client


def ask_with_tasks(sim: SimServer, calls: int, limits: Limits | None) -> AsyncClient:
    """Ask from as many tasks as calls."""

    async def main() -> AsyncClient:
        async with AsyncClient(**settings(sim, limits=limits)) as client:
            await asyncio.gather(*(client.complete(f"hello {i}", model=MODEL, max_tokens=5) for i in range(calls)))
        return client

    return asyncio.run(main())


@pytest.mark.prove(1)
@pytest.mark.parametrize("ask", [ask_with_threads, ask_with_tasks])
def test_a_known_limit_is_used_and_never_met(ask: Any) -> None:
    """All calls at once against 3,000 a minute: no 429, and the pace is the limit's."""
    with SimServer(SimConfig(limits={"openai": SimLimits(rpm=3000)})) as sim:
        client = ask(sim, 150, Limits(rpm=3000))
        most, rejected = most_requests(sim)
    assert rejected == 0
    assert most == 150
    totals = client.usage()
    assert (totals.calls, totals.failed, totals.rate_limited) == (150, 0, 0)


@pytest.mark.prove(3)
@pytest.mark.parametrize("ask", [ask_with_threads, ask_with_tasks])
def test_an_unknown_limit_is_learned_from_the_headers(ask: Any) -> None:
    """Nobody told the client, yet every call is answered and few are turned away."""
    with SimServer(SimConfig(limits={"openai": SimLimits(rpm=3000, burst_requests=60)})) as sim:
        client = ask(sim, 150, None)
        _, rejected = most_requests(sim)
    assert client.usage().failed == 0
    assert rejected <= 15


@pytest.mark.prove(12, 14)
@pytest.mark.parametrize("ask", [ask_with_threads, ask_with_tasks])
def test_the_ledger_of_the_client_is_the_bill_of_the_server(ask: Any) -> None:
    """To the nano-dollar, where the provider reported usage."""
    with SimServer() as sim:
        client = ask(sim, 100, None)
        assert client.usage().cost_nano == sim.bill()["total_nano"]


@pytest.mark.prove(15)
def test_a_hard_budget_holds_under_a_thousand_calls_at_once(record_property: Any) -> None:
    """Most are refused, those that ran are paid, and the bill stays under the cap."""

    async def main(sim: SimServer) -> tuple[int, int]:
        async with AsyncClient(**settings(sim, budget=Budget(total="0.01"))) as client:

            async def ask(i: int) -> bool:
                try:
                    await client.complete(f"Write about outage {i}.", model=MODEL, max_tokens=200)
                except BudgetExceeded:
                    return False
                return True

            answered = await asyncio.gather(*(ask(i) for i in range(1000)))
            return sum(answered), client.usage().cost_nano

    with SimServer() as sim:
        answered, cost_nano = asyncio.run(main(sim))
        billed = sim.bill()["total_nano"]
    record_property("overshoot_nano", max(0, billed - 10_000_000))
    assert 0 < answered < 1000
    assert billed == cost_nano
    assert billed <= 10_000_000


def test_calls_from_many_threads_and_their_cancellation_leave_nothing_behind() -> None:
    """After the last answer no hold, no ticket and no parked thread is left."""
    with SimServer(SimConfig(limits={"openai": SimLimits(rpm=6000)})) as sim:
        client = Client(**settings(sim, limits=Limits(rpm=6000), budget=Budget(total="10")))
        with client, ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: client.complete(f"x {i}", model=MODEL, max_tokens=3), range(100)))
        lane = client.lanes()[0]
        assert (lane.limiter.in_flight, lane.limiter.queued) == (0, 0)
        assert all(scope.held_nano == 0 for scope in client.budget().scopes)


def test_no_parked_thread_is_forgotten_when_many_turns_come_at_once() -> None:
    """A server that answers nobody before all have asked: every thread gets its turn, also those behind the ramp."""
    everybody = threading.Barrier(100)
    body = b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}'

    def handler(peer: Peer) -> None:
        while peer.request():
            everybody.wait(20)
            peer.answer(body)

    with Loopback(handler) as server, ThreadPoolExecutor(100) as pool:
        urls = {"openai": server.url}
        with Client(base_urls=urls, keys={"openai": "k"}, config=False, env={}) as client:
            answers = list(pool.map(lambda i: client.complete(f"x {i}", model=MODEL), range(100)))
    assert len(answers) == 100
