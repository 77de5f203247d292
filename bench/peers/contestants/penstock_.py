"""Penstock with its defaults, told the limit, the cap, the deadline or the clock that a scenario is about."""

from typing import Any

from bench.peers.given import KEY, OPENAI_MODEL, Call, Given

import penstock
from penstock import AsyncClient, BreakerSettings, Budget, Limits, RetryPolicy, Timeouts
from penstock._policy.limiter import Limiter

PACKAGE = "penstock"


def retrying(given: Given) -> Call:
    return _calls(_client(given, deadline_s=given.timeout_s))


def retrying_blindly(given: Given) -> Call:
    return _calls(_client(given, breaker=BreakerSettings(min_calls=1_000_000)))


def limited(given: Given) -> Call:
    per_minute = int(given.most * 60 / given.window_s)
    if given.unit_tokens:
        limits = Limits(tpm=per_minute * given.unit_tokens, burst_s=given.window_s)
    else:
        limits = Limits(rpm=per_minute)
    return _calls(_client(given, limits=limits))


def limiter(per_s: int) -> Limiter:
    return Limiter(Limits(rpm=60 * per_s, burst_s=1.0))


def guarded(given: Given) -> Call:
    breaker = BreakerSettings(min_calls=given.trips, open_s=given.open_s)
    return _calls(_client(given, breaker=breaker, retry=RetryPolicy(attempts=1)))


def budgeted(given: Given) -> Call:
    return _calls(_client(given, budget=Budget(total=given.cap_usd)))


def cached(given: Given) -> Call:
    make_cache = getattr(penstock, "Cache", None)
    if make_cache is None:
        raise SystemExit("this version has no cache")
    return _calls(_client(given, cache=make_cache()))


def streamed(given: Given) -> Call:
    client = _client(given, timeouts=Timeouts(idle_s=given.timeout_s))

    async def call(prompt: str, max_tokens: int) -> None:
        async with client.stream(prompt, model=f"openai:{OPENAI_MODEL}", max_tokens=max_tokens) as stream:
            async for _ in stream:
                pass

    return call


def _client(given: Given, **options: Any) -> AsyncClient:
    return AsyncClient(base_urls={"openai": f"{given.url}/v1"}, keys={"openai": KEY}, config=False, **options)


def _calls(client: AsyncClient) -> Call:
    async def call(prompt: str, max_tokens: int) -> None:
        await client.complete(prompt, model=f"openai:{OPENAI_MODEL}", max_tokens=max_tokens, temperature=0)

    return call
