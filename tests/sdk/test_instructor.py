"""instructor goes through the gate with the SDK that it patches; it pins an older one, so `.venv-instructor` has it.

`make sdk-instructor` runs this there; elsewhere it is skipped.
"""

from __future__ import annotations

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from penstock import Client, sdk
from penstock.sim import SimServer

instructor: Any = pytest.importorskip("instructor", reason="instructor lives in .venv-instructor: make sdk-instructor")


class Incident(BaseModel):
    """What is asked for."""

    service: str
    minutes: int


def test_instructor_gets_its_model_through_the_gate() -> None:
    """A question of instructor is a call of the gate, with its usage."""
    with (
        SimServer() as sim,
        Client(base_urls={"openai": sim.url + "/v1"}, config=False, env={}) as gate,
    ):
        ai = openai.OpenAI(api_key="sk-test", base_url=sim.url + "/v1", http_client=sdk.http_client(gate))
        found = instructor.from_openai(ai).chat.completions.create(
            model="gpt-4o-mini",
            response_model=Incident,
            messages=[{"role": "user", "content": "What happened? ERROR [db] connection refused for 5 minutes"}],
        )
        assert isinstance(found, Incident)
        totals = gate.usage()
        assert totals.calls == len(sim.log()) >= 1
        assert totals.cost_nano == sim.bill()["total_nano"]
