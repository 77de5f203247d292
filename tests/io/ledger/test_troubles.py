"""What goes wrong with the file is said once, and harms no call: records wait, and are lost only at the end."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from penstock._io.ledger import schema
from penstock._io.ledger import writer as writer_module
from penstock._io.ledger.settings import Ledger, file_of, home
from penstock._io.ledger.writer import LedgerWriter
from penstock.errors import ConfigError, LedgerUnavailable
from penstock.ledger import open_ledger, period

from .events import NOON_S, call, written

WAIT_S = 30.0

ALL = period("all", NOON_S)


def calls_in(path: str) -> int:
    """How many calls a ledger has."""
    with open_ledger(path) as reader:
        return reader.stats(ALL).total.calls


def calls_so_far(path: str) -> int:
    """The same while another process may not have made it yet."""
    try:
        return calls_in(path)
    except LedgerUnavailable:
        return 0


def unwritable(path: str, caplog: pytest.LogCaptureFixture, writes: int = 3) -> tuple[LedgerWriter, list[str]]:
    """Write into a ledger that cannot be written; return its writer and what was logged."""
    lost: list[tuple[int, str]] = []
    writer = LedgerWriter(Ledger(path=path), path, lost=lambda count, why: lost.append((count, why)))
    with caplog.at_level(logging.WARNING, logger="penstock"):
        for _ in range(writes):
            for event in call():
                writer.post(event)
            writer.flush()
        writer.settle()
    assert sum(count for count, _ in lost) == writer.lost
    return writer, [record.getMessage() for record in caplog.records]


def test_a_database_of_something_else_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both ends say so, and nothing is written into it."""
    path = str(tmp_path / "other.db")
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (a)")
    db.commit()
    db.close()
    writer, said = unwritable(path, caplog)
    assert writer.lost == 6
    assert len(said) == 2
    assert "database of something else" in said[0]
    assert "Calls go on" in said[0]
    with pytest.raises(LedgerUnavailable, match="name another file"):
        open_ledger(path)


def test_a_damaged_ledger_says_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once, however often it is tried."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database at all" * 100)
    writer, said = unwritable(str(path), caplog, writes=5)
    assert writer.lost == 10
    assert len(said) == 2
    assert "move it away" in said[0]
    with pytest.raises(LedgerUnavailable, match="move it away"):
        open_ledger(path)


def test_a_newer_ledger_is_neither_read_nor_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An older Penstock would misread it."""
    path = str(tmp_path / "ledger.db")
    written(path, *call())
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {schema.SCHEMA + 1}")
    db.close()
    _, said = unwritable(path, caplog)
    assert "newer Penstock" in said[0]
    with pytest.raises(LedgerUnavailable, match="update this one"):
        open_ledger(path)


def test_an_older_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    """Step by step, keeping what is in it; a step that fails changes nothing."""
    path = str(tmp_path / "ledger.db")
    written(path, *call())
    steps = (*schema.MIGRATIONS, ("ALTER TABLE call ADD COLUMN mood TEXT", "UPDATE call SET mood = 'new'"))
    broken = (*schema.MIGRATIONS, ("ALTER TABLE call ADD COLUMN mood TEXT", "this is no SQL"))
    with pytest.raises(LedgerUnavailable):
        schema.open_to_write(path, layout=schema.SCHEMA + 1, migrations=broken)
    db = schema.open_to_write(path, layout=schema.SCHEMA + 1, migrations=steps)
    assert db.execute("SELECT mood FROM call").fetchall() == [("new",)]
    db.close()
    with pytest.raises(LedgerUnavailable, match="newer"):
        open_ledger(path)


def test_the_totals_of_a_ledger_of_the_first_layout_are_made_when_it_is_opened(tmp_path: Path) -> None:
    """A question finds what was there before, and what is written from then on is added to it."""
    path = str(tmp_path / "ledger.db")
    written(path, *call(tags={"team": "a"}), *call(tags={"team": "b"}))
    with open_ledger(path) as reader:
        before = reader.stats(ALL, by="model")
    db = sqlite3.connect(path)
    db.executescript("DROP TABLE total; PRAGMA user_version = 1")
    db.close()
    with open_ledger(path) as reader:
        assert reader.stats(ALL, by="model") == before
    written(path, *call(tags={"team": "c"}))
    with open_ledger(path) as reader:
        assert reader.stats(ALL).total.calls == before.total.calls + 1


def test_a_home_that_cannot_be_written_loses_records_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file stands where the folder should be: that no right can mend, not even root's."""
    (tmp_path / "file").write_text("x")
    writer, said = unwritable(str(tmp_path / "file" / "ledger.db"), caplog)
    assert writer.lost == 6
    assert "a file stands where its folder should be; set PENSTOCK_HOME" in said[0]
    assert len(said) == 2


