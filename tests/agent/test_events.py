"""What the events of a client tell of an agent's tools."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock import Agent, AsyncAgent, AsyncClient, Client
from penstock.events import CallEnded, ToolCalled
from penstock.sim import SimServer

from .scripts import COLOURS, calls, disk_usage, play, says, settings


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("colour", COLOURS)
def test_a_tool_that_ran_is_told_with_the_call_that_asked_for_it(sim: SimServer, colour: str, content: bool) -> None:
    """What it was given and what came back only for who wants content."""
    play(sim, calls(("disk_usage", {"host": "db1"}), ("no_such_tool", {})), says("Full."))
    told: list[Any] = []
    if colour == "sync":
        with Client(**settings(sim)) as client:
            client.on((CallEnded, ToolCalled), told.append, inline=True, content=content)
            result = Agent(client, model="openai:gpt-4o-mini", tools=[disk_usage]).run("Look at db1.")
    else:

        async def main() -> Any:
            async with AsyncClient(**settings(sim)) as client:
                client.on((CallEnded, ToolCalled), told.append, inline=True, content=content)
                return await AsyncAgent(client, model="openai:gpt-4o-mini", tools=[disk_usage]).run("Look at db1.")

        result = asyncio.run(main())
    first, tool, second = told
    assert isinstance(tool, ToolCalled)
    assert (tool.tool, tool.outcome, tool.call_id) == ("disk_usage", "ok", first.call_id)
    assert tool.tags == first.tags == second.tags == {"task": result.task}
    assert (tool.arguments, tool.result) == (('{"host":"db1"}', "db1: 95 %") if content else (None, None))
