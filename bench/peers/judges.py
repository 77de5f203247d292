"""From what a caller saw and what the simulator counted to the numbers of a table."""

from collections import Counter
from typing import Any

from bench.peers.contest import Numbers

from penstock.sim import SimServer

Facts = dict[str, Any]


def limit_used(facts: Facts, sim: SimServer, *, calls: int, per_s: float) -> Numbers:
    """How much of the limit became answers, and how many requests it refused."""
    let_in = sorted(row["arrived"] for row in sim.log() if row["status"] == 200)
    return {"limit_used": share_used(let_in, calls, per_s), "own_429s": sim.limits()["rejected_429"]}


def share_used(let_in: list[float], calls: int, per_s: float) -> float:
    """Answers over what the limit allows, from the first tenth of the calls on: what a full bucket gives away at the
    start is no use of a limit. Who ends sooner, for want of answers, is measured over the time that all calls need.
    """  # noqa: D205
    skipped = calls // 10
    if len(let_in) <= skipped:
        return 0.0
    allowed = max(per_s * (let_in[-1] - let_in[skipped]), calls - 1 - skipped)
    return (len(let_in) - 1 - skipped) / allowed


def order_kept(facts: Facts, sim: SimServer, *, large: int) -> Numbers:
    """How many places a call lost between being asked for and arriving; the length of its prompt is its number."""
    rows = sorted(sim.log(), key=lambda row: row["arrived"])
    shortest = min((row["input_tokens"] for row in rows), default=0)
    asked = [row["input_tokens"] - shortest for row in rows]
    lost = {number: place - number for place, number in enumerate(asked)}
    return {
        "places_lost": max((places for number, places in lost.items() if number != large), default=0),
        "large_lost": lost.get(large, len(rows)),
        "answered": facts["answered"],
    }


def rejections(facts: Facts, sim: SimServer) -> Numbers:
    """How much of the traffic was refused, and what an answer cost in requests."""
    arrived, refused = sim.simulator.bill.count, sim.limits()["rejected_429"]
    answered = facts["answered"]
    numbers = {"share_429": refused / max(1, arrived), "answered": answered / max(1, _calls(facts))}
    return {**numbers, "per_answer": arrived / answered} if answered else numbers


def attempts_per_call(facts: Facts, sim: SimServer) -> Numbers:
    """How many requests a logical call became."""
    return {"attempts": sim.simulator.bill.count / _calls(facts)}


def attempts_by_fault(facts: Facts, sim: SimServer) -> Numbers:
    """How many requests each hopeless call became; one call each."""
    counts = Counter(row["fault"] or str(row["status"]) for row in sim.log())
    return {"quota": counts["quota"], "bad_request": counts["status"], "bad_key": counts["key_rejected"]}


def seconds(facts: Facts, sim: SimServer, *, names: tuple[str, ...]) -> Numbers:
    """When the caller knew, by prompt."""
    return dict(zip(names, facts["seconds"], strict=True))


def probes(facts: Facts, sim: SimServer) -> Numbers:
    """How many failures opened the breaker; how many calls went to a lane on probation before one was answered."""
    log = sim.log()
    rows = [row for row in log if not row["fault"]]
    first_answer = min((row["ended"] for row in rows), default=0.0)
    return {"failures": len(log) - len(rows), "probes": sum(row["arrived"] < first_answer for row in rows)}


def overshoot(facts: Facts, sim: SimServer, *, cap_usd: float) -> Numbers:
    """The bill over the cap: up to 1 is inside it."""
    share = sim.bill()["total_nano"] / (cap_usd * 1e9)
    return {"overshoot": max(0.0, share - 1.0), "bill_over_cap": share}


def upstream(facts: Facts, sim: SimServer) -> Numbers:
    """How many requests the provider saw of calls made at once and of one more later, and how many were answered."""
    again = sum(row["arrived"] >= facts["again_at"] for row in sim.log())
    return {"upstream": sim.simulator.bill.count - again, "answered": facts["answered"], "again": again}


def cost(facts: Facts, sim: SimServer) -> Numbers:
    """What the player measured of itself."""
    few, many = facts["us_1000"], facts["us_10000"]
    return {"us_1000": few, "us_10000": many, "growth": many / few if few > 0 else 0.0, "bytes": facts["bytes"]}


def _calls(facts: Facts) -> int:
    return int(facts["answered"] + facts["cut"] + sum(facts["errors"].values()))
