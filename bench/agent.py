"""What an agent costs beside its calls: CPU per step, without a network. `python -m bench.agent`.

A step is one question to the model, one use of a tool and its result. From the CPU of a whole run the CPU of the same
questions asked by `complete` is taken away. Prints the figures and writes build/bench-agent.json; exits with 1 when the
promise is missed.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Final

from bench.processes import ROOT

from penstock import Agent, AsyncAgent, AsyncClient, Client, Message, tool
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport

OUT: Final = ROOT / "build" / "bench-agent.json"
STEPS: Final = 20
ROUNDS: Final = 15
RUNS: Final = 5
"""Runs of a round, of which the cheapest counts: what disturbs a run only makes it dearer."""

OVERHEAD_MAX_US: Final = 300.0
MODEL: Final = "openai:gpt-4o-mini"
SETTINGS: Final = {"keys": {"openai": "k"}, "config": False, "env": {}}


@tool
def look(host: str, number: int = 0) -> str:
    """Look at a host.

    Args:
        host: Its name.
        number: Which look it is.
    """
    return f"{host} is up, look {number}"


@tool
async def look_async(host: str, number: int = 0) -> str:
    """Look at a host.

    Args:
        host: Its name.
        number: Which look it is.
    """
    return f"{host} is up, look {number}"


def answers(name: str, steps: int = STEPS) -> list[Scripted]:
    """The turns of a model that looks at every step and answers at the last."""
    found = []
    for step in range(steps):
        message: dict[str, object] = {"role": "assistant", "content": "done"}
        if step < steps - 1:
            arguments = json.dumps({"host": "db1", "number": step})
            call = {"id": f"call_{step}", "type": "function", "function": {"name": name, "arguments": arguments}}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        body = {
            "id": "c1",
            "object": "chat.completion",
            "model": "gpt-4o-mini",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
        found.append(Scripted(body=json.dumps(body).encode()))
    return found


def conversations(messages: tuple[Message, ...]) -> list[list[Message]]:
    """What is asked at each step of a run: the conversation up to there."""
    return [list(messages[: 1 + 2 * step]) for step in range(STEPS)]


def sync_us() -> tuple[float, float]:
    """CPU of a step of a run in this thread, and of the same question asked by `complete`, in microseconds."""
    with Client(transport=ScriptedTransport(answers("look")), **SETTINGS) as client:  # type: ignore[arg-type]
        agent = Agent(client, tools=[look], model=MODEL, max_steps=STEPS)
        began = time.process_time()
        result = agent.run("How is db1?")
        run = time.process_time() - began
        assert result.steps == STEPS
    with Client(transport=ScriptedTransport(answers("look")), **SETTINGS) as client:  # type: ignore[arg-type]
        asked = conversations(result.transcript.messages)
        began = time.process_time()
        for messages in asked:
            client.complete(messages, model=MODEL, tools=[look.spec])
        calls = time.process_time() - began
    return run / STEPS * 1e6, calls / STEPS * 1e6


async def async_us() -> tuple[float, float]:
    """The same on an event loop, with a tool that is awaited."""
    async with AsyncClient(transport=AsyncScriptedTransport(answers("look_async")), **SETTINGS) as client:  # type: ignore[arg-type]
        agent = AsyncAgent(client, tools=[look_async], model=MODEL, max_steps=STEPS)
        began = time.process_time()
        result = await agent.run("How is db1?")
        run = time.process_time() - began
        assert result.steps == STEPS
    async with AsyncClient(transport=AsyncScriptedTransport(answers("look_async")), **SETTINGS) as client:  # type: ignore[arg-type]
        asked = conversations(result.transcript.messages)
        began = time.process_time()
        for messages in asked:
            await client.complete(messages, model=MODEL, tools=[look_async.spec])
        calls = time.process_time() - began
    return run / STEPS * 1e6, calls / STEPS * 1e6


def rounds(colour: str, count: int = ROUNDS) -> Iterator[tuple[float, float]]:
    """The cheapest run of each round."""
    for _ in range(count):
        runs = [sync_us() if colour == "sync" else asyncio.run(async_us()) for _ in range(RUNS)]
        yield min(run for run, _ in runs), min(calls for _, calls in runs)


def measured(count: int = ROUNDS) -> dict[str, float]:
    """The medians of the rounds, in microseconds."""
    figures = {}
    for colour in ("sync", "async"):
        found = list(rounds(colour, count))
        figures[f"agent_{colour}_step_us"] = round(median(run for run, _ in found), 1)
        figures[f"agent_{colour}_call_us"] = round(median(calls for _, calls in found), 1)
        figures[f"agent_{colour}_overhead_us"] = round(median(run - calls for run, calls in found), 1)
    return figures


def main() -> int:
    """Measure, print, write and judge."""
    figures = measured()
    held = True
    for colour in ("sync", "async"):
        over = figures[f"agent_{colour}_overhead_us"]
        good = over <= OVERHEAD_MAX_US
        held = held and good
        print(
            f"{colour:5}  step {figures[f'agent_{colour}_step_us']:6.1f} µs, "
            f"the same call alone {figures[f'agent_{colour}_call_us']:6.1f} µs, overhead {over:6.1f} µs "
            f"(promised ≤ {OVERHEAD_MAX_US:g} µs: {'held' if good else 'MISSED'})"
        )
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures}, indent=2), encoding="utf-8")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
