"""The output as a journal: torn ends, foreign files, locks, full disks and the final order."""

from __future__ import annotations

import json
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock._io.journal import Journal, Mended
from penstock._io.lockfile import RESERVE_BYTES
from penstock.errors import InputError, OutputBusy, OutputError, OutputFull

NOBODY = 65534
KEY, OTHER = "0123456789abcdef" * 2, "f" * 32


def line(name: str | int, *, key: str = KEY, error: dict[str, object] | None = None, text: str = "é") -> bytes:
    """One result as a run writes it."""
    data = {"id": name, "text": text, "error": error, "key": key}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def put(journal: Journal, name: str | int, **options: str) -> None:
    """Append an answer."""
    journal.append(name, options.get("key", KEY), line(name, **options), answered=True)  # type: ignore[arg-type]


def ids(path: Path) -> list[str | int]:
    """The ids in a file, in its order."""
    return [json.loads(row)["id"] for row in path.read_bytes().splitlines()]


def test_an_answer_counts_for_its_question_only(tmp_path: Path) -> None:
    """Another key of the same id is another question."""
    with Journal.open(tmp_path / "out") as journal:
        put(journal, "a")
        assert journal.is_answered("a", KEY)
        assert not journal.is_answered("a", OTHER)
        assert not journal.is_answered("b", KEY)
    with Journal.open(tmp_path / "out") as journal:
        assert journal.is_answered("a", KEY)
        assert journal.mended == Mended(1, 0)


def test_a_failure_is_no_answer_and_says_whether_to_try_again(tmp_path: Path) -> None:
    """The newest line of an id counts."""
    with Journal.open(tmp_path / "out") as journal:
        failure = {"code": "overloaded", "retriable": True}
        journal.append("a", KEY, line("a", error=failure), answered=False, retriable=True)
        assert not journal.is_answered("a", KEY)
        assert journal.passing_failure("a", KEY) == "overloaded"
        put(journal, "a")
        assert journal.is_answered("a", KEY)
        assert journal.passing_failure("a", KEY) is None


@pytest.mark.prove(21)
def test_any_torn_end_is_mended(tmp_path: Path) -> None:
    """Cut after every byte of the last line: whole rows stay, the torn one is cut off, the next line is whole."""
    path = tmp_path / "out"
    first, last = line(1) + b"\n", line(2)
    for cut in range(len(last) + 1):
        path.write_bytes(first + last[:cut])
        with Journal.open(path) as journal:
            whole = cut == len(last)
            assert journal.mended == Mended(1 + whole, 0 if whole else cut)
            put(journal, 3)
        assert ids(path) == ([1, 2, 3] if whole else [1, 3])


@pytest.mark.prove(21)
def test_zeros_left_by_a_power_failure_are_cut_off(tmp_path: Path) -> None:
    """A file system may keep the length and lose the bytes."""
    path = tmp_path / "out"
    path.write_bytes(line(1) + b"\n" + bytes(100))
    with Journal.open(path) as journal:
        assert journal.mended == Mended(1, 100)


@pytest.mark.parametrize(
    "content", [b"my notes", b"{}\n", line(1) + b"\nmy notes\n", b'{"id": 1, "log": "x"}\n', b'{"id":1}']
)
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """It is refused with the line, and not one byte of it changes."""
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"out line \d is no result of a run"):
        Journal.open(path)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["out"]


def test_two_runs_cannot_write_one_output(tmp_path: Path) -> None:
    """The second is refused; once the first ended it may."""
    with Journal.open(tmp_path / "out"), pytest.raises(OutputBusy, match="another run"):
        Journal.open(tmp_path / "out")
    Journal.open(tmp_path / "out").close()
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("name", "words"), [("nowhere/out", "does not exist"), ("folder", "it is a folder"), ("file/out", "not a folder")]
)
def test_an_output_that_cannot_be_is_refused(tmp_path: Path, name: str, words: str) -> None:
    """The sentence says what to do."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=words):
        Journal.open(tmp_path / name)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process may not write to; root may write anywhere, so it becomes nobody meanwhile."""
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        if me == 0:
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(me)
            os.chmod(folder, 0o700)


