"""The cache in a file: what it keeps, and that a broken one is never worse than none."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import Cache, Client
from penstock._io.stores.cache_sqlite import SqliteStore
from penstock.testing import ScriptedTransport

from ..flow.colours import KEYS, openai_reply

NOW = 1_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the file is."""
    return str(tmp_path / "answers.db")


def store(path: str, **more: Any) -> SqliteStore:
    """Open the file as a client does."""
    return SqliteStore(path, Cache(path=path, **more))


def client(path: str, answers: int = 9, **more: Any) -> Client:
    """Make a client that has a script and the file."""
    replies = [openai_reply(f"answer {number}") for number in range(answers)]
    cache = Cache(path=path, **more)
    return Client(transport=ScriptedTransport(replies), keys=KEYS, config=False, env={}, cache=cache)


def ask(client: Client, prompt: str = "hi") -> Any:
    """Ask for something that may be cached."""
    return client.complete(prompt, model="openai:gpt-4o-mini", temperature=0)


def test_what_is_put_is_found_by_another_connection_until_it_is_too_old(path: str) -> None:
    """And an entry from the future is too old as well."""
    one, other = store(path, ttl_s=10), store(path, ttl_s=10)
    one.put(NOW, b"k", b"kept")
    assert other.get(NOW, b"k") == b"kept"
    assert other.get(NOW + 9.9, b"k") == b"kept"
    assert other.get(NOW + 10, b"k") is None
    assert other.get(NOW - 1, b"k") is None
    assert other.get(NOW, b"x") is None
    one.put(NOW + 20, b"y", b"new")
    assert one.size()[0] == 1
    one.close()
    other.close()


def test_a_client_finds_what_another_one_stored(path: str) -> None:
    """After the first has closed."""
    with client(path) as first:
        assert not ask(first).cached
    with client(path) as second:
        answer = ask(second)
        assert (answer.cached, answer.text, answer.cost_nano) == (True, "answer 0", 0)
        assert second.cache().entries == 1  # type: ignore[union-attr]


def test_only_its_owner_may_read_the_file(path: str) -> None:
    """Answers are nobody else's business."""
    made = store(path)
    made.put(NOW, b"k", b"kept")
    modes = {stat.S_IMODE(os.stat(path + end).st_mode) for end in ("", "-wal", "-shm")}
    made.close()
    assert modes == {0o600}


