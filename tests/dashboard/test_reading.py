"""What the page is told is what is in the ledger: sums, series, lists, and what changed."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from tools.seeded_ledger import lane_state

from penstock.dashboard.asked import PERIODS, Asked
from penstock.dashboard.reading import Reading
from penstock.errors import ConfigError, LedgerUnavailable
from penstock.ledger import open_ledger, period
from penstock.types import Usage
from tests.dashboard.writing import USD, events, write

NOW = 1_796_120_000.0  # 2026-12-01 10:13:20 UTC
HOUR = 3600.0
DAY = 24 * HOUR


def reading(path: Path) -> Reading:
    """A reading of a ledger, opened in this thread."""
    return Reading(path)


def test_a_view_has_the_sums_of_its_period(tmp_path: Path) -> None:
    """Calls before it are in no figure of it, and in the period before."""
    path = tmp_path / "ledger.db"
    write(
        path,
        events("now", at_s=NOW - 60),
        events("earlier", at_s=NOW - 20 * HOUR, cost_nano=3 * USD),
        events("yesterday", at_s=NOW - 30 * HOUR, cost_nano=8 * USD),
        events("bad", at_s=NOW - 50, outcome="overloaded", status=503, cost_nano=0, usage=None),
        events("free", at_s=NOW - 40, cost_nano=None),
    )
    assert reading(path).view(Asked("24h"), NOW).previous is None, "of the day before, the ledger has a part only"
    write(path, events("first", at_s=NOW - 60 * HOUR))
    view = reading(path).view(Asked("24h"), NOW)
    assert (view.totals.calls, view.totals.failed, view.totals.attempts) == (4, 1, 4)
    assert (view.totals.cost_nano, view.totals.unpriced) == (4 * USD, 1)
    assert (view.totals.usage.input, view.totals.usage.output) == (300, 60)
    assert view.previous is not None
    assert (view.previous.cost_nano, view.previous.calls) == (8 * USD, 1)
    assert view.today.spent_nano == USD
    assert sum(sum(model.cost_nano) for model in view.series.models) == 4 * USD
    assert [(error.code, sum(error.values)) for error in view.series.errors] == [("overloaded", 1)]


@pytest.mark.parametrize("name", PERIODS)
def test_every_period_adds_up(seeded: Path, name: str) -> None:
    """The sums of the charts are the totals, which are those of the ledger's own answer."""
    now = time.time()
    view = reading(seeded).view(Asked(name), now)
    series, totals, frame = view.series, view.totals, view.period
    assert len(series.t) == (frame.until - frame.since) / frame.step_s <= 60
    assert frame.until > now >= frame.until - max(frame.step_s, DAY)
    assert sum(sum(model.calls) for model in series.models) == totals.calls > 0
    assert sum(sum(model.cost_nano) for model in series.models) == totals.cost_nano
    assert sum(series.tokens.output) == totals.usage.output
    assert sum(sum(error.values) for error in series.errors if error.code == "rate_limited") == totals.rate_limited
    with open_ledger(seeded) as ledger:
        said = ledger.stats(period("all", now)).total
        if name not in {"1h", "24h"}:
            assert (totals.calls, totals.cost_nano, totals.failed) == (said.calls, said.cost_nano, said.failed)
            assert view.latency.p95 == said.latency_s(95)


def test_a_model_and_a_tag_narrow_everything(tmp_path: Path) -> None:
    """Sums, series and lists; the menus go on offering the others, and today is that of all."""
    path = tmp_path / "ledger.db"
    write(
        path,
        events("a", at_s=NOW - 60, tags={"team": "search"}),
        events("b", at_s=NOW - 60, tags={"team": "support"}),
        events("c", at_s=NOW - 60, provider="anthropic", model="claude", tags={"team": "search", "task": "t-1"}),
    )
    ledger = reading(path)
    by_model = ledger.view(Asked("24h", "openai:gpt-4o-mini"), NOW)
    assert by_model.totals.calls == 2
    assert {row.id for row in by_model.calls.latest} == {"a", "b"}
    by_tag = ledger.view(Asked("24h", None, "team=search"), NOW)
    assert {row.id for row in by_tag.calls.dearest} == {"a", "c"}
    both = ledger.view(Asked("24h", "openai:gpt-4o-mini", "team=search"), NOW)
    assert [row.id for row in both.calls.slowest] == ["a"]
    assert [model.name for model in both.series.models] == ["openai:gpt-4o-mini"]
    assert {name.name for name in both.names.models} == {"openai:gpt-4o-mini", "anthropic:claude"}
    assert [name.name for name in both.names.tags] == ["team=search", "team=support"]
    assert both.today.spent_nano == 3 * USD
    by_task = ledger.view(Asked("24h", None, "task=t-1"), NOW)
    assert (by_task.totals.calls, [row.id for row in by_task.calls.latest]) == (1, ["c"])
    assert ledger.view(Asked("24h", "nobody:nothing"), NOW).totals.calls == 0