def test_records_wait_while_the_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written comes when it can, and nothing is lost."""
    monkeypatch.setattr(writer_module, "RETRY_S", 0.0)
    monkeypatch.setattr(schema, "OPEN_S", 0.05)
    path = str(tmp_path / "ledger.db")
    written(path, *call())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = LedgerWriter(Ledger(path=path), path)
    for _ in range(3):
        for event in call():
            writer.post(event)
        writer.flush()
    other.execute("COMMIT")
    other.close()
    writer.settle()
    assert writer.lost == 0
    assert calls_in(path) == 4


def test_a_full_disk_loses_nothing_that_still_fits_in_memory(tmp_path: Path) -> None:
    """The writer meets the limit of a file's size as it would a full disk; with room again all is written."""
    path = tmp_path / "ledger.db"
    written(str(path), *call())
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = LedgerWriter(Ledger(path=str(path)), str(path))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, limit[1]))
        for number in range(200):
            for event in call(tags={"filler": f"{number}" * 800}):
                writer.post(event)
        writer.flush()
        assert writer._backlog
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handled)
    writer.settle()
    assert writer.lost == 0
    assert calls_in(str(path)) == 201


def test_what_was_lost_is_noted_when_the_file_can_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So that figures say that they lack something."""
    monkeypatch.setattr(writer_module, "QUEUE", 4)
    monkeypatch.setattr(writer_module, "RETRY_S", 0.0)
    folder = tmp_path / "home"
    folder.write_text("in the way")
    path = str(folder / "ledger.db")
    writer = LedgerWriter(Ledger(path=path), path)
    for _ in range(5):
        for event in call():
            writer.post(event)
        writer.flush()
    folder.unlink()
    writer.settle()
    assert writer.lost == 6
    with open_ledger(path) as reader:
        found = reader.stats(ALL)
    assert (found.total.calls, found.lost) == (2, 6)


def test_a_clock_that_goes_back_breaks_nothing(tmp_path: Path) -> None:
    """Each record counts in the hour that its own clock said."""
    path = str(tmp_path / "ledger.db")
    written(path, *call(NOON_S), *call(NOON_S - 90_000), *call(NOON_S + 10))
    with open_ledger(path) as reader:
        days = reader.stats(ALL, by="day").groups
        assert {day: one.calls for day, one in days.items()} == {"2026-11-30": 1, "2026-12-01": 2}
        assert [row.at_s for row in reader.tail()] == [NOON_S, NOON_S - 90_000, NOON_S + 10]


def test_old_rows_leave_and_their_sums_stay(tmp_path: Path) -> None:
    """After `keep_days` single calls go; what they came to is still known."""
    path = str(tmp_path / "ledger.db")
    old, new = call(time.time() - 40 * 86_400, tags={"task": "old"}), call(time.time())
    written(path, *old, *new)
    written(path, *call(time.time()), keep_days=30)
    with open_ledger(path) as reader:
        assert reader.stats(ALL).total.calls == 3
        assert len(reader.tail()) == 2
        edge = old[1].at_s
        found = reader.stats(type(ALL)(edge - 1, edge + 1, "that second"))
        assert found.total.calls == 0
        assert not found.whole


def _write_many(path: str, calls: int) -> None:
    writer = LedgerWriter(Ledger(path=path, interval_s=0.01), path)
    for _ in range(calls):
        for event in call():
            writer.post(event)
    writer.settle()
    os._exit(0 if writer.lost == 0 else 1)


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """Every record of each is there, and the sums are those of all."""
    path = str(tmp_path / "ledger.db")
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_write_many, args=(path, 200)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    with open_ledger(path) as reader:
        assert reader.stats(ALL).total.calls == 800
        assert reader.stats(ALL).total.cost_nano == 800 * 27_000
        assert len(reader.tail(limit=1000)) == 800


def test_a_forked_child_writes_its_own_and_not_its_parents(tmp_path: Path) -> None:
    """What waits in the parent is written by the parent, once."""
    path = str(tmp_path / "ledger.db")
    writer = LedgerWriter(Ledger(path=path, interval_s=60), path)
    for event in call():
        writer.post(event)
    child = os.fork()
    if child == 0:
        for event in call(model="child"):
            writer.post(event)
        writer.settle()
        os._exit(0)
    os.waitpid(child, 0)
    writer.settle()
    with open_ledger(path) as reader:
        assert {name: one.calls for name, one in reader.stats(ALL, by="model").groups.items()} == {
            "openai:child": 1,
            "openai:gpt-4o-mini": 1,
        }


ENDS = """
import sys
from tests.io.ledger.events import call
from penstock._io.ledger.writer import LedgerWriter
from penstock._io.ledger.settings import Ledger
writer = LedgerWriter(Ledger(path=sys.argv[1], interval_s=60), sys.argv[1])
for _ in range(50):
    for event in call():
        writer.post(event)