def test_a_read_only_folder_is_refused(read_only: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(OutputError, match="permission denied"):
        Journal.open(read_only / "out")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """A run must be able to read its output again."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="no regular file"):
        Journal.open(tmp_path / "pipe")


@pytest.mark.prove(21)
def test_compacting_leaves_one_line_per_id_in_the_order_of_the_rows(tmp_path: Path) -> None:
    """The newest line counts; rows that are not in the input any more stay, at the end."""
    path = tmp_path / "out"
    path.touch(0o640)
    with Journal.open(path) as journal:
        for name, text in [("c", "1"), ("gone", "1"), ("a", "1"), ("b", "1"), ("a", "2")]:
            put(journal, name, text=text)
        assert journal.compact(lambda: ["a", "b", "never", "c"])
    assert ids(path) == ["a", "b", "c", "gone"]
    assert json.loads(path.read_bytes().splitlines()[0])["text"] == "2"
    assert os.listdir(tmp_path) == ["out"]
    with Journal.open(path) as journal:
        assert not journal.compact(lambda: ["a", "b", "c"])


@contextmanager
def size_limit(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: a disk that is full, without a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.prove(21)
def test_a_full_disk_leaves_whole_lines_and_the_row_can_be_written_later(tmp_path: Path) -> None:
    """What was half written is taken back."""
    path = tmp_path / "out"
    with Journal.open(path) as journal:
        put(journal, 1)
        with size_limit(path.stat().st_size + 10), pytest.raises(OutputFull, match="run the same command again"):
            put(journal, 2)
        assert ids(path) == [1]
        put(journal, 2)
    assert ids(path) == [1, 2]


@pytest.mark.prove(21)
def test_a_compaction_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """And no half of a new one."""
    path = tmp_path / "out"
    with Journal.open(path) as journal:
        put(journal, 2)
        put(journal, 1)
        with size_limit(10), pytest.raises(OutputFull):
            journal.compact(lambda: [1, 2])
    assert ids(path) == [2, 1]
    assert os.listdir(tmp_path) == ["out"]


def test_room_is_kept_aside_for_answers_under_way(tmp_path: Path) -> None:
    """The lock file holds it until the disk is full, and is gone in the end."""
    with Journal.open(tmp_path / "out") as journal:
        (lock,) = (path for path in tmp_path.iterdir() if path.name != "out")
        assert lock.stat().st_size > 500_000
        journal.free_reserve()
        assert lock.stat().st_size == 0
    assert os.listdir(tmp_path) == ["out"]


def test_a_small_disk_is_for_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of little room only a small share is kept aside, and of next to none nothing."""
    import types

    for free, kept in ((256 * 1024, 256 * 1024 // 20), (60_000, 0), (10**9, 1024 * 1024)):
        disk = types.SimpleNamespace(f_bavail=free, f_frsize=1)
        monkeypatch.setattr(os, "fstatvfs", lambda fd, disk=disk: disk)
        with Journal.open(tmp_path / "out"):
            assert (tmp_path / ".out.lock").stat().st_size == kept


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "file", "folder", "pipe"])
def test_what_stands_in_place_of_the_lock_is_left_alone(tmp_path: Path, kind: str) -> None:
    """It is named, and not one byte of it or of what it points to changes."""
    lock, mine = tmp_path / ".out.lock", tmp_path / "mine"
    mine.write_text("precious")
    match kind:
        case "link":
            lock.symlink_to(mine)
        case "dangling link":
            lock.symlink_to(tmp_path / "nothing")
        case "hard link":
            lock.hardlink_to(mine)
        case "file":
            lock.write_text("precious")
        case "folder":
            lock.mkdir()
        case _:
            os.mkfifo(lock)
    with pytest.raises(OutputError, match=r"\.out\.lock is in the way"):
        Journal.open(tmp_path / "out")
    assert mine.read_text() == "precious"
    assert kind != "file" or lock.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == [".out.lock", "mine"]


def test_a_lock_that_a_killed_run_left_is_taken_over(tmp_path: Path) -> None:
    """It holds the room that was kept aside."""
    (tmp_path / ".out.lock").write_bytes(bytes(1000))
    Journal.open(tmp_path / "out").close()
    assert os.listdir(tmp_path) == ["out"]


def test_a_job_may_be_killed_as_often_as_you_like(tmp_path: Path) -> None:
    """The room kept aside by each killed run is the next one's, and does not grow."""
    for _ in range(5):
        program = os.fork()
        if not program:
            Journal.open(tmp_path / "out")
            os._exit(0)  # without a word, as if killed
        os.waitpid(program, 0)
        assert (tmp_path / ".out.lock").stat().st_size <= RESERVE_BYTES
    with Journal.open(tmp_path / "out") as journal:
        put(journal, "a")


@pytest.mark.prove(21)
@pytest.mark.parametrize("length", [30, 700, 9000])
def test_a_tail_torn_by_1_to_4096_bytes_costs_only_the_rows_in_it(tmp_path: Path, length: int) -> None:
    """Every line before the cut still counts, every line after it does not, and the file can be written again."""
    path = tmp_path / "out"
    rows = 2 + 4096 // length + 2
    whole = b"".join(line(n, text="é" * (length // 2)) + b"\n" for n in range(rows))
    for torn in (*range(1, 70), *range(70, 4096, 211), 4095, 4096):
        path.write_bytes(whole[:-torn])
        left = (whole[:-torn] + b"\n").count(b"}\n")  # a line that lacks nothing but its end is whole
        with Journal.open(path) as journal:
            assert [journal.is_answered(n, KEY) for n in range(rows)] == [n < left for n in range(rows)]
            put(journal, "new")
        assert ids(path) == [*range(left), "new"]


def test_compacting_writes_through_no_link(tmp_path: Path) -> None:
    """What stands in place of the new file is left alone, unless a killed run left it."""
    mine, side = tmp_path / "mine", tmp_path / ".out.tmp"
    mine.write_text("precious")
    side.symlink_to(mine)
    with Journal.open(tmp_path / "out") as journal:
        put(journal, 2)
        put(journal, 1)
        with pytest.raises(OutputError, match=r"\.out\.tmp is in the way"):
            journal.compact(lambda: [1, 2])
        side.unlink()
        side.write_bytes(line(7)[:9])
        assert journal.compact(lambda: [1, 2])
    assert mine.read_text() == "precious"
    assert ids(tmp_path / "out") == [1, 2]
    assert sorted(os.listdir(tmp_path)) == ["mine", "out"]


@pytest.mark.parametrize(
    "content", [bytes(100), b"{", b'{"', b'{"id":', b'{"id":1', b'{"id":5,"name":"x'], ids=range(6)
)
def test_a_torn_file_is_cut_only_when_it_is_surely_ours(tmp_path: Path, content: bytes) -> None:
    """Zeros or a brace may be anybody's."""
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(InputError, match="line 1 is no result of a run"):
        Journal.open(path)
    assert path.read_bytes() == content
    path.write_bytes(b'{"id":"r\\"1","model":"openai:gpt')
    with Journal.open(path) as journal:
        assert journal.mended == Mended(0, 32)


def test_the_root_is_no_output() -> None:
    """It has no name to put a lock beside."""
    with pytest.raises(OutputError, match="it is a folder"):
        Journal.open("/")
