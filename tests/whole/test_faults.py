"""Every fault of the simulator, met by both clients over real sockets: the right error after the right attempts."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client, RetryPolicy, Timeouts
from penstock import errors as e
from penstock.sim import SimServer

OPENAI = "openai:gpt-4o-mini"
ANTHROPIC = "anthropic:claude-haiku-4-5"
RESPONSES = "openai-responses:gpt-4o-mini"
QUICK = RetryPolicy(base_s=0.005, not_sent_base_s=0.001)
CLOCKS = Timeouts(connect_s=2.0, first_token_s=0.5, idle_s=0.5, total_s=0.5)


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    """One simulator for the page; each test plays its own scenario."""
    with SimServer() as server:
        yield server


def settings(sim: SimServer, **more: Any) -> dict[str, Any]:
    """Point a client at the simulator; `more` are further settings of it."""
    return {
        "base_urls": {"openai": sim.url + "/v1", "anthropic": sim.url},
        "keys": {"openai": "sk-canary", "anthropic": "sk-canary"},
        "config": False,
        "env": {},
        "retry": QUICK,
        "timeouts": CLOCKS,
        "budget": Budget(total="100"),
        **more,
    }


class Asked:
    """What one question came to, asked by either client; `seen` is how often the simulator was asked, by its log."""

    def __init__(
        self, sim: SimServer, colour: str, model: str, *, stream: bool, client: Any = None, **options: Any
    ) -> None:
        self.text = ""
        self.error: Any = None
        self.response: Any = None
        given = settings(sim, **(client or {}))
        before = sim.bill()["attempts"], sim.bill()["total_nano"]
        if colour == "sync":
            with Client(**given) as made:
                began = time.monotonic()
                self._sync(made, model, stream, options)
                self.took_s = time.monotonic() - began
        else:
            asyncio.run(self._with_async(given, model, stream, options))
        self.attempts = [attempt.outcome for attempt in self.told().attempts]
        assert sim.settle()
        self.log = sim.log()[before[0] :]
        self.seen = sim.bill()["attempts"] - before[0]
        self.billed_nano = sim.bill()["total_nano"] - before[1]
        self.spent_nano = self.client.budget().scopes[0].spent_nano

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

    async def _with_async(self, given: dict[str, Any], model: str, stream: bool, options: dict[str, Any]) -> None:
        async with AsyncClient(**given) as client:
            began = time.monotonic()
            try:
                await self._async(client, model, stream, options)
            except e.PenstockError as error:
                self.error = error
            self.took_s = time.monotonic() - began
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
models = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, RESPONSES])


STAYS: list[tuple[str, Any, int]] = [
    ('kind = "status", status = 400', e.InvalidRequest, 1),
    ('kind = "status", status = 401', e.AuthenticationFailed, 1),
    ('kind = "status", status = 402', e.QuotaExhausted, 1),
    ('kind = "status", status = 403', e.PermissionDenied, 1),
    ('kind = "status", status = 404', e.NotFound, 1),
    ('kind = "status", status = 413', e.RequestTooLarge, 1),
    ('kind = "status", status = 422', e.InvalidRequest, 1),
    ('kind = "status", status = 400, message = "prompt is too long: 9 tokens > 8 maximum"', e.ContextTooLong, 1),
    ('kind = "status", status = 400, message = "Unrecognized request argument supplied: n"', e.UnsupportedParameter, 1),
    ('kind = "status", status = 400, message = "see our content management policy"', e.ContentFiltered, 1),
    ('kind = "key_rejected"', e.AuthenticationFailed, 1),
    ('kind = "permission"', e.PermissionDenied, 1),
    ('kind = "quota"', e.QuotaExhausted, 1),
    ('kind = "rate_limit", retry_after_ms = "5", retry_after = "0"', e.RateLimited, 11),
    ('kind = "slow_down", retry_after_ms = "5", retry_after = "0"', e.RateLimited, 11),
    ('kind = "overloaded"', e.Overloaded, 3),
    ('kind = "status", status = 408', e.ServerFault, 2),
    ('kind = "status", status = 409', e.ServerFault, 2),
    ('kind = "status", status = 500', e.ServerFault, 2),
    ('kind = "status", status = 502', e.ServerFault, 2),
    ('kind = "status", status = 503', e.Overloaded, 3),
    ('kind = "status", status = 504', e.ServerFault, 2),
    ('kind = "status", status = 529', e.Overloaded, 3),
    ('kind = "error_200"', e.ServerFault, 2),
    ('kind = "html"', e.ServerFault, 2),
    ('kind = "html", status = 200', e.ServerFault, 2),
    ('kind = "empty_body"', (e.ServerFault, e.OutcomeUnknown), 2),
    ('kind = "reset", when = "before_read"', e.OutcomeUnknown, 2),
    ('kind = "reset", when = "after_body"', e.OutcomeUnknown, 2),
]
STAYS_SILENT = pytest.param('kind = "stall"', e.OutcomeUnknown, 2, marks=pytest.mark.slow)  # quick ones: `SILENCES`


@pytest.mark.prove(5, 9)
@colours
@models
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "cls", "attempts"), [*STAYS, STAYS_SILENT])
def test_a_fault_that_stays_surfaces_as_its_class_after_as_many_attempts_as_it_deserves(
    sim: SimServer, colour: str, model: str, stream: bool, fault: str, cls: Any, attempts: int
) -> None:
    """The server is asked exactly as often as the class of the error allows, and the error says which class it is."""
    sim.play(rule(fault))
    asked = Asked(sim, colour, model, stream=stream)
    assert isinstance(asked.error, cls), repr(asked.error)
    assert asked.seen == attempts, str(asked.error)
    assert asked.attempts == [asked.error.code] * attempts
    assert "canary" not in str(asked.error) + repr(asked.error)
    assert all(scope.held_nano == 0 for scope in asked.client.budget().scopes)
    assert stream or asked.billed_nano <= asked.spent_nano


SILENCES = [
    (True, e.FirstTokenTimeout, Timeouts(first_token_s=0.1, idle_s=5.0)),
    (True, e.IdleTimeout, Timeouts(first_token_s=5.0, idle_s=0.1)),
    (False, e.TotalTimeout, Timeouts(total_s=0.2)),
]


def test_no_class_of_error_is_forgotten() -> None:
    """Whatever an attempt can end in is asked for on this page; apart from what only extract and embed raise."""
    here = (
        {cls for _, cls, _ in STAYS if isinstance(cls, type)}
        | {cls for _, cls, _ in SILENCES}
        | {e.ConnectionFailed, e.StreamInterrupted}
    )
    assert {cls for cls in e.all_errors() if issubclass(cls, e.CallError)} - here == {
        e.CallError,
        e.TruncatedOutput,
        e.ModelRefused,
        e.InputRejected,
    }


@pytest.mark.prove(5)
@colours
@models
@pytest.mark.parametrize(("stream", "cls", "clocks"), SILENCES)
def test_each_kind_of_silence_is_asked_about_once_more(
    sim: SimServer, colour: str, model: str, stream: bool, cls: type[e.OutcomeUnknown], clocks: Timeouts
) -> None:
    """Whichever clock ends it."""
    sim.play(rule('kind = "stall", when = "mid_stream", after_chunks = 1'))
    asked = Asked(sim, colour, model, stream=stream, client={"timeouts": clocks})
    assert type(asked.error) is cls, repr(asked.error)
    assert asked.attempts == [cls.code] * 2
    assert asked.seen == 2


@pytest.mark.prove(5)
@colours
@models
@pytest.mark.parametrize("retries", [0, 1, 4])
def test_the_server_sees_one_attempt_and_the_retries_that_were_asked_for(
    sim: SimServer, colour: str, model: str, retries: int
) -> None:
    """Also where it is the unknown outcomes, or the rate limits, that are to be repeated so often."""
    quick: dict[str, Any] = {"base_s": 0.001, "not_sent_base_s": 0.001}
    for fault, policy in (
        ('kind = "overloaded"', RetryPolicy(attempts=1 + retries, **quick)),
        ('kind = "reset"', RetryPolicy(attempts=9, unknown_outcomes=retries, **quick)),
        ('kind = "rate_limit", retry_after_ms = "2"', RetryPolicy(attempts=9, rate_limits=retries, **quick)),
    ):
        sim.play(rule(fault))
        asked = Asked(sim, colour, model, stream=False, client={"retry": policy})
        assert asked.seen == len(asked.attempts) == 1 + retries, str(asked.error)


@pytest.mark.prove(5)
@pytest.mark.parametrize(
    ("colour", "transport"), [("sync", "urllib3"), ("sync", "httpx2"), ("async", "aiohttp"), ("async", "httpx2")]
)
@pytest.mark.parametrize("when", ["before_read", "after_body"])
def test_no_transport_repeats_a_request_by_itself(sim: SimServer, colour: str, transport: str, when: str) -> None:
    """Also not on a connection that was used before, where HTTP libraries like to."""
    sim.play(f'[[rule]]\nmatch = {{ contains = "again" }}\nfault = {{ kind = "reset", when = "{when}" }}\n')
    before = sim.bill()["attempts"]
    given = settings(sim, transport=transport, retry=RetryPolicy(attempts=1))
    if colour == "sync":
        with Client(**given) as client:
            client.complete("first", model=OPENAI, max_tokens=5)
            with pytest.raises(e.OutcomeUnknown):
                client.complete("again", model=OPENAI, max_tokens=5)
    else:

        async def main() -> None:
            async with AsyncClient(**given) as client:
                await client.complete("first", model=OPENAI, max_tokens=5)
                with pytest.raises(e.OutcomeUnknown):
                    await client.complete("again", model=OPENAI, max_tokens=5)

        asyncio.run(main())
    assert sim.settle()
    assert sim.bill()["attempts"] - before == 2


@pytest.mark.prove(5, 9)
@colours
@models
@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_is_not_there_is_tried_three_times(sim: SimServer, colour: str, model: str, stream: bool) -> None:
    """Nothing was sent and nothing is spent."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    asked = Asked(sim, colour, model, stream=stream, client={"base_urls": {"openai": url, "anthropic": url}})
    assert type(asked.error) is e.ConnectionFailed, repr(asked.error)
    assert asked.attempts == ["connection"] * 3
    assert asked.spent_nano == 0


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
        pytest.param('kind = "stall"', marks=pytest.mark.slow),  # as long as a clock runs
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


