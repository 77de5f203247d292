"""The ledger beside the simulator's bill: what was paid is in it, exactly where usage was reported."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, BreakerSettings, Budget, Cache, Client, RetryPolicy
from penstock.batch import RowFile, run_batch
from penstock.errors import PenstockError, StreamInterrupted
from penstock.ledger import Figures, Where, open_ledger, period
from penstock.sim import SimConfig, SimServer
from tests.whole.test_limits_and_money import settings

FAULTS = """
[[rule]]
match = { protocol = "openai", nth = [3, 9, 15] }
fault = { kind = "status", status = 500 }

[[rule]]
match = { protocol = "anthropic", nth = 5 }
fault = { kind = "overloaded" }
"""
PROMPT = "Tell in two hundred words what happened in outage {}, hour by hour, and what was done about it."
PATIENT = BreakerSettings(min_calls=1000)
STUBBORN = RetryPolicy(attempts=9, unknown_outcomes=9)  # side by side, one call may meet several of the faults
MODEL = "openai:gpt-4o-mini"
CLAUDE = "anthropic:claude-haiku-4-5"


def total(path: Path, **where: Any) -> Figures:
    """All that a ledger has."""
    with open_ledger(path) as reader:
        return reader.stats(period("all"), Where(**where)).total


@pytest.mark.prove(12, 14)
@pytest.mark.parametrize("threads", [True, False])
def test_the_ledger_is_the_bill_to_the_nano_dollar(tmp_path: Path, threads: bool) -> None:
    """Calls of two providers in threads and tasks, with retries on the way, beside client, ledger and bill."""
    path = tmp_path / "ledger.db"
    with SimServer() as sim:
        sim.play(FAULTS)
        if threads:
            with Client(**settings(sim, ledger=path, retry=STUBBORN)) as client, ThreadPoolExecutor(8) as pool:
                ask = lambda i: client.complete(f"hi {i}", model=(MODEL, CLAUDE)[i % 2], max_tokens=9)  # noqa: E731
                list(pool.map(ask, range(40)))
        else:

            async def main() -> AsyncClient:
                async with AsyncClient(**settings(sim, ledger=path, retry=STUBBORN)) as client:
                    asks = [
                        client.complete(f"hi {i}", model=(MODEL, CLAUDE)[i % 2], max_tokens=9, tags={"i": str(i % 3)})
                        for i in range(40)
                    ]
                    await asyncio.gather(*asks)
                return client

            client = asyncio.run(main())  # type: ignore[assignment]
        billed = sim.bill()["total_nano"]
    kept = total(path)
    assert kept.calls == 40
    assert kept.failed == 0
    assert kept.cost_nano == client.usage().cost_nano == billed
    assert kept.attempts == client.usage().attempts
    assert kept.retries > 0


@pytest.mark.prove(12, 14)
def test_cut_streams_are_in_the_ledger_within_one_percent_of_the_bill(tmp_path: Path, record_property: Any) -> None:
    """Streams that break anywhere, whose usage nobody reports: estimated, flagged, and near the bill."""
    path, dice = tmp_path / "ledger.db", random.Random(7)
    rules = [
        f'[[rule]]\nmatch = {{ nth = {number} }}\nfault = {{ kind = "reset", when = "mid_stream", '
        f'how = "fin", after_chunks = {dice.randrange(3, 40)} }}'
        for number in range(21, 61)
    ]
    with SimServer() as sim:
        sim.play("\n".join(rules))
        with Client(**settings(sim, ledger=path, retry=RetryPolicy(attempts=1), breaker=PATIENT)) as client:
            for number in range(60):
                with suppress(StreamInterrupted), client.stream(PROMPT.format(number), model=MODEL) as stream:
                    list(stream)
        assert sim.settle()
        billed = sim.bill()["total_nano"]
    kept = total(path)
    apart = abs(kept.cost_nano - billed) / billed
    record_property("apart", apart)
    assert kept.calls == 60
    assert kept.estimated == kept.failed == 40
    assert 0 < kept.estimated_nano < kept.cost_nano
    assert apart <= 0.01


def test_everything_that_is_a_call_is_in_the_ledger(tmp_path: Path) -> None:
    """Answers, streams, values, vectors, cache hits, refusals and failures, each with its operation and tags."""
    path = tmp_path / "ledger.db"
    tags = {"team": "sre", "task": "t-1"}
    with SimServer() as sim:
        options = {"cache": Cache(), "budget": Budget(total="1.00"), "ledger": path, "tags": {"app": "test"}}
        with Client(**settings(sim, **options)) as client:
            client.complete("one", model=MODEL, temperature=0, tags=tags)
            client.complete("one", model=MODEL, temperature=0, tags=tags)
            client.stream("two", model=CLAUDE, max_tokens=5).finish()
            client.embed(["a", "b"], model="openai:text-embedding-3-small")
            client.extract(dict, "Give me JSON", model=MODEL, max_tokens=200)
            with pytest.raises(PenstockError):
                client.complete("three", model="openai:no-such-model", max_tokens=5)
            with pytest.raises(PenstockError):
                client.complete("four", model=MODEL, max_tokens=100_000_000)
        billed = sim.bill()["total_nano"]
    with open_ledger(path) as reader:
        by = reader.stats(period("today"), by="operation").groups
        rows = reader.tail()
        hit = next(row for row in rows if row.cached)
        (budgeted, *_) = reader.attempts(rows[0].call_id)
        assert reader.stats(period("all"), Where(task="t-1")).total.calls == 2
        assert reader.stats(period("all"), Where(tags={"app": "test"})).total.calls == 7
    assert {name: one.calls for name, one in by.items()} == {"complete": 4, "stream": 1, "embed": 1, "extract": 1}
    assert hit.cost_nano == 0
    assert hit.saved_nano == rows[0].cost_nano
    assert budgeted.scopes is not None
    assert "total" in budgeted.scopes
    kept = total(path)
    assert kept.cost_nano == billed
    assert (kept.cached, kept.failed, kept.refused) == (1, 2, 2)
    assert kept.saved_nano == rows[0].cost_nano


def test_rows_of_a_providers_batch_are_calls_at_half_the_price(tmp_path: Path) -> None:
    """With what they saved against the same calls outside of a batch, exact against the bill."""
    path, rows = tmp_path / "ledger.db", tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"id": "{number}", "prompt": "hi {number}"}}\n' for number in range(20)))

    async def main(sim: SimServer) -> None:
        async with AsyncClient(**settings(sim, ledger=path)) as client:
            report = await run_batch(
                RowFile(rows), tmp_path / "out.jsonl", client=client, models=[MODEL], via="batch-api",
                params={"max_tokens": 9},
            )  # fmt: skip
            assert report.answered == 20

    with SimServer() as sim:
        asyncio.run(main(sim))
        billed = sim.bill()["total_nano"]
    kept = total(path, operation="batch")
    assert (kept.calls, kept.batched, kept.attempts) == (20, 20, 20)
    assert kept.cost_nano == billed
    assert kept.batch_saved_nano == billed
    assert kept.latency == {}


def test_a_tier_says_what_routing_saved(tmp_path: Path) -> None:
    """Against what the same tokens cost at the model of the highest tier."""
    path = tmp_path / "ledger.db"
    tiers = {"simple": MODEL, "expert": "openai:gpt-4o"}
    with SimServer() as sim, Client(**settings(sim, ledger=path, tiers=tiers)) as client:
        response = client.complete("hi", tier="simple", max_tokens=9)
        client.complete("hi", model=MODEL, max_tokens=9)
        strongest = client.settings.prices.cost("openai", "gpt-4o", response.usage)
    with open_ledger(path) as reader:
        first, second = reader.tail()
    assert (first.tier, second.tier) == ("simple", None)
    assert first.reason is not None
    assert first.strongest_nano == strongest
    assert strongest is not None
    assert response.cost_nano is not None
    kept = total(path)
    assert (kept.routed, kept.route_saved_nano) == (1, strongest - response.cost_nano)


@pytest.mark.prove(25)
def test_no_key_is_in_the_ledger(tmp_path: Path) -> None:
    """Not even where the provider says it back, and prompts and answers are kept."""
    path = tmp_path / "ledger.db"
    canary = "sk-canary-4f1b9d"
    from penstock.ledger import Ledger

    with SimServer(SimConfig(accept_keys=("another",))) as sim:
        options = settings(sim, ledger=Ledger(path=str(path), content=True))
        with Client(**options | {"keys": {"openai": canary}}) as client, pytest.raises(PenstockError):
            client.complete("hello", model=MODEL, max_tokens=5)
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"hello" in kept
    assert b"authentication" in kept
    assert canary.encode() not in kept


TWO = """
import sys
from penstock import Client
url, path, name = sys.argv[1:]
with Client(base_urls={"openai": url + "/v1"}, keys={"openai": "k"}, config=False, ledger=path) as client:
    for number in range(60):
        client.complete(f"{name} {number}", model="openai:gpt-4o-mini", max_tokens=5, tags={"process": name})
