"""What viewers hear: each change once, the newest only, and nothing is read while nobody looks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.dashboard.asked import Asked
from penstock.dashboard.desk import Desk
from penstock.dashboard.feed import Feed
from penstock.errors import OutputError, PenstockError

DAY, WEEK = Asked("24h"), Asked("7d")
SOON_S = 30.0


class Ledger:
    """A ledger whose commits the test makes. No real one can be made to fail on order."""

    def __init__(self) -> None:
        self.number = 1
        self.error: PenstockError | None = None
        self.polls = 0
        self.looked_at = threading.Event()
        self.reads: list[str] = []
        self.threads: set[int] = set()
        self.opened = self.closed = 0

    def open(self) -> Ledger:
        self.opened += 1
        return self

    def version(self) -> int:
        self.polls += 1
        self.looked_at.set()
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        return self.number

    def view(self, asked: Asked, now_s: float) -> Any:
        self.reads.append(asked.period)
        return {"version": self.number, "period": asked.period}

    def close(self) -> None:
        self.closed += 1


class Viewer:
    """Follows a view and keeps what it hears."""

    def __init__(self, feed: Feed, asked: Asked = DAY) -> None:
        self._events: AsyncIterator[bytes] = feed.follow(asked)

    async def hears(self) -> tuple[str, Any]:
        """The next event: its name and what is in it."""
        event = await asyncio.wait_for(anext(self._events), SOON_S)
        name, data = event.decode().strip().split("\n")
        return name.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))

    async def leaves(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]


async def polled(ledger: Ledger, times: int) -> None:
    """Until the feed has looked so many more times."""
    for _ in range(times):
        ledger.looked_at.clear()
        assert await asyncio.to_thread(ledger.looked_at.wait, SOON_S)


def feed_of(ledger: Ledger, path: Path) -> Feed:
    """A feed of this ledger."""
    desk: Desk[Any] = Desk(str(path), ledger.open)
    return Feed(desk, wall=lambda: 1000.0)


def test_a_viewer_hears_the_view_at_once_and_each_change(tmp_path: Path) -> None:
    """And nothing while nothing is committed."""

    async def scene() -> None:
        ledger = Ledger()
        viewer = Viewer(feed_of(ledger, tmp_path))
        assert await viewer.hears() == ("view", {"version": 1, "period": "24h"})
        await polled(ledger, 3)
        assert ledger.reads == ["24h"]
        ledger.number = 2
        assert await viewer.hears() == ("view", {"version": 2, "period": "24h"})
        await viewer.leaves()

    asyncio.run(scene())


def test_many_viewers_of_a_view_cost_one_reading(tmp_path: Path) -> None:
    """Another view is another reading; who comes later gets what is there."""

    async def scene() -> None:
        ledger = Ledger()
        feed = feed_of(ledger, tmp_path)
        viewers = [Viewer(feed), Viewer(feed), Viewer(feed, WEEK)]
        assert [(await viewer.hears())[1]["period"] for viewer in viewers] == ["24h", "24h", "7d"]
        assert sorted(ledger.reads) == ["24h", "7d"]
        ledger.number = 2
        assert [(await viewer.hears())[1]["version"] for viewer in viewers] == [2, 2, 2]
        assert len(ledger.reads) == 4
        assert len(ledger.threads) == 1
        assert feed.viewers == 3
        for viewer in viewers:
            await viewer.leaves()

    asyncio.run(scene())


def test_a_slow_viewer_gets_the_newest_view_and_no_queue(tmp_path: Path) -> None:
    """What it missed is over."""

    async def scene() -> None:
        ledger = Ledger()
        feed = feed_of(ledger, tmp_path)
        slow, quick = Viewer(feed), Viewer(feed)
        await slow.hears()
        await quick.hears()
        for number in (2, 3, 4):
            ledger.number = number
            assert (await quick.hears())[1]["version"] == number
        assert (await slow.hears())[1]["version"] == 4
        await slow.leaves()
        await quick.leaves()

    asyncio.run(scene())


def test_nothing_is_read_when_nobody_looks(tmp_path: Path) -> None:
    """The last one to leave ends the watch; the next to come begins a new one."""

    async def scene() -> None:
        ledger = Ledger()
        feed = feed_of(ledger, tmp_path)
        viewer = Viewer(feed)
        await viewer.hears()
        await viewer.leaves()
        assert feed.viewers == 0
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*running, return_exceptions=True)
        polls = ledger.polls
        ledger.number = 2
        await asyncio.sleep(0)
        assert ledger.polls == polls
        assert (await Viewer(feed).hears())[1]["version"] == 2

    asyncio.run(scene())


def test_a_ledger_that_cannot_be_read_is_said_once_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream goes on; the file is opened anew."""
    monkeypatch.setattr("penstock.dashboard.feed.AGAIN_S", 0.0)

    async def scene() -> None:
        ledger = Ledger()
        viewer = Viewer(feed_of(ledger, tmp_path))
        await viewer.hears()
        ledger.error = OutputError("ledger.db is damaged; restore it")
        assert await viewer.hears() == ("trouble", {"error": "ledger.db is damaged; restore it"})
        ledger.error, ledger.number = None, 7
        assert (await viewer.hears())[1]["version"] == 7
        assert ledger.opened == ledger.closed + 1 >= 2
        await viewer.leaves()

    asyncio.run(scene())


def test_another_file_at_the_path_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would go on reading the one that was removed."""
    monkeypatch.setattr("penstock.dashboard.desk.CHECKED_S", 0.0)
    path = tmp_path / "ledger.db"
    path.write_text("old", encoding="utf-8")

    async def scene() -> None:
        ledger = Ledger()
        desk = Desk(str(path), ledger.open)
        await desk.ask(Ledger.version)
        await desk.ask(Ledger.version)
        assert ledger.opened == 1
        (tmp_path / "restored.db").write_text("new", encoding="utf-8")
        os.replace(tmp_path / "restored.db", path)
        await desk.ask(Ledger.version)
        assert (ledger.opened, ledger.closed) == (2, 1)
        desk.close()
        assert ledger.closed == 2

    asyncio.run(scene())


def test_closing_ends_all_streams(tmp_path: Path) -> None:
    """So that a server with open pages can end."""

    async def scene() -> None:
        feed = feed_of(Ledger(), tmp_path)
        viewer = Viewer(feed)
        await viewer.hears()
        feed.close()
        with pytest.raises(StopAsyncIteration):
            await viewer.hears()

    asyncio.run(scene())
