"""Hedged calls against the simulator: its bill is on the client's books, and no connection or thread is left."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from penstock import AsyncClient, Budget, Client, Hedge
from penstock.sim import Latency, SimConfig, SimServer

from .test_limits_and_money import assert_nothing_is_held, settings

MODEL = "openai:gpt-4o-mini"
CALLS = 60
SLOW = SimConfig(latency=Latency(first_token_s=0.03, first_token_sigma=0.8, tokens_per_s=2000, speed_sigma=0.3))


def connections() -> int:
    """Return how many connections of this process are open, seen from the client's side."""
    return sum(one.status == "ESTABLISHED" for one in psutil.Process().net_connections("tcp"))


async def ask_with_tasks(given: dict[str, Any], stream: bool) -> tuple[Any, list[Any]]:
    """Ask from as many tasks as calls."""
    async with AsyncClient(**given) as client:

        async def ask(i: int) -> Any:
            if stream:
                return await client.stream(f"Explain {i}.", model=MODEL, max_tokens=20).finish()
            return await client.complete(f"Explain {i}.", model=MODEL, max_tokens=20)

        answers = await asyncio.gather(*[ask(i) for i in range(CALLS)])
        assert asyncio.all_tasks() == {asyncio.current_task()}
    return client, answers


def ask_with_threads(given: dict[str, Any], stream: bool) -> tuple[Any, list[Any]]:
    """Ask from eight threads."""
    with Client(**given) as client, ThreadPoolExecutor(8) as pool:

        def ask(i: int) -> Any:
            if stream:
                return client.stream(f"Explain {i}.", model=MODEL, max_tokens=20).finish()
            return client.complete(f"Explain {i}.", model=MODEL, max_tokens=20)

        answers = list(pool.map(ask, range(CALLS)))
    return client, answers


@pytest.mark.slow
@pytest.mark.prove(12, 15, 23)
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_bill_of_hedged_calls_is_on_the_books(colour: str, stream: bool, record_property: Any) -> None:
    """What answered is billed as told, and what the server charged for the losers is at most what is possibly spent."""
    before = connections(), set(threading.enumerate())
    with SimServer(SLOW) as sim:
        threads = set(threading.enumerate())
        given = settings(sim, budget=Budget(total="10"), hedge=Hedge(after_s=0.03))
        if colour == "sync":
            client, answers = ask_with_threads(given, stream)
        else:
            client, answers = asyncio.run(ask_with_tasks(given, stream))
        assert set(threading.enumerate()) == threads
        assert sim.settle()
        billed = {row["request_id"]: row["billed_nano"] for row in sim.log()}
        bill = sim.bill()
    assert_nothing_is_held(client)
    assert connections() <= before[0]
    hedged = [answer for answer in answers if sum(attempt.sent for attempt in answer.attempts) > 1]
    record_property("hedged", len(hedged))
    assert len(hedged) >= 5
    assert all(billed[answer.request_id] for answer in answers)
    totals, account = client.usage(), client.budget().scopes[0]
    assert totals.calls == CALLS
    assert totals.attempts == sum(attempt.sent for answer in answers for attempt in answer.attempts)
    assert bill["attempts"] <= totals.attempts
    assert bill["total_nano"] <= account.spent_nano
    won = sum(billed[answer.request_id] for answer in answers)
    assert bill["total_nano"] - won <= account.possible_nano
    record_property("unaccounted_nano", max(0, bill["total_nano"] - account.spent_nano))
