"""Logs become patterns: counted to the last line, however they come in pieces, in memory that does not grow."""

from __future__ import annotations

import random
import re
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock._text import logs
from penstock._text.digest import digest
from penstock._text.logs import LINE_MOST, Miner, level_of, time_of
from penstock._text.redact import Redactor
from penstock._text.tokens import estimate

LOG = b"""\
2025-03-11T02:14:07.331Z INFO [checkout] GET /cart/17 200 in 12 ms id=4bf92f3577b34da6a3ce929d0e0e4736
2025-03-11T02:14:08.002Z INFO [checkout] GET /cart/9 200 in 1203 ms id=00f067aa0ba902b7a3ce929d0e0e4736
2025-03-11T02:14:09.100Z ERROR [payments-db] connection to 10.2.3.4:5432 refused
java.net.ConnectException: refused
\tat com.shop.Pool.connect(Pool.java:213)
\tat com.shop.Pool.get(Pool.java:90)
2025-03-11T02:14:10.500Z ERROR [payments-db] connection to 10.2.3.5:5432 refused
2025-03-11T02:15:00.000Z WARN [checkout] retry 3 of 5
"""


def mined(log: bytes, size: int = 1 << 20) -> Miner:
    """A miner that was fed a log in pieces of a size."""
    miner = Miner()
    for at in range(0, len(log), size):
        miner.feed(log[at : at + size])
    miner.end()
    return miner


def shapes(miner: Miner) -> set[tuple[bytes, int, int, int, str]]:
    return {(each.first, each.count, each.first_at, each.last_at, each.level) for each in miner.patterns()}


def test_lines_that_differ_in_numbers_and_ids_are_one_pattern() -> None:
    """With how often, the first and the last line, the level, and the stack trace below the first."""
    ranked = mined(LOG).ranked()
    worst = ranked[0]
    assert (worst.level, worst.count, worst.first_at, worst.last_at) == ("error", 2, 3, 7)
    assert worst.first.endswith(b"10.2.3.4:5432 refused")
    assert worst.last.endswith(b"10.2.3.5:5432 refused")
    requests = next(each for each in ranked if b"GET /cart" in each.first)
    assert (requests.count, requests.level) == (2, "info")
    exception = next(each for each in ranked if b"ConnectException" in each.first)
    assert exception.trace[0].strip() == b"at com.shop.Pool.connect(Pool.java:213)"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200))
def test_it_makes_no_difference_where_pieces_end(size: int) -> None:
    """A pipe gives what it gives."""
    assert shapes(mined(LOG, size)) == shapes(mined(LOG))
    assert mined(LOG, size).figures == mined(LOG).figures


USUAL = [b"ERROR db 1", b"ERROR db 22", b"INFO ok id=ab12cd34", b"status=200", b"status=503", b"", b"  at x"]
lines = st.lists(
    st.one_of(st.sampled_from(USUAL), st.binary(max_size=30).map(lambda data: data.replace(b"\n", b""))), max_size=60
)


@settings(max_examples=100, deadline=None)
@given(lines)
def test_every_line_is_counted_once(log: list[bytes]) -> None:
    """Blank ones apart."""
    miner = mined(b"\n".join(log))
    assert sum(each.count for each in miner.patterns()) + sum(miner.rest.values()) == sum(
        bool(line.strip()) for line in log
    )
    assert sum(miner.figures.levels.values()) == sum(bool(line.strip()) for line in log)


def test_a_status_is_no_number() -> None:
    """A 503 is another pattern than a 200, wherever the status stands."""
    log = b"".join(b'10.0.0.%d "GET /x HTTP/1.1" %d 17\n' % (n, 503 if n % 10 == 0 else 200) for n in range(200))
    log += b"level=info status=500 path=/y\nlevel=info status=200 path=/y\n" * 3
    counts = sorted(each.count for each in mined(log).patterns())
    assert counts == [3, 3, 20, 180]


def test_lines_that_mostly_say_the_same_are_one_pattern() -> None:
    """Names of users and the like; a line of another level is another."""
    log = b"".join(b"INFO the user %s logged in from the web\n" % name for name in (b"ann", b"bob", b"eve"))
    log += b"ERROR the user bob logged in from the web\n"
    assert sorted(each.count for each in mined(log).patterns()) == [1, 3]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b"2025-01-01 FATAL: the database is shutting down", "fatal"),
        (b"E0311 02:14:07.331 1 kubelet.go:213] oops", "error"),
        (b"I0311 02:14:07.331 1 kubelet.go:213] error rate is fine", "info"),
        (b'{"level":"warn","msg":"slow"}', "warning"),
        (b"INFO no errors found", "info"),
        (b"connect: connection refused", "error"),
        (b"Memory cgroup out of memory: Killed process 213", "fatal"),
        (b"GET /terror/informers 200", "info"),
        (b'"GET / HTTP/1.1" 502 12', "error"),
        (b"DEBUG trying again", "debug"),
    ],
)
def test_the_level_is_the_one_that_is_named_else_that_of_the_words(line: bytes, level: str) -> None:
    """Of the usual loggers."""
    assert level_of(line) == level


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("2025-03-11T02:14:07.331+01:00 x", "2025-03-11T02:14:07.331+01:00"),
        ("Mar 11 02:14:07 web-1 sshd", "Mar 11 02:14:07"),
        ('1.2.3.4 - - [11/Mar/2025:02:14:07 +0000] "GET', "11/Mar/2025:02:14:07 +0000"),
        ("nothing", ""),
    ],
)
def test_times_are_found_as_they_stand(line: str, time: str) -> None:
    """Of the usual loggers."""
    assert time_of(line) == time


