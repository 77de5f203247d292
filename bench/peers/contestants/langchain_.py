"""LangChain's ChatOpenAI: the SDK's retries, its rate limiter (requests per second), its in-memory cache."""

from typing import Any

from bench.peers.given import KEY, OPENAI_MODEL, Acquire, Call, Given
from langchain_core.caches import InMemoryCache
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_openai import ChatOpenAI

PACKAGE = "langchain-openai"


def retrying(given: Given) -> Call:
    return _calls(_model(given))


def retrying_twice(given: Given) -> Call:
    """With `.with_retry()` on top, as its manual recommends: three attempts of three."""
    return _calls(_model(given).with_retry())


def limited(given: Given) -> Call:
    return _calls(_model(given, rate_limiter=_limiter(given.most, given.window_s)))


def cached(given: Given) -> Call:
    return _calls(_model(given, cache=InMemoryCache()))


def streamed(given: Given) -> Call:
    model = _model(given)

    async def call(prompt: str, max_tokens: int) -> None:
        async for _ in model.astream(prompt, max_tokens=max_tokens):
            pass

    return call


def acquire(most: int, window_s: float) -> Acquire:
    limiter = _limiter(most, window_s)

    async def wait(units: int) -> None:
        await limiter.aacquire()

    return wait


def _limiter(most: int, window_s: float) -> Any:
    return InMemoryRateLimiter(requests_per_second=most / window_s, max_bucket_size=most)


def _model(given: Given, **options: Any) -> Any:
    return ChatOpenAI(model=OPENAI_MODEL, base_url=f"{given.url}/v1", api_key=KEY, timeout=given.timeout_s, **options)


def _calls(model: Any) -> Call:
    async def call(prompt: str, max_tokens: int) -> None:
        await model.ainvoke(prompt, max_tokens=max_tokens)

    return call
