"""`penstock extract`: a value to stdout, all else to stderr, and an exit code for each way to fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.sim import SimServer
from tests.cli.terminal import penstock

MODEL = """
from typing import Literal
from pydantic import BaseModel

class Incident(BaseModel):
    severity: Literal["P1", "P2"]
    service: str
"""
LOG = "ERROR [db] connection refused"
EXTRACT = ("extract", "--schema", "model.py:Incident", "-m", "openai:gpt-4o-mini")


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "schema.json").write_text('{"type": "array", "items": {"enum": ["red", "blue"]}}')
    return tmp_path


def spoil(sim: SimServer, form: str, match: str = "") -> None:
    """Have the simulator spoil its answers."""
    sim.play(f'[[rule]]\nmatch = {{ {match} }}\nfault = {{ kind = "spoil", form = "{form}" }}')


def test_a_value_is_printed_as_json_and_nothing_else(sim: SimServer, folder: Path) -> None:
    """From arguments and stdin; on stderr there is nothing to say."""
    sim.play("")
    ended = penstock(*EXTRACT, "What broke?", sim=sim, folder=folder, stdin=LOG)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == {"severity": "P1", "service": "db"}
    listed = penstock(
        "extract", "--schema", "schema.json", "-m", "anthropic:claude-haiku-4-5", LOG, sim=sim, folder=folder
    )
    assert set(json.loads(listed.stdout)) <= {"red", "blue"}


def test_what_was_mended_is_said_and_explained(sim: SimServer, folder: Path) -> None:
    """In one line, or with --explain in all."""
    spoil(sim, "single_quotes")
    ended = penstock(*EXTRACT, LOG, sim=sim, folder=folder)
    assert json.loads(ended.stdout)["severity"] == "P1"
    assert "the answer was mended" in ended.stderr
    assert "(quotes)" in ended.stderr
    explained = penstock(*EXTRACT, LOG, "--explain", "--mode", "prompted", sim=sim, folder=folder)
    assert "in mode prompted: as asked" in explained.stderr
    assert "mended $" in explained.stderr
    assert "does not enforce anything" in explained.stderr


def test_json_has_how_it_was_asked_and_what_it_cost(sim: SimServer, folder: Path) -> None:
    """For programs."""
    spoil(sim, "missing_field", "nth = 1")
    ended = penstock(*EXTRACT, LOG, "--json", sim=sim, folder=folder)
    told = json.loads(ended.stdout)
    assert told["value"] == {"severity": "P1", "service": "db"}
    assert (told["mode"], told["reasked"], told["attempts"]) == ("native", 1, 2)
    assert told["cost"] > 0
    assert told["usage"]["output"] > 0


def test_each_of_several_files_is_a_line(sim: SimServer, folder: Path) -> None:
    """In their order, also those that fail; the exit code says that some did."""
    for name in ("a", "b", "c"):
        (folder / f"{name}.txt").write_text(f"case {name}: {LOG}")
    spoil(sim, "no_json", 'contains = "case b"')
    ended = penstock(*EXTRACT, "-f", "a.txt", "-f", "b.txt", "-f", "c.txt", sim=sim, folder=folder)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["file"] for line in lines] == ["a.txt", "b.txt", "c.txt"]
    assert lines[0]["value"]["service"] == "db"
    assert lines[1]["error"]["code"] == "extraction_failed"
    assert ended.returncode == 1
    assert "b.txt" in ended.stderr


@pytest.mark.parametrize(
    ("form", "code", "words"),
    [
        ("no_json", 65, "no value of the wanted type"),
        ("length", 65, "raise max_tokens"),
        ("refusal", 65, "the model refused"),
    ],
)
def test_each_way_to_fail_has_its_sentence(sim: SimServer, folder: Path, form: str, code: int, words: str) -> None:
    """And nothing on stdout."""
    spoil(sim, form)
    ended = penstock(*EXTRACT, LOG, sim=sim, folder=folder)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_is_wrong_with_the_command_is_said_before_anything_is_sent(sim: SimServer, folder: Path) -> None:
    """A schema that cannot be read, a mode that cannot be had, a prompt that is not there."""
    sim.play("")
    sim.reset()
    (folder / "odd.json").write_text('{"type": "object", "properties": {"a": {"unheard": 1}}}')
    (folder / "map.json").write_text('{"type": "object", "additionalProperties": {"type": "integer"}}')
    for args, code, words in (
        (("--schema", "odd.json", "x"), 78, "'unheard' at $.a"),
        (("--schema", "map.json", "--mode", "native", "x"), 78, "map of unknown keys"),
        (("--schema", "model.py:Nobody", "x"), 78, "has no Nobody"),
        (("--schema", "model.py:Incident"), 64, "there is no prompt"),
        (("x",), 64, "--schema"),
    ):
        ended = penstock("extract", "-m", "openai:gpt-4o-mini", *args, sim=sim, folder=folder)
        assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr
    assert sim.bill()["attempts"] == 0
