"""hyx's breaker around the bare call, asked to recover after one success."""

from bench.peers import bare
from bench.peers.given import Call, Given
from hyx.circuitbreaker import consecutive_breaker

PACKAGE = "hyx"


def guarded(given: Given) -> Call:
    breaker = consecutive_breaker(failure_threshold=given.trips, recovery_time_secs=given.open_s, recovery_threshold=1)
    send = bare.caller(given)

    async def call(prompt: str, max_tokens: int) -> None:
        async with breaker:
            await send(prompt, max_tokens)

    return call
