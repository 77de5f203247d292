"""The official OpenAI SDK with its own retries: two, unless told otherwise."""

from bench.peers.given import KEY, OPENAI_MODEL, Call, Given
from openai import NOT_GIVEN, AsyncOpenAI

PACKAGE = "openai"


def retrying(given: Given) -> Call:
    client = _client(given)

    async def call(prompt: str, max_tokens: int) -> None:
        await client.chat.completions.create(
            model=OPENAI_MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=max_tokens
        )

    return call


def streamed(given: Given) -> Call:
    client = _client(given)

    async def call(prompt: str, max_tokens: int) -> None:
        stream = await client.chat.completions.create(
            model=OPENAI_MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=max_tokens, stream=True
        )
        async for _ in stream:
            pass

    return call


def _client(given: Given) -> AsyncOpenAI:
    timeout = NOT_GIVEN if given.timeout_s is None else given.timeout_s
    return AsyncOpenAI(base_url=f"{given.url}/v1", api_key=KEY, timeout=timeout)
