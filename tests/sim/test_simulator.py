"""The pure simulator: deterministic by seed, conserving tokens, unbreakable by any body."""

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.sim
from penstock.sim import Latency, Limits, Plan, SimConfig, SimRequest, Simulator
from penstock.sim.plan import Head, Send, Step, Wait

NOW = 1_795_000_000.0
KEY = {"authorization": "Bearer k"}
WHO = {"type": "object", "properties": {"who": {"type": "string"}}}
TOOL = {"name": "page", "description": "page someone", "parameters": WHO}


def chat(**more: Any) -> SimRequest:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What now? ERROR [db] timeout"}], **more}
    return SimRequest("POST", "/v1/chat/completions", KEY, msgspec.json.encode(body))


def message(**more: Any) -> SimRequest:
    body = {
        "model": "claude-haiku-4-5",
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": "What now? ERROR [db] timeout"}],
        **more,
    }
    return SimRequest("POST", "/v1/messages", {**KEY, "anthropic-version": "2026-10-21"}, msgspec.json.encode(body))


VARIANTS = [
    chat(),
    chat(stream=True),
    chat(stream=True, n=3, max_tokens=20),
    chat(model="gpt-5-mini", stream=True, reasoning_effort="high"),
    chat(stream=True, tools=[{"type": "function", "function": TOOL}]),
    chat(tools=[{"type": "function", "function": TOOL}], max_tokens=6),
    message(),
    message(stream=True),
    message(stream=True, max_tokens=12),
    message(stream=True, thinking={"type": "enabled", "budget_tokens": 1024}),
    message(stream=True, thinking={"type": "adaptive", "display": "omitted"}),
    message(stream=True, tools=[{"name": "page", "input_schema": WHO}]),
    message(stream=True, tools=[{"name": "list", "input_schema": {"type": "object"}}], max_tokens=5),
]
SPEEDS = [Latency(), Latency(first_token_s=0.5, first_token_sigma=0.3, tokens_per_s=50, speed_sigma=0.2)]


def run(simulator: Simulator, request: SimRequest, now: float = NOW) -> Plan:
    plan = simulator.begin(request, now)
    for step in plan.steps:
        simulator.passed(plan, step, now)
    simulator.finish(plan, now)
    return plan


@pytest.mark.parametrize("request_", VARIANTS)
@pytest.mark.parametrize("latency", SPEEDS)
def test_the_tokens_of_the_steps_are_the_tokens_of_the_bill(request_: SimRequest, latency: Latency) -> None:
    """Whole or streamed, instant or slow, thinking or calling: every output token is in exactly one step."""
    simulator = Simulator(SimConfig(latency=latency))
    plan = run(simulator, request_)
    assert plan.status == 200
    assert sum(s.tokens for s in plan.steps if isinstance(s, (Wait, Send))) == plan.usage.output
    assert all(s.tokens >= 0 for s in plan.steps if isinstance(s, (Wait, Send)))
    assert simulator.bill.attempts[0].output_tokens == plan.usage.output


@pytest.mark.parametrize("request_", VARIANTS)
def test_plans_are_the_same_for_the_same_seed(request_: SimRequest) -> None:
    """Two simulators of one seed plan every byte and wait alike; another seed differs in time."""

    def plans(seed: int) -> list[list[Step]]:
        simulator = Simulator(SimConfig(seed=seed, latency=SPEEDS[1]))
        return [run(simulator, request_, NOW + at).steps for at in range(3)]

    assert plans(1) == plans(1)
    waits = [[s.seconds for p in plans(seed) for s in p if isinstance(s, Wait)] for seed in (1, 2)]
    assert waits[0] != waits[1]


def test_waits_follow_the_distribution() -> None:
    """The median time to the first token and the speed are those that were set."""
    latency = Latency(first_token_s=0.4, first_token_sigma=0.5, tokens_per_s=100)
    simulator = Simulator(SimConfig(latency=latency, answer_tokens=50))
    waits = []
    for _ in range(400):
        plan = run(simulator, chat(stream=True))
        steps = [step.seconds for step in plan.steps if isinstance(step, Wait)]
        waits.append(steps[0])
        assert sum(steps[1:]) == pytest.approx(0.5)
    assert sorted(waits)[200] == pytest.approx(0.4, rel=0.15)


def test_a_client_that_leaves_pays_for_what_was_produced() -> None:
    """Leaving half way through a wait bills the input and half of the output."""
    simulator = Simulator(SimConfig(latency=Latency(tokens_per_s=10), answer_tokens=100))
    plan = simulator.begin(chat(), NOW)
    attempt = simulator.finish(plan, NOW + 5, aborted=True, within=plan.steps[0], share=0.5)
    assert (attempt.output_tokens, attempt.aborted) == (50, True)
    assert attempt.billed_nano == attempt.input_tokens * 150 + 50 * 600


def test_a_plan_is_settled_once() -> None:
    """Finishing twice is the performer's bug and raises."""
    simulator = Simulator()
    plan = run(simulator, chat())
    with pytest.raises(RuntimeError, match="finished twice"):
        simulator.finish(plan, NOW)


@pytest.mark.slow
def test_limits_hold_over_simulated_hours() -> None:
    """A greedy client over two simulated hours gets burst plus rate, and not a request more."""
    simulator = Simulator(SimConfig(limits={"openai": Limits(rpm=60, burst_requests=6)}))
    statuses = [run(simulator, chat(), NOW + at * 0.25).status for at in range(4 * 7200)]
    assert statuses.count(200) == pytest.approx(7200 + 6, abs=1)
    lane = next(iter(simulator.lanes.values()))
    assert lane.windows["requests"].most <= 66
    assert simulator.bill.total_nano == sum(a.billed_nano for a in simulator.bill.attempts)


