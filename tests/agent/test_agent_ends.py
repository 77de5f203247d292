"""How runs end: at limits, in loops, by errors, left or interrupted; and how they are gone on with."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from penstock import Agent, AgentResult, AsyncAgent, AsyncClient, Client, Transcript, tool
from penstock.errors import (
    AuthenticationFailed,
    ClientClosed,
    ContextTooLong,
    InputError,
    TruncatedOutput,
)
from penstock.sim import SimConfig, SimServer
from penstock.sim.config import Model
from penstock.types import Message, Reasoning, ToolCall

from ..cli.terminal import environment
from .scripts import COLOURS, MODELS, billed, calls, disk_usage, play, run, says, settings

ANSWER = "The disk of db1 is 95 % full."
JSON_ACTS = '{"thought": "I look.", "action": "disk_usage", "arguments": {"host": "db1"}}'


LIMITS = {
    "steps": {"max_steps": 2},
    "tokens": {"max_total_tokens": 100},
    "money": {"budget": "0.000001"},
    "seconds": {"max_seconds": 1e-6},
}


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_a_clear_end_that_can_be_gone_on_from(sim: SimServer, limit: str, colour: str) -> None:
    """No error; with the limit raised the transcript leads to the answer, and its totals are those of both runs."""
    ask = [calls(("disk_usage", {"host": f"db{number}"})) for number in range(3)]
    play(sim, *ask, says(ANSWER))
    first = run(sim, colour, **LIMITS[limit]).ended  # type: ignore[arg-type]
    assert (first.stopped, first.answer) == (limit, None)
    assert first.steps == {"steps": 2, "tokens": 1, "money": 1, "seconds": 0}[limit]
    assert first.reason
    kept = Transcript.from_json(first.transcript.to_json())
    second = run(sim, colour, None, resume=kept).ended
    assert second.answer == ANSWER
    assert second.task == first.task
    assert second.transcript.cost_nano == billed(sim)
    assert second.transcript.steps == first.steps + second.steps


@pytest.mark.parametrize("colour", COLOURS)
def test_time_that_is_over_ends_a_tool_too(sim: SimServer, colour: str) -> None:
    """A tool without a bound of its own has that of the run."""
    forever = threading.Event()

    @tool(timeout_s=None)
    def hangs() -> str:
        forever.wait()
        return ""

    play(sim, calls(("hangs", {})), says("never"))
    try:
        ended = run(sim, colour, tools=[hangs], max_seconds=0.15).ended
    finally:
        forever.set()
    assert (ended.stopped, ended.steps) == ("seconds", 1)
    assert "did not end within" in ended.uses[0].content


def test_a_budget_is_never_exceeded(sim: SimServer) -> None:
    """Whatever it is, the bill stays below it: a step that may cost more than is left is not sent."""
    for budget in ("0.00001", "0.0001", "0.001"):
        play(sim, *[calls(("disk_usage", {"host": f"db{number}"})) for number in range(30)])
        ended = run(sim, "sync", budget=budget, max_steps=30).ended
        assert billed(sim) <= float(budget) * 1e9
        assert ended.stopped == ("steps" if ended.steps == 30 else "money")


@pytest.mark.parametrize("colour", COLOURS)
def test_a_loop_is_noticed(sim: SimServer, colour: str) -> None:
    """The same calls with the same results three times; a tool that says something new each time is no loop."""
    same = calls(("disk_usage", {"host": "db1"}))
    play(sim, *[same] * 9)
    ended = run(sim, colour).ended
    assert (ended.stopped, ended.steps) == ("loop", 3)
    numbers = iter(range(100))

    @tool
    def poll() -> int:
        return next(numbers)

    play(sim, *[calls(("poll", {}))] * 5, says("done"))
    assert run(sim, colour, tools=[poll]).ended.steps == 6


@pytest.mark.parametrize("how", ["drop", "summarise", None])
@pytest.mark.parametrize("protocol", ["native", "json"])
def test_a_conversation_that_is_too_long_is_reduced_once(protocol: Any, how: Any) -> None:
    """The oldest results go, it is said, and the run goes on; where that is not wanted, the error surfaces."""

    @tool
    def read(part: int) -> str:
        return f"part {part} " + "word " * 900

    acts = {
        "native": [calls(("read", {"part": part})) for part in range(4)],
        "json": [says(f'{{"action": "read", "arguments": {{"part": {part}}}}}') for part in range(4)],
    }
    answers = {"native": says(ANSWER), "json": says(f'{{"answer": "{ANSWER}"}}')}
    config = SimConfig(models={"gpt-4o-mini": Model(protocol="openai", window=3_200, max_output=500)})
    with SimServer(config) as small:
        for colour in COLOURS:
            turns = acts[protocol]
            if how == "summarise":
                turns = [*turns, says("part 0 and 1 say word")]
            play(small, *turns, answers[protocol])
            outcome = run(small, colour, tools=[read], reduce=how, protocol=protocol)
            if how is None:
                assert isinstance(outcome.error, ContextTooLong)
                assert outcome.ended.stopped == "failed"
                continue
            assert outcome.ended.answer == ANSWER
            assert outcome.ended.reduced
            assert "oldest tool results left out" in outcome.ended.reduced[0]
            assert "reduced" in outcome.kinds()
            told = str(outcome.ended.transcript.messages)
            assert ("part 0 and 1 say word" in told) == (how == "summarise")


def test_an_interrupted_run_is_resumed_where_it_was(sim: SimServer) -> None:
    """Calls without a result are made again, unless they may have had an effect: that is told to the model instead."""
    done: list[str] = []

    @tool(side_effects=True)
    def restart(host: str) -> str:
        done.append(host)
        raise KeyboardInterrupt

    @tool
    def look(host: str) -> str:
        return f"{host} is up"

    left = Transcript(
        task="t1",
        messages=(
            Message("user", "Restart db1."),
            Message(
                "assistant",
                (
                    ToolCall(id="a", name="restart", arguments='{"host": "db1"}'),
                    ToolCall(id="b", name="look", arguments='{"host": "db1"}'),
                ),
            ),
        ),
    )
    for model in MODELS:
        play(sim, says("It is up."))
        ended = run(sim, "sync", None, tools=[restart, look], resume=left, model=model).ended
        assert ended.answer == "It is up."
        assert "it may have taken effect" in ended.uses[0].content
        assert ended.uses[1].content == "db1 is up"
    assert not done
    with Client(**settings(sim)) as client, pytest.raises(InputError, match="without results"):
        Agent(client, tools=[look], model=MODELS[0]).run("and db2?", resume=left)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_written_action_without_a_result_is_taken_up(sim: SimServer, colour: str) -> None:
    """As a tool call is; what is no action is corrected, and an answer has nothing to go on with."""
    for left, steps in ((JSON_ACTS, 1), ("I would", 1)):
        kept = Transcript(task="t1", messages=(Message("user", "How full?"), Message("assistant", left)))
        play(sim, says(f'{{"answer": "{ANSWER}"}}'))
        ended = run(sim, colour, None, resume=kept, protocol="json").ended
        assert (ended.answer, ended.steps, len(ended.uses)) == (ANSWER, steps, int(left == JSON_ACTS))
    for protocol, left in (("json", '{"answer": "yes"}'), ("native", "yes")):
        kept = Transcript(task="t1", messages=(Message("user", "How full?"), Message("assistant", left)))
        outcome = run(sim, colour, None, resume=kept, protocol=protocol)
        assert isinstance(outcome.error, InputError)
        assert "ended with an answer" in str(outcome.error)


@pytest.mark.parametrize("model", MODELS)
def test_a_run_that_is_left_is_settled_and_leaves_its_transcript(sim: SimServer, model: str) -> None:
    """In both colours, while the model speaks; nothing stays open and what was used is counted."""
    play(sim, calls(("disk_usage", {"host": "db1"})), says("word " * 300))
    with Client(**settings(sim)) as client:
        with Agent(client, tools=[disk_usage], model=model).stream("How full?") as events:
            next(event for event in events if event.kind == "text")
        assert events.result.stopped == "interrupted"
        assert events.result.cost_nano == client.usage().cost_nano
        assert client.usage().attempts == 2
        assert client.budget().calls_under_way == 0
        assert [message.role for message in events.transcript.messages] == ["user", "assistant", "tool"]

    async def main() -> AgentResult:
        play(sim, calls(("disk_usage", {"host": "db1"})), says("word " * 300))
        async with AsyncClient(**settings(sim)) as client:
            stream = AsyncAgent(client, tools=[disk_usage], model=model).stream("How full?")
            reader = asyncio.ensure_future(_read_until_text(stream))
            await asyncio.wait_for(reader, 10)
            assert client.usage().attempts == 2
            assert stream.result.cost_nano == client.usage().cost_nano
            return stream.result

    assert asyncio.run(main()).stopped == "interrupted"


async def _read_until_text(stream: Any) -> None:
    async with stream:
        async for event in stream:
            if event.kind == "text":
                return


def test_thinking_goes_back_with_its_signature_after_the_transcript_was_kept(sim: SimServer) -> None:
    """Through JSON and another process's client; without it Anthropic refuses the turn."""
    thinking = {"mode": "enabled", "budget_tokens": 1024}
    play(sim, calls(("disk_usage", {"host": "db1"})), says(ANSWER))
    first = run(sim, "sync", model=MODELS[1], thinking=thinking, max_tokens=4000, max_steps=1).ended
    thought = [part for message in first.transcript.messages for part in message.parts if isinstance(part, Reasoning)]
    assert thought[0].signature
    again = Transcript.from_json(first.transcript.to_json())
    assert again == first.transcript
    assert run(sim, "async", None, model=MODELS[1], thinking=thinking, max_tokens=4000, resume=again).ended.answer


