"""What the provider's log and the contestant's files say of one turn: pure, so that a planted bad log can test them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any, Final

from bench.bulk.field import Answers
from bench.bulk.given import ANTHROPIC_MODEL, OPENAI_MODEL
from bench.bulk.optimum import Rate, Work, World, optimum_s

from penstock.sim import Limits

GRACE_S: Final = 0.1
"""What arrives so soon after a 429 was sent off was on its way before anybody could have read it."""
NEAR_S: Final = 0.02
"""So much before its time an attempt may arrive: a date and a float are rounded."""

MODELS: Final = (OPENAI_MODEL, ANTHROPIC_MODEL)

Log = list[dict[str, Any]]
Numbers = dict[str, float]


@dataclass(frozen=True)
class Truth:
    """What the provider saw: its log in order of arrival, and what its limits counted by dimension."""

    log: Log
    charged: dict[str, int]


def asked(log: Log) -> Log:
    """The attempts that ask a row: not a probe for headers, which is of another model or refused as nonsense."""
    return [row for row in log if row["model"] in MODELS and not (row["status"] == 400 and not row["fault"])]


def answers(log: Log) -> Log:
    """The attempts that were answered."""
    return [row for row in log if row["status"] == 200 and not row["aborted"]]


def self_inflicted(log: Log) -> Log:
    """The 429s of the provider's own limits, which whoever keeps them never sees."""
    return [row for row in log if row["fault"].startswith("limit:")]


def makespan_s(log: Log) -> float:
    """From the first request to the last answer."""
    done = [row["ended"] for row in answers(log)]
    return max(done) - asked(log)[0]["arrived"] if done else 0.0


def violations(log: Log) -> Log:
    """The attempts that arrived after a 429 had been sent off and before the time that it named.

    Retry-After speaks of the lane and not of the row, so any row of the lane counts.
    """
    found: Log = []
    events = sorted(
        [(row["ended"] + GRACE_S, 0, row) for row in log if row["retry_after_s"]]
        + [(row["arrived"], 1, row) for row in log],
        key=lambda event: event[:2],
    )
    not_before = 0.0
    for at, arrives, row in events:
        if not arrives:
            not_before = max(not_before, row["arrived"] + row["retry_after_s"] - NEAR_S)
        elif at < not_before:
            found.append(row)
    return found


def billed(log: Log) -> Counter[str]:
    """How often each prompt was paid."""
    return Counter(row["prompt"] for row in log if row["billed_nano"])


def paid_again(log: Log) -> int:
    """Payments beyond the first for the same prompt."""
    return sum(times - 1 for times in billed(log).values())


def lost(rows: Iterable[str], found: Answers) -> int:
    """Rows without an answer in what the contestant left."""
    return len(set(rows) - found.answered)


def p99_s(log: Log) -> float:
    """The latency that one answer of a hundred exceeds."""
    took = sorted(row["ended"] - row["arrived"] for row in answers(log))
    return took[ceil(0.99 * len(took)) - 1] if took else 0.0


def best_s(truth: Truth, rows: int, limits: Limits) -> float:
    """T* of this turn: the provider's limits, and the latencies that it gave to this contestant, in that order.

    Rows that got no answer count with the median latency. What was let in and hung takes its share of the limits.
    """
    log = asked(truth.log)
    let_in = [row for row in log if row["status"] == 200 or (row["aborted"] and not row["fault"].startswith("limit:"))]
    work = [_work(row, truth, log) for row in let_in]
    missing = rows - sum(each.answers for each in work)
    if missing > 0:
        usual = median(each.latency_s for each in work if each.answers) if any(each.answers for each in work) else 0.0
        share = {name: truth.charged.get(name, 0) / max(1, len(let_in)) for name in ("tokens", "input-tokens")}
        work += [Work(usual, {"requests": 1.0, **share})] * missing
    return optimum_s(work, world(limits, log))


def _work(row: dict[str, Any], truth: Truth, log: Log) -> Work:
    """An attempt that was let in; its part of the tokens that were charged is its part of those that were billed."""
    read = sum(each["input_tokens"] for each in log if each["status"] == 200) if truth.charged.get("tokens") else 0
    costs = {"requests": 1.0, "input-tokens": float(row["input_tokens"])}
    if read:
        costs["tokens"] = row["input_tokens"] / read * truth.charged["tokens"]
    whole = row["status"] == 200 and not row["aborted"]
    return Work(row["ended"] - row["arrived"] if whole else 0.0, costs, row["output_tokens"], answers=whole)


def world(limits: Limits, log: Log) -> World:
    """The provider's limits as the oracle sees them, and the pauses that it ordered without need."""
    rates = {}
    for name, limit, burst, late in (
        ("requests", limits.rpm, limits.burst_requests, False),
        ("tokens", limits.tpm, limits.burst_tokens, False),
        ("input-tokens", limits.itpm, limits.burst_tokens, False),
        ("output-tokens", limits.otpm, limits.burst_tokens, True),
    ):
        if limit is not None:
            rates[name] = Rate(limit / 60, burst or max(1, limit // 10), late)
    begun = log[0]["arrived"] if log else 0.0
    ordered = [row for row in log if row["retry_after_s"] and not row["fault"].startswith("limit:")]
    return World(
        rates,
        limits.concurrency,
        tuple((change.after_s, change.factor) for change in limits.changes),
        tuple((row["arrived"] - begun, row["arrived"] - begun + row["retry_after_s"]) for row in ordered),
    )


def judged(truth: Truth, rows: list[str], found: Answers, limits: Limits) -> Numbers:
    """The numbers of one turn."""
    log = asked(truth.log)
    if not log:
        return {}
    best, took = best_s(truth, len(rows), limits), makespan_s(log)
    return {
        "best_s": best,
        "makespan_s": took,
        "over_best": took / best if best else 0.0,
        "over_best_less_2_p99": (took - 2 * p99_s(log)) / best if best else 0.0,
        "own_429s": len(self_inflicted(log)),
        "share_429": len(self_inflicted(log)) / len(rows),
        "violations": len(violations(log)),
        "lost": lost(rows, found),
        "paid_again": paid_again(log),
        "attempts": len(log),
    }
