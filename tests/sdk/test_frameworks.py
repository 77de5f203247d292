"""What is built on the official SDKs goes through the gate with them: LangChain and Pydantic AI, in both colours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from penstock import AsyncClient, Client, sdk
from penstock.sim import SimConfig, SimServer

ASK = "What happened? ERROR [db] connection refused"
MODEL = "gpt-4o-mini"


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer(SimConfig()) as running:
        yield running


def given(sim: SimServer) -> dict[str, Any]:
    sim.reset()
    return {"base_urls": {"openai": sim.url + "/v1"}, "config": False, "env": {}}


def test_langchain_asks_and_streams_through_the_gate(sim: SimServer) -> None:
    """Its streams can ask for their usage, so that the gate need not estimate it."""
    with Client(**given(sim)) as gate:
        chat = ChatOpenAI(
            model=MODEL,
            api_key="sk-test",
            base_url=sim.url + "/v1",
            http_client=sdk.http_client(gate),
            stream_usage=True,
        )
        whole = chat.invoke(ASK)
        text = "".join(str(piece.content) for piece in chat.stream(ASK))
        totals = gate.usage()
    assert text == whole.content
    assert (totals.calls, totals.usage.estimated) == (2, False)
    assert totals.cost_nano == sim.bill()["total_nano"]


def test_langchain_asks_in_an_event_loop(sim: SimServer) -> None:
    """With the client that it has for that."""

    async def main() -> None:
        async with AsyncClient(**given(sim)) as gate:
            chat = ChatOpenAI(
                model=MODEL,
                api_key="sk-test",
                base_url=sim.url + "/v1",
                http_async_client=sdk.http_client(gate),
            )
            assert "db" in str((await chat.ainvoke(ASK)).content).lower()
            assert gate.usage().cost_nano == sim.bill()["total_nano"]

    asyncio.run(main())


def test_pydantic_ai_uses_a_tool_through_the_gate(sim: SimServer) -> None:
    """An agent is several calls, each of them accounted."""

    async def main() -> None:
        async with AsyncClient(**given(sim)) as gate:
            client = openai.AsyncOpenAI(api_key="sk-test", base_url=sim.url + "/v1", http_client=sdk.http_client(gate))
            agent = Agent(OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client)))

            @agent.tool_plain
            def get_weather(city: str) -> str:
                """Current weather of a city."""
                return json.dumps({"sky": "sunny", "city": city})

            result = await agent.run("The weather in Paris?")
            assert result.output
            totals = gate.usage()
            assert totals.calls == len(sim.log()) == 2
            assert totals.cost == Decimal(sim.bill()["total_nano"]).scaleb(-9)

    asyncio.run(main())
