"""Penstock as a user writes it: default settings, the base URL and the key given."""

from typing import Any, ClassVar

from bench import answers

from penstock import AsyncClient, Client

PACKAGE = "penstock"
MODEL = f"openai:{answers.MODEL}"


class Sync:
    model = MODEL
    path = "/v1"
    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, root: str) -> None:
        provider = self.model.partition(":")[0]
        self.client = Client(
            base_urls={provider: root + self.path}, keys={provider: "x"}, config=False, **self.settings
        )

    def call(self) -> str:
        return self.client.complete(answers.PROMPT, model=self.model, max_tokens=answers.MAX_TOKENS).text

    def stream(self) -> str:
        with self.client.stream(answers.PROMPT, model=self.model, max_tokens=answers.MAX_TOKENS) as stream:
            return "".join([chunk.text for chunk in stream if chunk.kind == "text"])

    def close(self) -> None:
        self.client.close()


class Async:
    model = MODEL
    path = "/v1"
    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, root: str) -> None:
        provider = self.model.partition(":")[0]
        self.client = AsyncClient(
            base_urls={provider: root + self.path}, keys={provider: "x"}, config=False, **self.settings
        )

    async def call(self) -> str:
        answer = await self.client.complete(answers.PROMPT, model=self.model, max_tokens=answers.MAX_TOKENS)
        return answer.text

    async def stream(self) -> str:
        async with self.client.stream(answers.PROMPT, model=self.model, max_tokens=answers.MAX_TOKENS) as stream:
            return "".join([chunk.text async for chunk in stream if chunk.kind == "text"])

    async def close(self) -> None:
        await self.client.close()
