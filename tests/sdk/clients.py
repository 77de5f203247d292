"""The official SDKs, each as one thing that asks: what differs is here, what holds for all in the tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import anthropic
import cohere
import groq
import openai
from google import genai
from google.genai import types
from mistralai.client import Mistral

from penstock import AsyncClient, Client, sdk
from penstock.sim import SimServer

ASK = "What happened? ERROR [db] connection refused"
TURNS: Any = [{"role": "user", "content": ASK}]
KEY = "sk-test"

Colour = Literal["sync", "async"]


class Stranger:
    """An SDK behind a gate: `whole` and `pieces` give the text of an answer, in the colour of the gate.

    `tokens` are those that its last whole answer told of. `told` is whether its streams tell their usage.
    """

    provider: str
    model: str
    library: Literal["httpx2", "httpx"] = "httpx2"
    base = ""
    told = True

    def __init__(self, sim: SimServer, gate: Client | AsyncClient, **options: Any) -> None:
        self.tokens = 0
        self.sync = isinstance(gate, Client)
        self.http = sdk.http_client(gate, self.library, **options)
        self.client: Any = self.make(sim.url + self.base)

    def make(self, url: str) -> Any:
        raise NotImplementedError

    def asked(self) -> Any:
        raise NotImplementedError

    def streamed(self) -> Any:
        raise NotImplementedError

    def read(self, answer: Any) -> str:
        raise NotImplementedError

    def piece(self, event: Any) -> str:
        raise NotImplementedError

    def whole(self) -> Any:
        if self.sync:
            return self.read(self.asked())

        async def ask() -> str:
            return self.read(await self.asked())

        return ask()

    def pieces(self) -> Any:
        if self.sync:
            return "".join(self.piece(event) for event in self.streamed())

        async def ask() -> str:
            events = self.streamed()
            if asyncio.iscoroutine(events):
                events = await events
            return "".join([self.piece(event) async for event in events])

        return ask()


class OpenAIChat(Stranger):
    provider, model, base, told = "openai", "gpt-4o-mini", "/v1", False

    def make(self, url: str) -> Any:
        made = openai.OpenAI if self.sync else openai.AsyncOpenAI
        return made(api_key=KEY, base_url=url, http_client=self.http)

    def asked(self) -> Any:
        return self.client.chat.completions.create(model=self.model, messages=TURNS, max_tokens=500)

    def streamed(self) -> Any:
        return self.client.chat.completions.create(model=self.model, messages=TURNS, max_tokens=500, stream=True)

    def read(self, answer: Any) -> str:
        self.tokens = answer.usage.total_tokens
        return str(answer.choices[0].message.content)

    def piece(self, event: Any) -> str:
        return (event.choices[0].delta.content if event.choices else "") or ""


class Groq(OpenAIChat):
    provider, library, base = "groq", "httpx", ""

    def make(self, url: str) -> Any:
        made: Any = groq.Groq if self.sync else groq.AsyncGroq
        return made(api_key=KEY, base_url=url, http_client=self.http)


class OpenAIResponses(OpenAIChat):
    told = True

    def asked(self) -> Any:
        return self.client.responses.create(model=self.model, input=ASK, max_output_tokens=500)

    def streamed(self) -> Any:
        return self.client.responses.create(model=self.model, input=ASK, max_output_tokens=500, stream=True)

    def read(self, answer: Any) -> str:
        self.tokens = answer.usage.total_tokens
        return str(answer.output_text)

    def piece(self, event: Any) -> str:
        return str(event.delta) if event.type == "response.output_text.delta" else ""


class Anthropic(Stranger):
    provider, model = "anthropic", "claude-haiku-4-5"

    def make(self, url: str) -> Any:
        made = anthropic.Anthropic if self.sync else anthropic.AsyncAnthropic
        return made(api_key=KEY, base_url=url, http_client=self.http)

    def asked(self) -> Any:
        return self.client.messages.create(model=self.model, messages=TURNS, max_tokens=500)

    def streamed(self) -> Any:
        return self.client.messages.create(model=self.model, messages=TURNS, max_tokens=500, stream=True)

    def read(self, answer: Any) -> str:
        self.tokens = answer.usage.input_tokens + answer.usage.output_tokens
        return "".join(block.text for block in answer.content)

    def piece(self, event: Any) -> str:
        return str(event.delta.text) if event.type == "content_block_delta" else ""


class Cohere(Stranger):
    provider, model, library = "cohere", "command-a-03-2025", "httpx"

    def make(self, url: str) -> Any:
        made: Any = cohere.ClientV2 if self.sync else cohere.AsyncClientV2
        return made(api_key=KEY, base_url=url, httpx_client=self.http, max_retries=0)

    def asked(self) -> Any:
        return self.client.chat(model=self.model, messages=TURNS, max_tokens=500)

    def streamed(self) -> Any:
        return self.client.chat_stream(model=self.model, messages=TURNS, max_tokens=500)

    def read(self, answer: Any) -> str:
        self.tokens = int(answer.usage.billed_units.input_tokens + answer.usage.billed_units.output_tokens)
        return "".join(part.text for part in answer.message.content)

    def piece(self, event: Any) -> str:
        return str(event.delta.message.content.text) if event.type == "content-delta" else ""


class MistralAI(Stranger):
    provider, model, told = "mistral", "gpt-4o-mini", False

    def make(self, url: str) -> Any:
        own = {"client": self.http} if self.sync else {"async_client": self.http}
        return Mistral(api_key=KEY, server_url=url, **own)

    def asked(self) -> Any:
        chat = self.client.chat
        return (chat.complete if self.sync else chat.complete_async)(model=self.model, messages=TURNS, max_tokens=500)

    def streamed(self) -> Any:
        chat = self.client.chat
        return (chat.stream if self.sync else chat.stream_async)(model=self.model, messages=TURNS, max_tokens=500)

    def read(self, answer: Any) -> str:
        self.tokens = answer.usage.total_tokens
        return str(answer.choices[0].message.content)

    def piece(self, event: Any) -> str:
        return "".join(choice.delta.content or "" for choice in event.data.choices)


class Google(Stranger):
    provider, model = "gemini", "gemini-2.5-flash"

    def make(self, url: str) -> Any:
        own: Any = {"httpx_client": self.http} if self.sync else {"httpx_async_client": self.http}
        return genai.Client(api_key=KEY, vertexai=False, http_options=types.HttpOptions(base_url=url, **own))

    def asked(self) -> Any:
        models = self.client.models if self.sync else self.client.aio.models
        return models.generate_content(model=self.model, contents=ASK)

    def streamed(self) -> Any:
        models = self.client.models if self.sync else self.client.aio.models
        return models.generate_content_stream(model=self.model, contents=ASK)

    def read(self, answer: Any) -> str:
        self.tokens = answer.usage_metadata.total_token_count
        return str(answer.text)

    def piece(self, event: Any) -> str:
        return event.text or ""


STRANGERS: list[type[Stranger]] = [OpenAIChat, OpenAIResponses, Anthropic, Cohere, MistralAI, Groq, Google]


def during(
    sim: SimServer, stranger: type[Stranger], colour: Colour, do: Callable[[Stranger], Any], **more: Any
) -> tuple[Any, Client | AsyncClient]:
    """Do something with an SDK behind a gate of a colour, and return what came of it beside the gate."""
    given: dict[str, Any] = {
        "base_urls": {stranger.provider: sim.url + stranger.base},
        "config": False,
        "env": {},
        **more,
    }
    options = given.pop("options", {})
    if colour == "sync":
        with Client(**given) as gate:
            return do(stranger(sim, gate, **options)), gate

    async def main() -> Any:
        async with AsyncClient(**given) as other:
            return await do(stranger(sim, other, **options)), other

    found: tuple[Any, AsyncClient] = asyncio.run(main())
    return found
