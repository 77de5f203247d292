"""The programs and scenarios of examples/ do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.sim import SimServer, read_config

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
WAIT_S = 60


def bulk(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the bulk example in a folder."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "bulk.py")],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@pytest.mark.slow
def test_the_bulk_example_answers_every_row_once(tmp_path: Path) -> None:
    """Its second run sends nothing."""
    with SimServer() as sim:
        settings = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": f"{sim.url}/v1"}
        first, second = bulk(tmp_path, **settings), bulk(tmp_path, **settings)
        assert sim.bill()["attempts"] == 600
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "600 now, 0 failed, 0 left" in first.stdout
    assert "600 answered before, 0 now" in second.stdout
    assert len((tmp_path / "classes.jsonl").read_bytes().splitlines()) == 600


def test_the_bulk_example_says_what_is_missing(tmp_path: Path) -> None:
    """One sentence without a key, and no traceback."""
    ended = bulk(tmp_path)
    assert ended.returncode == 1
    assert "OPENAI_API_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_the_agent_example_uses_its_tool_and_answers(tmp_path: Path) -> None:
    """The answer on stdout, the steps on stderr, inside its budget."""
    with SimServer() as sim:
        ended = subprocess.run(
            [sys.executable, str(EXAMPLES / "agent.py")],
            cwd=tmp_path,
            env=os.environ | {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": f"{sim.url}/v1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert sim.settle()
        assert sim.bill()["attempts"] == 2
    assert ended.returncode == 0, ended.stderr
    assert "disk_usage says" in ended.stdout
    assert "→ disk_usage" in ended.stderr
    assert "answered after 2 steps, 1 uses of tools" in ended.stderr


SHOWN = {
    "compare_providers.py": "fastest: ",
    "first_token.py": r"\(first token after",
    "retrying_client.py": "'fine' after 3 attempts",
    "token_limiter.py": r"260 answers, .*, 0 rejected with 429\nthe last of them waited [1-9]",
    "circuit_breaker.py": "the breaker is closed now",
    "adaptive_batch.py": "second run: 100 answered before, 0 now, 0 failed, 0 × 429",
    "embed_batch.py": "600 texts in 1 requests",
    "cost_tracker.py": "refused for search: tag team=search is used up",
    "parse_five_formats.py": r"key and value    Incident\(severity='P1', service='payments', minutes=12\)",
    "sequential_or_concurrent.py": "event loop",
    "sre_tool.py": "P1 payments-db",
}
"""What each program prints when it did what it says; two more have tests of their own."""

ARGUMENTS = {"sre_tool.py": ["explain", "app.log"]}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer() as running:
        yield running


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "retrying_client.py" else pytest.mark.slow) for name in SHOWN]
)
def test_an_example_does_what_it_says(name: str, sim: SimServer, tmp_path: Path) -> None:
    """As a process of its own, with nothing but what its first lines ask for."""
    (tmp_path / "app.log").write_text("INFO fine\nFATAL [payments-db] no space left on device\n")
    keys = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": f"{sim.url}/v1"}
    keys |= {"ANTHROPIC_API_KEY": "any", "ANTHROPIC_BASE_URL": sim.url}
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *ARGUMENTS.get(name, [])],
        cwd=tmp_path,
        env=os.environ | keys,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert ended.returncode == (2 if name == "sre_tool.py" else 0), ended.stderr
    logged = "budget 'total' reached 50%" if name == "cost_tracker.py" else ""
    assert ended.stderr.startswith(logged)
    assert bool(ended.stderr) is bool(logged), ended.stderr
    assert re.search(SHOWN[name], ended.stdout), ended.stdout


def test_every_program_is_in_the_list_and_is_run() -> None:
    """An example that is added is shown, and tested."""
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    listed = set(
        re.findall(r"^\| \[([\w-]+\.py)\]", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert programs == listed
    assert programs - {"bulk.py", "agent.py"} == SHOWN.keys()


def test_the_scenario_is_one_that_the_simulator_takes() -> None:
    """Limits and faults of the bad day."""
    config = read_config(EXAMPLES / "bad-day.toml")
    assert config.limits["openai"].rpm == 600
    assert len(config.scenario.rule) == 3


def test_the_rows_are_packed_where_the_demo_looks_for_them() -> None:
    """A wheel has them beside the command, since it has no examples."""
    from penstock.cli import demo

    settings = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text(encoding="utf-8"))
    packed = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert packed == {"examples/incidents.jsonl": f"penstock/cli/{demo.ROWS}"}


def test_the_rows_have_ids_of_their_own() -> None:
    """600 of them, each with its text."""
    rows = [json.loads(line) for line in (EXAMPLES / "incidents.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({row["id"] for row in rows}) == 600
    assert all(row["log"] and row["service"] for row in rows)
