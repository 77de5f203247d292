"""What tools do in a run: badly, too long, side by side, with effects that are asked for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from penstock import tool
from penstock.errors import (
    ConfigError,
)
from penstock.sim import SimServer
from penstock.types import Image

from .scripts import COLOURS, MODELS, calls, disk_usage, play, run, says


@tool
def raises() -> str:
    """Fail."""
    raise ValueError("no route to the database")


@tool(max_chars=300)
def long() -> str:
    """Say 100 MB."""
    return "x" * 100_000_000


@tool
def strange() -> object:
    """Return what JSON has no word for."""
    return (n for n in range(3))


@tool
def leaves() -> str:
    """End the program."""
    raise SystemExit(3)


BAD_TOOLS: dict[Any, str] = {
    raises: "ValueError: no route to the database",
    long: "99,999,700 characters are left out here",
    strange: "cannot be written as JSON",
    leaves: "was not let",
}


@pytest.mark.parametrize("bad", BAD_TOOLS, ids=[bad.name for bad in BAD_TOOLS])
def test_whatever_a_tool_does_the_model_is_told_in_bounded_words(sim: SimServer, bad: Any) -> None:
    """An exception, 100 MB, no JSON, an exit: the run goes on."""
    for colour in COLOURS:
        play(sim, calls((bad.name, {})), says("noted"))
        use = run(sim, colour, tools=[bad]).ended.uses[0]
        assert BAD_TOOLS[bad] in use.content
        assert len(use.content) < 1000
        assert use.is_error == (bad is not long)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_tool_that_hangs_is_left_after_its_time(sim: SimServer, colour: str) -> None:
    """The run goes on without it, in a thread as well as in a task."""
    forever = threading.Event()

    @tool(timeout_s=0.05)
    def hangs() -> str:
        forever.wait()
        return ""

    @tool(timeout_s=0.05)
    async def hangs_too() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()  # it does not even let itself be cancelled the first time
        return ""

    tools: list[Any] = [hangs, hangs_too] if colour == "async" else [hangs]
    play(sim, calls(*[(each.name, {}) for each in tools]), says("noted"))
    try:
        uses = run(sim, colour, tools=tools).ended.uses
    finally:
        forever.set()
    assert len(uses) == len(tools)
    assert all("did not end within 0.05 s" in use.content and use.ran for use in uses)
    assert [use.left for use in uses] == [True, False][: len(uses)], "a thread goes on, a task is cancelled"


def test_async_tools_run_in_the_loop_and_are_refused_by_a_sync_agent(sim: SimServer) -> None:
    """A box may hold both kinds; only an async agent performs both."""
    loops = []

    @tool
    async def looks(host: str) -> str:
        loops.append(asyncio.get_running_loop())
        return host

    play(sim, calls(("looks", {"host": "a"}), ("disk_usage", {"host": "b"})), says("done"))
    assert [use.content for use in run(sim, "async", tools=[looks, disk_usage]).ended.uses] == ["a", "b: 95 %"]
    assert len(loops) == 1
    outcome = run(sim, "sync", tools=[looks, disk_usage])
    assert isinstance(outcome.error, ConfigError)
    assert "looks" in str(outcome.error)


def test_a_turn_of_too_many_calls_is_bounded(sim: SimServer) -> None:
    """Each call has a result, and those beyond the bound are not performed."""
    play(sim, calls(*[("disk_usage", {"host": f"db{number}"}) for number in range(40)]), says("done"))
    ended = run(sim, "async").ended
    assert [use.ran for use in ended.uses] == [True] * 32 + [False] * 8
    assert ended.answered


@pytest.mark.parametrize("colour", COLOURS)
def test_side_effects_are_asked_for(sim: SimServer, colour: str) -> None:
    """A no is told to the model with its words; a tool without side effects is never asked for."""
    restarted: list[str] = []
    asked: list[Any] = []

    @tool(side_effects=True)
    def restart(host: str) -> str:
        restarted.append(host)
        return "restarted"

    def approve(name: str, arguments: dict[str, Any]) -> bool | str:
        asked.append((name, arguments))
        return True if arguments["host"] == "db1" else "not that one"

    hosts = [("restart", {"host": "db1"}), ("restart", {"host": "db2"}), ("disk_usage", {"host": "db1"})]
    play(sim, calls(*hosts), says("done"))
    uses = run(sim, colour, tools=[restart, disk_usage], approve=approve).ended.uses
    assert restarted == ["db1"]
    assert [arguments["host"] for _, arguments in asked] == ["db1", "db2"]
    assert [use.ran for use in uses] == [True, False, True]
    assert "not that one" in uses[1].content


def test_an_approval_may_be_awaited(sim: SimServer) -> None:
    """By an async agent; what is neither yes nor no is refused instead of guessed."""

    @tool(side_effects=True)
    def restart(host: str) -> str:
        return "restarted"

    async def approve(name: str, arguments: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return arguments["host"] == "db1" or 7

    play(sim, calls(("restart", {"host": "db1"})), says("done"))
    assert run(sim, "async", tools=[restart], approve=approve).ended.uses[0].content == "restarted"
    play(sim, calls(("restart", {"host": "db2"})), says("done"))
    assert isinstance(run(sim, "async", tools=[restart], approve=approve).error, ConfigError)
    assert isinstance(run(sim, "sync", tools=[restart], approve=approve).error, ConfigError)


def test_a_picture_goes_to_a_model_that_can_be_shown_it(sim: SimServer) -> None:
    """To others it is said that there is one."""

    @tool
    def draw() -> Image:
        return Image(data="iVBORw0KGgo=", media_type="image/png")

    native = (calls(("draw", {})), says("ok"))
    written = (says("action: draw"), says("answer: ok"))
    for model, protocol, shown in ((1, "native", True), (0, "native", False), (1, "lines", False)):
        play(sim, *(native if protocol == "native" else written))
        ended = run(sim, "sync", tools=[draw], model=MODELS[model], protocol=protocol).ended
        assert ended.answer == "ok"
        assert ended.uses[0].content == "[image, which this model is not shown]"
        assert ("image/png" in ended.transcript.to_json()) == shown
