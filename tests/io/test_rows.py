"""Rows: what is read, and what is said about a row that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import penstock._io.records as records_module
from penstock._io.rowfile import RowFile
from penstock._io.template import Template
from penstock.errors import ConfigError, InputError


def write(folder: Path, *lines: object) -> Path:
    """Write rows to a file; a string is a line as it is."""
    path = folder / "rows.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def test_a_template_puts_columns_in() -> None:
    """Text stays as it is, other values are JSON, doubled braces are braces."""
    template = Template("{{x}} {log} {n} { list }")
    assert template.columns == ("log", "n", "list")
    assert template.fill({"log": "a {b}", "n": 2.5, "list": ["é"]}) == '{x} a {b} 2.5 ["é"]'


@pytest.mark.parametrize("text", ["{", "}", "a {} b", "{ }", "{a{b}}"])
def test_a_brace_without_a_column_is_refused(text: str) -> None:
    """The sentence says where, and how braces are written."""
    with pytest.raises(ConfigError, match=r"character \d+.*braces"):
        Template(text)


def test_a_missing_column_is_named_with_its_line(tmp_path: Path) -> None:
    """The columns that are there are listed, since a misspelling is likely."""
    rows = RowFile(write(tmp_path, {"log": "x"}, {"lgo": "x"}, {"log": None}), template="{log}")
    with pytest.raises(InputError, match=r"line 2: column 'log' of the prompt is missing \(has lgo\)") as raised:
        rows.check()
    assert "line 3: column 'log' of the prompt is null" in str(raised.value)


BAD: list[tuple[object, str]] = [
    ("{", "is not JSON"),
    ("[1]", "not an object"),
    ({"log": "x"}, "has no prompt"),
    ({"prompt": " "}, "empty prompt"),
    ({"prompt": 3}, "no text"),
    ({"prompt": "a", "messages": []}, "both"),
    ({"messages": "a"}, "no list"),
    ({"messages": []}, "empty list"),
    ({"messages": [{"role": "king", "content": "a"}]}, "role"),
    ({"prompt": "a", "id": True}, "has the id true"),
    ({"prompt": "a", "id": ""}, "has the id"),
    ({"prompt": "a", "id": 1.5}, "has the id 1.5"),
    ({"prompt": "a", "max_tokens": "many"}, "max_tokens"),
    ({"prompt": "a", "max_tokens": 0}, "at least 1"),
    ({"prompt": "a", "max_token": 5}, "did you mean 'max_tokens'"),
    ({"prompt": "a", "params": {"frobnicate": 1}}, "frobnicate"),
    ({"prompt": "a", "params": 3}, "params"),
    ({"prompt": "a", "model": 3}, "model"),
    ('{"prompt": "a", "temperature": NaN}', "is not JSON"),
    ({"prompt": "a", "params": []}, "params that are not an object"),
    ({"prompt": "a", "max_tokens": 5, "params": {"max_tokens": 6}}, "'max_tokens' twice"),
    ({"prompt": "a", "model": "openai:x", "tier": "simple"}, "both a model and a tier"),
    ({"messages": [{"role": ["user"], "content": "a"}]}, "line 2"),
    ({"messages": [{"role": "assistant", "content": "a", "tool_calls": True}]}, "line 2"),
]

BAD_OPTIONS: list[tuple[str, object]] = [
    ("deadline_s", "soon"),
    ("deadline_s", 0),
    ("deadline_s", -1),
    ("deadline_s", True),
    ("deadline_s", 10**400),
    ("tags", "team=sre"),
    ("tags", ["a"]),
    ("tags", {"team": 3}),
    ("priority", "P1"),
    ("priority", 1),
    ("tier", "easy"),
    ("tier", ["simple"]),
    ("fallbacks", "openai:gpt-4o"),
    ("fallbacks", [3]),
    ("fallbacks", [""]),
    ("system", ["x"]),
    ("system", ""),
    ("model", 3),
    ("model", " "),
]


@pytest.mark.parametrize("place", ["beside the prompt", "in params"])
@pytest.mark.parametrize(("option", "value"), BAD_OPTIONS)
def test_a_bad_option_is_a_bad_row_wherever_it_stands(tmp_path: Path, place: str, option: str, value: object) -> None:
    """File, line, field and reason are said before anything is paid."""
    bad = {option: value} if place == "beside the prompt" else {"params": {option: value}}
    with pytest.raises(InputError, match=r"rows\.jsonl has 1 bad row:\n  line 2: ") as raised:
        RowFile(write(tmp_path, {"prompt": "good"}, {"prompt": "a", **bad})).check()
    assert option in str(raised.value)


def test_every_option_of_a_call_is_honoured_beside_the_prompt(tmp_path: Path) -> None:
    """None of them is dropped, and what is null is not there."""
    options = {
        "tier": "simple",
        "deadline_s": 5,
        "fallbacks": ["openai:x"],
        "tags": {"team": "sre"},
        "priority": "interactive",
        "system": "s",
        "seed": 1,
    }
    for more in (options, {"params": options}, {**options, "params": {"seed": 1, "top_p": None}}):
        (row,) = RowFile(write(tmp_path, {"prompt": "a", "model": None, **more}))
        assert (row.params, row.problem) == (options, None)


def test_a_template_that_is_or_comes_out_empty_is_refused(tmp_path: Path) -> None:
    """An empty prompt asks nothing and would be paid."""
    with pytest.raises(ConfigError, match="template is empty"):
        Template(" ")
    with pytest.raises(InputError, match="line 1: has an empty prompt"):
        RowFile(write(tmp_path, {"log": ""}), template="{log}").check()


@pytest.mark.parametrize(("row", "words"), BAD)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, row: object, words: str) -> None:
    """Nothing is sent, and the remedy is said."""
    with pytest.raises(InputError, match="line 2: ") as raised:
        RowFile(write(tmp_path, {"prompt": "good"}, row)).check()
    assert words in str(raised.value)
    assert "Nothing was sent" in str(raised.value)


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    """A number and the same digits as text are the same id."""
    with pytest.raises(InputError, match="line 3: repeats the id '7' of line 1"):
        RowFile(write(tmp_path, {"id": 7, "prompt": "a"}, {"id": 8, "prompt": "a"}, {"id": "7", "prompt": "b"})).check()


def test_skipping_keeps_every_id_once(tmp_path: Path) -> None:
    """A bad row comes with its problem, a repeated one not at all."""
    path = write(tmp_path, {"id": 1, "prompt": "a"}, "x", {"id": 1, "prompt": "b"}, {"id": 2})
    rows = RowFile(path, on_bad_row="skip")
    checked = rows.check()
    assert (checked.rows, checked.bad) == (3, 3)
    assert [(row.id, row.problem is None) for row in rows] == [(1, True), ("line 2", False), (2, False)]


def test_many_problems_are_cut_to_a_few(tmp_path: Path) -> None:
    """A file of the wrong kind does not fill the screen."""
    with pytest.raises(InputError, match="… and 90 more"):
        RowFile(write(tmp_path, *["x"] * 100)).check()


def test_parameters_come_from_the_row_or_its_params(tmp_path: Path) -> None:
    """With a template all fields are columns, so parameters stand in `params`."""
    path = write(tmp_path, {"prompt": "a", "model": "openai:x", "max_tokens": 5, "label": "kept out", "system": "s"})
    (row,) = RowFile(path)
    assert (row.id, row.line, row.prompt, row.model) == (1, 1, "a", "openai:x")
    assert row.params == {"max_tokens": 5, "system": "s"}
    assert row.fields["label"] == "kept out"
    path = write(tmp_path, {"model": "Corolla", "params": {"model": "openai:x", "max_tokens": 5}})
    (row,) = RowFile(path, template="Which car? {model}")
    assert (row.prompt, row.model, row.params) == ("Which car? Corolla", "openai:x", {"max_tokens": 5})


def test_blank_lines_marks_and_limits_are_handled(tmp_path: Path) -> None:
    """A byte order mark and blank lines are no rows; ids without a name are line numbers; a limit counts rows."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n{"prompt": "b"}\n{"prompt": "c"}')
    assert [row.id for row in RowFile(path)] == [1, 3, 4]
    assert [row.id for row in RowFile(path, limit=2)] == [1, 3]


