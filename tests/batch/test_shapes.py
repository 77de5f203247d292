"""Rows whose answers are to be of a type: read, mended, asked again, kept when they do not fit, and read once more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest

from penstock import AsyncClient
from penstock.batch import Batch, BatchReport, Reparsed, Row, reparse
from penstock.errors import ConfigError
from penstock.sim import SimServer

LOG = "ERROR [db] connection refused"


class Incident(pydantic.BaseModel):
    severity: Literal["P1", "P2"]
    service: str


class Short(pydantic.BaseModel):
    service: str


class Long(Incident):
    owner: str


def client_of(sim: SimServer) -> AsyncClient:
    keys = {"openai": "k-secret", "anthropic": "k-secret"}
    urls = {"openai": f"{sim.url}/v1", "anthropic": sim.url}
    return AsyncClient(keys=keys, base_urls=urls, config=False, env={})


def some(count: int) -> list[Row]:
    return [Row(id=f"r{at}", prompt=f"case {at}: {LOG}") for at in range(count)]


def go(sim: SimServer, out: Path, schema: Any, rows: int = 3, **options: Any) -> BatchReport:
    """Run a job to its end."""

    async def main() -> BatchReport:
        async with client_of(sim) as client:
            models = options.pop("models", ["openai:gpt-4o-mini"])
            return await Batch(some(rows), out, client=client, models=models, schema=schema, **options).run()

    return asyncio.run(main())


def reread(sim: SimServer, out: Path, schema: Any, rows: int = 3) -> Reparsed:
    """Read the answers of a job again."""

    async def main() -> Reparsed:
        async with client_of(sim) as client:
            return reparse(Batch(some(rows), out, client=client, models=["openai:gpt-4o-mini"], schema=schema))

    return asyncio.run(main())


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def spoil(sim: SimServer, form: str, match: str) -> None:
    sim.play(f'[[rule]]\nmatch = {{ {match} }}\nfault = {{ kind = "spoil", form = "{form}" }}')


def test_an_answer_is_read_and_its_repairs_stand_in_its_row(tmp_path: Path) -> None:
    """Also fenced, quoted wrongly or asked for by a tool; a clean one has no repairs."""
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        spoil(sim, "single_quotes", 'contains = "case 1"')
        report = go(sim, out, Incident, models=["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"])
        assert (report.answered, report.failed) == (3, 0)
    rows = lines(out)
    assert all(row["parsed"] == {"severity": "P1", "service": "db"} for row in rows)
    assert [bool(row.get("repairs")) for row in rows] == [False, True, False]
    assert all(row["mode"] == "native" for row in rows)


def test_a_map_is_asked_for_by_a_tool_and_its_arguments_are_the_text(tmp_path: Path) -> None:
    """So that they can be read again."""
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        go(sim, out, {"type": "object", "additionalProperties": {"type": "integer"}}, rows=1)
    (row,) = lines(out)
    assert row["mode"] == "tool"
    assert json.loads(row["text"]) == row["parsed"] == {"key_1": 3}


def test_a_row_is_asked_again_inside_its_own_call(tmp_path: Path) -> None:
    """Both answers are in its cost and its usage."""
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        spoil(sim, "missing_field", "nth = 1")
        report = go(sim, out, Incident, rows=1)
        assert sim.bill()["attempts"] == 2
    (row,) = lines(out)
    assert row["attempts"] == 2
    assert row["usage"]["output"] == report.usage.output
    assert row["error"] is None


def test_an_answer_that_does_not_fit_is_a_failed_row_with_its_text(tmp_path: Path) -> None:
    """And what it used and cost; a cut one too."""
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        spoil(sim, "no_json", 'contains = "case 0"')
        report = go(sim, out, Incident, params={"reasks": 0})
        assert report.failures == {"extraction_failed": 1}
        short = tmp_path / "short.jsonl"
        assert go(sim, short, Incident, params={"max_tokens": 4}).failures["truncated_output"] == 2
    row = lines(out)[0]
    assert "weather" in row["text"]
    assert row["usage"]["output"] > 0
    assert row["cost"] > 0
    assert row["error"]["code"] == "extraction_failed"
    cut = next(row for row in lines(short) if row["error"]["code"] == "truncated_output")
    assert cut["text"].startswith("{")
    assert cut["stop_reason"] == "length"


def test_answers_are_read_again_with_another_schema_for_nothing(tmp_path: Path) -> None:
    """What fits is a value of the new type; the run after it has nothing to ask."""
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        go(sim, out, Incident)
        spent = [row["cost"] for row in lines(out)]
        paid = sim.bill()["attempts"]
        assert reread(sim, out, Short) == Reparsed(rows=3, fits=3)
        assert go(sim, out, Short).before == 3
        assert sim.bill()["attempts"] == paid
    rows = lines(out)
    assert [row["parsed"] for row in rows] == [{"service": "db"}] * 3
    assert [row["id"] for row in rows] == ["r0", "r1", "r2"]
    assert [row["cost"] for row in rows] == spent


def test_what_does_not_fit_the_new_schema_is_failed_and_asked_by_the_next_run(tmp_path: Path) -> None:
    """The text stays, so that a third schema may read it; rows without an answer are left alone."""
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        go(sim, out, Incident)
        assert reread(sim, out, Long, rows=4) == Reparsed(rows=4, misfits=3, left=1)
        rows = lines(out)
        assert all("'owner'" in row["error"]["message"] and row["text"] and row["usage"] for row in rows)
        assert reread(sim, out, Incident) == Reparsed(rows=3, fits=3)
        reread(sim, out, Long)
        paid = sim.bill()["attempts"]
        assert go(sim, out, Long).answered == 3
        assert sim.bill()["attempts"] == paid + 3


def test_answers_of_a_run_without_a_schema_can_be_read_with_one(tmp_path: Path) -> None:
    """Since the question was the same; not those of another question."""
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        sim.play("[[rule]]\nfault = { kind = \"spoil\", text = \"Sure: {'severity': 'p1', 'service': 'db'}\" }")
        go(sim, out, None)
        assert reread(sim, out, Incident) == Reparsed(rows=3, fits=3)
        assert lines(out)[0]["repairs"]
        other = asyncio.run(_other(sim, out))
        assert other == Reparsed(rows=1, left=1)


async def _other(sim: SimServer, out: Path) -> Reparsed:
    async with client_of(sim) as client:
        rows = [Row(id="r0", prompt="something else")]
        return reparse(Batch(rows, out, client=client, models=["openai:gpt-4o-mini"], schema=Incident))


def test_a_changed_schema_alone_asks_again(tmp_path: Path) -> None:
    """As any changed question does."""
    out = tmp_path / "out.jsonl"
    with SimServer() as sim:
        go(sim, out, Incident)
        assert go(sim, out, Short).answered == 3
        assert go(sim, out, Short).answered == 0
        assert sim.bill()["attempts"] == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schema": {"type": "object", "properties": {"a": {"unheard": 1}}}}, r"'unheard' at \$\.a"),
        ({"schema": Incident, "params": {"response_format": "json"}}, "the type says what the answer is to be"),
        ({"schema": Incident, "params": {"reasks": 99}}, "from 0 to 5"),
        ({"schema": {"type": "object", "additionalProperties": True}, "params": {"mode": "native"}}, "mode='native'"),
    ],
)
def test_a_job_that_cannot_be_asked_is_refused_before_its_first_row(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    """In one sentence."""
    with SimServer() as sim:
        with pytest.raises(ConfigError, match=words):
            go(sim, tmp_path / "out.jsonl", **options)
        with pytest.raises(ConfigError, match="there must be a schema"):
            reread(sim, tmp_path / "out.jsonl", None)
        assert sim.bill()["attempts"] == 0
