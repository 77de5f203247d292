"""Forty questions one after the other, in threads, and in an event loop: how long each takes. Needs no key."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from penstock import AsyncClient, Client
from penstock.sim import Latency, SimConfig, SimServer

QUESTIONS = [f"Error or not? Request {number} took 900 ms" for number in range(40)]
MODEL = "openai:gpt-4o-mini"


def sequential(client: Client) -> None:
    for question in QUESTIONS:
        client.complete(question, model=MODEL)


def threads(client: Client) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda question: client.complete(question, model=MODEL), QUESTIONS))


async def concurrent(settings: dict[str, dict[str, str]]) -> None:
    async with AsyncClient(base_urls=settings["base_urls"], keys=settings["keys"]) as client:
        await asyncio.gather(*(client.complete(question, model=MODEL) for question in QUESTIONS))


def timed(name: str, seconds: float, first: float) -> None:
    print(f"{name:12} {seconds:5.2f} s  {len(QUESTIONS) / seconds:6.0f} calls/s  {first / seconds:5.1f}x")


def main() -> None:
    with SimServer(SimConfig(latency=Latency(first_token_s=0.02))) as sim:
        settings = {"base_urls": {"openai": f"{sim.url}/v1"}, "keys": {"openai": "any"}}
        with Client(base_urls=settings["base_urls"], keys=settings["keys"]) as client:
            begun = time.monotonic()
            sequential(client)
            one_by_one = time.monotonic() - begun
            timed("sequential", one_by_one, one_by_one)
            begun = time.monotonic()
            threads(client)
            timed("threads", time.monotonic() - begun, one_by_one)
        begun = time.monotonic()
        asyncio.run(concurrent(settings))
        timed("event loop", time.monotonic() - begun, one_by_one)


if __name__ == "__main__":
    main()
