"""The log of shards: what a killed process did is seen, and what it did not do is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock._io.shardlog import Shard, ShardLog, ShardRow, folder_of, read_shards
from penstock.errors import InputError, OutputError


def write(log: ShardLog, rows: int = 3) -> Shard:
    writer = log.begin("openai:m", "http://x", {"team": "a"})
    for number in range(rows):
        writer.add(ShardRow(f"r{number}", "ab"), b"{}", between=b"\n", tokens=2, worst_nano=7)
    return writer.finish(100.0)


def test_a_shard_is_found_again_as_it_was_left(tmp_path: Path) -> None:
    """With its rows, its body and every change, by the next run and by those who only look."""
    journal = tmp_path / "out"
    log = ShardLog.open(journal)
    shard = write(log)
    log.note(shard, phase="created", batch_id="b1", dead=["b0"])
    log.close()
    again = ShardLog.open(journal)
    found = again.shards["0001"]
    assert (found.rows, found.size, found.tokens, found.held_nano, found.tags) == (3, 8, 6, 21, {"team": "a"})
    assert (found.phase, found.batch_id, found.dead, again.job) == ("created", "b1", ("b0",), log.job)
    assert [row.id for row in again.rows(found)] == ["r0", "r1", "r2"]
    assert again.body(found).read_bytes() == b"{}\n{}\n{}"
    assert again.is_sound(found)
    writer = again.begin("l", "u", {})
    assert writer.name == "0002"
    writer.discard()
    again.close()
    assert read_shards(journal) == tuple(again.shards.values())


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_torn_last_event_is_cut_off(cut: int, tmp_path: Path) -> None:
    """What it announced is found out anew; those before it hold."""
    journal = tmp_path / "out"
    log = ShardLog.open(journal)
    shard = write(log)
    before = (folder_of(journal) / "log.jsonl").stat().st_size
    log.note(shard, phase="uploaded", file_id="file-1")
    log.close()
    path = folder_of(journal) / "log.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: max(before, len(data) - cut)])
    again = ShardLog.open(journal)
    assert again.shards["0001"].phase == "written"
    again.note(again.shards["0001"], phase="uploaded")
    again.close()
    assert read_shards(journal)[0].phase == "uploaded"


def test_a_shard_that_was_never_finished_is_not_there(tmp_path: Path) -> None:
    """Its files go away; so do those of shards that are over."""
    journal = tmp_path / "out"
    log = ShardLog.open(journal)
    log.note(write(log), phase="harvested")
    (log.folder / "0001.out").write_bytes(b"left")
    writer = log.begin("l", "u", {})
    writer.add(ShardRow(1, "k"), b"{}", between=b"\n", tokens=1, worst_nano=None)
    log.close()
    ShardLog.open(journal).close()
    assert [path.name for path in folder_of(journal).iterdir()] == ["log.jsonl"]
    writer.discard()


def test_what_is_no_log_is_left_alone(tmp_path: Path) -> None:
    """The error names the line; nothing is cut off."""
    journal = tmp_path / "out"
    ShardLog.open(journal).close()
    path = folder_of(journal) / "log.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "0001"}\n')
    data = path.read_bytes()
    with pytest.raises(InputError, match="line 2"):
        ShardLog.open(journal)
    with pytest.raises(InputError, match="line 2"):
        read_shards(journal)
    assert path.read_bytes() == data


def test_a_folder_that_cannot_be_made_is_an_error_of_the_output(tmp_path: Path) -> None:
    """A file of somebody else under its name is left alone."""
    folder_of(tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError):
        ShardLog.open(tmp_path / "out")
    assert folder_of(tmp_path / "out").read_text() == "mine"


def test_a_damaged_body_is_noticed(tmp_path: Path) -> None:
    """It is not sent; a missing one is not either."""
    log = ShardLog.open(tmp_path / "out")
    shard = write(log)
    log.body(shard).write_bytes(b"{}")
    assert not log.is_sound(shard)
    log.forget(shard, body=True)
    assert not log.is_sound(shard)
    log.forget(shard)
    with pytest.raises(InputError):
        log.rows(shard)
    log.close()


def test_a_deadline_is_remembered(tmp_path: Path) -> None:
    """A later run means the same instant."""
    log = ShardLog.open(tmp_path / "out")
    log.set_deadline(123.5)
    log.close()
    again = ShardLog.open(tmp_path / "out")
    assert again.deadline_at == 123.5
    again.close(done=True)
    assert not folder_of(tmp_path / "out").exists()


def test_a_download_begins_each_file_anew_and_keeps_those_before(tmp_path: Path) -> None:
    """A broken piece of the second file is gone, and the places lead to its lines."""
    log = ShardLog.open(tmp_path / "out")
    keep = log.download(write(log))
    for data, first, last in [
        (b"", True, False),
        (b"one\ntwo", False, False),
        (b"", False, True),
        (b"", True, False),
        (b"thr", False, False),
        (b"", True, False),
        (b"three\n\nfour\n", False, False),
        (b"", False, True),
    ]:
        keep.take(data, first=first, last=last)
    keep.finish()
    places = [place for place, _ in keep.lines()]
    assert [line.strip() for _, line in keep.lines()] == [b"one", b"two", b"three", b"four"]
    assert list(keep.at([places[2], None])) == [b"three\n", None]
    log.close()
