"""Both clients embed through real sockets against the simulator, whose bill and limits have the last word."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from penstock import AsyncClient, Client, Embeddings, Limits
from penstock.errors import InputRejected, TotalTimeout
from penstock.sim import Embedding, Latency, SimConfig, SimServer
from penstock.sim import Limits as SimLimits

MODEL = "openai:text-embedding-3-small"
TEXTS = [f"ticket {number}: service {number % 97} is slow in region {number % 13}" for number in range(6000)]
colours = pytest.mark.parametrize("colour", ["sync", "async"])


def embed(colour: str, sim: SimServer, texts: Any, *, client: Any = None, **options: Any) -> Embeddings:
    """Make one call of `embed` against the simulator."""
    options = {"model": MODEL, **options}
    settings = {
        "keys": {"openai": "k-secret"},
        "base_urls": {"openai": f"{sim.url}/v1"},
        "config": False,
        "env": {},
        **(client or {}),
    }
    if colour == "sync":
        with Client(**settings) as gate:
            return gate.embed(texts, **options)

    async def main() -> Embeddings:
        async with AsyncClient(**settings) as gate:
            return await gate.embed(texts, **options)

    return asyncio.run(main())


def arrived(sim: SimServer) -> bool:
    """Wait until a request is under way."""
    until = time.monotonic() + 30
    while not sim.simulator.open and time.monotonic() < until:
        time.sleep(0.002)
    return bool(sim.simulator.open)


@colours
def test_the_bill_agrees_to_the_last_nano_dollar(colour: str) -> None:
    """In the fewest requests there can be, and near texts have near vectors."""
    with SimServer() as sim:
        found = embed(colour, sim, TEXTS, dimensions=64)
        assert sim.bill()["total_nano"] == found.cost_nano
    assert found.requests == math.ceil(len(TEXTS) / 2048)
    one, near, far = found[0], found[97 * 13], found[1]
    assert sum(a * b for a, b in zip(one, near, strict=True)) > sum(a * b for a, b in zip(one, far, strict=True))


@colours
def test_requests_go_side_by_side(colour: str) -> None:
    """Up to `concurrency` of them, in threads or on the loop."""
    texts = [str(number) for number in range(2 * 2048 + 1)]  # short, so soon on their way
    with SimServer(SimConfig(latency=Latency(first_token_s=0.5))) as sim:
        embed(colour, sim, texts, dimensions=2, concurrency=3)
        together = next(iter(sim.limits()["lanes"].values()))["most_in_flight"]
    assert together == 3


@colours
def test_a_poisonous_text_costs_twelve_rejections(colour: str, record_property: Any) -> None:
    """Among 2,048, and is named by its index."""
    texts = [*TEXTS[:1500], "POISON", *TEXTS[1500:2047]]
    with SimServer(SimConfig(embeddings=Embedding(poison="POISON"))) as sim:
        with pytest.raises(InputRejected, match="index 1500") as caught:
            embed(colour, sim, texts, dimensions=2)
        rejected = sum(attempt["status"] == 400 for attempt in sim.log())
        assert caught.value.embedded is not None
        assert caught.value.embedded.cost_nano == sim.bill()["total_nano"]
    assert rejected <= 12
    record_property("poison_rejections", rejected)


@colours
def test_the_limit_of_tokens_is_kept(colour: str) -> None:
    """Requests wait for their turn, with no 429."""
    limits = SimLimits(tpm=600_000, burst_tokens=40_000)
    with SimServer(SimConfig(limits={"openai": limits})) as sim:
        known = {"limits": Limits(tpm=600_000)}
        found = embed(colour, sim, TEXTS[:2000], dimensions=2, client=known)
        assert sim.limits()["rejected_429"] == 0
    assert len(found) == 2000


@pytest.mark.slow
@colours
def test_a_deadline_bounds_the_whole_call(colour: str) -> None:
    """And what came before it is kept."""
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "ticket 5999:" }\nfault = { kind = "stall" }')
        with pytest.raises(TotalTimeout) as caught:
            embed(colour, sim, TEXTS, dimensions=2, deadline_s=1.0)
    found = caught.value.embedded
    assert found is not None
    assert any(found.vectors.has(index) for index in range(len(TEXTS)))
    assert not found.vectors.has(5999)


def test_a_cancelled_call_settles_all_its_requests() -> None:
    """None is left under way, and the client can be used again."""

    async def main() -> None:
        with SimServer(SimConfig(latency=Latency(first_token_s=5))) as sim:
            urls = {"openai": f"{sim.url}/v1"}
            async with AsyncClient(keys={"openai": "k"}, base_urls=urls, config=False, env={}) as client:
                task = asyncio.create_task(client.embed(TEXTS, model=MODEL, dimensions=2))
                assert await asyncio.to_thread(arrived, sim)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert all(lane.limiter.in_flight == 0 for lane in client.lanes())
            assert await asyncio.to_thread(sim.settle)

    asyncio.run(main())
