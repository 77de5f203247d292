"""LiteLLM's acompletion(): its default retries, `litellm.max_budget`, its in-memory cache."""

from typing import Any

import litellm
from bench.peers.given import KEY, OPENAI_MODEL, Call, Given

PACKAGE = "litellm"


def retrying(given: Given) -> Call:
    fixed: dict[str, Any] = {"model": f"openai/{OPENAI_MODEL}", "api_base": f"{given.url}/v1", "api_key": KEY}
    if given.timeout_s is not None:
        fixed["timeout"] = given.timeout_s

    async def call(prompt: str, max_tokens: int) -> None:
        await litellm.acompletion(messages=[{"role": "user", "content": prompt}], max_tokens=max_tokens, **fixed)

    return call


def streamed(given: Given) -> Call:
    async def call(prompt: str, max_tokens: int) -> None:
        stream: Any = await litellm.acompletion(
            model=f"openai/{OPENAI_MODEL}",
            messages=[{"role": "user", "content": prompt}],
            max_tokens=max_tokens,
            api_base=f"{given.url}/v1",
            api_key=KEY,
            timeout=given.timeout_s,
            stream=True,
        )
        async for _ in stream:
            pass

    return call


def budgeted(given: Given) -> Call:
    litellm.max_budget = given.cap_usd
    return retrying(given)


def cached(given: Given) -> Call:
    litellm.cache = litellm.Cache(type="local")
    return retrying(given)
