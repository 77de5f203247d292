"""The official Anthropic SDK behind the gate: the same client, with Penstock as its transport."""

from anthropic import Anthropic, AsyncAnthropic
from bench.contestants import anthropic_

from penstock import AsyncClient, Client, sdk

PACKAGE = anthropic_.PACKAGE
STREAM_TEXT = anthropic_.STREAM_TEXT


class Sync(anthropic_.Sync):
    def __init__(self, root: str) -> None:
        self.gate = Client(base_urls={"anthropic": root}, config=False, env={})
        self.client = Anthropic(api_key="x", base_url=root, http_client=sdk.http_client(self.gate))

    def close(self) -> None:
        super().close()
        self.gate.close()


class Async(anthropic_.Async):
    def __init__(self, root: str) -> None:
        self.gate = AsyncClient(base_urls={"anthropic": root}, config=False, env={})
        self.client = AsyncAnthropic(api_key="x", base_url=root, http_client=sdk.http_client(self.gate))

    async def close(self) -> None:
        await super().close()
        await self.gate.close()
