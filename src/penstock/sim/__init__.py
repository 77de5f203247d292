"""A provider simulator: OpenAI chat, Responses, embeddings, Anthropic messages; with limits, bill, log and faults.

    with SimServer(SimConfig(limits={"openai": Limits(rpm=600)})) as sim:
        openai.OpenAI(base_url=sim.url + "/v1", api_key="any")

It is a stranger to the rest of penstock and imports nothing of it, so that it can contradict it.
"""

from penstock.sim.batch_settings import BatchSettings
from penstock.sim.bill import Price
from penstock.sim.config import Change, Embedding, Latency, Limits, Model, SimConfig
from penstock.sim.exchange import Plan
from penstock.sim.faults import Match, Rule, Scenario, ScenarioError
from penstock.sim.plan import SimRequest
from penstock.sim.reading import read_config
from penstock.sim.server import SimServer, serve
from penstock.sim.simulator import Simulator

__all__ = [
    "BatchSettings",
    "Change",
    "Embedding",
    "Latency",
    "Limits",
    "Match",
    "Model",
    "Plan",
    "Price",
    "Rule",
    "Scenario",
    "ScenarioError",
    "SimConfig",
    "SimRequest",
    "SimServer",
    "Simulator",
    "read_config",
    "serve",
]
