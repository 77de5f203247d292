"""Log lines: one for each call, one for each attempt, with fields that real formatters pick up."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter

from penstock import AsyncClient, Client
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from tests.flow.colours import KEYS, openai_error, openai_events, openai_reply
from tests.observe.watching import MODEL, watched

both = pytest.mark.parametrize("colour", ["sync", "async"])
LOG = logging.getLogger("penstock")
QUICK_429 = openai_error(429, **{"retry-after-ms": "1"})


def unwatched(client: Any) -> None:
    """Nobody listens but the log."""


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """A stream on which a handler of the test writes what the logger 'penstock' is told at INFO."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    yield stream
    LOG.removeHandler(handler)
    LOG.setLevel(logging.NOTSET)


def formatted_by(formatter: logging.Formatter) -> None:
    LOG.handlers[-1].setFormatter(formatter)


@both
def test_a_call_is_one_line_at_info_and_its_attempts_are_lines_at_debug(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Sentences for people, fields of stable names for machines; the attempts come first."""
    with caplog.at_level(logging.DEBUG, "penstock"):
        watched(colour, [QUICK_429, openai_reply()], unwatched, tags={"team": "sre"}, max_tokens=9)
    records = [record for record in caplog.records if record.name == "penstock"]
    assert [record.levelname for record in records] == ["DEBUG", "DEBUG", "INFO"]
    first, second, call = (record.__dict__ for record in records)
    assert " rate_limited in " in records[0].getMessage()
    assert records[0].getMessage().endswith(", attempt 1")
    assert records[2].getMessage().startswith("complete openai:gpt-4o-mini ok in 0.")
    assert records[2].getMessage().endswith(" s, 10 + 5 tokens, $0.0000045, 2 attempts")
    assert (call["kind"], call["operation"], call["provider"], call["model"]) == (
        "call",
        "complete",
        "openai",
        "gpt-4o-mini",
    )
    assert (call["outcome"], call["attempts"], call["retries"], call["status"]) == ("ok", 2, 1, 200)
    assert (call["tokens_in"], call["tokens_out"], call["cost_usd"], call["tags"]) == (10, 5, 4.5e-06, {"team": "sre"})
    assert (call["stop_reason"], call["cached"], call["first_token_s"]) == ("stop", False, None)
    assert call["latency_s"] > 0
    assert [(each["kind"], each["number"], each["status"], each["sent"]) for each in (first, second)] == [
        ("attempt", 1, 429, True),
        ("attempt", 2, 200, True),
    ]
    assert {first["call_id"], second["call_id"]} == {call["call_id"]}


@both
def test_at_info_there_are_no_attempts_and_above_there_is_nothing(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And with the level off, a client that nobody watches makes no events at all."""
    with caplog.at_level(logging.INFO, "penstock"):
        watched(colour, [openai_reply()], unwatched)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    caplog.clear()
    hubs: list[Any] = []
    with caplog.at_level(logging.WARNING, "penstock"):
        watched(colour, [openai_reply()], lambda client: hubs.append(client._gate))
    assert caplog.records == []
    assert hubs[0].hub is None


def test_a_level_that_is_changed_while_a_client_lives_counts_from_the_next_call(lines: io.StringIO) -> None:
    """Up and down."""
    transport = ScriptedTransport([openai_reply() for _ in range(3)])
    with Client(transport=transport, keys=KEYS, config=False, env={}) as client:
        for level in (logging.WARNING, logging.INFO, logging.WARNING):
            LOG.setLevel(level)
            client.complete("hi", model=MODEL)
    assert len(lines.getvalue().splitlines()) == 1


@both
@pytest.mark.prove(25)
def test_keys_and_content_are_in_no_line(colour: str, lines: io.StringIO) -> None:
    """Not even where a provider quotes the prompt in its error."""
    LOG.setLevel(logging.DEBUG)
    formatted_by(JsonFormatter())
    quoting = Scripted(status=400, body=json.dumps({"error": {"message": "CANARY is bad", "code": "x"}}).encode())
    keys = {"keys": {"openai": "sk-CANARY"}}
    watched(colour, [openai_reply("CANARY"), quoting], unwatched, calls=2, client=keys, system="CANARY")
    assert len(lines.getvalue().splitlines()) == 4
    assert "CANARY" not in lines.getvalue()


def test_python_json_logger_writes_the_fields(lines: io.StringIO) -> None:
    """By their names, beside the message."""
    formatted_by(JsonFormatter("{message}{levelname}", style="{"))
    watched("sync", [Scripted(body=openai_events("a", "b"))], unwatched, stream=True, tags={"team": "sre"})
    found = json.loads(lines.getvalue())
    assert found["message"].startswith("stream openai:gpt-4o-mini ok in ")
    assert (found["levelname"], found["kind"], found["outcome"], found["tags"]) == (
        "INFO",
        "call",
        "ok",
        {"team": "sre"},
    )
    assert found["first_token_s"] >= 0


def test_structlog_takes_the_fields_and_its_bound_variables_are_those_of_the_caller(lines: io.StringIO) -> None:
    """The line is written in the caller's own context, in tasks side by side too."""
    formatted_by(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )

    async def one(client: AsyncClient, number: int) -> None:
        structlog.contextvars.bind_contextvars(order=number)
        await client.complete("hi", model=MODEL, tags={"number": str(number)})

    async def crowd() -> None:
        transport = AsyncScriptedTransport([openai_reply() for _ in range(5)])
        async with AsyncClient(transport=transport, keys=KEYS, config=False, env={}) as client:
            await asyncio.gather(*[one(client, number) for number in range(5)])

    asyncio.run(crowd())
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert len(found) == 5
    assert all(str(each["order"]) == each["tags"]["number"] for each in found)
    assert all(each["event"].startswith("complete openai:gpt-4o-mini ok") for each in found)
    assert {each["kind"] for each in found} == {"call"}


def test_a_handler_or_filter_that_fails_hurts_no_call(lines: io.StringIO) -> None:
    """Whatever it raises."""

    def fail(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    LOG.addFilter(fail)
    try:
        with Client(transport=ScriptedTransport([openai_reply()]), keys=KEYS, config=False, env={}) as client:
            assert client.complete("hi", model=MODEL).text == "hello"
    finally:
        LOG.removeFilter(fail)
