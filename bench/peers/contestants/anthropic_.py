"""The official Anthropic SDK with its own retries: two, unless told otherwise."""

from anthropic import NOT_GIVEN, AsyncAnthropic
from bench.peers.given import ANTHROPIC_MODEL, KEY, Call, Given

PACKAGE = "anthropic"


def retrying(given: Given) -> Call:
    client = _client(given)

    async def call(prompt: str, max_tokens: int) -> None:
        await client.messages.create(
            model=ANTHROPIC_MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=max_tokens
        )

    return call


def streamed(given: Given) -> Call:
    client = _client(given)

    async def call(prompt: str, max_tokens: int) -> None:
        stream = await client.messages.create(
            model=ANTHROPIC_MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=max_tokens, stream=True
        )
        async for _ in stream:
            pass

    return call


def _client(given: Given) -> AsyncAnthropic:
    timeout = NOT_GIVEN if given.timeout_s is None else given.timeout_s
    return AsyncAnthropic(base_url=given.url, api_key=KEY, timeout=timeout)
