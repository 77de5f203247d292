"""One exchange under way: what is performed, and what settles it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Literal

from penstock.sim import faults
from penstock.sim.bill import Bill
from penstock.sim.config import Protocol
from penstock.sim.limits import Lane
from penstock.sim.plan import SimRequest, Step, Usage


@dataclass(slots=True, eq=False)
class Plan:
    """One exchange: the steps to perform in order, and what the simulator needs to settle it afterwards."""

    no: int
    request: SimRequest
    arrived: float
    rng: Random
    protocol: Protocol = "openai"
    azure: bool = False
    request_id: str = ""
    credential: str = ""
    model: str = ""
    stream: bool = False
    status: int = 0
    steps: list[Step] = field(default_factory=list)
    rule: faults.Rule | None = None
    fault: faults.Fault | None = None
    fault_label: str = ""
    lane: Lane | None = None
    admitted: bool = False
    billing: Literal["none", "produced", "all"] = "none"
    fee_nano: int = 0
    usage: Usage = field(default_factory=Usage)
    bill: Bill | None = None
    produced: int = 0
    prompt: str = ""
    retry_after_s: float | None = None
    open: bool = True
    logged: bool = True
