"""A call without any care: what limiters and breakers, which send nothing themselves, are put in front of."""

import aiohttp
from bench.peers.given import KEY, OPENAI_MODEL, Acquire, Call, Given


def caller(given: Given) -> Call:
    """Make calls that fail on every status but 200. To be made inside the loop."""
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers={"authorization": f"Bearer {KEY}"})

    async def call(prompt: str, max_tokens: int) -> None:
        async with session.post(f"{given.url}/v1/chat/completions", json=body(prompt, max_tokens)) as reply:
            await reply.read()
            reply.raise_for_status()

    return call


def body(prompt: str, max_tokens: int) -> dict[str, object]:
    """The request of one call."""
    return {"model": OPENAI_MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}


def behind(acquire: Acquire, given: Given) -> Call:
    """Put a limiter in front of the bare call."""
    send = caller(given)

    async def call(prompt: str, max_tokens: int) -> None:
        await acquire(given.units(max_tokens))
        await send(prompt, max_tokens)

    return call
