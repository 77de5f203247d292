"""Files of rows in each format: what is read, and what is said about what cannot be."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import penstock._io.records as records_module
from penstock._io.records import format_of
from penstock._io.rowfile import RowFile
from penstock.errors import ConfigError, InputError, MissingExtra


def write(folder: Path, name: str, data: bytes | str) -> Path:
    """Write a file of rows."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.csv", "csv"), ("a.TSV", "tsv"), ("a.parquet", "parquet"), ("a.jsonl", "jsonl"), ("a", "jsonl")],
)
def test_the_end_of_a_name_tells_the_format(name: str, form: str) -> None:
    """What is not known holds lines of JSON."""
    assert format_of(name) == form


def test_a_table_has_columns_and_quoted_fields(tmp_path: Path) -> None:
    """A mark at the start, CRLF, lines inside quotes and blank lines are no trouble; ids are lines of the file."""
    data = '\ufefflog,service\r\n"two\r\nlines, ""quoted""",web\r\n\r\nplain,db\r\n'
    rows = list(RowFile(write(tmp_path, "in.csv", data), template="{service}: {log}"))
    assert [(row.id, row.prompt) for row in rows] == [(2, 'web: two\r\nlines, "quoted"'), (5, "db: plain")]
    assert rows[1].fields == {"log": "plain", "service": "db"}


def test_a_table_of_prompts_has_options_in_its_cells(tmp_path: Path) -> None:
    """A number is a number, an empty cell is not there, and a model stays text; with a template all is text."""
    data = "id,prompt,max_tokens,temperature,system\na,hello,5,,be 1\nb,5,,0.5,\n"
    rows = list(RowFile(write(tmp_path, "in.csv", data)))
    assert [row.params for row in rows] == [{"max_tokens": 5, "system": "be 1"}, {"temperature": 0.5}]
    assert [(row.id, row.prompt) for row in rows] == [("a", "hello"), ("b", "5")]
    data = 'seed,params\n007,"{""max_tokens"": 5}"\n'
    (row,) = RowFile(write(tmp_path, "in.csv", data), template="{seed}")
    assert (row.prompt, row.params) == ("007", {"max_tokens": 5})


def test_every_bad_line_of_a_table_is_named(tmp_path: Path) -> None:
    """Too few columns, too many, another encoding, an open quote: each with its line, and the others are rows."""
    data = b'id,log\n1,a\n2\n3,b,c\n4,\xe9t\xe9\n5,"x"y\n6,fine\n7,"open\n'
    path = write(tmp_path, "in.csv", data)
    with pytest.raises(InputError) as raised:
        RowFile(path, template="{log}").check()
    said = str(raised.value)
    assert "in.csv has 5 bad rows" in said
    for words in (
        "line 3: has 1 columns where the header has 2",
        "line 4: has 3 columns where the header has 2",
        "line 5: is not UTF-8",
        "line 6: is not CSV",
        "line 8: is not CSV: unexpected end of data",
    ):
        assert words in said
    rows = RowFile(path, template="{log}", on_bad_row="skip")
    assert rows.check().rows == 7
    assert [row.id for row in rows if row.problem is None] == ["1", "6"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "has no rows; it needs a header"),
        ("log\n", "has no rows; it needs a header"),
        ("log,log\na,b\n", "has a header that names the column 'log' twice"),
        ("id;log\n1;a\n", "columns are separated by ',' here"),
        (b"\xff\xfel\x00o\x00g\x00\n\x00", "has a header"),
    ],
    ids=range(5),
)
def test_a_table_without_a_proper_header_is_refused(tmp_path: Path, data: bytes | str, words: str) -> None:
    """One sentence with the file's name; UTF-16 is not taken for columns."""
    with pytest.raises(InputError, match=words) as raised:
        RowFile(write(tmp_path, "in.csv", data), template="{log}").check()
    assert "in.csv" in str(raised.value)


def test_a_long_line_of_a_table_is_one_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those after it keep their numbers; a cell longer than Python's own limit is read."""
    monkeypatch.setattr(records_module, "LINE_MAX_BYTES", 2**20)
    data = f"log\n{'x' * 200_000}\n{'y' * 3 * 2**20}\nz\n"
    rows = RowFile(write(tmp_path, "in.csv", data), template="{log}", on_bad_row="skip")
    assert "line 3: is longer than 1 MiB" in rows.check().summary
    assert [row.id for row in rows] == [2, "line 3", 4]


