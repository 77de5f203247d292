"""What is written into a ledger is what it answers with, whichever way it is asked."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock._io.ledger.parts import Part, parts
from penstock._io.ledger.schema import TOTALS, open_to_write
from penstock._io.ledger.settings import Ledger
from penstock._io.ledger.writer import LedgerWriter
from penstock._policy.rollup import SUMS
from penstock.errors import ConfigError
from penstock.ledger import Figures, LedgerReader, Period, Where, between, open_ledger, period
from penstock.types import Usage

from .events import NOON_S, call, many, written

DAY_S = 86_400
ALL = period("all", NOON_S)
WHERES = (
    Where(),
    Where(model="gpt-4o"),
    Where(model="openai:gpt-4o-mini"),
    Where(provider="azure"),
    Where(outcome="failed"),
    Where(outcome="rate_limited"),
    Where(tags={"team": "sre"}),
    Where(tags={"team": "web"}, model="o3"),
    Where(operation="embed"),
    Where(model="nothing"),
)
"""Questions with very different answers, some of them empty."""


def sums(figures: Figures) -> dict[str, Any]:
    """All figures that add up."""
    return {name: getattr(figures, name) for name in (*SUMS, "failed", "rate_limited", "latency", "first")}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ledger with 600 calls of all kinds over three days."""
    path = str(tmp_path_factory.mktemp("ledger") / "ledger.db")
    written(path, *(event for events in many(1, 600) for event in events))
    return path