def test_a_line_without_end_is_cut() -> None:
    """And what follows it is read again."""
    miner = mined(b"ERROR " + b"x" * (40 * LINE_MOST) + b"\nINFO fine\n", 4096)
    assert miner.figures.cut == 1
    assert {each.level for each in miner.patterns()} == {"error", "info"}
    assert all(len(each.first) <= LINE_MOST for each in miner.patterns())


def words(rng: random.Random) -> str:
    return " ".join("".join(rng.choices("abcdefghijklm", k=6)) for _ in range(6))


def test_too_many_patterns_are_counted_together_the_least_telling_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only error among many different lines is kept."""
    monkeypatch.setattr(logs, "PATTERNS_MOST", 400)
    rng = random.Random(1)
    miner = Miner()
    total = 800
    miner.feed(b"ERROR the one that matters\n")
    for _ in range(20):
        miner.feed("".join(f"INFO {words(rng)}\n" for _ in range(total // 20)).encode())
    assert len(miner.patterns()) <= 400
    assert sum(miner.figures.levels.values()) == total + 1
    assert miner.ranked()[0].first == b"ERROR the one that matters"
    shown = digest(miner, 2_000, str)
    assert "further patterns" in shown.left_out
    assert "info" in shown.left_out


@pytest.mark.parametrize("tokens", [300, 1_000, 5_000])
def test_a_digest_keeps_to_its_tokens_and_says_what_is_missing(tokens: int) -> None:
    """The worst first; its sentence stands at the end of the text too."""
    rng = random.Random(2)
    log = "".join(f"{rng.choice(['INFO', 'WARN', 'ERROR'])} {words(rng)} {words(rng)}\n" for _ in range(400))
    shown = digest(mined(log.encode()), tokens, str)
    assert estimate(shown.text) <= tokens * 1.25
    assert shown.text.endswith(f"LEFT OUT: {shown.left_out}")
    assert "of 400 lines" in shown.left_out
    levels = re.findall(r"^\[(\w+)\] [\d,]+ times?, line", shown.text, re.MULTILINE)
    assert levels == sorted(levels, key=["fatal", "error", "warning", "info"].index)


def test_a_digest_is_clean() -> None:
    """Also where a key goes over the last lines, whose first line is not among them."""
    body = "\n".join("MIIEpAIBAAKCAQEA7bq98mA3kL9xTz0dQ4vU1yWc5eRn2sHfGjKpLoIuYtReCaNaRy7" for _ in range(60))
    log = f"ERROR login of joe@example.com with password=CaNaRy7\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n"
    redactor = Redactor()
    shown = digest(mined(log.encode()), 4_000, redactor).text
    assert "CaNaRy7" not in shown
    assert "<email-1>" in shown
    assert redactor.counts["password"] == 1


def test_what_came_before_the_first_error_is_shown() -> None:
    """It mostly has the cause."""
    log = b"INFO start\nINFO migration 17 drops the index\nERROR query timed out\n" + b"INFO more\n" * 100
    shown = digest(mined(log), 1_000, str).text
    assert "THE 2 LINES BEFORE THE FIRST ERROR (line 3)" in shown
    assert "drops the index" in shown


def pieces(megabytes: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(megabytes):
        yield b"".join(
            b"2025-03-11T02:%02d:%02dZ INFO [api] GET /v1/cart/%d 200 in %d ms id=%032x user=%s\n"
            % (rng.randrange(60), rng.randrange(60), rng.randrange(10**6), rng.randrange(3000), rng.getrandbits(128),
               bytes(rng.choices(b"abcdefghij", k=8)))
            for _ in range(9_000)
        )  # fmt: skip


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log() -> None:
    """Ids and names on every line: 9 MB take no more than 3, within a tenth."""

    def peak(megabytes: int) -> int:
        miner = Miner()
        given = pieces(megabytes, 3)
        tracemalloc.start()
        for piece in given:
            miner.feed(piece)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(3), peak(9)
    assert large < 1.1 * small + 1_000_000, (small, large)