@pytest.mark.prove(5, 9, 11, 12)
@colours
@models
@pytest.mark.parametrize(
    "fault",
    [
        'kind = "reset", when = "mid_stream", after_chunks = 7',
        'kind = "reset", when = "mid_stream", after_chunks = 7, how = "fin"',
        'kind = "stall", when = "mid_stream", after_chunks = 7',
        'kind = "truncate", after_chunks = 7',
        'kind = "error_event", after_chunks = 7',
        'kind = "malformed", after_chunks = 7',
    ],
)
def test_a_stream_that_breaks_after_output_says_what_came_and_what_it_cost(
    sim: SimServer, colour: str, model: str, fault: str
) -> None:
    """One attempt, the text that was shown, and an estimate that is flagged as one."""
    sim.play(rule(fault))
    asked = Asked(sim, colour, model, stream=True, client={"timeouts": Timeouts(first_token_s=5.0, idle_s=0.15)})
    assert isinstance(asked.error, e.StreamInterrupted), repr(asked.error)
    assert asked.attempts == ["stream_interrupted"]
    assert asked.seen == 1
    assert asked.text
    assert asked.error.partial.text == asked.text
    assert asked.error.partial.usage.estimated
    assert asked.error.partial.cost
    assert asked.error.__cause__ is not None


