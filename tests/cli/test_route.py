"""`penstock route`: what it explains and calibrates, for people and programs, and what is wrong with its input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from penstock._policy.routing import TIERS as ROUTER_TIERS
from penstock._text.learned import read
from penstock._text.truncate import STRATEGIES as CUTS
from penstock.cli import root
from penstock.cli.choice import STRATEGIES, TIERS
from penstock.errors import EXIT_CANT_CREATE, EXIT_CONFIG, EXIT_DATA, EXIT_USAGE
from penstock.sim import SimServer

from .terminal import penstock

SETTINGS = """
[tiers]
simple = "openai:gpt-4o-mini"
complex = ["openai:gpt-4o", "anthropic:claude-sonnet-4-5"]
[routing.tasks]
summary = "simple"
[routing.models.anthropic]
region = "eu"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with tiers, and no settings of the developer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "penstock.toml").write_text(SETTINGS)
    return tmp_path


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(root, ["route", *arguments], input=text)


def outcomes(path: Path, **more: Any) -> str:
    """Rows of two kinds, of which one needs the stronger model."""
    words = ("alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa", "theta")
    with path.open("w") as file:
        for at in range(160):
            hard = at * 7 % 3 == 0
            prompt = f"{'prove the theorem about' if hard else 'what colour has the'} {words[at % 8]}"
            row = {"prompt": prompt, "label": "strong" if hard else "weak", **more}
            file.write(json.dumps(row) + "\n")
    return str(path)


def test_the_words_of_options_are_those_of_the_router() -> None:
    """They are written twice, so that help is quick."""
    assert (*ROUTER_TIERS, "auto") == TIERS
    assert STRATEGIES == CUTS


def test_a_route_is_explained_without_a_key(folder: Path) -> None:
    """Model, tier, why, and who comes after."""
    done = run("explain", "--no-stdin", "Analyze the outage")
    assert done.exit_code == 0, done.output
    why = "it says 'analyze', which is complex; openai:gpt-4o of tier 'complex' answers; fallbacks: "
    assert done.stdout.splitlines() == [
        "model:    openai:gpt-4o",
        "then:     anthropic:claude-sonnet-4-5",
        "tier:     complex",
        "tokens:   about 11",
        f"why:      {why}anthropic:claude-sonnet-4-5",
    ]


def test_a_route_is_explained_to_programs(folder: Path) -> None:
    """With who was left out, and why."""
    told = json.loads(run("explain", "--no-stdin", "--region", "eu", "--json", "hi").stdout)
    assert told["candidates"] == ["anthropic:claude-sonnet-4-5"]
    assert told["left_out"][0][0] == "openai:gpt-4o-mini"
    assert told["tier"] == "complex"
    assert json.loads(run("explain", "--task", "summary", "--json", text="x" * 500).stdout)["tier"] == "simple"


def test_a_prompt_is_judged_also_where_no_tier_has_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said where to give them one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    done = run("explain", "--no-stdin", "Design a failover")
    assert done.exit_code == 0
    assert "model:    none is set" in done.stdout
    assert "give them under [tiers]" in done.stdout


def test_a_calibration_is_fitted_reported_and_used(folder: Path) -> None:
    """The file that it writes is the one that the router reads."""
    rows = outcomes(folder / "rows.jsonl")
    done = run("calibrate", rows, "-o", "router.json", "--holdout", "0.2")
    assert done.exit_code == 0, done.output
    for said in ("calibrated", "length", "random", "oracle", "held out", "a coin that reaches the same quality saves"):
        assert said in done.stdout
    learned = read((folder / "router.json").read_bytes(), "router.json")
    assert learned.score("prove the theorem") > learned.score("what colour")
    used = '[routing]\ncalibration = "router.json"\n[routing.tasks]'
    (folder / "penstock.toml").write_text(SETTINGS.replace("[routing.tasks]", used))
    told = json.loads(run("explain", "--no-stdin", "--json", "prove the theorem about it").stdout)
    assert (told["tier"], told["score"] >= learned.threshold) == ("complex", True)
    again = run("calibrate", rows, "-o", "again.json", "--holdout", "0.2", "--json")
    assert (folder / "again.json").read_bytes() == (folder / "router.json").read_bytes()
    assert json.loads(again.stdout)["contestants"][0]["name"] == "calibrated"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("explain", "--no-stdin", "hi", "--task", "none"), EXIT_CONFIG, "there is no task 'none'"),
        (("explain", "--no-stdin", "hi", "--region", "mars"), EXIT_CONFIG, "not known to run in 'mars'"),
        (("explain", "--no-stdin", "hi", "-m", "nowhere:x"), EXIT_CONFIG, "no provider is called 'nowhere'"),
        (("explain", "--no-stdin"), EXIT_USAGE, "there is no prompt"),
        (("explain", "--no-stdin", "hi", "--tier", "hard"), EXIT_USAGE, "'hard' is not one of"),
        (("calibrate", "nothing.jsonl"), EXIT_DATA, "nothing.jsonl cannot be read"),
        (("calibrate", "one.jsonl"), EXIT_DATA, "one.jsonl: there is one class only"),
        (("calibrate", "few.jsonl"), EXIT_DATA, "few.jsonl: there are 3 outcomes"),
        (("calibrate", "bad.jsonl"), EXIT_DATA, "bad.jsonl:2: 'strong' is missing"),
        (("calibrate", "rows.jsonl", "-o", "no/such/router.json"), EXIT_CANT_CREATE, "cannot be written"),
        (("calibrate", "rows.jsonl", "--quality", "1.5"), EXIT_USAGE, "no finite number from 0 to 1"),
        (("calibrate", "rows.jsonl", "--quality", "0.9", "--share", "0.5"), EXIT_USAGE, "not both"),
        (("calibrate", "rows.jsonl", "--weak", "expert"), EXIT_USAGE, "is not below"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """With an exit code that a script can tell apart, and no traceback."""
    (folder / "one.jsonl").write_text('{"prompt": "a b", "label": "weak"}\n' * 60)
    (folder / "few.jsonl").write_text('{"prompt": "a b", "label": "weak"}\n' * 3)
    (folder / "bad.jsonl").write_text('{"prompt": "a", "label": "weak"}\n{"prompt": "a", "weak": 1}\n')
    outcomes(folder / "rows.jsonl")
    done = penstock("route", *arguments, folder=folder) if code == EXIT_USAGE else run(*arguments)
    text = done.stderr
    assert (done.returncode if code == EXIT_USAGE else done.exit_code) == code, text  # type: ignore[union-attr]
    assert said in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_ask_routes_and_cuts(folder: Path) -> None:
    """The same options as in Python; what was left out is told on stderr."""
    with SimServer() as sim:
        done = penstock("ask", "--tier", "auto", "--no-stdin", "--json", "hello", sim=sim, folder=folder)
        assert json.loads(done.stdout)["model"] == "openai:gpt-4o-mini", done.stderr
        (folder / "long.txt").write_text("INFO all is well\n" * 60_000)
        more = ("--truncate", "relevance", "-m", "openai:gpt-4o-mini", "--max-tokens", "20", "--no-stdin")
        cut = penstock("ask", "What is wrong?", "-f", "long.txt", *more, sim=sim, folder=folder)
        assert cut.returncode == 0, cut.stderr
        assert "were left out" in cut.stderr