def test_a_file_without_rows_or_without_a_file_is_refused(tmp_path: Path) -> None:
    """Both are said in one sentence."""
    with pytest.raises(InputError, match="has no rows"):
        RowFile(write(tmp_path)).check()
    with pytest.raises(InputError, match="cannot read"):
        RowFile(tmp_path / "missing").check()


def test_a_line_that_is_too_long_keeps_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so do those after it; a line of just the limit is a row."""
    monkeypatch.setattr(records_module, "LINE_MAX_BYTES", 2**20)
    good = json.dumps({"prompt": "a"})
    just = good[:-1].ljust(2**20 - 1) + "}"
    path = write(tmp_path, good, just, "x" * 3 * 2**20, good, "nonsense")
    with pytest.raises(InputError) as raised:
        RowFile(path).check()
    assert "2 bad rows:\n  line 3: is longer than 1 MiB" in str(raised.value)
    assert "line 5: is not JSON" in str(raised.value)
    assert [row.id for row in RowFile(path) if row.problem is None] == [1, 2, 4]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b'{"prompt": "a", "temperature": 1e999}', "has a number that is too large"),
        (b'{"prompt": "a", "n": ' + b"9" * 5000 + b"}", "has a number that is too large"),
        (b'{"prompt": "\\ud800"}', "half of a character"),
        (b'{"prompt": "\\udc00 x"}', "half of a character"),
        (b'{"prompt": "\xff"}', "is not UTF-8: byte 13 is 0xff; save the file as UTF-8"),
        ('{"prompt": "a"}'.encode("utf-16"), "is UTF-16; save the file as UTF-8"),
        (b"\x1f\x8b\x08\x00", "is no text but a packed file"),
        (b"7", "is JSON but not an object"),
        (b'{"prompt": "\\ud800', "is not JSON"),
    ],
    ids=range(9),
)
def test_what_cannot_be_read_is_called_what_it_is(tmp_path: Path, row: bytes, words: str) -> None:
    """1e999 is JSON, and half of a character is not a broken line."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(row + b"\n")
    with pytest.raises(InputError, match=f"line 1: .*{words}"):
        RowFile(path).check()