@pytest.mark.parametrize("where", WHERES, ids=str)
@pytest.mark.parametrize("by", [None, "model", "provider", "operation", "outcome", "day", "hour", "tag:team"])
def test_sums_and_single_calls_give_the_same_figures(
    ledger: str, where: Where, by: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked: sums by day and hour are exactly what adding up the rows gives."""
    with open_ledger(ledger) as reader:
        quick = reader.stats(ALL, where, by=by)
        monkeypatch.setattr("penstock._io.ledger.read.parts", lambda start, end, step, *, raw: [Part(0, start, end)])
        slow = reader.stats(ALL, where, by=by)
    assert sums(quick.total) == sums(slow.total)
    assert {name: sums(one) for name, one in quick.groups.items()} == {n: sums(one) for n, one in slow.groups.items()}
    assert quick.whole


def test_a_period_that_ends_inside_an_hour_counts_to_the_second(ledger: str) -> None:
    """Whole days and hours come from sums, the edges from single calls, and nothing twice."""
    start, end = NOON_S + 5000.5, NOON_S + 2 * DAY_S + 777.25
    with open_ledger(ledger) as reader:
        whole = reader.stats(ALL).total
        parted = [
            reader.stats(Period(edges[0], edges[1], "")).total for edges in ((0, start), (start, end), (end, 1e11))
        ]
    assert sum(part.calls for part in parted) == whole.calls == 600
    assert sum(part.cost_nano for part in parted) == whole.cost_nano
    assert all(part.calls for part in parted)


def test_the_parts_of_a_period_are_disjoint_and_complete() -> None:
    """Days inside, hours around them, single calls at the edges."""
    for start, end in ((0.5, 3 * DAY_S + 1.5), (100.0, 200.0), (3600.0, 7200.0), (0.0, DAY_S), (3599.0, 3601.0)):
        found = parts(start, end, None, raw=False)
        assert found[0].start == start
        assert found[-1].end == end
        assert all(left.end == right.start for left, right in pairwise(found))
        assert all(part.start % part.span == 0 == part.end % part.span for part in found if part.span)


def test_calls_come_back_as_they_were_told(tmp_path: Path) -> None:
    """Every field of a call and its attempts, where one row has both and where it has not."""
    usage = Usage(input=5, cache_read=7, output=3, reasoning=1, audio_out=2, estimated=True)
    plain = call(tags={"team": "sre", "task": "t1"}, status=200, request_id="req_1", stop_reason="stop")
    rich = call(usage=usage, tier="simple", reason="because", strongest_nano=9, first_token_s=0.25, scopes=("total",))
    failed = call(outcome="server_fault", status=500, usage=None, cost_nano=None, retry_after_s=2.5)
    unlike = call(outcome="ok")
    unlike = (unlike[0], msgspec.structs.replace(unlike[1], outcome="extraction_failed"))
    path = str(tmp_path / "ledger.db")
    written(path, *plain, *rich, *failed, *unlike)
    with open_ledger(path) as reader:
        for attempt, ended in (plain, rich, failed, unlike):
            found = reader.call(ended.call_id)
            assert found is not None
            for name in set(found.call.__struct_fields__) - {"id", "at_s"}:
                assert getattr(found.call, name) == getattr(ended, name), name
            (kept,) = found.attempts
            for name in set(kept.__struct_fields__) - {"at_s", "scopes", "retry_after_s"}:
                assert getattr(kept, name) == getattr(attempt, name), name
            assert kept.scopes == (", ".join(attempt.scopes) or None)
            assert kept.retry_after_s == attempt.retry_after_s
        assert [row.call_id for row in reader.tail(limit=2)] == [failed[1].call_id, unlike[1].call_id]
        assert reader.call("nobody") is None
        assert reader.stats(ALL, Where(task="t1")).total.calls == 1


def test_the_views_are_for_people(ledger: str) -> None:
    """Anybody with SQLite can read calls and attempts, in words."""
    db = sqlite3.connect(ledger)
    counts = db.execute("SELECT count(*), sum(attempts) FROM calls").fetchone()
    assert counts == (600, db.execute("SELECT count(*) FROM attempts WHERE sent").fetchone()[0])
    names = {row[0] for row in db.execute("SELECT DISTINCT provider || ':' || model FROM attempts")}
    assert names == {"openai:gpt-4o-mini", "openai:gpt-4o", "openai:o3", "azure:o3"}
    assert db.execute("SELECT at FROM calls ORDER BY at_ms LIMIT 1").fetchone()[0].startswith("2026-12-0")
    db.close()


def test_the_slowest_and_dearest_are_found_without_reading_all(ledger: str) -> None:
    """The peaks of each day and model are those of all its rows."""
    days = between("2026-12-01", "2026-12-06")
    with open_ledger(ledger) as reader:
        for where in (Where(), Where(model="gpt-4o"), Where(provider="azure")):
            rows = reader.calls(days, where, limit=1000)
            slow = [row.call_id for row in reader.calls(days, where, order="slowest", limit=5)]
            dear = [row.call_id for row in reader.calls(days, where, order="dearest", limit=5)]
            by_time = sorted((row for row in rows if not row.batch), key=lambda row: -row.latency_s)
            by_cost = sorted(rows, key=lambda row: -(row.cost_nano or 0))
            assert slow == [row.call_id for row in by_time[:5]]
            assert dear == [row.call_id for row in by_cost[:5]]
        tagged = reader.calls(days, Where(tags={"team": "sre"}), order="dearest", limit=3)
        assert len(tagged) == 3
        assert all(row.tags["team"] == "sre" for row in tagged)


def test_a_follower_sees_each_new_call_once(tmp_path: Path) -> None:
    """The newest id and a change of version are what it needs."""
    path = str(tmp_path / "ledger.db")
    written(path, *call())
    with open_ledger(path) as reader:
        before, last = reader.version, reader.last_id()
        _, second = call()
        written(path, second)
        assert reader.version != before
        assert [row.call_id for row in reader.tail(after_id=last)] == [second.call_id]
        assert reader.tail(after_id=reader.last_id()) == []


def test_choices_are_what_occurs(ledger: str) -> None:
    """Filters of a page offer nothing that finds nothing."""
    with open_ledger(ledger) as reader:
        found = reader.choices(ALL)
        assert found.tags == {"team": ("sre", "web")}  # a task is looked for, not chosen
        assert found.providers == ("azure", "openai")
        assert reader.choices(period("2020-01")).models == ()


def test_an_unknown_group_is_an_error(ledger: str) -> None:
    """With the ones there are."""
    with open_ledger(ledger) as reader, pytest.raises(ConfigError, match=r"'moon'; expected one of model"):
        reader.stats(ALL, by="moon")


def test_more_sets_of_tags_than_are_added_up_are_still_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums put them together; a question by tag then reads the calls themselves."""
    monkeypatch.setattr("penstock._io.ledger.sums.TAGSETS", 3)
    path = str(tmp_path / "ledger.db")
    calls = [call(NOON_S + number, tags={"user": f"u{number}"}) for number in range(10)]
    written(path, *(event for pair in calls for event in pair))
    with open_ledger(path) as reader:
        assert reader.stats(ALL).total.calls == 10
        assert reader.stats(ALL, Where(tags={"user": "u9"})).total.calls == 1
        by_user = reader.stats(ALL, by="tag:user")
        assert {name: one.calls for name, one in by_user.groups.items()} == {f"u{number}": 1 for number in range(10)}
        assert by_user.whole
    rows = sqlite3.connect(path).execute("SELECT count(DISTINCT tags) FROM rollup").fetchone()[0]
    assert rows == 4


def test_the_last_word_of_a_client_is_how_it_stood_at_the_end(tmp_path: Path) -> None:
    """Though it tells its state once a second only, nothing is left as held when it has ended."""
    path = str(tmp_path / "ledger.db")
    held = iter(('{"held": 5}', '{"held": 0}'))
    writer = LedgerWriter(Ledger(path=path, keep_days=None), path)
    writer.live = lambda: [("budget", "total", next(held))]
    for number in range(2):
        for event in call(NOON_S + number):
            writer.post(event)
        assert writer.flush()
    with open_ledger(path) as reader:
        assert [state.data for state in reader.live()] == [{"held": 5}]
        writer.settle()
        assert [state.data for state in reader.live()] == [{"held": 0}]


def test_totals_are_the_sums_of_all_tags(ledger: str) -> None:
    """Row by row, whatever order the writer met them in."""
    db = open_to_write(ledger)
    kept = "SELECT * FROM total ORDER BY span, start, provider, model, operation, outcome"
    found = db.execute(kept).fetchall()
    assert len(found) < db.execute("SELECT count(*) FROM rollup").fetchone()[0]
    db.executescript("BEGIN; DELETE FROM total")
    db.execute(TOTALS)
    fresh = db.execute(kept).fetchall()
    db.execute("ROLLBACK")
    db.close()

    def told(rows: list[Any]) -> list[Any]:
        return [
            (*row[:-2], *({} if each is None else msgspec.msgpack.decode(each) for each in row[-2:])) for row in rows
        ]

    assert told(found) == told(fresh)


def test_there_is_no_ledger_yet(tmp_path: Path) -> None:
    """It says where it looked, and how one comes to be."""
    with pytest.raises(ConfigError, match=r"no ledger at .*nothing\.db yet.*ledger=True"):
        LedgerReader(str(tmp_path / "nothing.db"))
