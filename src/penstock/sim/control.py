"""The simulator's own pages under `/__sim__/`: what happened, what it cost, which limits were touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from penstock.sim.faults import Scenario, ScenarioError
from penstock.sim.simulator import Simulator


class Page(NamedTuple):
    """A status and a body."""

    status: int
    body: bytes
    content_type: str = "application/json"


def limits(simulator: Simulator, now: float) -> dict[str, Any]:
    """All lanes by `protocol:model:credential`, and how many 429s of its own limits the simulator sent."""
    lanes = {
        f"{protocol}:{model}:{credential}": lane.snapshot(now)
        for (protocol, credential, model), lane in list(simulator.lanes.items())
    }
    return {"rejected_429": sum(lane.refused for lane in list(simulator.lanes.values())), "lanes": lanes}


def bill(simulator: Simulator, *, attempts: bool = False) -> dict[str, Any]:
    """The bill, and as `open` how many exchanges are not on it yet because they are under way."""
    return {**simulator.bill.report(attempts=attempts), "open": simulator.open}


def log(simulator: Simulator) -> list[dict[str, Any]]:
    """Every kept attempt in the order in which they ended."""
    rows: list[dict[str, Any]] = msgspec.to_builtins(list(simulator.bill.attempts))
    return rows


def summary(simulator: Simulator, now: float) -> dict[str, Any]:
    """The whole in short."""
    statuses: dict[str, int] = {}
    faults: dict[str, int] = {}
    for attempt in list(simulator.bill.attempts):
        statuses[str(attempt.status)] = statuses.get(str(attempt.status), 0) + 1
        if attempt.fault:
            faults[attempt.fault] = faults.get(attempt.fault, 0) + 1
    return {
        "simulator": "penstock",
        "seed": simulator.config.seed,
        "up_s": 0.0 if simulator.started is None else round(now - simulator.started, 3),
        "attempts": simulator.bill.count,
        "open": simulator.open,
        "statuses": statuses,
        "faults": faults,
        "rules": simulator.book.snapshot(),
        "total_nano": simulator.bill.total_nano,
        "rejected_429": limits(simulator, now)["rejected_429"],
        "pages": ["bill", "log", "limits", "health", "POST reset", "POST scenario"],
    }


def answer(simulator: Simulator, method: str, name: str, query: Mapping[str, str], body: bytes, now: float) -> Page:
    """Answer one request under `/__sim__/`."""
    name = name.strip("/")
    pages: dict[tuple[str, str], Callable[[], Page]] = {
        ("GET", ""): lambda: _json(summary(simulator, now)),
        ("GET", "health"): lambda: _json({"ok": True}),
        ("GET", "bill"): lambda: _json(bill(simulator, attempts=query.get("attempts") in ("1", "true"))),
        ("GET", "limits"): lambda: _json(limits(simulator, now)),
        ("GET", "log"): lambda: Page(
            200, msgspec.json.Encoder().encode_lines(list(simulator.bill.attempts)), "application/x-ndjson"
        ),
        ("POST", "reset"): lambda: _reset(simulator),
        ("POST", "scenario"): lambda: _scenario(simulator, body, now),
    }
    page = pages.get((method, name))
    if page is not None:
        return page()
    known = any(path == name for _, path in pages)
    return Page(405 if known else 404, msgspec.json.encode({"error": f"no {method} /__sim__/{name} here"}))


def _json(value: object) -> Page:
    return Page(200, msgspec.json.format(msgspec.json.encode(value), indent=2))


def _reset(simulator: Simulator) -> Page:
    simulator.reset()
    return _json({"ok": True})


def _scenario(simulator: Simulator, body: bytes, now: float) -> Page:
    try:
        scenario = Scenario.parse(body.decode(), "POST /__sim__/scenario")
    except (ScenarioError, UnicodeDecodeError) as error:
        return Page(400, msgspec.json.encode({"error": str(error)}))
    simulator.play(scenario, now)
    return _json({"ok": True, "rules": len(scenario.rule)})
