"""The server of the page, asked over loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from penstock.dashboard.serve import Page
from penstock.errors import ConfigError, LedgerUnavailable
from tests.dashboard.served import served
from tests.dashboard.writing import USD, events, write

WAIT_S = 30


@pytest.fixture(scope="module")
def page(seeded: Path) -> Iterator[Page]:
    """The page of the seeded ledger."""
    with served(seeded) as page:
        yield page


def ask(page: Page, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
    """Ask for a path and read the answer."""
    connection = HTTPConnection("127.0.0.1", page.port, timeout=WAIT_S)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def told(page: Page, path: str) -> Any:
    """The JSON of an answer."""
    return json.loads(ask(page, path)[1])


class Stream:
    """An open stream of events."""

    def __init__(self, page: Page, query: str = "") -> None:
        self._connection = HTTPConnection("127.0.0.1", page.port, timeout=WAIT_S)
        self._connection.request("GET", f"/api/live{query}", headers={"accept": "text/event-stream"})
        self.answer = self._connection.getresponse()

    def hears(self) -> tuple[str, Any]:
        """The next event."""
        lines = [self.answer.readline().decode().rstrip("\n") for _ in range(3)]
        return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def test_the_page_is_there_with_all_it_loads(page: Page) -> None:
    """Each file with its type, its tag and no more than that when it has not changed."""
    answer, body = ask(page, "/")
    assert answer.status == 200
    assert b"Cost and health" in body
    names = set(re.findall(r'(?:href|src)="([\w./-]+)"', body.decode()))
    assert len(names) > 10
    for name in names:
        answer, body = ask(page, f"/{name}")
        assert (answer.status, len(body) > 0) == (200, True), name
        assert answer.headers["content-type"].startswith(("text/css", "text/javascript", "image/svg+xml"))
        again, nothing = ask(page, f"/{name}", if_none_match=answer.headers["etag"])
        assert (again.status, nothing) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/../pyproject.toml", "/%2e%2e/view.py", "/vendor/", "/vendor/uplot/../../page.css"]
)
def test_nothing_else_is_there(page: Page, path: str) -> None:
    """No other file of the machine, whatever the spelling."""
    answer, body = ask(page, path)
    assert answer.status == 404
    assert "error" in json.loads(body)


def test_a_view_is_told_with_a_tag_that_changes_with_it(page: Page) -> None:
    """Its totals are those of the ledger."""
    answer, body = ask(page, "/api/view?period=all")
    view = json.loads(body)
    assert view["totals"]["calls"] == 121
    assert view["period"]["label"] == "all calls"
    assert answer.headers["etag"]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/view?period=fortnight", 400, "one of: 1h"),
        ("/api/live?tag=team", 400, "name=value"),
        ("/api/calls/none", 404, "no call 'none'"),
        (f"/api/calls/{'x' * 201}", 400, "at most 200"),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_right(page: Page, path: str, status: int, says: str) -> None:
    """As JSON with one sentence."""
    answer, body = ask(page, path)
    assert answer.status == status
    assert says in json.loads(body)["error"]


@pytest.mark.parametrize("path", ["/", "/api/view", "/api/calls/x"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(page: Page, path: str, method: str) -> None:
    """The server only shows."""
    answer, body = ask(page, path, method)
    assert answer.status == 405
    assert "only shows" in json.loads(body)["error"]


def test_a_call_is_told_with_its_attempts(page: Page) -> None:
    """By the id that the lists have."""
    row = told(page, "/api/view?period=all")["calls"]["failed"][0]
    found = told(page, f"/api/calls/{row['id']}")
    assert found["call"]["call_id"] == row["id"]
    assert len(found["attempts"]) == row["attempts"]


def test_a_foreign_host_is_refused(page: Page) -> None:
    """The guard stands before everything."""
    assert ask(page, "/api/view", host="evil.example")[0].status == 421


def test_a_commit_is_heard(ledger: Path) -> None:
    """By each open stream, with what it changed."""
    with served(ledger) as page, Stream(page) as day, Stream(page, "?period=7d&model=openai:gpt-4o-mini") as week:
        assert day.answer.headers["content-type"].startswith("text/event-stream")
        before = [stream.hears() for stream in (day, week)]
        write(ledger, events("new", cost_nano=7 * USD))
        after = [stream.hears() for stream in (day, week)]
        for (_, old), (kind, new) in zip(before, after, strict=True):
            assert kind == "view"
            assert new["totals"]["calls"] == old["totals"]["calls"] + 1
            assert new["totals"]["cost_nano"] == old["totals"]["cost_nano"] + 7 * USD
            assert new["calls"]["dearest"][0]["id"] == "new"


def test_a_ledger_that_goes_away_is_told_and_one_that_comes_back_is_shown(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page needs no restart."""
    monkeypatch.setattr("penstock.dashboard.desk.CHECKED_S", 0.0)
    monkeypatch.setattr("penstock.dashboard.feed.AGAIN_S", 0.0)
    with served(ledger) as page, Stream(page) as stream:
        assert stream.hears()[0] == "view"
        os.rename(ledger, tmp_path / "away.db")
        kind, said = stream.hears()
        assert kind == "trouble"
        assert "no ledger at" in said["error"]
        assert ask(page, "/api/view")[0].status == 503
        os.rename(tmp_path / "away.db", ledger)
        assert stream.hears()[0] == "view"