def test_an_error_of_a_call_surfaces_as_itself_with_what_was_done(sim: SimServer) -> None:
    """The transcript is in it, so that the run can go on once the cause is mended."""
    play(sim, calls(("disk_usage", {"host": "db1"})))
    sim.play('[[rule]]\nmatch = { nth = 2 }\nfault = { kind = "key_rejected" }')
    for colour in COLOURS:
        sim.play('[[rule]]\nmatch = { nth = 2 }\nfault = { kind = "key_rejected" }')
        outcome = run(sim, colour, "Use disk_usage: how full is the disk of db1?")
        assert isinstance(outcome.error, AuthenticationFailed)
        assert [use.name for use in outcome.ended.uses] == ["disk_usage"]
    sim.play("")
    outcome = run(sim, "sync", "Write down a runbook for the outage.", tools=[], max_tokens=10)
    assert isinstance(outcome.error, TruncatedOutput)


def test_a_client_that_is_closed_under_a_run_ends_it_cleanly(sim: SimServer) -> None:
    """The error says so, and the transcript is there to go on from."""
    play(sim, calls(("close", {})), says("never"))
    client = Client(**settings(sim))

    @tool
    def close() -> str:
        client.close()
        return "closed"

    with pytest.raises(ClientClosed) as caught:
        Agent(client, tools=[close], model=MODELS[0]).run("Close it.")
    assert isinstance(caught.value.agent, AgentResult)
    assert caught.value.agent.transcript.messages[-1].role == "tool"


INTERRUPTED = """
import os, threading
from penstock import Agent, Client, tool

@tool(timeout_s=None)
def hang() -> str:
    os.write(1, b"hanging\\n")  # past the buffer, whose lock the thread could hold when the program ends
    threading.Event().wait()

with Client() as client:
    try:
        Agent(client, tools=[hang], model="openai:gpt-4o-mini").run("Hang.")
    except KeyboardInterrupt:
        print("stopped", client.usage().attempts, client.budget().calls_under_way)
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_sync_run_whose_tool_hangs(sim: SimServer, tmp_path: Path) -> None:
    """At once, with its call settled, and the program ends although the tool's thread does not."""
    play(sim, calls(("hang", {})))
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        env=environment(sim, tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "hanging\n"
            running.send_signal(signal.SIGINT)
            said, _ = running.communicate(timeout=60)
        finally:
            running.kill()
    assert (said, running.returncode) == ("stopped 1 0\n", 0)
