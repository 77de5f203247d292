"""aiobreaker's breaker around the bare call."""

from datetime import timedelta

from aiobreaker import CircuitBreaker
from bench.peers import bare
from bench.peers.given import Call, Given

PACKAGE = "aiobreaker"


def guarded(given: Given) -> Call:
    breaker = CircuitBreaker(fail_max=given.trips, timeout_duration=timedelta(seconds=given.open_s))
    send = bare.caller(given)

    async def call(prompt: str, max_tokens: int) -> None:
        await breaker.call_async(send, prompt, max_tokens)

    return call