"""


def test_two_programs_share_a_ledger(tmp_path: Path) -> None:
    """What both made is the bill, each by its tag."""
    path = tmp_path / "ledger.db"
    with SimServer() as sim:
        started = [subprocess.Popen([sys.executable, "-c", TWO, sim.url, str(path), name]) for name in ("one", "two")]
        assert [process.wait() for process in started] == [0, 0]
        billed = sim.bill()["total_nano"]
    with open_ledger(path) as reader:
        found = reader.stats(period("all"), by="tag:process")
    assert {name: one.calls for name, one in found.groups.items()} == {"one": 60, "two": 60}
    assert found.total.cost_nano == billed


def test_the_state_of_lanes_and_budgets_is_there_for_a_page(tmp_path: Path) -> None:
    """Of a process at work, as its own snapshots say."""
    path = tmp_path / "ledger.db"
    with SimServer() as sim, Client(**settings(sim, ledger=path, budget=Budget(daily="5.00"))) as client:
        client.complete("hi", model=MODEL, max_tokens=5)
        assert client.ledger is not None
        client.ledger.flush()
        with open_ledger(path) as reader:
            states = reader.live()
    lane = next(state for state in states if state.kind == "lane")
    assert lane.name == MODEL
    assert lane.data["breaker"]["state"] == "closed"
    assert any(state.kind == "budget" and state.name.startswith("day ") for state in states)
    assert states[0].process.endswith(f":{os.getpid()}")


def test_an_interrupted_program_writes_what_it_had(tmp_path: Path) -> None:
    """Ctrl-C is a clean exit."""
    path = tmp_path / "ledger.db"
    program = TWO.replace("range(60)", "range(100_000)").replace(
        "with Client", "print('ready', flush=True)\nwith Client"
    )
    with SimServer() as sim:
        process = subprocess.Popen(
            [sys.executable, "-c", program, sim.url, str(path), "x"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while sim.bill()["total_nano"] < 20 * 1000:
            pass
        process.send_signal(signal.SIGINT)
        process.wait()
        process.stdout.close()
        assert sim.settle()
        billed = sim.bill()["total_nano"]
    kept = total(path)
    answered = kept.cost_nano
    assert kept.calls > 0
    assert billed - answered <= 0.2 * billed  # the call under way when it came
