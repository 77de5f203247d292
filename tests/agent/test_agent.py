"""Agents against the simulator: on both wires and by the text protocol, in both colours, streamed and whole."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
import time
from typing import Any, Literal

import msgspec
import pydantic
import pytest

from penstock import Agent, AgentFailed, AgentResult, AsyncAgent, AsyncClient, Client, Transcript, tool
from penstock.errors import (
    ConfigError,
    InputError,
)
from penstock.sim import SimConfig, SimServer
from penstock.sim.config import Limits as SimLimits

from .scripts import COLOURS, MODELS, billed, calls, disk_usage, play, run, says, settings

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
    together = threading.Barrier(4, timeout=30)
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
