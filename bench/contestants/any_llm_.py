"""any-llm with one client kept: its module functions build a client per call, which costs ten times more."""

from typing import Any

from any_llm import AnyLLM
from bench import answers

PACKAGE = "any-llm-sdk"
ASKED: dict[str, Any] = {"model": answers.MODEL, "messages": answers.MESSAGES, "max_tokens": answers.MAX_TOKENS}
STREAMED: dict[str, Any] = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}


class Sync:
    def __init__(self, root: str) -> None:
        self.client: Any = AnyLLM.create("openai", api_key="x", api_base=f"{root}/v1")

    def call(self) -> str | None:
        content: str | None = self.client.completion(**ASKED).choices[0].message.content
        return content

    def stream(self) -> str:
        stream = self.client.completion(**STREAMED)
        return "".join([choice.delta.content or "" for chunk in stream for choice in chunk.choices])

    def close(self) -> None:
        pass


class Async:
    def __init__(self, root: str) -> None:
        self.client: Any = AnyLLM.create("openai", api_key="x", api_base=f"{root}/v1")

    async def call(self) -> str | None:
        content: str | None = (await self.client.acompletion(**ASKED)).choices[0].message.content
        return content

    async def stream(self) -> str:
        stream = await self.client.acompletion(**STREAMED)
        return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

    async def close(self) -> None:
        pass
