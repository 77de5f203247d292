"""The official OpenAI SDK, one client kept, as its README does."""

from bench import answers
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

PACKAGE = "openai"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": answers.PROMPT}]


class Sync:
    def __init__(self, root: str) -> None:
        self.client = OpenAI(api_key="x", base_url=f"{root}/v1")

    def call(self) -> str | None:
        reply = self.client.chat.completions.create(
            model=answers.MODEL, messages=MESSAGES, max_tokens=answers.MAX_TOKENS
        )
        return reply.choices[0].message.content

    def stream(self) -> str:
        stream = self.client.chat.completions.create(
            model=answers.MODEL,
            messages=MESSAGES,
            max_tokens=answers.MAX_TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        )
        return "".join([choice.delta.content or "" for chunk in stream for choice in chunk.choices])

    def close(self) -> None:
        self.client.close()


class Async:
    def __init__(self, root: str) -> None:
        self.client = AsyncOpenAI(api_key="x", base_url=f"{root}/v1")

    async def call(self) -> str | None:
        reply = await self.client.chat.completions.create(
            model=answers.MODEL, messages=MESSAGES, max_tokens=answers.MAX_TOKENS
        )
        return reply.choices[0].message.content

    async def stream(self) -> str:
        stream = await self.client.chat.completions.create(
            model=answers.MODEL,
            messages=MESSAGES,
            max_tokens=answers.MAX_TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        )
        return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

    async def close(self) -> None:
        await self.client.close()
