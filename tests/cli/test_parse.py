"""`penstock parse`: a value out of a file or stdin, what was mended, and what is wrong with the input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli import root
from penstock.errors import EXIT_CONFIG, EXIT_DATA


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(root, ["parse", *arguments], input=text)


def test_a_value_is_printed_as_json_and_nothing_else() -> None:
    """From stdin, so that it can stand in a pipe."""
    done = run(text="Sure: {'a': 1,}")
    assert (done.exit_code, done.stdout) == (0, '{"a":1}\n')


def test_a_schema_file_or_a_type_says_what_is_wanted(tmp_path: Path) -> None:
    """Either converts."""
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"a": {"type": "integer"}}}')
    answer = tmp_path / "answer.txt"
    answer.write_text('{"a": "1"}')
    assert json.loads(run(str(answer), "--schema", str(schema)).stdout) == {"a": 1}
    assert json.loads(run("--schema", "builtins:int", text="12").stdout) == 12


def test_explain_says_on_stderr_what_was_tried_and_mended() -> None:
    """With the path of each."""
    done = run("--explain", text="x {a: None}")
    assert json.loads(done.stdout) == {"a": None}
    assert "bare JSON at characters 2 to 11" in done.stderr
    assert "mended $.a: read None as JSON (literal)" in done.stderr


def test_json_has_the_value_its_repairs_and_whether_it_is_whole() -> None:
    """For programs."""
    told = json.loads(run("--json", text='{"a": [1').stdout)
    assert told["value"] == {"a": [1]}
    assert told["complete"] is False
    assert {"kind": "unclosed", "path": "$", "note": "added the missing }"} in told["repairs"]
    assert told["candidates"][0]["source"] == "bare JSON"


@pytest.mark.parametrize(
    ("arguments", "text", "code", "said"),
    [
        ((), "no value here", EXIT_DATA, "no value that could be read"),
        (("/nowhere/at/all",), "", EXIT_DATA, "cannot read /nowhere/at/all"),
        (("--schema", "/nowhere/at/all"), "{}", EXIT_CONFIG, "cannot read the schema"),
        (("--schema", "no.such:Type"), "{}", EXIT_CONFIG, "expected module:Type"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: tuple[str, ...], text: str, code: int, said: str) -> None:
    """And an exit code."""
    done = run(*arguments, text=text)
    assert done.exit_code == code
    assert said in done.stderr
    assert done.stdout == ""
