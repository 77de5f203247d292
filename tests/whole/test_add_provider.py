"""A provider that speaks a known protocol is a row and nothing else: the row of the how-to page, on the simulator."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic
import pytest

from penstock import AsyncClient, Budget, Client, Limits, Tool
from penstock.errors import AuthenticationFailed, BudgetExceeded, MissingKey, ServerFault
from penstock.sim import SimConfig, SimServer

PAGE = Path(__file__).parent.parent.parent / "docs" / "howto" / "add-a-provider.md"
ROWS = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
ASK = "What happened? ERROR [db] connection refused"
ENV = {"ACME_API_KEY": "k-acme"}


class Incident(pydantic.BaseModel):
    service: str
    severity: str


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer(SimConfig(any_model=True)) as running:
        yield running


def settings(sim: SimServer, folder: Path, row: int = 0) -> dict[str, Any]:
    """The row in a settings file of its own, with the simulator's address in the place of the page's."""
    file = folder / "penstock.toml"
    text, changed = re.subn(r"https://api\.acme\.example", sim.url, ROWS[row])
    assert changed == 1
    file.write_text(text, encoding="utf-8")
    return {"config": file, "env": ENV}


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_row_of_the_page_is_all_that_a_provider_needs(sim: SimServer, tmp_path: Path, colour: str) -> None:
    """Answers, streams, tools, values of a type and vectors, by full name and by bare name."""
    options = settings(sim, tmp_path)
    weather = Tool(name="weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
    if colour == "sync":
        with Client(**options) as client:
            plain = client.complete(ASK, model="acme:large")
            with client.stream(ASK, model="acme-large") as stream:
                streamed = "".join(stream.text)
            called = client.complete("Weather in Paris?", model="acme:large", tools=[weather], tool_choice="weather")
            value = client.extract(Incident, ASK, model="acme:large").value
            vectors = client.embed(["a", "b"], model="acme:embed")
    else:

        async def main() -> Any:
            async with AsyncClient(**options) as client:
                plain = await client.complete(ASK, model="acme:large")
                async with client.stream(ASK, model="acme-large") as stream:
                    streamed = "".join([text async for text in stream.text])
                called = await client.complete("Weather?", model="acme:large", tools=[weather], tool_choice="weather")
                value = (await client.extract(Incident, ASK, model="acme:large")).value
                return plain, streamed, called, value, await client.embed(["a", "b"], model="acme:embed")

        plain, streamed, called, value, vectors = asyncio.run(main())
    assert "db" in plain.text
    assert (plain.provider, plain.model, plain.cost) == ("acme", "large", None)
    assert "db" in streamed
    assert [call.name for call in called.tool_calls] == ["weather"]
    assert isinstance(value, Incident)
    assert len(vectors) == 2


def test_the_gate_holds_for_it_as_for_any_other(sim: SimServer, tmp_path: Path) -> None:
    """With the prices that its row gives: cost, budget and limits."""
    options = settings(sim, tmp_path, row=1)
    with Client(**options, limits={"acme": Limits(rpm=600)}, budget=Budget(total="0.001")) as client:
        answer = client.complete("Reply with exactly: pong", model="acme:large", max_tokens=16)
        assert (
            answer.cost == (answer.usage.prompt * Decimal("0.60") + answer.usage.completion * Decimal("2.40")) / 10**6
        )
        (lane,) = client.lanes()
        assert lane.name == "acme:large"
        assert lane.limiter.dimensions[0].limit == 600
        with pytest.raises(BudgetExceeded):
            client.complete(ASK, model="acme:large", max_tokens=1000)


def test_its_errors_name_it(sim: SimServer, tmp_path: Path) -> None:
    """A key that is missing or wrong, and a server that answers with a web page."""
    options = settings(sim, tmp_path)
    with Client(**(options | {"env": {}})) as client, pytest.raises(MissingKey, match="acme needs a key"):
        client.complete(ASK, model="acme:large")
    with (
        Client(**(options | {"env": {"ACME_API_KEY": "bad"}})) as client,
        pytest.raises(AuthenticationFailed) as caught,
    ):
        client.complete(ASK, model="acme:large")
    assert (caught.value.provider, caught.value.model) == ("acme", "large")
    sim.play('[[rule]]\nfault = { kind = "html" }\n')
    try:
        with Client(**options) as client, pytest.raises(ServerFault, match="a web page instead of an") as page:
            client.complete(ASK, model="acme:large", deadline_s=2)
    finally:
        sim.play("")
    assert (page.value.provider, page.value.model) == ("acme", "large")
