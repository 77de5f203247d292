"""A running simulator and official SDK clients that never retry by themselves."""

from collections.abc import Callable, Iterator

import anthropic
import openai
import pytest

from penstock.sim import SimConfig, SimServer


@pytest.fixture(scope="module")
def server() -> Iterator[SimServer]:
    with SimServer(SimConfig(seed=7)) as running:
        yield running


@pytest.fixture
def chat(sim: SimServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{sim.url}/v1", api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(sim: SimServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=sim.url, api_key="sk-ant-test", max_retries=0) as client:
        yield client


@pytest.fixture
def fault(sim: SimServer) -> Callable[[str], None]:
    """Order one fault for every request: the inside of a TOML inline table."""

    def order(inside: str) -> None:
        sim.play(f"[[rule]]\nfault = {{ {inside} }}\n")

    return order