@pytest.mark.prove(6)
@colours
def test_a_deadline_is_never_overrun(sim: SimServer, colour: str) -> None:
    """Retries, waits and a silent server end with the call's deadline; the clock is that of the caller."""
    sim.play(rule('kind = "stall"'))
    asked = Asked(sim, colour, OPENAI, stream=False, deadline_s=0.25)
    assert isinstance(asked.error, TimeoutError), repr(asked.error)
    assert "deadline" in str(asked.error)
    assert 0.25 <= asked.took_s < 5.0  # tests/whole/test_clocks.py is exact


@pytest.mark.prove(6)
@colours
@pytest.mark.parametrize(
    ("fault", "told_s"),
    [
        pytest.param('kind = "rate_limit", retry_after = "1"', 1.0, marks=pytest.mark.slow),
        ('kind = "rate_limit", retry_after_ms = "200"', 0.2),
        ('kind = "rate_limit", hint = "200ms"', 0.2),
        pytest.param('kind = "rate_limit", retry_after = "date:+2"', 1.0, marks=pytest.mark.slow),
        ('kind = "overloaded", retry_after_ms = "300"', 0.3),
        ('kind = "status", status = 500, retry_after_ms = "300"', 0.3),
    ],
)
def test_the_next_attempt_arrives_no_earlier_than_told_by_the_servers_clock(
    sim: SimServer, colour: str, fault: str, told_s: float
) -> None:
    """In each form in which a provider asks; a date has whole seconds, so it asks for one to two."""
    sim.play(rule(fault, times=1))
    asked = Asked(sim, colour, OPENAI, stream=False)
    assert asked.error is None, repr(asked.error)
    refused, answered = asked.log
    assert told_s <= answered["arrived"] - refused["arrived"] < 3.0


@colours
def test_usage_that_is_not_reported_is_estimated_and_flagged(sim: SimServer, colour: str) -> None:
    """An answer without usage still has a cost, marked as our count."""
    sim.play(rule('kind = "no_usage"'))
    for stream in (False, True):
        asked = Asked(sim, colour, OPENAI, stream=stream)
        assert asked.error is None
        assert asked.response.usage.estimated
        assert asked.response.cost > 0
