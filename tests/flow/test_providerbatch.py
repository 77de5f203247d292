"""What is done with a batch interface, against a script of answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, RetryPolicy
from penstock._flow import providerbatch
from penstock._flow.errands import Errand, download
from penstock._flow.providerbatch import Desk, Parcel, Unsure
from penstock._io.shardlog import Download
from penstock._wire import batchfile
from penstock.errors import (
    AuthenticationFailed,
    CallError,
    ConnectionFailed,
    InvalidRequest,
    OutcomeUnknown,
    RateLimited,
)
from penstock.testing import AsyncScriptedTransport, Scripted, Sent

QUICK = RetryPolicy(base_s=0.001, not_sent_base_s=0.001)
KEYS = {"openai": "sk-canary", "anthropic": "sk-canary", "together": "sk-canary"}
TAG = "j0b/0001"
OPENAI, ANTHROPIC, TOGETHER = "openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "together:m"


def parcel(**changes: Any) -> Parcel:
    given: dict[str, Any] = {"tag": TAG, "path": "/nowhere", "size": 3, "rows": 2, "since_s": 1000.0}
    return Parcel(**given | changes)


def run(
    model: str, answers: Iterable[Scripted], make: Callable[[Desk], Errand[Any]], keep: Download | None = None
) -> tuple[Any, list[Sent]]:
    """Run what `make` makes of a desk; return its result or error, and what was sent."""
    transport = AsyncScriptedTransport(answers)

    async def main() -> Any:
        async with AsyncClient(transport=transport, keys=KEYS, config=False, env={}, retry=QUICK) as client:
            lane = client._lane(model)
            kind = batchfile.dialect(lane.provider)
            assert kind is not None
            return await client._errands(lane).run(make(Desk(lane, kind)), keep)

    try:
        found = asyncio.run(main())
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
        found = error
    assert transport.open == 0
    return found, transport.sent


def says(value: Any, status: int = 200) -> Scripted:
    return Scripted(status=status, body=json.dumps(value).encode())


def batch(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "status": "in_progress", "created_at": 1001, **fields}


DOWN = Scripted(error=ConnectionFailed("no connection"))
LOST = Scripted(error=OutcomeUnknown("broke"))
FAULT = says({"error": {"message": "oops"}}, 500)


@pytest.mark.parametrize("trouble", [DOWN, LOST, FAULT])
def test_what_may_be_repeated_is(trouble: Scripted) -> None:
    """An upload, a poll and a cancel work in the end."""
    found, sent = run(OPENAI, [trouble, says({"id": "file-1"})], lambda desk: providerbatch.upload(desk, parcel()))
    assert (found, len(sent)) == ("file-1", 2)
    found, sent = run(OPENAI, [trouble, trouble, says(batch("b"))], lambda desk: providerbatch.poll(desk, "b"))
    assert (found.id, len(sent)) == ("b", 3)
    found, sent = run(OPENAI, [trouble, says(batch("b"))], lambda desk: providerbatch.cancel(desk, "b"))
    assert (found, len(sent)) == (None, 2)


def test_it_is_not_repeated_for_ever() -> None:
    """The retry policy says when it is enough; what cannot help is not repeated at all."""
    found, sent = run(OPENAI, [FAULT] * 3, lambda desk: providerbatch.poll(desk, "b"))
    assert isinstance(found, CallError)
    assert (len(sent), found.gave_up) == (3, "all 3 attempts were used")
    found, sent = run(OPENAI, [says({}, 401)], lambda desk: providerbatch.poll(desk, "b"))
    assert isinstance(found, AuthenticationFailed)
    assert len(sent) == 1


@pytest.mark.parametrize("trouble", [LOST, FAULT, says({}, 503), Scripted(body=b"<html>")])
def test_a_create_of_unknown_outcome_is_never_repeated(trouble: Scripted) -> None:
    """It says that nobody knows."""
    found, sent = run(OPENAI, [trouble], lambda desk: providerbatch.create(desk, parcel(file_id="f")))
    assert isinstance(found, Unsure)
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (DOWN, ConnectionFailed),
        (says({}, 400), InvalidRequest),
        (says({}, 401), AuthenticationFailed),
        (says({}, 429), RateLimited),
    ],
)
def test_a_create_that_was_refused_made_nothing(trouble: Scripted, error: type[CallError]) -> None:
    """Its caller may try again."""
    found, sent = run(OPENAI, [trouble], lambda desk: providerbatch.create(desk, parcel(file_id="f")))
    assert type(found) is error
    assert len(sent) == 1


def test_the_batch_of_ours_is_found_on_a_later_page() -> None:
    """By its tag, whatever else is there; batches that came to nothing are passed over."""
    pages = [
        says({"data": [batch("b1"), batch("b2", metadata={"penstock_shard": "j0b/0002"})], "has_more": True}),
        says({"data": [batch("b3", metadata={"penstock_shard": TAG})], "has_more": True}),
    ]
    found, sent = run(OPENAI, pages, lambda desk: providerbatch.look(desk, parcel(), set()))
    assert (found[0].id, found[1]) == ("b3", False)
    assert sent[1].url.endswith("/batches?limit=100&after=b2")
    dead = parcel(dead=("b3",))
    found, _ = run(OPENAI, [*pages, says({"data": []})], lambda desk: providerbatch.look(desk, dead, set()))
    assert found == (None, False)


def test_the_search_ends_where_batches_are_older_than_the_shard() -> None:
    """The newest come first."""
    old = says({"data": [batch("b1", created_at=1000 - 301)], "has_more": True})
    found, sent = run(OPENAI, [old], lambda desk: providerbatch.look(desk, parcel(), set()))
    assert (found, len(sent)) == ((None, False), 1)


def message_batch(name: str, rows: int, *, ended: bool = True, at: str = "1970-01-01T00:20:00Z") -> dict[str, Any]:
    counts = {"processing": 0 if ended else rows, "succeeded": rows if ended else 0}
    status = "ended" if ended else "in_progress"
    return {"id": name, "processing_status": status, "request_counts": counts, "created_at": at}


def first(custom_id: str) -> Scripted:
    line = json.dumps({"custom_id": custom_id, "result": {"type": "expired"}}).encode()
    return Scripted(body=[line[:9], line[9:] + b"\n", b"more"])


def test_an_untagged_batch_is_told_by_size_time_and_custom_ids() -> None:
    """Those that cannot be ours are not looked into; while one that may be runs, nothing is clear."""
    page = [
        message_batch("other-size", 3),
        message_batch("too-old", 2, at="1970-01-01T00:10:00Z"),
        message_batch("another", 2),
        message_batch("ours", 2),
    ]
    answers = [says({"data": page, "has_more": False}), first("p-j0b-0009-0"), first("p-j0b-0001-1")]
    found, sent = run(ANTHROPIC, answers, lambda desk: providerbatch.look(desk, parcel(), set()))
    assert (found[0].id, found[1]) == ("ours", False)
    assert [each.url.rpartition("batches")[2] for each in sent[1:]] == ["/another/results", "/ours/results"]
    running = says({"data": [message_batch("b", 2, ended=False)], "has_more": False})
    found, _ = run(ANTHROPIC, [running], lambda desk: providerbatch.look(desk, parcel(), set()))
    assert found == (None, True)
    found, _ = run(ANTHROPIC, [running], lambda desk: providerbatch.look(desk, parcel(), {"b"}))
    assert found == (None, False)


def test_a_signed_place_is_not_shown_the_key() -> None:
    """Together takes the file elsewhere."""
    answers = [
        Scripted(status=302, headers={"Location": "https://store.example/x?sig=1", "X-Together-File-Id": "file-1"}),
        Scripted(status=200),
    ]
    found, sent = run(TOGETHER, answers, lambda desk: providerbatch.upload(desk, parcel()))
    assert found == "file-1"
    assert sent[1].url == "https://store.example/x?sig=1"
    assert "sk-canary" in str(sent[0].headers)
    assert "sk-canary" not in str(sent[1].headers)


def test_a_download_that_breaks_begins_anew(tmp_path: Path) -> None:
    """Nothing of the broken one is left, and nothing of a file before it is lost."""
    seen = batchfile.Seen(id="b", state="completed", word="completed", files=("o", "e"))
    answers = [
        Scripted(body=[b"one\n"]),
        Scripted(body=[b"tw", OutcomeUnknown("broke")]),
        Scripted(status=502),
        Scripted(body=[b"tw", b"o\n"]),
    ]
    keep = Download(tmp_path / "out")
    found, sent = run(OPENAI, answers, lambda desk: providerbatch.harvest(desk, seen), keep)
    keep.finish()
    assert found is None
    assert (tmp_path / "out").read_bytes().split() == [b"one", b"two"]
    assert [each.url.rpartition("/files")[2] for each in sent] == ["/o/content"] + ["/e/content"] * 3


def test_a_download_that_is_refused_says_so(tmp_path: Path) -> None:
    """Nothing is kept."""
    gone = says({"error": {"message": "gone"}}, 404)
    keep = Download(tmp_path / "out")
    found, _ = run(
        OPENAI,
        [gone],
        lambda desk: download(desk.lane, batchfile.retrieve(desk.kind, desk.lane.provider, "b")),
        keep,
    )
    assert isinstance(found, InvalidRequest)
    assert not list(tmp_path.iterdir())
