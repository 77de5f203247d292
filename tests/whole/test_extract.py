"""Extractions against the simulator, in every mode, on both protocols, in both colours: what is mended, what is asked
again, where it stops, and that every cent is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest

from penstock import AsyncClient, Client, Extracted, ExtractionFailed
from penstock.errors import ModelRefused, PenstockError, TruncatedOutput
from penstock.sim import SimServer

LOG = "ERROR [db] connection refused. What is it?"
MODELS = ("openai:gpt-4o-mini", "openai-responses:gpt-4o-mini", "anthropic:claude-haiku-4-5")
EVERYWHERE = [(model, mode) for model in MODELS for mode in ("native", "tool", "prompted")]


class Incident(pydantic.BaseModel):
    severity: Literal["P1", "P2"]
    service: str = pydantic.Field(min_length=1)
    minutes: int


VALUE = Incident(severity="P1", service="db", minutes=3)


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer() as running:
        yield running


def settings(sim: SimServer) -> dict[str, Any]:
    return {
        "keys": {"openai": "k-secret", "anthropic": "k-secret"},
        "base_urls": {"openai": f"{sim.url}/v1", "anthropic": sim.url},
        "config": False,
        "env": {},
    }


def spoil(sim: SimServer, form: str, times: int = 1) -> None:
    sim.reset()
    sim.play(f'[[rule]]\ntimes = {times}\nfault = {{ kind = "spoil", form = "{form}" }}')


def extract(sim: SimServer, colour: str, **options: Any) -> tuple[Extracted[Incident] | PenstockError, int | None]:
    """Extract once; also what the client says that it cost."""
    if colour == "sync":
        with Client(**settings(sim)) as client:
            try:
                return client.extract(Incident, LOG, **options), client.usage().cost_nano
            except PenstockError as error:
                return error, client.usage().cost_nano

    async def main() -> tuple[Extracted[Incident] | PenstockError, int | None]:
        async with AsyncClient(**settings(sim)) as client:
            try:
                return await client.extract(Incident, LOG, **options), client.usage().cost_nano
            except PenstockError as error:
                return error, client.usage().cost_nano

    return asyncio.run(main())


MENDED = ("fenced", "prose", "single_quotes", "trailing_comma", "bare_keys", "extra_field")
ASKED_AGAIN = ("missing_field", "wrong_type", "cut", "empty", "no_json")


@pytest.mark.prove(20)
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(("model", "mode"), EVERYWHERE)
def test_whatever_spoils_an_answer_the_value_is_right_or_refused(
    sim: SimServer, model: str, mode: Any, colour: str
) -> None:
    """Mended without another call, or asked for once more; and the bill is the provider's."""
    for form in (*MENDED, *ASKED_AGAIN):
        spoil(sim, form)
        found, cost_nano = extract(sim, colour, model=model, mode=mode)
        assert isinstance(found, Extracted), (form, found)
        assert found.value == VALUE, form
        assert found.mode == mode
        assert found.reasked == (form in ASKED_AGAIN), form
        assert bool(found.repairs) == (form in MENDED), form
        assert found.cost_nano == cost_nano == sim.bill()["total_nano"]


@pytest.mark.prove(20)
@pytest.mark.parametrize(("model", "mode"), EVERYWHERE)
def test_what_is_no_answer_ends_it_at_once(sim: SimServer, model: str, mode: Any) -> None:
    """Truncation and refusal cost one call, and a model that never learns two."""
    for form, error, calls in (
        ("length", TruncatedOutput, 1),
        ("refusal", ModelRefused, 1),
        ("wrong_type", ExtractionFailed, 2),
    ):
        spoil(sim, form, times=9)
        found, cost_nano = extract(sim, "sync", model=model, mode=mode)
        assert isinstance(found, error)
        assert sim.bill()["attempts"] == calls == len(found.attempts)
        assert found.cost_nano == cost_nano == sim.bill()["total_nano"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", ["native", "tool", "prompted"])
def test_a_value_grows_from_a_real_stream(sim: SimServer, model: str, mode: Any) -> None:
    """In every mode, and ends as the checked one."""
    sim.play("")
    sim.reset()
    with Client(**settings(sim)) as client:
        with client.stream_extract(Incident, LOG, model=model, mode=mode) as growing:
            values = list(growing)
        assert values[-1] == VALUE
        assert all(value.items() <= VALUE.model_dump().items() for value in values[:-1])
        assert len(values) > 1
        assert sim.settle()
        assert growing.extracted.cost_nano == sim.bill()["total_nano"]
    with Client(**settings(sim)) as client:
        left = client.stream_extract(Incident, LOG, model=model, mode=mode)
        next(left)
        left.close()
        assert client.usage().attempts == 1


class Node(pydantic.BaseModel):
    name: str
    children: list[Node]


def test_a_schema_that_a_provider_refuses_is_asked_for_otherwise(sim: SimServer) -> None:
    """OpenAI takes recursion and the simulated Anthropic does not: known beforehand, and nothing is refused."""
    sim.play("")
    sim.reset()
    with Client(**settings(sim)) as client:
        assert client.extract(Node, LOG, model=MODELS[0]).mode == "native"
        assert client.extract(Node, LOG, model=MODELS[-1]).mode == "tool"
    assert sim.bill()["attempts"] == 2
    sim.play(
        "[[rule]]\nmatch = { contains = 'json_schema' }\n"
        "fault = { kind = 'status', status = 400, message = \"Unknown parameter: 'response_format.json_schema'.\" }\n"
    )
    with Client(**settings(sim)) as client:
        for calls in (2, 1):
            before = sim.bill()["attempts"]
            found = client.extract(Incident, LOG, model=MODELS[0])
            assert (found.mode, sim.bill()["attempts"] - before) == ("tool", calls)
            assert "refused the schema: Unknown parameter" in found.reason