def test_open_streams_do_not_keep_the_server_from_ending(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends within the moment that uvicorn gives connections to close, not after its patience."""
    monkeypatch.setattr("penstock.dashboard.serve.GRACE_S", 60)
    with contextlib.ExitStack() as closing:
        with served(ledger) as page:
            streams = [closing.enter_context(Stream(page)) for _ in range(3)]
            for stream in streams:
                stream.hears()
            begun = time.monotonic()
        assert time.monotonic() - begun < 20
        assert [stream.answer.read() for stream in streams] == [b"", b"", b""]


def test_too_many_viewers_are_told_so(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds a connection."""
    monkeypatch.setattr("penstock.dashboard.app.VIEWERS_MAX", 1)
    with served(ledger) as page, Stream(page) as first:
        first.hears()
        answer, body = ask(page, "/api/live")
        assert answer.status == 503
        assert "close some" in json.loads(body)["error"]


def test_the_ledger_is_opened_to_read_only(ledger: Path) -> None:
    """Nobody who reads it can write it, and it is as it was."""
    before = ledger.read_bytes()
    with served(ledger) as page:
        told(page, "/api/view?period=all")
    assert ledger.read_bytes() == before
    from penstock.dashboard.reading import Reading

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        Reading(ledger)._reader._db.execute("DELETE FROM call")


def test_bound_to_every_address_it_asks_for_the_token(seeded: Path) -> None:
    """Which is in the address that is printed, and in nothing that is answered."""
    with served(seeded, host="0.0.0.0") as page:
        assert page.token is not None
        assert page.door.endswith(f"?token={page.token}")
        answer, body = ask(page, "/api/view")
        assert answer.status == 401
        assert page.token.encode() not in body
        answer, _ = ask(page, f"/?token={page.token}")
        assert answer.status == 303
        cookie = answer.headers["set-cookie"].partition(";")[0]
        assert ask(page, "/api/view", cookie=cookie)[0].status == 200


def test_a_port_that_is_taken_says_what_to_do(seeded: Path, page: Page) -> None:
    """Another one, or look whether it runs already."""
    with pytest.raises(ConfigError, match=f"port {page.port} of 127.0.0.1 is taken.*another --port"):
        Page(seeded, port=page.port)


def test_a_host_that_is_no_address_of_this_machine_says_so(seeded: Path) -> None:
    """And which are."""
    with pytest.raises(ConfigError, match="no address of this machine"):
        Page(seeded, host="192.0.2.1")


def test_a_newer_ledger_is_refused_before_anything_listens(ledger: Path) -> None:
    """With what to do."""
    with sqlite3.connect(ledger) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerUnavailable, match="newer Penstock"):
        Page(ledger)
