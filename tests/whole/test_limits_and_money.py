"""Many calls at once against the simulator, which keeps its own limits and its own bill."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client, Limits
from penstock.errors import BudgetExceeded
from penstock.sim import Latency, SimConfig, SimServer
from penstock.sim import Limits as SimLimits

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
    """All calls at once against 6,000 a minute: no 429, and the pace is the limit's."""
    with SimServer(SimConfig(limits={"openai": SimLimits(rpm=6000)})) as sim:
        client = ask(sim, 150, Limits(rpm=6000))
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


@pytest.mark.prove(14)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "cache"),
    [(MODEL, None), ("anthropic:claude-haiku-4-5", "5m"), ("anthropic:claude-haiku-4-5", "1h")],
)
def test_cache_writes_and_reads_cost_what_the_server_bills(model: str, cache: str | None, stream: bool) -> None:
    """The long prompt is asked three times, by each protocol's way of caching it; every answer is billed as told."""
    long = "The pods of the checkout service were killed for want of memory. " * 200
    options: dict[str, Any] = {"model": model, "max_tokens": 20, **({"prompt_cache": cache} if cache else {})}
    with SimServer() as sim, Client(**settings(sim)) as client:
        answers = [
            client.stream(long, **options).finish() if stream else client.complete(long, **options) for _ in range(3)
        ]
        assert sim.settle()
        billed = {row["request_id"]: row["billed_nano"] for row in sim.log()}
    assert [answer.cost_nano for answer in answers] == [billed[answer.request_id or ""] for answer in answers]
    assert [answer.usage.cache_read > 1024 for answer in answers] == [False, True, True]
    assert [answer.usage.cache_write > 1024 for answer in answers] == [cache is not None, False, False]


@pytest.mark.prove(23)
def test_calls_from_many_threads_leave_no_hold_no_ticket_and_no_thread() -> None:
    """After the last answer."""
    with SimServer(SimConfig(limits={"openai": SimLimits(rpm=6000)})) as sim:
        before = set(threading.enumerate())
        client = Client(**settings(sim, limits=Limits(rpm=6000), budget=Budget(total="10")))
        with client, ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: client.complete(f"x {i}", model=MODEL, max_tokens=3), range(100)))
        assert_nothing_is_held(client)
        assert set(threading.enumerate()) == before


def assert_nothing_is_held(client: Client | AsyncClient) -> None:
    """No call is under way, waits or holds money."""
    for lane in client.lanes():
        assert (lane.limiter.in_flight, lane.limiter.queued, lane.limiter.next_at) == (0, 0, None)
        assert lane.breaker.probes_out == 0
    assert client.budget().calls_under_way == 0
    assert all(scope.held_nano == 0 for scope in client.budget().scopes)


@pytest.mark.prove(2, 15, 23)
@pytest.mark.parametrize("seed", range(3))
def test_calls_cancelled_at_any_moment_leave_nothing_behind_and_no_bill_unaccounted(
    seed: int, record_property: Any
) -> None:
    """Half of 200 calls, before they were sent, in the queue and while the server worked.

    The bill is what the answers cost, to the nano-dollar, and what the server charged for cancelled calls, which is at
    most what the budget keeps as possibly spent.
    """
    dice = random.Random(seed)
    slow = SimConfig(latency=Latency(first_token_s=0.05, first_token_sigma=0.5, tokens_per_s=400, speed_sigma=0.3))

    async def main(sim: SimServer) -> tuple[AsyncClient, list[Any]]:
        async with AsyncClient(**settings(sim, limits=Limits(concurrency=60), budget=Budget(total="10"))) as client:
            loop = asyncio.get_running_loop()
            calls = [
                asyncio.create_task(client.complete(f"Explain {i}.", model=MODEL, max_tokens=40)) for i in range(200)
            ]
            for call in dice.sample(calls, 100):
                loop.call_later(dice.uniform(0.0, 0.4), call.cancel)
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert_nothing_is_held(client)
            assert asyncio.all_tasks() == {asyncio.current_task()}
        return client, ended

    with SimServer(slow) as sim:
        client, ended = asyncio.run(main(sim))
        assert sim.settle()
        billed = {row["request_id"]: row["billed_nano"] for row in sim.log()}
        bill = sim.bill()["total_nano"]
    answers = [one for one in ended if not isinstance(one, BaseException)]
    cancelled = [one for one in ended if isinstance(one, asyncio.CancelledError)]
    assert len(answers) + len(cancelled) == 200
    assert 50 <= len(cancelled) <= 100
    totals, account = client.usage(), client.budget().scopes[0]
    assert (totals.calls, totals.failed) == (200, len(cancelled))
    assert 0 < totals.unpriced < len(cancelled)  # some were sent, some were not
    assert totals.attempts == len(answers) + totals.unpriced
    assert all(billed[answer.request_id] == answer.cost_nano for answer in answers)
    assert totals.cost_nano == sum(answer.cost_nano for answer in answers)
    charged = bill - totals.cost_nano
    assert 0 < charged <= account.possible_nano
    assert account.spent_nano == totals.cost_nano + account.possible_nano
    record_property("unaccounted_nano", max(0, bill - account.spent_nano))


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
