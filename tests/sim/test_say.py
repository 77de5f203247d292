"""A simulated model that says exactly what it is told, seen through the official SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from penstock.sim import SimServer
from penstock.sim.faults import Scenario, ScenarioError

SCRIPT = """
[[rule]]
times = 1
fault = { kind = "say", text = "I look.", calls = [{ name = "look", arguments = { host = "db1" } }, { name = "nix" }] }

[[rule]]
times = 1
fault = { kind = "say", text = "It is up." }
"""
TOOL: dict[str, Any] = {"type": "object", "properties": {"host": {"type": "string"}}}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer() as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
def test_openai_hears_the_script(sim: SimServer, stream: bool) -> None:
    """Text and calls in one turn, then text; streamed and whole."""
    sim.play(SCRIPT)
    tools: Any = [{"type": "function", "function": {"name": "look", "parameters": TOOL}}]
    with openai.OpenAI(api_key="k", base_url=f"{sim.url}/v1", max_retries=0) as client:

        def ask() -> Any:
            asked: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
            if not stream:
                return client.chat.completions.create(**asked).choices[0].message
            with client.chat.completions.stream(**asked) as events:
                return events.get_final_completion().choices[0].message

        first, second = ask(), ask()
    assert first.content == "I look."
    assert [(call.function.name, call.function.arguments) for call in first.tool_calls] == [
        ("look", '{"host":"db1"}'),
        ("nix", "{}"),
    ]
    assert (second.content, second.tool_calls) == ("It is up.", None)


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_hears_the_script(sim: SimServer, stream: bool) -> None:
    """The same in its own words."""
    sim.play(SCRIPT)
    tools: Any = [{"name": "look", "input_schema": TOOL}]
    with anthropic.Anthropic(api_key="k", base_url=sim.url, max_retries=0) as client:

        def ask() -> Any:
            asked: Any = {
                "model": "claude-haiku-4-5",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": "hi"}],
                "tools": tools,
            }
            if not stream:
                return client.messages.create(**asked)
            with client.messages.stream(**asked) as events:
                return events.get_final_message()

        first, second = ask(), ask()
    assert [block.type for block in first.content] == ["text", "tool_use", "tool_use"]
    assert (first.content[1].input, first.content[2].input) == ({"host": "db1"}, {})
    assert first.stop_reason == "tool_use"
    assert [block.text for block in second.content] == ["It is up."]


def test_a_turn_of_nothing_is_refused() -> None:
    """A script says something."""
    with pytest.raises(ScenarioError, match="neither text nor calls"):
        Scenario.parse('[[rule]]\nfault = { kind = "say" }')


def test_thinking_goes_back_with_its_signature_or_not_at_all(sim: SimServer) -> None:
    """As Anthropic wants it."""
    sim.play("")
    thought = {"type": "thinking", "thinking": "hm", "signature": "EqQB00"}
    with anthropic.Anthropic(api_key="k", base_url=sim.url, max_retries=0) as client:

        def ask(block: dict[str, Any]) -> Any:
            turns: Any = [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [block, {"type": "text", "text": "yes"}]},
                {"role": "user", "content": "and now?"},
            ]
            return client.messages.create(model="claude-haiku-4-5", max_tokens=100, messages=turns)

        assert ask(thought).content
        with pytest.raises(anthropic.BadRequestError, match=r"thinking\.signature: Field required"):
            ask({"type": "thinking", "thinking": "hm"})