def test_what_is_new_is_in_the_next_view(tmp_path: Path) -> None:
    """In sums, series and every list, by minutes and by hours; the version tells that there is something."""
    path = tmp_path / "ledger.db"
    write(path, events("first", at_s=NOW - 600))
    ledger = reading(path)
    before = {name: ledger.view(Asked(name), NOW) for name in ("1h", "24h")}
    version = ledger.version()
    write(
        path,
        events("dear", at_s=NOW - 1, cost_nano=9 * USD),
        events("slow", at_s=NOW - 2, latency_s=90.0),
        events("bad", at_s=NOW - 3, outcome="server_fault", status=500, cost_nano=None, usage=None),
    )
    assert ledger.version() != version
    for name, view in before.items():
        after = ledger.view(Asked(name), NOW)
        assert view.totals.calls == 1
        assert (after.totals.calls, after.totals.failed, after.totals.cost_nano) == (4, 1, 11 * USD)
        assert [row.id for row in after.calls.latest] == ["dear", "slow", "bad", "first"]
        assert [row.id for row in after.calls.failed] == ["bad"]
        assert after.calls.dearest[0].id == "dear"
        assert after.calls.slowest[0].id == "slow"


def test_an_update_reads_new_rows_and_running_steps_only(seeded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the ledger's size: steps that are over and lists that were made are not read again."""
    now = time.time()
    ledger = reading(seeded)
    ledger.view(Asked("7d"), now)
    asked: list[tuple[str, Any]] = []
    reader = ledger._reader
    for name in ("series", "stats", "calls", "tail"):
        plain = getattr(reader, name)

        def noted(*args: Any, name: str = name, plain: Any = plain, **more: Any) -> Any:
            asked.append((name, args[0]))
            return plain(*args, **more)

        monkeypatch.setattr(reader, name, noted)
    ledger.view(Asked("7d"), now + 1)
    assert [name for name, _ in asked if name in {"stats", "calls"}] == []
    spans = [given.end_s - given.start_s for name, given in asked if name == "series"]
    assert spans
    assert max(spans) <= 12 * HOUR


def test_a_step_that_is_over_is_read_again_for_late_records(tmp_path: Path) -> None:
    """Some minutes later at the latest."""
    path = tmp_path / "ledger.db"
    write(path, events("first", at_s=NOW - 5 * HOUR))
    ledger = reading(path)
    assert ledger.view(Asked("24h"), NOW).totals.calls == 1
    write(path, events("late", at_s=NOW - 5 * HOUR))
    assert ledger.view(Asked("24h"), NOW + 301).totals.calls == 2


def test_more_models_and_errors_than_colours_are_one(tmp_path: Path) -> None:
    """The dearest five have a name."""
    path = tmp_path / "ledger.db"
    calls = [events(f"c{n}", at_s=NOW - 60, model=f"m{n}", cost_nano=(10 - n) * USD) for n in range(8)]
    write(path, *calls, *[events(f"e{n}", at_s=NOW - 60, outcome=f"error_{n}", cost_nano=0) for n in range(7)])
    view = reading(path).view(Asked("24h"), NOW)
    assert [model.name for model in view.series.models] == [*[f"openai:m{n}" for n in range(5)], ""]
    assert sum(view.series.models[-1].cost_nano) == (5 + 4 + 3) * USD
    assert [error.code for error in view.series.errors][-1] == ""
    assert sum(sum(error.values) for error in view.series.errors) == 7


def test_the_dearest_of_part_of_a_day_are_not_those_before_it(tmp_path: Path) -> None:
    """Yesterday's calls before the period are not listed, however dear."""
    path = tmp_path / "ledger.db"
    old = [events(f"old{n}", at_s=NOW - 26 * HOUR, cost_nano=50 * USD, latency_s=500.0) for n in range(25)]
    write(path, *old, events("within", at_s=NOW - 20 * HOUR), events("today", at_s=NOW - HOUR, cost_nano=2 * USD))
    lists = reading(path).view(Asked("24h"), NOW).calls
    assert [row.id for row in lists.dearest] == ["today", "within"]
    assert {row.id for row in lists.slowest} == {"today", "within"}
    assert lists.whole


def test_a_period_with_too_many_calls_of_a_tag_says_that_the_list_is_of_the_noted_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of going through all of them."""
    monkeypatch.setattr("penstock.dashboard.lists.ROWS_MAX", 1)
    path = tmp_path / "ledger.db"
    write(path, *[events(f"c{n}", at_s=NOW - 60, tags={"team": "search"}) for n in range(3)])
    view = reading(path).view(Asked("24h", None, "team=search"), NOW)
    assert not view.calls.whole
    assert len(view.calls.dearest) == 3


def test_calls_leave_the_lists_with_the_period(tmp_path: Path) -> None:
    """An hour later they are gone."""
    path = tmp_path / "ledger.db"
    write(path, events("old", at_s=NOW - 3000), events("new", at_s=NOW - 10))
    ledger = reading(path)
    assert [row.id for row in ledger.view(Asked("1h"), NOW).calls.latest] == ["new", "old"]
    assert [row.id for row in ledger.view(Asked("1h"), NOW + 1200).calls.latest] == ["new"]


def test_a_call_is_shown_with_its_attempts(tmp_path: Path) -> None:
    """And None is for one that is not there."""
    path = tmp_path / "ledger.db"
    write(path, events("a", usage=Usage(input=5, estimated=True)))
    found = reading(path).call("a")
    assert found is not None
    assert [attempt.status for attempt in found.attempts] == [200]
    assert found.call.usage is not None
    assert found.call.usage.estimated
    assert reading(path).call("b") is None


def told(path: Path, at_s: float, process: str, *states: tuple[str, str, str]) -> None:
    """Write what a process told at an instant of the test; a writer's own clock cannot be set."""
    if not path.exists():
        write(path, events("first", at_s=NOW - 60))
    rows = [(process, kind, name, int(at_s * 1000), data) for kind, name, data in states]
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany("REPLACE INTO state VALUES (?, ?, ?, ?, ?)", rows)


def budget(name: str, spent: int, *, cap: int | None = 10, file: str | None = None) -> tuple[str, str, str]:
    """A budget as a client tells it."""
    facts = {"name": name, "cap_nano": cap and cap * USD, "spent_nano": spent * USD, "held_nano": 0, "possible_nano": 0}
    return "budget", name, json.dumps({"file": file, **facts})


def test_lanes_say_how_full_they_are_and_why_they_are_shut(tmp_path: Path) -> None:
    """Instants are on the wall's clock, whatever the client's; what is old is called so."""
    path = tmp_path / "ledger.db"
    told(path, NOW - 3, "p1", ("lane", "a:x", lane_state("a:x", 0.5, 100, flying=3, queued=4)))
    told(path, NOW - 3, "p2", ("lane", "a:y", lane_state("a:y", 0.1, 10, why_shut="9 of 10 failed")))
    told(path, NOW - 60, "p3", ("lane", "a:z", lane_state("a:z", 0.1, 10)))
    told(path, NOW - 4000, "p4", ("lane", "a:gone", lane_state("a:gone", 0.1, 10)))
    healthy, shut, stale = reading(path).view(Asked("24h"), NOW).lanes
    assert (healthy.name, healthy.state, healthy.in_flight, healthy.queued) == ("a:x", "closed", 3, 4)
    assert next((each.name, each.used, each.limit) for each in healthy.limits) == ("requests / min", 50, 100)
    assert (shut.state, shut.reason) == ("open", "9 of 10 failed")
    assert shut.until_s == pytest.approx(NOW - 3 + 17)
    assert (stale.name, stale.stale, stale.limits) == ("a:z", True, [])


def test_budgets_of_now_are_shown_once_for_each_file_or_process(tmp_path: Path) -> None:
    """Yesterday's is over, an uncapped one is none, and of two processes with one file the newest counts."""
    path, day = tmp_path / "ledger.db", "day 2026-12-01"
    told(
        path, NOW - 5, "p1", budget(day, 4, file="/spend.db"), budget("total", 1), budget("month 2026-12", 1, cap=None)
    )
    told(path, NOW - 2, "p2", budget(day, 5, file="/spend.db"), budget("total", 2), budget("day 2026-11-30", 9))
    view = reading(path).view(Asked("24h"), NOW)
    assert [(scope.name, scope.where, scope.spent_nano // USD) for scope in view.budgets] == [
        (day, "", 5), ("total", "p1", 1), ("total", "p2", 2),
    ]  # fmt: skip
    assert view.today.daily is not None
    assert view.today.daily.spent_nano == 5 * USD


def test_a_ledger_that_is_not_there_or_damaged_says_so(tmp_path: Path) -> None:
    """When it is opened, in a sentence."""
    with pytest.raises(ConfigError, match="no ledger at"):
        reading(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("this is no database, only text " * 100, encoding="utf-8")
    with pytest.raises(LedgerUnavailable, match="damaged or no ledger"):
        reading(tmp_path / "text.db")