"""


def test_a_program_that_ends_without_closing_loses_nothing(tmp_path: Path) -> None:
    """What waits is written when the interpreter ends."""
    path = str(tmp_path / "ledger.db")
    subprocess.run([sys.executable, "-c", ENDS, path], check=True, cwd=Path(__file__).parents[3])
    assert calls_in(path) == 50


KILLED = """
import os, sys, time
from tests.io.ledger.events import call
from penstock._io.ledger.writer import LedgerWriter
from penstock._io.ledger.settings import Ledger
writer = LedgerWriter(Ledger(path=sys.argv[1], interval_s=0.05), sys.argv[1])
for number in range(100_000):
    for event in call():
        writer.post(event)
    print(number + 1, flush=True)
    time.sleep(0.001)
"""


def test_kill_9_costs_nothing_that_an_interval_wrote(tmp_path: Path) -> None:
    """The writer writes by itself, with no close and no full batch; what it wrote is in the file, which is sound."""
    path = str(tmp_path / "ledger.db")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    for _ in range(200):
        told = int(process.stdout.readline())
    until = time.monotonic() + WAIT_S
    while calls_so_far(path) < told:
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert calls_in(path) >= told
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_content_is_kept_only_on_request_and_redacted(tmp_path: Path) -> None:
    """A redaction that fails keeps nothing of what it was given."""
    from penstock.types import Choice, Message, Request, Response, Text

    request = Request(model="m", messages=(Message("user", "my secret is 4711"),))
    response = Response(provider="openai", model="m", choices=(Choice(content=(Text("4711, I see"),)),))
    told: dict[str, Any] = {"request": request, "response": response, "message": "4711 is wrong"}

    def redact(text: str) -> str:
        if "wrong" in text:
            raise ValueError(text)
        return text.replace("4711", "****")

    kept_by: list[tuple[str, dict[str, Any], list[str | None]]] = [
        ("off", {}, [None, None, None]),
        ("on", {"content": True}, ["my secret is 4711", "4711, I see", "4711 is wrong"]),
        (
            "redacted",
            {"content": True, "redact": redact},
            ["secret is ****", "****, I see", "redact raised ValueError"],
        ),
    ]
    for name, settings, expected in kept_by:
        path = str(tmp_path / f"{name}.db")
        attempt, ended = call(**told)
        written(path, attempt, ended, **settings)
        with open_ledger(path) as reader:
            found = reader.call(ended.call_id)
        assert found is not None
        for kept, part in zip((found.prompt, found.answer, found.message), expected, strict=True):
            assert kept is None if part is None else kept is not None and part in kept
        if name != "on":
            assert b"4711" not in Path(path).read_bytes()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Who asked what, and when, is nobody else's."""
    path = tmp_path / "new" / "ledger.db"
    written(str(path), *call())
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keep_days": 0}, "keep_days is 0"),
        ({"interval_s": 0}, "interval_s is 0"),
        ({"path": ""}, "path is ''"),
        ({"redact": "x"}, "redact is 'x'"),
        ({"content": 1}, "content is 1"),
    ],
)
def test_settings_out_of_range_are_errors(settings: dict[str, object], said: str) -> None:
    """What was wrong, and what was expected."""
    with pytest.raises(ConfigError, match=said):
        Ledger(**settings)  # type: ignore[arg-type]


def test_where_the_ledger_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """PENSTOCK_HOME before the system's own place, an argument before both."""
    assert file_of(None, {"PENSTOCK_HOME": "/x/y"}) == "/x/y/ledger.db"
    assert file_of("/a/b.db", {"PENSTOCK_HOME": "/x/y"}) == "/a/b.db"
    monkeypatch.setattr(sys, "platform", "linux")
    assert str(home({"XDG_STATE_HOME": "/state"})) == "/state/penstock"
    assert str(home({})) == str(Path.home() / ".local/state/penstock")
    monkeypatch.setattr(sys, "platform", "win32")
    assert str(home({"LOCALAPPDATA": "/local"})) == "/local/penstock"
