"""purgatory's breaker around the bare call."""

from bench.peers import bare
from bench.peers.given import Call, Given
from purgatory import AsyncCircuitBreakerFactory

PACKAGE = "purgatory"


def guarded(given: Given) -> Call:
    breakers = AsyncCircuitBreakerFactory(default_threshold=given.trips, default_ttl=given.open_s)
    send = bare.caller(given)

    async def call(prompt: str, max_tokens: int) -> None:
        async with await breakers.get_breaker("lane"):
            await send(prompt, max_tokens)

    return call
