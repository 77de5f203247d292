"""What a job leaves: tables, kept columns, orders, and failed rows that can be asked again."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock import RetryPolicy
from penstock.batch import BatchReport, Row, RowFile
from penstock.errors import ConfigError, InputError, OutputError
from penstock.sim import SimServer
from tests.test_batch import go, lines, some

FAIL_3 = '[[rule]]\nmatch = { contains = "case 3" }\nfault = { kind = "status", status = 400 }'


def rows_file(folder: Path, count: int = 6) -> Path:
    """Rows with columns."""
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "log": f"case {n}", "n": n}) + "\n" for n in range(count)))
    return path


def run(sim: SimServer, folder: Path, output: str, **options: Any) -> BatchReport:
    """Answer the rows of the file."""
    rows = RowFile(rows_file(folder), template="{log}", on_bad_row=options.pop("on_bad_row", "stop"))
    return go(sim, rows, folder / output, **options)


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("name", ["out.csv", "out.tsv"])
def test_a_text_table_has_one_row_each_and_its_journal_beside_it(tmp_path: Path, name: str) -> None:
    """With kept columns, exact cost, and a failed row that says why."""
    with SimServer() as sim:
        sim.play(FAIL_3)
        run(sim, tmp_path, name, keep_columns=["n", "log"])
    found = table(tmp_path / name)
    assert [(row["id"], row["n"], row["log"]) for row in found] == [(f"r{n}", str(n), f"case {n}") for n in range(6)]
    assert [row["error"] for row in found] == ["", "", "", "invalid_request", "", ""]
    assert sum(Decimal(row["cost"] or 0) for row in found) == Decimal(sim.bill()["total_nano"]) / 10**9
    assert [row["id"] for row in lines(tmp_path / f"{name}.jsonl")] == [row["id"] for row in found]


def test_a_parquet_table_has_types(tmp_path: Path) -> None:
    """Money is a decimal, counts are whole numbers."""
    parquet = pytest.importorskip("pyarrow.parquet")
    with SimServer() as sim:
        sim.play(FAIL_3)
        run(sim, tmp_path, "out.parquet", keep_columns=["n"])
        found = parquet.read_table(tmp_path / "out.parquet").to_pylist()
        bill = sim.bill()["total_nano"]
    assert sum(row["cost"] or 0 for row in found) == Decimal(bill) / 10**9
    assert [row["n"] for row in found] == ["0", "1", "2", "3", "4", "5"]
    assert found[3]["error"] == "invalid_request"
    assert found[0]["output_tokens"] > 0


def test_a_table_is_resumed_from_its_journal(tmp_path: Path) -> None:
    """A second run pays nothing, and a lost table is made again."""
    with SimServer() as sim:
        run(sim, tmp_path, "out.csv")
        before = (tmp_path / "out.csv").read_bytes()
        (tmp_path / "out.csv").unlink()
        report = run(sim, tmp_path, "out.csv")
        assert sim.bill()["attempts"] == 6
    assert (report.before, (tmp_path / "out.csv").read_bytes()) == (6, before)


def test_a_table_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """And so is a file where failed rows would go; nothing is sent."""
    (tmp_path / "out.csv").write_text("mine\n")
    (tmp_path / "own.failed.jsonl").write_text('{"mine": 1}\n')
    with SimServer() as sim:
        with pytest.raises(OutputError, match="is not of this job"):
            run(sim, tmp_path, "out.csv")
        with pytest.raises(OutputError, match="is a file of somebody else"):
            run(sim, tmp_path, "own.jsonl")
        assert sim.bill()["attempts"] == 0
    assert (tmp_path / "out.csv").read_text() == "mine\n"
    assert (tmp_path / "own.failed.jsonl").read_text() == '{"mine": 1}\n'


def test_an_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    """Whatever it is called, and even when it is a journal of ours."""
    path = rows_file(tmp_path)
    (tmp_path / "link").symlink_to(path)
    with SimServer() as sim:
        for output in (path, tmp_path / "link"):
            with pytest.raises(InputError, match="is also the input"):
                go(sim, RowFile(path, template="{log}"), output)
        (tmp_path / "x.csv.jsonl").write_bytes(path.read_bytes())
        with pytest.raises(InputError, match="is also the input"):
            go(sim, RowFile(tmp_path / "x.csv.jsonl", template="{log}"), tmp_path / "x.csv")


def test_columns_that_would_clash_are_refused(tmp_path: Path) -> None:
    """Before anything is sent."""
    with SimServer() as sim:
        for names, words in ((["text"], "'text'"), (["*"], "name those to keep"), ("log", "expected a list")):
            with pytest.raises(ConfigError, match=words):
                run(sim, tmp_path, "out.csv", keep_columns=names)


@pytest.mark.parametrize("name", ["out.xlsx", "out.jsonl.gz", "OUT.ZIP"])
def test_an_output_with_the_name_of_another_format_is_refused(tmp_path: Path, name: str) -> None:
    """Lines of JSON under such a name would open nowhere; the error names the endings that there are."""
    with SimServer() as sim, pytest.raises(ConfigError, match=r"let it end with \.jsonl, \.csv, \.parquet, \.tsv"):
        go(sim, [Row(id="a", prompt="a")], tmp_path / name)


def test_a_row_that_no_model_can_read_has_no_attempt(tmp_path: Path) -> None:
    """It is not sent, and its line says so; the others are answered."""
    with SimServer() as sim:
        report = go(sim, [Row(id="long", prompt="word " * 400_000), Row(id="a", prompt="a")], tmp_path / "out.jsonl")
        assert sim.bill()["attempts"] == report.attempts == 1
    found = lines(tmp_path / "out.jsonl")
    assert [row["attempts"] for row in found] == [0, 1]
    assert (found[0]["error"]["code"], found[0]["error"]["attempts"]) == ("context_too_long", 0)


def test_kept_columns_stand_in_lines_of_json_as_they_are(tmp_path: Path) -> None:
    """All of them with a star; a missing one is null."""
    with SimServer() as sim:
        run(sim, tmp_path, "all", keep_columns=["*"])
        run(sim, tmp_path, "some", keep_columns=["n", "x"])
    assert lines(tmp_path / "all")[2]["columns"] == {"id": "r2", "log": "case 2", "n": 2}
    assert lines(tmp_path / "some")[2]["columns"] == {"n": 2, "x": None}


def test_the_output_may_stay_in_the_order_of_completion(tmp_path: Path) -> None:
    """Each id once all the same, also when a row was asked twice."""
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 0" }\nfault = { kind = "status", status = 400 }\ntimes = 1')
        go(sim, some(3), tmp_path / "out", order="completed")
        go(sim, [*some(6)[3:], *some(3)], tmp_path / "out", order="completed")
    found = [row["id"] for row in lines(tmp_path / "out")]
    assert sorted(found) == [f"r{n}" for n in range(6)]
    assert set(found[:3]) == {"r0", "r1", "r2"}
    assert all(row["error"] is None for row in lines(tmp_path / "out"))


@pytest.mark.prove(21)
def test_failed_rows_are_collected_and_can_be_fed_back(tmp_path: Path) -> None:
    """As they came in, with their failure; asked again alone, the output keeps its order and the file goes away."""
    with SimServer() as sim:
        sim.play(FAIL_3)
        run(sim, tmp_path, "out.jsonl")
        failed = tmp_path / "out.failed.jsonl"
        (collected,) = lines(failed)
        assert {name: collected[name] for name in ("id", "log", "n")} == {"id": "r3", "log": "case 3", "n": 3}
        assert collected["_failure"]["code"] == "invalid_request"
        sim.play("")
        report = go(sim, RowFile(failed, template="{log}"), tmp_path / "out.jsonl", retry_failed=True)
        assert sim.bill()["attempts"] == 6 + 1
    assert (report.answered, report.failed) == (1, 0)
    assert [row["id"] for row in lines(tmp_path / "out.jsonl")] == [f"r{n}" for n in range(6)]
    assert not failed.exists()


def test_bad_lines_are_collected_too(tmp_path: Path) -> None:
    """With the number of the line where they have no id, and what they held where it can be written."""
    path = tmp_path / "in"
    path.write_text('{"prompt": "a"}\nnonsense\n{"id": "x"}\n')
    with SimServer() as sim:
        go(sim, RowFile(path, on_bad_row="skip"), tmp_path / "out")
        go(sim, [Row(id=1, prompt="\ud800", params={"max_tokens": 4}), Row(id=2, prompt="")], tmp_path / "two")
    assert [(row["id"], row["_failure"]["code"]) for row in lines(tmp_path / "out.failed.jsonl")] == [
        ("line 2", "input"),
        ("x", "input"),
    ]
    assert [row["id"] for row in lines(tmp_path / "two.failed.jsonl")] == [1, 2]


def test_only_failures_of_some_kinds_are_asked_again(tmp_path: Path) -> None:
    """New rows and other failures are left as they are."""
    with SimServer() as sim:
        sim.play(FAIL_3 + '\n[[rule]]\nmatch = { contains = "case 4" }\nfault = { kind = "status", status = 413 }\n')
        go(sim, some(6), tmp_path / "out")
        sim.play("")
        report = go(sim, some(8), tmp_path / "out", retry_failed=["request_too_large"])
        assert (report.before, report.answered, report.kept, report.left) == (4, 1, 1, 2)
        report = go(sim, some(8), tmp_path / "out", retry_failed=True)
        assert (report.before, report.answered, report.kept, report.left) == (5, 1, 0, 2)
        with pytest.raises(ConfigError, match="did you mean 'rate_limited'"):
            go(sim, some(8), tmp_path / "out", retry_failed=["rate_limit"])


def test_the_second_try_of_a_run_leaves_failures_of_other_kinds_alone(tmp_path: Path) -> None:
    """Only rows that failed in this run are asked once more at its end."""
    busy = '\n[[rule]]\nmatch = { contains = "case 4" }\nfault = { kind = "status", status = 529 }'
    once: dict[str, Any] = {"retry": RetryPolicy(attempts=1)}
    with SimServer() as sim:
        sim.play(FAIL_3.replace("400", "500") + busy)
        go(sim, some(6), tmp_path / "out", **once)
        codes = {row["id"]: row["error"]["code"] for row in lines(tmp_path / "out") if row["error"]}
        assert codes == {"r3": "server_fault", "r4": "overloaded"}
        sim.play(busy)
        paid = sim.bill()["attempts"]
        report = go(sim, some(6), tmp_path / "out", retry_failed=["overloaded"], **once)
        assert sim.bill()["attempts"] == paid + 2, "the row that is busy, twice"
    assert (report.attempts, report.failed, report.kept) == (2, 1, 1)


def test_an_answer_in_a_shape_is_read(tmp_path: Path) -> None:
    """Where it is JSON; where it is not, its text stays and nothing is paid again."""
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with SimServer() as sim:
        go(sim, some(2), tmp_path / "out", params={"response_format": form})
        go(sim, some(2), tmp_path / "cut", params={"response_format": form, "max_tokens": 1})
        go(sim, some(2), tmp_path / "cut", params={"response_format": form, "max_tokens": 1})
        assert sim.bill()["attempts"] == 4
    assert all(isinstance(row["parsed"]["ok"], bool) for row in lines(tmp_path / "out"))
    assert all(row["parsed"] is None and row["text"] and row["error"] is None for row in lines(tmp_path / "cut"))


def test_a_table_that_cannot_be_written_loses_no_answer(tmp_path: Path) -> None:
    """A folder stands in its way: the run says so, and the lines are there."""
    (tmp_path / ".out.csv.tmp").mkdir()
    with SimServer() as sim:
        report = run(sim, tmp_path, "out.csv")
        assert (report.answered, report.stopped) == (6, "output")
        assert "in the way" in str(report.cause)
        (tmp_path / ".out.csv.tmp").rmdir()
        run(sim, tmp_path, "out.csv")
        assert sim.bill()["attempts"] == 6
    assert len(table(tmp_path / "out.csv")) == 6
