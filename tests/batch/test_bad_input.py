"""Input that no run can use, or that only looks so: one clear sentence, nothing sent, nothing lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.batch import RowFile
from penstock.errors import InputError
from penstock.sim import SimServer
from tests.test_batch import go, lines

GOOD = b'{"id": "a", "prompt": "x"}\n'


def refused(rows: Path, output: Path, words: str) -> None:
    """Run a job that must be refused in these words before anything is sent."""
    with SimServer() as sim:
        with pytest.raises(InputError, match=words):
            go(sim, RowFile(rows), output)
        assert sim.bill()["attempts"] == 0


@pytest.mark.parametrize("link", [os.symlink, os.link, None], ids=["symlink", "hardlink", "itself"])
def test_an_output_that_is_also_the_input_is_refused(tmp_path: Path, link: Callable[[Path, Path], None] | None) -> None:
    """Under whatever name; the rows stay as they are."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(GOOD)
    output = rows if link is None else tmp_path / "out.jsonl"
    if link is not None:
        link(rows, output)
    refused(rows, output, "is also the input; choose another output")
    assert rows.read_bytes() == GOOD


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hardlink"])
def test_nor_may_the_lines_beside_a_table_be_the_input(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    """They are the output too."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(GOOD)
    link(rows, tmp_path / "out.csv.jsonl")
    refused(rows, tmp_path / "out.csv", "is also the input")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"\r\n"], ids=["nothing", "blank", "BOM", "CRLF"])
def test_an_input_without_a_row_is_told_so(tmp_path: Path, data: bytes) -> None:
    """With what it needs."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(data)
    refused(rows, tmp_path / "out.jsonl", "has no rows; it needs one JSON object per line")


def test_a_mark_and_line_ends_of_windows_are_no_trouble(tmp_path: Path) -> None:
    """And are no part of any row."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"\xef\xbb\xbf" + (GOOD + b'{"id": "b", "prompt": "y"}\n').replace(b"\n", b"\r\n"))
    with SimServer() as sim:
        assert go(sim, RowFile(rows), tmp_path / "out.jsonl").answered == 2
    assert [line["id"] for line in lines(tmp_path / "out.jsonl")] == ["a", "b"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_a_line_in_another_encoding_is_named_among_good_ones(tmp_path: Path, encoding: str) -> None:
    """The others are still read, so that all are told at once."""
    rows = tmp_path / "rows.jsonl"
    bad = '{"id": "b", "prompt": "Ärger"}'.encode(encoding)
    rows.write_bytes(GOOD + bad.replace(b"\n", b" ") + b"\n" + b"nonsense\n")
    with SimServer() as sim, pytest.raises(InputError) as raised:
        go(sim, RowFile(rows), tmp_path / "out.jsonl")
    assert "line 2: is not UTF-8" in str(raised.value)
    assert "line 3: is not JSON" in str(raised.value)


def test_ids_that_come_twice_are_named_with_their_lines(tmp_path: Path) -> None:
    """Also a number and the same one as text, and one that is the number of another line."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b'{"id": 2, "prompt": "x"}\n{"prompt": "y"}\n{"id": "2", "prompt": "z"}\n')
    with pytest.raises(InputError) as raised:
        RowFile(rows).check()
    assert "line 2: repeats the id 2" in str(raised.value)
    assert "line 3: repeats the id '2'" in str(raised.value)


def test_a_template_that_names_no_column_says_which_there_are(tmp_path: Path) -> None:
    """The first look at the file says so."""
    rows = tmp_path / "rows.csv"
    rows.write_text("id,log\na,x\n")
    with pytest.raises(InputError, match=r"column 'text' of the prompt is missing \(has id, log\)"):
        RowFile(rows, template="{text}").check()


@pytest.mark.slow
def test_a_line_of_fifty_megabytes_is_one_row_and_takes_no_other_down(tmp_path: Path) -> None:
    """A longer one than 64 is refused by its line; memory is given back."""
    rows = tmp_path / "rows.jsonl"
    with rows.open("wb") as file:
        file.write(GOOD)
        file.write(b'{"id": "big", "prompt": "' + b"x" * 50_000_000 + b'"}\n')
        file.write(b'{"id": "huge", "prompt": "' + b"x" * 70_000_000 + b'"}\n')
        file.write(b'{"id": "z", "prompt": "y"}\n')
    file_of_rows = RowFile(rows, on_bad_row="skip")
    checked = file_of_rows.check()
    assert (checked.rows, checked.bad) == (4, 1)
    assert "line 3: is longer than 64 MiB" in checked.summary
    assert [row.id for row in file_of_rows] == ["a", "big", "line 3", "z"]


def test_a_schema_that_the_provider_refuses_stops_the_run_with_its_words(tmp_path: Path) -> None:
    """All rows share it: some are asked, not all, and the rest is left."""
    from penstock.types import JSONSchema

    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"row {n}"}) + "\n" for n in range(200)))
    schema = JSONSchema(schema={"type": "object", "properties": {"a": {"type": "string"}}}, name="answer")
    with SimServer() as sim:
        sim.play('[[rule]]\nfault = { kind = "status", status = 400 }')
        report = go(sim, RowFile(rows), tmp_path / "out.jsonl", params={"response_format": schema}, concurrency=8)
        assert sim.bill()["attempts"] <= 30
    assert report.stopped == "failed"
    assert report.cause is not None
    assert report.cause.code == "invalid_request"
    assert report.left > 150
