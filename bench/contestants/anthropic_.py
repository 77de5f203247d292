"""The official Anthropic SDK, one client kept; its stream is the plain one of events, the cheapest it has."""

from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam, RawMessageStreamEvent, TextBlock
from bench import answers

PACKAGE = "anthropic"
STREAM_TEXT = answers.CLAUDE_STREAM_TEXT
MESSAGES: list[MessageParam] = [{"role": "user", "content": answers.PROMPT}]


def text_of(event: RawMessageStreamEvent) -> str:
    if event.type == "content_block_delta" and event.delta.type == "text_delta":
        return event.delta.text
    return ""


class Sync:
    def __init__(self, root: str) -> None:
        self.client = Anthropic(api_key="x", base_url=root)

    def call(self) -> str:
        reply = self.client.messages.create(model=answers.CLAUDE, messages=MESSAGES, max_tokens=answers.MAX_TOKENS)
        block = reply.content[0]
        return block.text if isinstance(block, TextBlock) else ""

    def stream(self) -> str:
        stream = self.client.messages.create(
            model=answers.CLAUDE, messages=MESSAGES, max_tokens=answers.MAX_TOKENS, stream=True
        )
        return "".join([text_of(event) for event in stream])

    def close(self) -> None:
        self.client.close()


class Async:
    def __init__(self, root: str) -> None:
        self.client = AsyncAnthropic(api_key="x", base_url=root)

    async def call(self) -> str:
        reply = await self.client.messages.create(
            model=answers.CLAUDE, messages=MESSAGES, max_tokens=answers.MAX_TOKENS
        )
        block = reply.content[0]
        return block.text if isinstance(block, TextBlock) else ""

    async def stream(self) -> str:
        stream = await self.client.messages.create(
            model=answers.CLAUDE, messages=MESSAGES, max_tokens=answers.MAX_TOKENS, stream=True
        )
        return "".join([text_of(event) async for event in stream])

    async def close(self) -> None:
        await self.client.close()
