"""LiteLLM's completion(), as its README does; the network GET at its import is switched off by the environment."""

from typing import Any

import litellm
from bench import answers

PACKAGE = "litellm"
ASKED: dict[str, Any] = {
    "model": f"openai/{answers.MODEL}",
    "messages": answers.MESSAGES,
    "max_tokens": answers.MAX_TOKENS,
    "api_key": "x",
}
STREAMED: dict[str, Any] = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}


class Sync:
    def __init__(self, root: str) -> None:
        self.api_base = f"{root}/v1"

    def call(self) -> str | None:
        reply: Any = litellm.completion(**ASKED, api_base=self.api_base)
        content: str | None = reply.choices[0].message.content
        return content

    def stream(self) -> str:
        stream: Any = litellm.completion(**STREAMED, api_base=self.api_base)
        return "".join([choice.delta.content or "" for chunk in stream for choice in chunk.choices])

    def close(self) -> None:
        pass


class Async:
    def __init__(self, root: str) -> None:
        self.api_base = f"{root}/v1"

    async def call(self) -> str | None:
        reply: Any = await litellm.acompletion(**ASKED, api_base=self.api_base)
        content: str | None = reply.choices[0].message.content
        return content

    async def stream(self) -> str:
        stream: Any = await litellm.acompletion(**STREAMED, api_base=self.api_base)
        return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

    async def close(self) -> None:
        pass
