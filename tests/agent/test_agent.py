"""Agents against the simulator: on both wires and by the text protocol, in both colours, streamed and whole."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import pydantic
import pytest

from penstock import Agent, AgentFailed, AgentResult, AsyncAgent, AsyncClient, Client, Transcript, tool
from penstock.errors import (
    AuthenticationFailed,
    ClientClosed,
    ConfigError,
    ContextTooLong,
    InputError,
    TruncatedOutput,
)
from penstock.sim import SimConfig, SimServer
from penstock.sim.config import Limits as SimLimits
from penstock.sim.config import Model
from penstock.types import Image, Message, Reasoning, ToolCall

from ..cli.terminal import environment
from .scripts import COLOURS, MODELS, billed, calls, disk_usage, play, run, says, settings

pytestmark = pytest.mark.usefixtures("sim")
ANSWER = "The disk of db1 is 95 % full."
JSON_ACTS = '{"thought": "I look.", "action": "disk_usage", "arguments": {"host": "db1"}}'
SCRIPTS: dict[str, tuple[Any, ...]] = {
    "native": (calls(("disk_usage", {"host": "db1"}), text="I look."), says(ANSWER)),
    "json": (says(f"```json\n{JSON_ACTS}\n```"), says(f'{{"thought": "done", "answer": "{ANSWER}"}}')),
    "xml": (
        says("<thought>I look.</thought>\n<action>disk_usage</action>\n<arguments><host>db1</host></arguments>"),
        says(f"<thought>done</thought>\n<answer>{ANSWER}</answer>"),
    ),
    "lines": (
        says('thought: I look.\naction: disk_usage\narguments: {"host": "db1"}'),
        says(f"thought: done\nanswer: {ANSWER}"),
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("protocol", SCRIPTS)
def test_an_agent_uses_a_tool_and_answers(sim: SimServer, protocol: Any, model: str, stream: bool) -> None:
    """The same in both colours: result, events, money to the last nano-dollar, every step under one task."""
    for colour in COLOURS:
        play(sim, *SCRIPTS[protocol])
        outcome = run(sim, colour, protocol=protocol, model=model, stream=stream)
        result = outcome.ended
        assert (result.answer, result.stopped, result.steps) == (ANSWER, "answered", 2)
        assert [(use.name, use.arguments, use.content) for use in result.uses] == [
            ("disk_usage", {"host": "db1"}, "db1: 95 %")
        ]
        assert result.cost_nano == billed(sim)
        assert outcome.totals.by_tag[f"task={result.task}"].calls == 2
        kinds = [kind for kind in outcome.kinds() if kind != "reasoning"]
        expected = ["step", "tool_call", "tool_result", "step", "text", "answer"]
        assert kinds == (["step", "text", *expected[1:]] if protocol == "native" else expected)
        said = "".join(event.text for event in outcome.events if event.kind == "text" and event.step == 2)
        assert said == ANSWER
        assert Transcript.from_json(result.transcript.to_json()) == result.transcript


class Disk(pydantic.BaseModel):
    """What is wanted."""

    host: str
    percent: int = pydantic.Field(le=100)
    state: Literal["ok", "full"]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("protocol", ["native", "json"])
def test_an_answer_of_a_type_is_read_or_extracted(sim: SimServer, protocol: Any, colour: str) -> None:
    """JSON that fits costs no further call; prose costs one, whose attempts and money count as well."""
    value = {"host": "db1", "percent": "95", "state": "full"}
    whole = msgspec.json.encode(value if protocol == "native" else {"answer": value}).decode()
    play(sim, says(whole))
    ended = run(sim, colour, protocol=protocol, answer=Disk).ended
    assert ended.answer == Disk(host="db1", percent=95, state="full")
    assert ended.steps == sim.bill()["attempts"] == 1
    play(sim, says(ANSWER if protocol == "native" else f'{{"answer": "{ANSWER}"}}'))
    ended = run(sim, colour, protocol=protocol, answer=Disk).ended
    assert isinstance(ended.answer, Disk)
    assert sim.bill()["attempts"] == 2
    assert ended.cost_nano == billed(sim)


@pytest.mark.parametrize("colour", COLOURS)
def test_tools_of_one_turn_run_side_by_side_and_their_results_keep_the_order(sim: SimServer, colour: str) -> None:
    """Each waits for all others to have begun; the first called ends last."""
    together = threading.Barrier(4, timeout=10)
    ended: list[int] = []

    @tool
    def wait(number: int) -> str:
        together.wait()
        while len(ended) < 3 - number:
            time.sleep(0.001)
        ended.append(number)
        return f"number {number}"

    play(sim, calls(*[("wait", {"number": number}) for number in range(4)]), says("done"))
    outcome = run(sim, colour, tools=[wait])
    assert [use.content for use in outcome.ended.uses] == [f"number {number}" for number in range(4)]
    told = [event.used.content for event in outcome.events if event.used is not None]
    assert told == [f"number {number}" for number in (3, 2, 1, 0)]


MISTAKES: dict[str, tuple[Any, str]] = {
    "unknown tool": (calls(("disk_use", {"host": "db1"})), "did you mean 'disk_usage'?"),
    "bad arguments": (calls(("disk_usage", {"hots": "db1"})), "expected the field 'host', got nothing"),
    "an argument too many": (calls(("disk_usage", {"host": "db1", "force": True})), "there is no parameter 'force'"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_once_and_then_fails_cleanly(sim: SimServer, mistake: str, model: str) -> None:
    """Mended, the run goes on; repeated, it ends with the transcript and without another question."""
    turn, told = MISTAKES[mistake]
    for colour in COLOURS:
        play(sim, turn, *SCRIPTS["native"])
        outcome = run(sim, colour, model=model)
        assert outcome.ended.answer == ANSWER
        assert outcome.ended.uses[0].is_error
        assert not outcome.ended.uses[0].ran
        assert told in outcome.ended.uses[0].content
        play(sim, turn, turn, *SCRIPTS["native"])
        outcome = run(sim, colour, model=model)
        assert isinstance(outcome.error, AgentFailed)
        assert (outcome.ended.stopped, outcome.ended.steps) == ("failed", 2)
        assert sim.bill()["attempts"] == 2
        assert outcome.ended.cost_nano == billed(sim)


@pytest.mark.parametrize("colour", COLOURS)
def test_text_that_is_no_action_is_told_once_and_then_fails_cleanly(sim: SimServer, colour: str) -> None:
    """The correction says how it is to be written."""
    play(sim, says("I would rather talk."), *SCRIPTS["json"])
    outcome = run(sim, colour, protocol="json")
    assert outcome.ended.answer == ANSWER
    assert [event.text[:24] for event in outcome.events if event.kind == "correction"] == ["That could not be read: "]
    play(sim, says("I would rather talk."), says("Still."), *SCRIPTS["json"])
    outcome = run(sim, colour, protocol="json")
    assert isinstance(outcome.error, AgentFailed)
    assert sim.bill()["attempts"] == 2


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


def test_a_turn_of_too_many_calls_is_bounded(sim: SimServer) -> None:
    """Each call has a result, and those beyond the bound are not performed."""
    play(sim, calls(*[("disk_usage", {"host": f"db{number}"}) for number in range(40)]), says("done"))
    ended = run(sim, "async").ended
    assert [use.ran for use in ended.uses] == [True] * 32 + [False] * 8
    assert ended.answered


def test_both_agents_take_the_same_parameters() -> None:
    """And give the same results, one of them awaited."""
    for name in ("__init__", "run", "stream"):
        ours, theirs = (inspect.signature(getattr(agent, name)) for agent in (Agent, AsyncAgent))
        assert ours.parameters == theirs.parameters
    assert inspect.signature(Agent.run).return_annotation == inspect.signature(AsyncAgent.run).return_annotation


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "steps": ({"max_steps": 0}, "max_steps is 0"),
    "tokens": ({"max_total_tokens": True}, "max_total_tokens is True"),
    "money": ({"budget": "a lot"}, "budget: 'a lot' is not an amount"),
    "no money": ({"budget": "0"}, "expected dollars above 0"),
    "seconds": ({"max_seconds": float("nan")}, "max_seconds is nan"),
    "protocol": ({"protocol": "yaml"}, "protocol is 'yaml'"),
    "reduce": ({"reduce": "forget"}, "reduce is 'forget'"),
    "corrections": ({"corrections": -1}, "corrections is -1"),
    "approve": ({"approve": "yes"}, "approve is 'yes'"),
    "tools of a call": ({"response_format": "json"}, "say what the answer is to be with answer"),
    "unknown": ({"temprature": 1}, "did you mean 'temperature'?"),
    "no tool": ({"tools": [3]}, "3 is no tool"),
    "no type": ({"answer": 3}, "neither a type nor a JSON Schema"),
}


@pytest.mark.parametrize("mistake", BAD_SETTINGS)
def test_a_wrong_setting_is_refused_when_the_agent_is_made(mistake: str) -> None:
    """Naming it, with what was expected."""
    given, words = BAD_SETTINGS[mistake]
    with Client(keys={"openai": "k"}, config=False, env={}, model=MODELS[0]) as client:
        with pytest.raises(ConfigError, match=re.escape(words)):
            Agent(client, **given)
        with pytest.raises(InputError, match="there is no task"):
            Agent(client).run()
        with pytest.raises(ConfigError, match="expected a Transcript"):
            Agent(client).run(resume="kept.json")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="no transcript of an agent"):
            Transcript.from_json("{}")
        with pytest.raises(InputError, match="version 9"):
            Transcript.from_json('{"task": "t", "messages": [], "version": 9}')


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


def test_one_agent_serves_many_threads(sim: SimServer) -> None:
    """Each run has its own conversation and its own task."""
    sim.play("")
    found: list[AgentResult] = []
    with Client(**settings(sim)) as client:
        agent = Agent(client, tools=[disk_usage], model=MODELS[0])

        def work(number: int) -> None:
            found.append(agent.run(f"Use disk_usage: how full is the disk of db{number}?"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for worker in [each for each in threading.enumerate() if each.name == "penstock-tool"]:
        worker.join(10)
        assert not worker.is_alive()
    assert all(result.answered for result in found)
    assert len({result.task for result in found}) == 8
    assert {result.transcript.messages[0].content for result in found} == {
        f"Use disk_usage: how full is the disk of db{number}?" for number in range(8)
    }


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
import sys, threading
from penstock import Agent, Client, tool

@tool(timeout_s=None)
def hang() -> str:
    print("hanging", flush=True)
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
    assert running.stdout is not None
    assert running.stdout.readline() == "hanging\n"
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=20)
    assert (said, running.returncode) == ("stopped 1 0\n", 0)


def test_a_model_without_tools_gets_the_text_protocol(sim: SimServer) -> None:
    """By itself; asked for its own tools, it is said why they cannot be had."""
    sim.play("")
    with Client(**settings(sim)) as client:
        agent = Agent(client, tools=[disk_usage], model="openai:o1-mini")
        agent_settings, _ = agent._begin("hi", None, None, stream=False)
        assert agent_settings.plan.protocol == "json"
        assert agent_settings.plan.instructs_as_user
        with pytest.raises(ConfigError, match="takes no tools"):
            Agent(client, tools=[disk_usage], model="openai:o1-mini", protocol="native").run("hi")


@pytest.mark.parametrize("rpm", [12_000, pytest.param(600, marks=pytest.mark.slow)])
def test_twenty_agents_at_a_tight_limit_meet_no_rate_limit(rpm: int, record_property: Any) -> None:
    """What the server refuses until its limit is learned is waited for and asked again: no user sees it."""
    with SimServer(SimConfig(limits={"openai": SimLimits(rpm=rpm, burst_requests=5)})) as server:

        async def main() -> tuple[list[AgentResult], Any]:
            async with AsyncClient(**settings(server)) as client:
                agent = AsyncAgent(client, tools=[disk_usage], model=MODELS[0])
                tasks = [agent.run(f"Use disk_usage: how full is the disk of db{number}?") for number in range(20)]
                return await asyncio.gather(*tasks), client.usage()

        results, totals = asyncio.run(main())
    assert all(result.answered and len(result.uses) == 1 for result in results)
    assert (totals.calls, totals.failed) == (40, 0)
    assert totals.rate_limited > 0
    record_property("refused by the server, seen by no user", totals.rate_limited)