def test_a_file_that_changes_after_it_was_checked_is_noticed(tmp_path: Path) -> None:
    """Whether somebody writes it, cuts it, removes it or puts another in its place."""
    path = write(tmp_path, {"prompt": "a"}, {"prompt": "b"})

    def cut() -> None:
        path.write_bytes(path.read_bytes()[:20])

    def replace() -> None:
        (tmp_path / "other").write_bytes(path.read_bytes())
        (tmp_path / "other").replace(path)

    def remove() -> None:
        path.unlink()

    rows = RowFile(path)
    for change, words in ((replace, "was changed"), (cut, "was changed"), (remove, "any more")):
        if change is not remove:
            write(tmp_path, {"prompt": "a"}, {"prompt": "b"})
            rows.check()
        reader = iter(rows) if change is cut else None
        if reader is not None:
            next(reader)
        change()
        with pytest.raises(InputError, match=words):
            list(reader or rows)


def test_no_row_is_given_of_what_was_written_after_the_check(tmp_path: Path) -> None:
    """Also where what is overwritten in the middle of a pass has the same lines by their lengths."""
    path = write(tmp_path, *[{"prompt": f"{number:04} " + "a" * 1500} for number in range(200)])
    rows = RowFile(path)
    rows.check()
    reader = iter(rows)
    given = [next(reader)]
    path.write_bytes(path.read_bytes().replace(b"a", b"b"))
    with pytest.raises(InputError, match="was changed"):
        given.extend(reader)
    assert not [row.line for row in given if "b" in str(row.prompt)]


def test_rows_are_a_regular_file(tmp_path: Path) -> None:
    """A device may never end."""
    with pytest.raises(InputError, match="no regular file"):
        RowFile("/dev/zero").check()
