"""Agents driven in both colours against the simulator, which says exactly what a script tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from penstock import Agent, AgentEvent, AgentResult, AsyncAgent, AsyncClient, Client, PenstockError, tool
from penstock.sim import SimServer

MODELS = ("openai:gpt-4o-mini", "anthropic:claude-haiku-4-5")
COLOURS = ("sync", "async")


@tool
def disk_usage(host: str) -> str:
    """How full the disk of a host is.

    Args:
        host: The name of the host.
    """
    return f"{host}: 95 %"


def settings(sim: SimServer, **more: Any) -> dict[str, Any]:
    """A client that reaches nobody but the simulator."""
    return {
        "keys": {"openai": "k-secret", "anthropic": "k-secret"},
        "base_urls": {"openai": f"{sim.url}/v1", "anthropic": sim.url},
        "config": False,
        "env": {},
        **more,
    }


def calls(*made: tuple[str, dict[str, Any] | str], text: str = "") -> dict[str, Any]:
    """A turn of tool calls."""
    return {"text": text, "calls": [{"name": name, "arguments": arguments} for name, arguments in made]}


def says(text: str) -> dict[str, Any]:
    """A turn of text."""
    return {"text": text}


def play(sim: SimServer, *turns: dict[str, Any]) -> None:
    """Have the simulated model say these turns, one after the other; after them it says what it likes."""
    sim.reset()
    rules = [{"times": 1, "fault": {"kind": "say", **turn}} for turn in turns]
    sim.play(msgspec.json.encode({"rule": rules}).decode())


def billed(sim: SimServer) -> int:
    """What the provider has charged, in nano-dollars, once it knows how its streams ended."""
    assert sim.settle()
    total: int = sim.bill()["total_nano"]
    return total


class Outcome(msgspec.Struct):
    """What a run came to: its result or error, its events, and what the client counted."""

    result: AgentResult | None
    error: PenstockError | None
    events: list[AgentEvent]
    totals: Any

    @property
    def ended(self) -> AgentResult:
        """The result of a run that ended well, or of the error that ended it."""
        if self.error is not None:
            assert isinstance(self.error.agent, AgentResult)
            return self.error.agent
        assert self.result is not None
        return self.result

    def kinds(self) -> list[str]:
        """The kinds of its events, neighbours of one kind as one."""
        kinds: list[str] = []
        for event in self.events:
            if kinds[-1:] != [event.kind]:
                kinds.append(event.kind)
        return kinds


def run(
    sim: SimServer, colour: str, task: Any = "How full is the disk?", *, stream: bool = False, client: Any = None,
    tools: Iterable[Any] = (disk_usage,), resume: Any = None, **options: Any,
) -> Outcome:  # fmt: skip
    """Run an agent once; `client` are settings of its client."""
    events: list[AgentEvent] = []
    made = settings(sim, **(client or {}))
    options.setdefault("model", MODELS[0])
    options["on_event"] = events.append
    if colour == "sync":
        with Client(**made) as owner:
            outcome = Outcome(None, None, events, None)
            try:
                agent = Agent(owner, tools=tools, **options)
                outcome.result = (
                    agent.stream(task, resume=resume).finish() if stream else agent.run(task, resume=resume)
                )
            except PenstockError as error:
                outcome.error = error
            outcome.totals = owner.usage()
            return outcome
    return asyncio.run(_run(made, task, stream, tools, resume, options, events))


async def _run(
    made: Any, task: Any, stream: bool, tools: Any, resume: Any, options: Any, events: list[AgentEvent]
) -> Outcome:
    async with AsyncClient(**made) as owner:
        outcome = Outcome(None, None, events, None)
        try:
            agent = AsyncAgent(owner, tools=tools, **options)
            outcome.result = await (
                agent.stream(task, resume=resume).finish() if stream else agent.run(task, resume=resume)
            )
        except PenstockError as error:
            outcome.error = error
        outcome.totals = owner.usage()
        return outcome
