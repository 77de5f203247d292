"""How the simulator's 429s say when to come again, and how its log reads that."""

from email.utils import parsedate_to_datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.sim import Latency, Limits, Plan, SimConfig, SimRequest, Simulator
from penstock.sim.pause import RetryForm, retry_headers, told_s
from penstock.sim.plan import Head, Send, Wait

NOW = 1_795_000_000.25
KEY = {"authorization": "Bearer k", "anthropic-version": "2026-10-21"}


@given(wait_s=st.floats(0, 3600), form=st.sampled_from(["both", "seconds", "date"]))
def test_every_form_tells_at_least_the_wait(wait_s: float, form: RetryForm) -> None:
    """No client that does as it is told comes too early, and none waits two seconds longer."""
    found = told_s(retry_headers(form, wait_s, NOW), NOW)
    assert found is not None
    assert wait_s - 1e-9 <= found <= max(1.0, wait_s) + 2.0


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([], None),
        ([("retry-after", "0")], 0.0),
        ([("retry-after", "1"), ("retry-after-ms", "150")], 0.15),
        ([("retry-after", "7"), ("retry-after-ms", "soon")], 7.0),
        ([("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], 0.0),
        ([("retry-after", "tomorrow")], None),
    ],
)
def test_the_log_reads_what_was_told(headers: list[tuple[str, str]], told: float | None) -> None:
    """Milliseconds win, a date in the past is now, nonsense is nothing."""
    assert told_s(headers, NOW) == told


def ask(simulator: Simulator, question: str, *, anthropic: bool = False) -> Plan:
    name = "claude-haiku-4-5" if anthropic else "gpt-4o-mini"
    body = {"model": name, "messages": [{"role": "user", "content": question}], "max_tokens": 8}
    path = "/v1/messages" if anthropic else "/v1/chat/completions"
    headers = KEY if anthropic else {"authorization": "Bearer k"}
    plan = simulator.begin(SimRequest("POST", path, headers, msgspec.json.encode(body)), NOW)
    simulator.finish(plan, NOW)
    return plan


def refused(form: RetryForm, *, anthropic: bool = False) -> tuple[dict[str, str], str]:
    """Headers and body of the second request in a lane with room for one."""
    limits = Limits(rpm=60, burst_requests=1, retry_after=form)
    simulator = Simulator(SimConfig(limits={"openai": limits, "anthropic": limits}))
    ask(simulator, "one", anthropic=anthropic)
    steps = ask(simulator, "two", anthropic=anthropic).steps
    head, body = next(s for s in steps if isinstance(s, Head)), next(s for s in steps if isinstance(s, Send))
    assert head.status == 429
    return dict(head.headers), body.data.decode()


def test_a_server_may_name_no_time_at_all() -> None:
    """Neither its headers nor its words say when, in either protocol."""
    for anthropic in (False, True):
        headers, words = refused("none", anthropic=anthropic)
        assert not {"retry-after", "retry-after-ms"} & set(headers)
        assert "Please try again in" not in words or anthropic


def test_whole_seconds_and_dates_stand_alone() -> None:
    """No milliseconds beside them, and the words agree with the header."""
    headers, words = refused("seconds")
    assert headers["retry-after"] == "1"
    assert "Please try again in 1s." in words
    dated, _ = refused("date", anthropic=True)
    assert parsedate_to_datetime(dated["retry-after"]).timestamp() >= NOW + 1
    assert "retry-after-ms" not in {**headers, **dated}


def test_a_server_may_keep_its_limits_to_itself() -> None:
    """Without headers neither answers nor 429s tell a limit, which holds all the same."""
    for shown in (True, False):
        simulator = Simulator(SimConfig(limits={"openai": Limits(rpm=60, burst_requests=1, headers=shown)}))
        for status in (200, 429):
            head = next(step for step in ask(simulator, "now").steps if isinstance(step, Head))
            assert head.status == status
            assert any(name.startswith("x-ratelimit") for name, _ in head.headers) is shown


def test_the_log_tells_prompts_apart_and_what_a_429_told() -> None:
    """The same messages have the same hash; an answer told no wait, a refusal did."""
    simulator = Simulator(SimConfig(limits={"openai": Limits(rpm=60, burst_requests=2, retry_after="seconds")}))
    for question in ("one", "two", "one"):
        ask(simulator, question)
    first, second, third = simulator.bill.attempts
    assert first.prompt == third.prompt != second.prompt
    assert (first.retry_after_s, third.retry_after_s) == (None, 1.0)


def test_a_rejection_takes_its_time() -> None:
    """Refusals of the limits wait before they answer; answers do not wait longer for it."""
    limits = {"openai": Limits(rpm=60, burst_requests=1)}
    simulator = Simulator(SimConfig(limits=limits, latency=Latency(rejection_s=0.08)))
    waits = [[step.seconds for step in ask(simulator, "now").steps if isinstance(step, Wait)] for _ in range(2)]
    assert waits == [[], [0.08]]
