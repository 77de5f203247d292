"""`compare`: the same question side by side, in both colours and from the command line."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client
from penstock.compare import Compared, Comparison, compare, compare_async
from penstock.errors import ConfigError, NotFound
from penstock.sim import Latency, SimConfig, SimServer
from tests.cli.terminal import penstock

MODELS = ["openai:gpt-4o-mini", "openai:gpt-nosuch", "anthropic:claude-haiku-4-5"]
COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])


def settings(sim: SimServer) -> dict[str, Any]:
    return {
        "base_urls": {"openai": f"{sim.url}/v1", "anthropic": sim.url},
        "keys": {"openai": "k", "anthropic": "k"},
        "config": False,
        "env": {},
    }


def compared(colour: str, sim: SimServer, models: list[str], **more: Any) -> Comparison:
    """A comparison in a colour."""
    client = {name: more.pop(name) for name in ("budget", "fallbacks") if name in more}
    if colour == "sync":
        with Client(**settings(sim), **client) as waits:
            return compare(waits, "Answer with exactly: fine", models, **more)

    async def main() -> Comparison:
        async with AsyncClient(**settings(sim), **client) as awaited:
            return await compare_async(awaited, "Answer with exactly: fine", models, **more)

    return asyncio.run(main())


@COLOURS
def test_each_model_is_a_row_with_its_times_tokens_and_cost(colour: str) -> None:
    """In their order; one that fails is a row with its error, and no other model answers for it."""
    told: list[Compared] = []
    with SimServer(SimConfig(latency=Latency(first_token_s=0.02, tokens_per_s=1000))) as sim:
        found = compared(colour, sim, MODELS, fallbacks=["openai:gpt-4o"], on_done=told.append)
        billed = sim.bill()["total_nano"]
    mini, nosuch, haiku = found.rows
    assert [row.model for row in found.rows] == MODELS
    assert (mini.text, haiku.text) == ("fine", "fine")
    assert isinstance(nosuch.error, NotFound)
    assert (nosuch.text, nosuch.latency_s, nosuch.usage) == ("", None, None)
    assert mini.first_token_s is not None
    assert mini.latency_s is not None
    assert 0.02 <= mini.first_token_s <= mini.latency_s
    assert sum(row.cost_nano or 0 for row in found.answered) == billed
    assert found.cheapest is mini
    assert found.fastest in (mini, haiku)
    assert sorted(row.model for row in told) == sorted(MODELS)


@COLOURS
def test_all_are_asked_at_the_same_time(colour: str) -> None:
    """None of them waits for another: each sees the others under way."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0.3))) as sim:
        found = compared(colour, sim, ["openai:gpt-4o-mini", "openai:gpt-4o", "anthropic:claude-haiku-4-5"])
        log = sim.log()
    assert len(found.answered) == 3
    assert max(entry["arrived"] for entry in log) - min(entry["arrived"] for entry in log) < 0.3


@COLOURS
def test_a_budget_holds_for_all_together(colour: str) -> None:
    """Who comes too late is a row with that error."""
    with SimServer() as sim:
        found = compared(colour, sim, MODELS[:1], budget=Budget(total=Decimal("0.0000001")))
    assert [row.error.code for row in found.rows if row.error] == ["budget_exceeded"]


@COLOURS
@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([], r"models is \[\]"),
        (["openai:a", "openai:a"], "named twice"),
        (["nosuch:a"], "no provider is called"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_sent(colour: str, models: list[str], words: str) -> None:
    """No model, one twice, one that nobody has."""
    with SimServer() as sim:
        with pytest.raises(ConfigError, match=words):
            compared(colour, sim, models)
        assert sim.bill()["attempts"] == 0


def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    """The answers below it; exit code 1 when some failed, that of the error when all did."""
    named = [part for model in MODELS for part in ("-m", model)]
    with SimServer() as sim:
        ended = penstock("compare", "Answer with exactly: fine", *named, "--no-stdin", sim=sim, folder=tmp_path)
        as_json = penstock("compare", "Answer with exactly: fine", *named[:2], "--json", sim=sim, folder=tmp_path)
        failed = penstock("compare", "x", "-m", "openai:gpt-nosuch", sim=sim, folder=tmp_path)
    lines = ended.stdout.splitlines()
    assert lines[0].split("  ")[0] == "MODEL"
    assert lines[1].startswith("openai:gpt-4o-mini ")
    assert lines[2].split() == ["openai:gpt-nosuch", "not_found"]
    assert "── anthropic:claude-haiku-4-5 ──\nfine" in ended.stdout
    assert ended.returncode == 1
    (row,) = json.loads(as_json.stdout)["rows"]
    assert (row["text"], row["stop_reason"], row["attempts"]) == ("fine", "stop", 1)
    assert row["cost"] > 0
    assert failed.returncode == 65