def test_openai_is_charged_the_larger_of_max_tokens_and_the_estimate() -> None:
    """Admission costs max_tokens or the prompt by characters, whichever is more."""
    simulator = Simulator(SimConfig(limits={"openai": Limits(tpm=100_000)}))
    run(simulator, chat(max_tokens=700))
    run(simulator, chat(max_tokens=7, messages=[{"role": "user", "content": "x" * 4000}]))
    lane = next(iter(simulator.lanes.values()))
    assert lane.windows["tokens"].total == pytest.approx(700 + 1002, abs=2)


def test_anthropic_does_not_charge_max_tokens_or_cache_reads() -> None:
    """Input counts without cached reads, output as produced, max_tokens not at all."""
    simulator = Simulator(SimConfig(limits={"anthropic": Limits(itpm=100_000, otpm=100_000)}))
    system = [{"type": "text", "text": "Rule. " * 2000, "cache_control": {"type": "ephemeral"}}]
    first, second = (run(simulator, message(system=system, max_tokens=60_000)) for _ in range(2))
    lane = next(iter(simulator.lanes.values()))
    assert first.usage.write_5m == second.usage.cache_read > 2000
    assert lane.windows["input-tokens"].total == first.usage.prompt + second.usage.input
    assert lane.windows["output-tokens"].total == first.usage.output + second.usage.output


def test_caches_end_with_their_lifetime() -> None:
    """After five minutes without use a five minute prefix is written anew."""
    simulator = Simulator()
    system = [{"type": "text", "text": "Rule. " * 2000, "cache_control": {"type": "ephemeral"}}]
    reads = [run(simulator, message(system=system), NOW + at).usage.cache_read > 0 for at in (0, 299, 590, 900)]
    assert reads == [False, True, True, False]


def test_a_limit_is_told_in_each_providers_way() -> None:
    """OpenAI names the unit and the wait in words and headers, Anthropic sends retry-after."""
    limits = Limits(rpm=6, burst_requests=1)
    simulator = Simulator(SimConfig(limits={"openai": limits, "anthropic": limits}))
    for request_ in (chat(), message()):
        run(simulator, request_)
    refused = run(simulator, chat(), NOW + 1)
    head, body = refused.steps[0], refused.steps[1]
    assert isinstance(head, Head)
    assert isinstance(body, Send)
    headers = dict(head.headers)
    assert (head.status, headers["retry-after"], headers["retry-after-ms"]) == (429, "9", "9000")
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert b"on requests per min (RPM): Limit 6, Used 6, Requested 1. Please try again in 9s." in body.data
    refused = run(simulator, message(), NOW + 1)
    assert isinstance(refused.steps[0], Head)
    assert dict(refused.steps[0].headers)["retry-after"] == "9"
    assert [attempt.fault for attempt in simulator.bill.attempts] == ["", "", "limit:requests", "limit:requests"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (SimRequest("GET", "/v1/chat/completions", KEY), 405),
        (SimRequest("POST", "/v1/unknown", KEY, b"{}"), 404),
        (SimRequest("POST", "/v1/chat/completions", {}, b"{}"), 401),
        (SimRequest("POST", "/v1/messages", {}, b"{}"), 401),
        (SimRequest("POST", "/v1/chat/completions", KEY, b"{"), 400),
        (SimRequest("POST", "/v1/messages", KEY, b"[]"), 400),
        (SimRequest("POST", "/v1/chat/completions", KEY, b'"' + b"x" * 2000 + b'"'), 413),
        (SimRequest("POST", "/openai/deployments/gpt-4o/chat/completions", KEY, b"{}"), 404),
    ],
)
def test_wrong_doors_are_closed(request_: SimRequest, status: int) -> None:
    """Wrong methods, paths, keys and bodies get their status and a JSON error."""
    plan = run(Simulator(SimConfig(max_body_bytes=1000)), request_)
    body = plan.steps[1]
    assert plan.status == status
    assert isinstance(body, Send)
    assert "error" in msgspec.json.decode(body.data)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(["user", "text", "tool", "auto", "x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "name", "function", "id"]), inner, max_size=4
        ),
    ),
    max_leaves=8,
)
fields = st.dictionaries(
    st.sampled_from(
        ["messages", "tools", "tool_choice", "system", "stop", "response_format", "output_config", "thinking", "stream",
         "max_tokens", "cache_control", "n", "stream_options"]
    ),
    json_values,
    max_size=4,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(fields, st.booleans())
def test_no_body_breaks_the_simulator(odd: dict[str, Any], openai: bool) -> None:
    """Whatever JSON arrives, the answer is 200 or a refusal, never a crash, and it is settled."""
    simulator = Simulator()
    plan = run(simulator, chat(**odd) if openai else message(**odd))
    assert plan.status in (200, 400, 404)
    assert simulator.open == 0


def test_the_simulator_is_a_stranger() -> None:
    """It imports the standard library, aiohttp, msgspec and itself; only the server may wait or read a clock."""
    allowed = {"aiohttp", "msgspec", "penstock"}
    waiting = {"asyncio", "time", "threading", "socket", "aiohttp", "signal", "concurrent"}
    for path in Path(penstock.sim.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                root = name.split(".")[0]
                assert root in allowed or root in __import__("sys").stdlib_module_names, f"{path.name}: {name}"
                assert root != "penstock" or name.startswith("penstock.sim"), f"{path.name}: {name}"
                assert path.name == "server.py" or root not in waiting, f"{path.name}: {name}"
