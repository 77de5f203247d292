"""Every fault of the simulator, met by both clients over real sockets: the right error after the right attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client, RetryPolicy, Timeouts
from penstock import errors as e
from penstock.sim import SimServer

OPENAI = "openai:gpt-4o-mini"
ANTHROPIC = "anthropic:claude-haiku-4-5"
QUICK = RetryPolicy(base_s=0.005, not_sent_base_s=0.001)
CLOCKS = Timeouts(connect_s=2.0, first_token_s=0.5, idle_s=0.5, total_s=0.5)


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    """One simulator for the page; each test plays its own scenario."""
    with SimServer() as server:
        yield server


def settings(sim: SimServer) -> dict[str, Any]:
    """Point a client at the simulator."""
    return {
        "base_urls": {"openai": sim.url + "/v1", "anthropic": sim.url},
        "keys": {"openai": "sk-canary", "anthropic": "sk-canary"},
        "config": False,
        "env": {},
        "retry": QUICK,
        "timeouts": CLOCKS,
        "budget": Budget(total="100"),
    }


class Asked:
    """What one question came to, asked by either client."""

    def __init__(self, sim: SimServer, colour: str, model: str, *, stream: bool, **options: Any) -> None:
        self.text = ""
        self.error: Any = None
        self.response: Any = None
        if colour == "sync":
            with Client(**settings(sim)) as client:
                self._sync(client, model, stream, options)
        else:
            asyncio.run(self._with_async(sim, model, stream, options))
        self.attempts = [attempt.outcome for attempt in self.told().attempts]

    def told(self) -> Any:
        """Return the answer or the error."""
        return self.error or self.response

    def _sync(self, client: Client, model: str, stream: bool, options: dict[str, Any]) -> None:
        try:
            if stream:
                with client.stream("Explain an OOM kill.", model=model, max_tokens=60, **options) as chunks:
                    for text in chunks.text:
                        self.text += text
                self.response = chunks.response
            else:
                self.response = client.complete("Explain an OOM kill.", model=model, max_tokens=60, **options)
        except e.PenstockError as error:
            self.error = error
        self.client: Any = client

    async def _with_async(self, sim: SimServer, model: str, stream: bool, options: dict[str, Any]) -> None:
        async with AsyncClient(**settings(sim)) as client:
            try:
                await self._async(client, model, stream, options)
            except e.PenstockError as error:
                self.error = error
            self.client = client

    async def _async(self, client: AsyncClient, model: str, stream: bool, options: dict[str, Any]) -> None:
        if not stream:
            self.response = await client.complete("Explain an OOM kill.", model=model, max_tokens=60, **options)
            return
        async with client.stream("Explain an OOM kill.", model=model, max_tokens=60, **options) as chunks:
            async for text in chunks.text:
                self.text += text
        self.response = chunks.response


def rule(fault: str, times: int | None = None) -> str:
    """Write a scenario of one fault."""
    often = f"times = {times}\n" if times else ""
    return f"[[rule]]\n{often}fault = {{ {fault} }}\n"


colours = pytest.mark.parametrize("colour", ["sync", "async"])
models = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])


@colours
@models
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "cls", "attempts"),
    [
        ('kind = "status", status = 400', e.InvalidRequest, 1),
        ('kind = "status", status = 413', e.RequestTooLarge, 1),
        ('kind = "key_rejected"', e.AuthenticationFailed, 1),
        ('kind = "permission"', e.PermissionDenied, 1),
        ('kind = "quota"', e.QuotaExhausted, 1),
        ('kind = "rate_limit", retry_after_ms = "5", retry_after = "0"', e.RateLimited, 11),
        ('kind = "overloaded"', e.Overloaded, 3),
        ('kind = "status", status = 500', e.ServerFault, 2),
        ('kind = "status", status = 503', e.Overloaded, 3),
        ('kind = "html"', e.ServerFault, 2),
        ('kind = "html", status = 200', e.ServerFault, 2),
        ('kind = "empty_body"', (e.ServerFault, e.OutcomeUnknown), 2),
        ('kind = "reset", when = "before_read"', e.OutcomeUnknown, 2),
        ('kind = "reset", when = "after_body"', e.OutcomeUnknown, 2),
        ('kind = "stall"', e.OutcomeUnknown, 2),
    ],
)
def test_a_fault_that_stays_surfaces_as_its_class_after_as_many_attempts_as_it_deserves(
    sim: SimServer, colour: str, model: str, stream: bool, fault: str, cls: Any, attempts: int
) -> None:
    """The server is asked exactly as often as the class of the error allows, and the error says which class it is."""
    sim.play(rule(fault))
    asked = Asked(sim, colour, model, stream=stream)
    assert isinstance(asked.error, cls), repr(asked.error)
    assert len(asked.attempts) == attempts, str(asked.error)
    assert "canary" not in str(asked.error) + repr(asked.error)
    assert all(scope.held_nano == 0 for scope in asked.client.budget().scopes)


@colours
@models
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        'kind = "rate_limit", retry_after = "0.02"',
        'kind = "rate_limit", retry_after_ms = "20"',
        'kind = "rate_limit", retry_after = "date:-5"',
        'kind = "rate_limit", hint = "20ms"',
        'kind = "overloaded"',
        'kind = "status", status = 500',
        'kind = "reset", when = "after_body"',
        'kind = "reset", when = "before_read"',
        'kind = "html"',
        'kind = "stall"',
    ],
)
def test_a_fault_that_passes_costs_one_retry_and_no_answer(
    sim: SimServer, colour: str, model: str, stream: bool, fault: str
) -> None:
    """One bad moment of the provider is not seen by the caller."""
    sim.play(rule(fault, times=1))
    asked = Asked(sim, colour, model, stream=stream)
    assert asked.error is None, repr(asked.error)
    assert len(asked.attempts) == 2
    assert asked.response.text


@colours
@models
@pytest.mark.parametrize(
    "fault", ['kind = "crlf"', 'kind = "bom"', 'kind = "comments"', 'kind = "slow_bytes", piece = 3, every_s = 0.0']
)
def test_a_strange_but_whole_stream_reads_like_a_plain_one(sim: SimServer, colour: str, model: str, fault: str) -> None:
    """Line ends, byte order marks, comments and byte boundaries change nothing."""
    sim.play("")
    plain = Asked(sim, colour, model, stream=True)
    sim.play(rule(fault))
    asked = Asked(sim, colour, model, stream=True)
    assert asked.error is None, repr(asked.error)
    assert (asked.text, asked.response.usage) == (plain.text, plain.response.usage)
    assert asked.response.stop_reason == plain.response.stop_reason
    assert asked.response.stop_reason in ("stop", "length")


@colours
@models
@pytest.mark.parametrize(
    "fault",
    [
        'kind = "reset", when = "mid_stream", after_chunks = 4',
        'kind = "reset", when = "mid_stream", after_chunks = 4, how = "fin"',
        'kind = "stall", when = "mid_stream", after_chunks = 4',
        'kind = "truncate", after_chunks = 4',
        'kind = "error_event", after_chunks = 4',
        'kind = "malformed", after_chunks = 4',
    ],
)
def test_a_stream_that_breaks_after_output_says_what_came_and_what_it_cost(
    sim: SimServer, colour: str, model: str, fault: str
) -> None:
    """One attempt, the text that was shown, and an estimate that is flagged as one."""
    sim.play(rule(fault))
    asked = Asked(sim, colour, model, stream=True)
    assert isinstance(asked.error, e.StreamInterrupted), repr(asked.error)
    assert asked.attempts == ["stream_interrupted"]
    assert asked.text
    assert asked.error.partial.text == asked.text
    assert asked.error.partial.usage.estimated
    assert asked.error.partial.cost
    assert asked.error.__cause__ is not None


@colours
def test_a_deadline_is_never_overrun(sim: SimServer, colour: str) -> None:
    """Retries, waits and a silent server end with the call's deadline."""
    sim.play(rule('kind = "stall"'))
    asked = Asked(sim, colour, OPENAI, stream=False, deadline_s=0.25)
    assert isinstance(asked.error, TimeoutError), repr(asked.error)
    assert "deadline" in str(asked.error)
    assert sum(attempt.latency_s for attempt in asked.told().attempts) < 0.5


@colours
def test_usage_that_is_not_reported_is_estimated_and_flagged(sim: SimServer, colour: str) -> None:
    """An answer without usage still has a cost, marked as our count."""
    sim.play(rule('kind = "no_usage"'))
    for stream in (False, True):
        asked = Asked(sim, colour, OPENAI, stream=stream)
        assert asked.error is None
        assert asked.response.usage.estimated
        assert asked.response.cost > 0