def test_parquet_is_read_by_batches_of_rows(tmp_path: Path) -> None:
    """Values keep their types: a date is written plainly into a prompt, null is null."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    count = 1000
    table = arrow.table(
        {"n": range(count), "day": [date(2026, 11, 20)] * count, "text": [f"t{n}" if n else None for n in range(count)]}
    )
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=300)
    rows = RowFile(tmp_path / "in.parquet", template="{n} {day} {text}", on_bad_row="skip")
    assert (rows.check().rows, rows.check().bad) == (count, 1)
    found = list(rows)
    assert found[0].problem == "column 'text' of the prompt is null (has day, n, text)"
    assert [row.prompt for row in found[1:3]] == ["1 2026-11-20 t1", "2 2026-11-20 t2"]
    assert found[-1].id == count


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    """In one sentence."""
    pytest.importorskip("pyarrow")
    for data in (b"", b"PAR1", b"log\na\n" * 100):
        with pytest.raises(InputError, match=r"in\.parquet is no Parquet file that can be read"):
            RowFile(write(tmp_path, "in.parquet", data), template="{log}").check()


def test_parquet_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read."""
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'penstock\[parquet\]'"):
        RowFile(write(tmp_path, "in.parquet", b""), template="{log}").check()


def line(**body: Any) -> dict[str, Any]:
    """A line of an OpenAI batch file."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], **body}
    return {"custom_id": "r1", "method": "POST", "url": "/v1/chat/completions", "body": body}


def jsonl(folder: Path, *rows: object) -> Path:
    """Write lines of JSON."""
    return write(folder, "in.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_a_line_of_a_batch_file_is_a_row_as_it_is(tmp_path: Path) -> None:
    """Its names are ours where we have them, and the rest is sent as it stands."""
    choice = {"type": "function", "function": {"name": "look"}}
    path = jsonl(
        tmp_path, line(max_completion_tokens=5, seed=1, tool_choice=choice, web_search_options={"a": 1}, user=None)
    )
    (row,) = RowFile(path)
    assert (row.id, row.model, row.problem) == ("r1", "openai:gpt-4o-mini", None)
    assert row.params == {"max_tokens": 5, "seed": 1, "tool_choice": "look", "extra": {"web_search_options": {"a": 1}}}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({**line(), "url": "/v1/embeddings"}, "asks for POST /v1/embeddings"),
        ({**line(), "method": "GET"}, "asks for GET"),
        ({**line(), "body": "x"}, "body that is no object"),
        (line(model=None), "without a model"),
        (line(messages=None), "without messages"),
        (line(stream=True), "stream = true"),
        (line(max_tokens=5, max_completion_tokens=5), "'max_tokens' twice"),
        (line(max_tokens="many"), "max_tokens"),
        ({**line(), "custom_id": ""}, 'has the id ""'),
    ],
    ids=range(9),
)
def test_a_line_of_a_batch_file_that_cannot_be_asked_is_named(tmp_path: Path, wrong: object, words: str) -> None:
    """With its line and the field, before anything is paid."""
    with pytest.raises(InputError, match="line 2: ") as raised:
        RowFile(jsonl(tmp_path, {**line(), "custom_id": "r0"}, wrong)).check()
    assert words in str(raised.value)


def test_a_system_message_is_a_template_too(tmp_path: Path) -> None:
    """Over the same columns; a row's own wins, and a missing column is named."""
    rows = [{"log": "x", "role": "SRE"}, {"log": "y", "role": "r", "params": {"system": "own"}}, {"log": "z"}]
    first, second, third = RowFile(jsonl(tmp_path, *rows), template="{log}", system="You are an {role}.")
    assert (first.params, second.params) == ({"system": "You are an SRE."}, {"system": "own"})
    assert third.problem == "column 'role' of the system is missing (has log)"


def test_a_format_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """With those that do."""
    with pytest.raises(ConfigError, match="jsonl, csv, tsv, parquet"):
        RowFile(tmp_path / "in", form="xml")  # type: ignore[arg-type]
