"""The roll kept beside a job: an input that was looked at is not looked at again, and nothing else is believed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient
from penstock._io import sidecar
from penstock.batch import BatchReport, RowFile, run_batch
from penstock.errors import InputError
from penstock.testing import AsyncScriptedTransport
from tests.flow.colours import KEYS, openai_reply

MODEL = "openai:gpt-4o-mini"


@pytest.fixture(autouse=True)
def _short_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "WORTH_ROWS", 10)


class Job:
    """A job over a file, run by run: which rows were read as questions, and which were asked."""

    def __init__(self, folder: Path) -> None:
        self.rows = folder / "in.jsonl"
        self.out = folder / "out.jsonl"
        self.read = 0
        self.asked: list[str] = []
        self.report = BatchReport()

    def write(self, numbers: Sequence[int], **fields: Any) -> None:
        """Put rows into the file."""
        self.rows.write_text("".join(json.dumps({"id": f"r{n}", "log": f"line {n}", **fields}) + "\n" for n in numbers))

    def add(self, *lines: str) -> None:
        """Put lines at the end of the file."""
        with self.rows.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def run(self, *, template: str = "Error? {log}", models: Sequence[str] = (MODEL,), **options: Any) -> None:
        """Run the job; `read` and `asked` are those of this run."""
        job = {name: options.pop(name) for name in ("params",) if name in options}
        limit, answer = options.pop("limit", None), options.pop("answer", openai_reply())
        transport = AsyncScriptedTransport(repeat(answer))

        async def go() -> BatchReport:
            settings: dict[str, Any] = {"keys": KEYS, "config": False, "env": {}, **options}
            async with AsyncClient(transport=transport, **settings) as client:
                preview, seen = client.preview, Counter()

                def counted(*args: Any, **kwargs: Any) -> Any:
                    seen.tell()
                    return preview(*args, **kwargs)

                client.preview = counted  # type: ignore[method-assign]
                file = RowFile(self.rows, template=template, limit=limit)
                try:
                    return await run_batch(file, self.out, client=client, models=models, **job)
                finally:
                    self.read = seen.told

        try:
            self.report = asyncio.run(go())
        finally:
            self.asked = [json.loads(sent.body)["messages"][-1]["content"] for sent in transport.sent]


class Counter:
    """Counts."""

    told = 0

    def tell(self) -> None:
        """One more."""
        self.told += 1


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job of fifty rows that are all answered."""
    made = Job(tmp_path)
    made.write(range(50))
    made.run()
    assert (made.report.answered, len(made.asked)) == (50, 50)
    return made


def test_the_same_file_is_not_looked_at_again(job: Job) -> None:
    """Nor is it sent again."""
    job.run()
    assert (job.report.before, job.report.rows, job.asked) == (50, 50, [])
    assert job.read < 10


def test_what_was_added_is_looked_at_and_asked_alone(job: Job) -> None:
    """Ids by the number of the line count on from the lines there are, blank ones too."""
    job.add("", '{"id": "new", "log": "a"}', '{"log": "b"}')
    job.run()
    assert (job.report.before, job.report.answered, job.asked) == (50, 2, ["Error? a", "Error? b"])
    assert job.read < 20
    found = [json.loads(line)["id"] for line in job.out.read_text().splitlines()]
    assert found == [*[f"r{n}" for n in range(50)], "new", 53]
    job.run()
    assert (job.report.before, job.asked) == (52, [])
    assert job.read < 10


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"template": "Urgent? {log}"}, 50),
        ({"models": ["openai:gpt-4o"]}, 50),
        ({"params": {"max_tokens": 7}}, 50),
        ({"base_urls": {"openai": "http://127.0.0.1:9/v1"}}, 50),
        ({"limit": 20}, 0),
        ({"tags": {"team": "a"}}, 0),
    ],
    ids=["template", "model", "parameter", "server", "limit", "tags"],
)
def test_another_question_is_never_taken_for_the_one_that_was_asked(
    job: Job, change: dict[str, Any], again: int
) -> None:
    """Whatever the side files say."""
    job.run(**change)
    assert len(job.asked) == again
    assert job.report.rows == change.get("limit", 50)


def test_a_change_in_place_is_seen_even_with_the_old_size_and_time(job: Job) -> None:
    """The content is compared, not what the file system says of it."""
    seen = job.rows.stat()
    job.rows.write_text(job.rows.read_text().replace("line 7", "lime 7"))
    os.utime(job.rows, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    job.run()
    assert job.asked == ["Error? lime 7"]
    assert job.report.cost_before_nano == 0 or job.report.before == 49


def test_another_order_still_resumes(job: Job) -> None:
    """As without side files."""
    job.write([*range(49, 9, -1), *range(10)])
    job.run()
    assert (job.report.before, job.asked) == (50, [])
    assert json.loads(job.out.read_text().splitlines()[0])["id"] == "r49"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": "r3", "log": "again"}', "line 51: repeats the id 'r3'"),
        ("nonsense", "line 51: is not JSON"),
        ('{"id": "x"}', "line 51: column 'log' of the prompt is missing"),
    ],
    ids=["repeated", "torn", "column"],
)
def test_a_bad_line_among_those_added_is_named_before_anything_is_sent(job: Job, line: str, words: str) -> None:
    """As if all had been looked at."""
    job.add(line)
    with pytest.raises(InputError, match=words):
        job.run()
    assert job.asked == []


def test_a_row_that_names_its_model_follows_the_settings(tmp_path: Path) -> None:
    """Another meaning of a tier is another question, though the file is the same."""
    job = Job(tmp_path)
    job.write(range(20), params={"tier": "simple"})
    job.run(tiers={"simple": "openai:gpt-4o-mini"})
    job.run(tiers={"simple": "openai:gpt-4o-mini"})
    assert (job.report.before, job.asked) == (20, [])
    job.run(tiers={"simple": "openai:gpt-4o"})
    assert len(job.asked) == 20


def test_a_line_that_had_no_end_may_have_grown(job: Job) -> None:
    """What is added to it belongs to it."""
    with job.rows.open("a") as file:
        file.write('{"id": "z", "log": "a"}')
    job.run()
    assert job.asked == ["Error? a"]
    with job.rows.open("a") as file:
        file.write(' {"id": "y", "log": "b"}\n')
    with pytest.raises(InputError, match="line 51"):
        job.run()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_is_known_again_as_a_whole(tmp_path: Path, form: str) -> None:
    """One that became longer is looked at anew."""
    job = Job(tmp_path)
    job.rows = tmp_path / f"in.{form}"

    def write(count: int) -> None:
        if form == "csv":
            job.rows.write_text("id,log\n" + "".join(f'r{n},"line {n}"\n' for n in range(count)))
            return
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = arrow.table({"id": [f"r{n}" for n in range(count)], "log": [f"line {n}" for n in range(count)]})
        parquet.write_table(table, job.rows)

    write(30)
    job.run()
    job.run()
    assert (job.report.before, job.asked) == (30, [])
    assert job.read < 10
    write(31)
    job.run()
    assert job.asked == ["Error? line 30"]


def test_side_files_are_never_needed(job: Job) -> None:
    """Without them, or with those of another job, a run finds the same."""
    names = [".out.jsonl.rows", ".out.jsonl.index"]
    assert all((job.out.parent / name).exists() for name in names)
    for name in names:
        path = job.out.parent / name
        path.write_bytes(path.read_bytes()[:-3])
    job.run()
    assert (job.report.before, job.asked) == (50, [])
    for name in names:
        (job.out.parent / name).unlink()
    job.run()
    assert (job.report.before, job.asked) == (50, [])