def test_the_file_stays_inside_its_bytes_and_the_oldest_go(path: str) -> None:
    """However much is put; what is larger than half of it is not kept at all."""
    bound = 300_000
    made = store(path, max_bytes=bound)
    for number in range(300):
        made.put(NOW + number, b"%d" % number, bytes([number % 256]) * 4000)
        assert made.size()[1] <= bound
    assert made.get(NOW + 300, b"299") is not None
    assert made.get(NOW + 300, b"0") is None
    made.put(NOW + 301, b"big", bytes(bound // 2 + 1))
    assert made.get(NOW + 301, b"big") is None
    made.close()
    assert os.path.getsize(path) <= bound + 200_000
    assert made.trouble is None


def in_trouble(path: str, words: str, *, calls: int = 2) -> None:
    """Assert that calls are answered without the cache, quickly, and that it is said once and why."""
    with client(path) as made:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            began = time.perf_counter()
            answers = [ask(made) for _ in range(calls)]
            took_s = time.perf_counter() - began
        state = made.cache()
    assert [answer.cached for answer in answers] == [False] * calls
    assert took_s < 2.0  # SQLite's own patience is 5 s
    assert state is not None
    assert state.trouble is not None
    assert words in state.trouble
    assert [words in str(one.message) for one in said] == [True]


def test_a_file_that_is_no_database_is_left_alone(path: str) -> None:
    """It may be somebody's letters."""
    Path(path).write_bytes(b"dear diary " * 100)
    in_trouble(path, "not a database")
    assert Path(path).read_bytes() == b"dear diary " * 100


def test_a_database_of_another_program_is_left_alone(path: str) -> None:
    """No table is added to it."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE answers (x)")
    db.close()
    in_trouble(path, "another program")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    db.close()


def test_a_corrupt_file_is_not_used(path: str) -> None:
    """Pages overwritten in the middle are never answered with."""
    made = store(path)
    for number in range(200):
        made.put(NOW, b"%d" % number, bytes(2000))
    made.close()
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        broken = store(path)
        assert all(broken.get(NOW, b"%d" % number) in (None, bytes(2000)) for number in range(200))
        broken.put(NOW, b"k", b"kept")
    assert broken.trouble is not None
    assert len(said) == 1


def test_an_answer_that_does_not_match_its_digest_is_a_miss(path: str) -> None:
    """A bit that flipped is not given to anybody."""
    made = store(path)
    made.put(NOW, b"k", b"kept as it was")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE answers SET kept = ?", (b"kept as it wax",))
    db.close()
    assert made.get(NOW, b"k") is None
    made.close()


@pytest.mark.parametrize("there", ["folder", "missing", "pipe"])
def test_a_place_where_no_file_can_be_is_no_error(tmp_path: Path, there: str) -> None:
    """A folder, a folder that is missing, and a pipe, which nobody waits at."""
    place = tmp_path / "x"
    if there == "folder":
        place.mkdir()
    elif there == "pipe":
        os.mkfifo(place)
    in_trouble(str(place / "y" if there == "missing" else place), "cannot be used")


def test_a_locked_file_costs_milliseconds_and_is_tried_again(path: str) -> None:
    """Another process may hold it for as long as it likes."""
    with client(path) as made:
        ask(made, "before")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        began = time.perf_counter()
        with pytest.warns(RuntimeWarning, match="locked"):
            assert not ask(made).cached
        took_s = time.perf_counter() - began
        assert ask(made, "before").cached  # readers do not wait for a writer
        holder.execute("COMMIT")
        holder.close()
        assert not ask(made).cached
        assert ask(made).cached
    assert took_s < 2.0  # SQLite's own patience is 5 s


def test_a_full_disk_keeps_what_is_there(path: str) -> None:
    """And adds nothing."""
    made = store(path)
    made.put(NOW, b"before", b"kept")
    assert made._db is not None
    made._db.execute("PRAGMA max_page_count = 1")  # it is as many as there are
    with pytest.warns(RuntimeWarning, match="full"):
        made.put(NOW, b"k", bytes(100_000))
    made.put(NOW, b"k", bytes(100_000))
    assert made.get(NOW, b"before") == b"kept"
    assert made.get(NOW, b"k") is None
    made._db.execute("PRAGMA max_page_count = 100000")
    made.put(NOW, b"k", bytes(100_000))
    assert made.get(NOW, b"k") is not None
    made.close()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[str]:
    """A file with one answer, in a folder where this process may only read; root becomes nobody meanwhile."""
    tmp_path.chmod(0o755)
    folder = Path("/var/tmp" if os.path.isdir("/var/tmp") else "/tmp") / f"penstock-test-{os.getpid()}"
    folder.mkdir()
    path = str(folder / "answers.db")
    with client(path) as made:
        ask(made)
    me = os.geteuid()
    os.chmod(path, 0o444)
    folder.chmod(0o555)
    if me == 0:
        os.seteuid(65534)
    try:
        yield path
    finally:
        os.seteuid(me)
        folder.chmod(0o700)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def test_a_read_only_file_is_no_error(read_only: str) -> None:
    """Calls go through; whether its answers can be read is up to SQLite."""
    with client(read_only) as made:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            answers = [ask(made, "new") for _ in range(2)]
        state = made.cache()
    assert [answer.cached for answer in answers] == [False, False]
    assert len(said) == 1
    assert state is not None
    assert state.trouble is not None


def test_the_call_goes_on_where_warnings_are_errors(path: str) -> None:
    """A cache is never the reason why a call fails."""
    Path(path).write_bytes(b"dear diary " * 100)
    with client(path) as made, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask(made).text == "answer 0"


WRITER = """
import sys, warnings
from penstock import Cache
from penstock._io.stores.cache_sqlite import SqliteStore

warnings.simplefilter("ignore")
path, who = sys.argv[1:]
store = SqliteStore(path, Cache(path=path, max_bytes=400_000))
kept = 0
for number in range(150):
    key = b"%d" % (number % 40)
    store.put(1e6 + number, key, key * 500)
    found = store.get(1e6 + number, key)
    assert found in (None, key * 500)
    kept += found is not None
print(kept, store._given_up)
"""


def test_several_processes_write_one_file(path: str) -> None:
    """None is ever given another one's answer, and none gives up."""
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(who)], stdout=subprocess.PIPE, text=True)
        for who in range(3)
    ]
    told = [process.communicate(timeout=60)[0].split() for process in running]
    assert [given_up for _, given_up in told] == ["False"] * 3
    assert all(int(kept) > 0 for kept, _ in told)


FORKED = """
import os, signal, sys, threading
from penstock import Cache, Client
from penstock.testing import ScriptedTransport
sys.path.insert(0, sys.argv[2])
from tests.flow.colours import openai_reply

path = None if sys.argv[1] == "memory" else sys.argv[1]
transport = ScriptedTransport([openai_reply(word) for word in ("parent", "second", "third", "fourth")])
client = Client(transport=transport, keys={"openai": "k"}, config=False, env={}, cache=Cache(path=path))
ask = lambda prompt: client.complete(prompt, model="openai:gpt-4o-mini", temperature=0)
ask("before")
stream = client.stream("under way", model="openai:gpt-4o-mini", temperature=0)
lock = client._gate.answers._lock
holder = threading.Thread(target=lambda: (lock.acquire(), done.wait(), lock.release()))
done = threading.Event()
holder.start()
while lock.acquire(blocking=False):
    lock.release()
child = os.fork()
if child == 0:
    signal.alarm(5)
    good = ask("before").cached and not ask("new").cached and ask("new").cached
    os._exit(0 if good else 1)
done.set()
holder.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ask("before").cached)
"""


@pytest.mark.prove(23)
@pytest.mark.parametrize("where", ["memory", "file"])
def test_a_forked_child_has_the_answers_and_none_of_the_flights(path: str, where: str) -> None:
    """Nor the lock that another thread held, nor the connection."""
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, where if where == "memory" else path, root],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["0", "True"], done.stderr
