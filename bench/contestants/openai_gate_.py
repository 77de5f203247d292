"""The official OpenAI SDK behind the gate: the same client, with Penstock as its transport."""

from bench.contestants import openai_
from openai import AsyncOpenAI, OpenAI

from penstock import AsyncClient, Client, sdk

PACKAGE = openai_.PACKAGE


class Sync(openai_.Sync):
    def __init__(self, root: str) -> None:
        self.gate = Client(base_urls={"openai": f"{root}/v1"}, config=False, env={})
        self.client = OpenAI(api_key="x", base_url=f"{root}/v1", http_client=sdk.http_client(self.gate))

    def close(self) -> None:
        super().close()
        self.gate.close()


class Async(openai_.Async):
    def __init__(self, root: str) -> None:
        self.gate = AsyncClient(base_urls={"openai": f"{root}/v1"}, config=False, env={})
        self.client = AsyncOpenAI(api_key="x", base_url=f"{root}/v1", http_client=sdk.http_client(self.gate))

    async def close(self) -> None:
        await super().close()
        await self.gate.close()
