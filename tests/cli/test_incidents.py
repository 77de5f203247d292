"""The commands of the SRE kit as processes: pipes, files, a terminal, exit codes, and nothing secret on the way out."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.sim import Latency, SimConfig, SimServer
from tests.cli.screen import Screen
from tests.cli.terminal import WAIT_S, penstock, shell, start, wait_until

FATAL = "FATAL [payments-db] no space left on device"
MODEL = ("-m", "openai:gpt-4o-mini")
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer() as running:
        yield running


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "bad.log").write_text(f"INFO fine\n{FATAL}\n")
    (tmp_path / "good.log").write_text("INFO all is well\nINFO still\n")
    (tmp_path / "noise.bin").write_bytes(b"\0\1\2")
    return tmp_path


def test_a_piped_line_becomes_one_line_of_json(sim: SimServer, tmp_path: Path) -> None:
    """Flat, so that `jq -r .severity` is all it takes; nothing on stderr."""
    ended = penstock("classify", *MODEL, sim=sim, folder=tmp_path, stdin=f"{FATAL}\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    found = json.loads(ended.stdout)
    assert (found["severity"], found["service"], found["page"]) == ("P1", "payments-db", True)
    assert found["cost"] > 0
    assert len(ended.stdout.splitlines()) == 1


def test_classify_prints_for_people_when_told(sim: SimServer, tmp_path: Path) -> None:
    """The same, as text."""
    ended = penstock("classify", FATAL, "--text", *MODEL, sim=sim, folder=tmp_path)
    assert ended.stdout.startswith("Severity: P1\nService: payments-db\n")
    assert "openai:gpt-4o-mini" in ended.stderr


@pytest.mark.parametrize(("line", "wanted", "code"), [(FATAL, "P2", 10), ("INFO all is well", "P3", 0)])
def test_fail_on_is_an_exit_code_of_its_own(sim: SimServer, tmp_path: Path, line: str, wanted: str, code: int) -> None:
    """The answer is printed all the same."""
    ended = penstock("classify", line, "--fail-on", wanted, *MODEL, sim=sim, folder=tmp_path)
    assert ended.returncode == code
    assert json.loads(ended.stdout)["severity"]


def test_logs_come_from_a_pipe_of_any_length(sim: SimServer, tmp_path: Path) -> None:
    """What is left out is in the JSON."""
    line = 'for i in $(seq 1 4000); do echo "2025-01-01T00:00:00Z INFO [web] GET /x/$i 200 in $i ms of $RANDOM"; done'
    ended = shell(f"({line}; echo '{FATAL}') | penstock analyze -m openai:gpt-4o-mini --tokens 600", sim, tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    (material,) = found["materials"]
    assert (material["lines"], material["shown"], material["levels"]) == (4001, "digest", {"fatal": 1, "info": 4000})
    assert material["left_out"].startswith("of 4,001 lines 2 patterns are shown")
    assert found["severity"] == "P1"
    assert found["causes"][0]["evidence"]
    assert found["unverified"] == []


def test_many_files_are_shown_the_worst_first(sim: SimServer, logs: Path) -> None:
    """Into a pipe a line each, those that cannot be read last; the summary counts by severity."""
    ended = penstock("analyze", "good.log", "noise.bin", "bad.log", *MODEL, sim=sim, folder=logs)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["file"] for line in lines] == ["bad.log", "good.log", "noise.bin"]
    assert [line.get("severity") for line in lines] == ["P1", "P4", None]
    assert lines[2]["error"]["code"] == "input"
    assert "3 files: 1 P1, 1 P4, 1 failed" in ended.stderr
    assert ended.returncode == 1
    (logs / "mail.log").write_text("INFO mail from joe@example.com\n")
    names = ("good.log", "bad.log", "mail.log")
    ended = penstock("analyze", *names, "--fail-on", "P2", "--text", *MODEL, sim=sim, folder=logs)
    assert ended.returncode == 10
    assert ended.stdout.splitlines()[0].split() == ["SEVERITY", "FILE", "SERVICE", "SUMMARY"]
    assert ended.stdout.splitlines()[1].startswith("P1")
    assert "=== bad.log ===" in ended.stdout
    assert "=== good.log ===" not in ended.stdout
    assert "mail.log: replaced before anything was sent: 1 email" in ended.stderr


def test_an_incident_has_a_plan(sim: SimServer, tmp_path: Path) -> None:
    """From facts, and logs that are piped in."""
    facts = ("--service", "checkout", "--symptoms", "502 on all requests, outage", "--duration", "10 min")
    ended = penstock("incident", *facts, *MODEL, sim=sim, folder=tmp_path, stdin=FATAL)
    found = json.loads(ended.stdout)
    assert found["severity"] == "P1"
    assert found["now"][0]["command"]
    assert found["materials"][0]["lines"] == 1
    assert penstock("incident", "--service", "x", *MODEL, sim=sim, folder=tmp_path).returncode == 64


def test_a_runbook_and_a_postmortem_are_text_when_told(sim: SimServer, logs: Path) -> None:
    """For a file; as JSON into a pipe otherwise."""
    ended = shell("penstock runbook disk full --service db --text > runbook.md && head -1 runbook.md", sim, logs)
    assert ended.stdout.startswith("Title: ")
    ended = penstock("postmortem", "bad.log", "--title", "The disk", *MODEL, sim=sim, folder=logs)
    assert json.loads(ended.stdout)["follow_ups"][0]["kind"] in ("prevent", "detect", "mitigate", "process")


@pytest.mark.parametrize(
    ("args", "stdin", "code", "words"),
    [
        (("classify",), "", 65, "stdin is empty"),
        (("classify",), "x" * 70_000, 65, "penstock analyze takes it"),
        pytest.param(("classify", "x", "--fail-on", "P9"), "", 64, "'P9' is not one of", marks=SLOW),
        pytest.param(("classify", "x", "--no-redact", "--redact-ip"), "", 64, "exclude each other", marks=SLOW),
        pytest.param(("classify", "x", "-m", "openai:gpt-4o-minii"), "", 65, "did you mean openai:gpt-4o", marks=SLOW),
        pytest.param(("analyze",), "", 65, "stdin is empty", marks=SLOW),
        (("analyze",), "a\0b", 65, "stdin is binary, not text"),
        (("analyze", "missing.log"), "", 65, "cannot read the file 'missing.log'"),
        pytest.param(("analyze", "."), "", 65, "Is a directory", marks=SLOW),
        (("analyze", "bad.log", "--budget", "0.0000001"), "", 75, "budget"),
        pytest.param(("analyze", "bad.log", "--tokens", "5"), "", 64, "'--tokens'", marks=SLOW),
        pytest.param(("incident", "--service", "x", "--symptoms", " "), "", 65, "symptoms is ' '", marks=SLOW),
        (("incident", "--service", "x", "--symptoms", "y", "-f", "noise.bin"), "", 65, "noise.bin is binary"),
        pytest.param(("runbook",), "", 64, "Missing argument", marks=SLOW),
        pytest.param(("runbook", ""), "", 65, "topic is ''", marks=SLOW),
        pytest.param(("postmortem",), "", 65, "stdin is empty", marks=SLOW),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    sim: SimServer, logs: Path, args: tuple[str, ...], stdin: str, code: int, words: str
) -> None:
    """With its exit code, nothing on stdout, nothing sent, and never a traceback."""
    more = () if "-m" in args or args[-1] == "." else MODEL
    ended = penstock(*args, *more, sim=sim, folder=logs, stdin=stdin)
    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


class Ear:
    """A server that keeps the body of one request and answers that it is wrong."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self.heard = b""
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def _hear(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            while b"\r\n\r\n" not in self.heard:
                self.heard += connection.recv(65536)
            head, _, _ = self.heard.partition(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-len")
            )
            while len(self.heard) < len(head) + 4 + length:
                self.heard += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}")

    def body(self) -> str:
        self._thread.join(WAIT_S)
        self._socket.close()
        return self.heard.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize(
    "args",
    [
        ("classify", "CANARIES"),
        ("analyze", "secret.log", "--tokens", "300"),
        pytest.param(("analyze", "secret.log"), marks=SLOW),
        pytest.param(("incident", "--service", "x", "--symptoms", "CANARIES", "-f", "secret.log"), marks=SLOW),
        pytest.param(("runbook", "CANARIES", "-f", "secret.log"), marks=SLOW),
        pytest.param(("postmortem", "secret.log", "--title", "CANARIES"), marks=SLOW),
    ],
    ids=lambda args: " ".join(args[:2]),
)
def test_nothing_secret_leaves_the_machine(tmp_path: Path, args: tuple[str, ...]) -> None:
    """By any command, from arguments or files, on the wire itself; with --no-redact it does."""
    canaries = 'joe@example.com password=CaNaRy71 "api_key": "CaNaRy72" https://u:CaNaRy73@db/ Bearer CaNaRy74abcdef'
    (tmp_path / "secret.log").write_text("".join(f"ERROR {canaries} {n}\nINFO fine {n}\n" for n in range(100)))
    given = [part.replace("CANARIES", canaries) for part in args]
    for more in ((), ("--no-redact",)):
        ear = Ear()
        ended = penstock(*given, *MODEL, *more, sim=None, folder=tmp_path, OPENAI_BASE_URL=ear.url, OPENAI_API_KEY="k")
        assert ended.returncode == 65, ended.stderr
        body = ear.body()
        assert ("CaNaRy7" in body, "joe@" in body) == (bool(more), bool(more))


def test_an_analysis_grows_on_a_terminal(logs: Path) -> None:
    """Each part is shown once, as it comes; what it took is said below it."""
    with (
        SimServer(SimConfig(latency=Latency(first_token_s=0.05, tokens_per_s=2000))) as sim,
        Screen("analyze", "bad.log", *MODEL, sim=sim, folder=logs) as screen,
    ):
        screen.wait_for("Severity: P1")
        assert "first token" not in screen.seen, "it is not over"
        assert screen.end() == 0
        assert sim.log()[0]["stream"] is True
    assert screen.seen.count("Severity") == 1
    assert "(corrected)" not in screen.seen
    places = [screen.seen.index(title) for title in ("Summary", "Causes", "Actions", "Confidence", "first token")]
    assert places == sorted(places)


@SLOW
@pytest.mark.parametrize("args", [("incident", "--service", "x", "--symptoms", "y"), ("ask", "What is it?")])
def test_an_answer_that_breaks_on_a_terminal_ends_its_line(tmp_path: Path, args: tuple[str, ...]) -> None:
    """What came is there, and the error begins a line of its own."""
    with SimServer() as sim:
        sim.play('[[rule]]\nfault = { kind = "reset", when = "mid_stream", after_chunks = 8 }')
        with Screen(*args, *MODEL, sim=sim, folder=tmp_path) as screen:
            assert screen.end() == 69, screen.seen
    assert "\npenstock: openai:gpt-4o-mini: the stream broke" in screen.seen
    assert not screen.seen.startswith("\n")


@SLOW
def test_a_compared_model_that_fails_is_named_once(sim: SimServer, tmp_path: Path) -> None:
    """Beside the rows of the others."""
    ended = penstock("compare", "hi", *MODEL, "-m", "openai:nothing-such", sim=sim, folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.count("openai:nothing-such") == 1, ended.stderr


def test_a_terminal_without_a_log_is_told_what_to_do(tmp_path: Path) -> None:
    """Nobody waits for what a person would have to type."""
    with Screen("analyze", *MODEL, sim=None, folder=tmp_path) as screen:
        assert screen.end() == 64
    assert "there is nothing to analyze; name log files, or pipe logs in" in screen.seen


@pytest.mark.parametrize(
    ("number", "files"),
    [
        (signal.SIGINT, ("bad.log",)),
        pytest.param(signal.SIGTERM, ("bad.log",), marks=SLOW),
        pytest.param(signal.SIGINT, ("bad.log", "good.log"), marks=SLOW),
        pytest.param(signal.SIGTERM, ("bad.log", "good.log"), marks=SLOW),
    ],
)
def test_a_stopped_analysis_settles_and_says_what_it_cost(
    logs: Path, number: signal.Signals, files: tuple[str, ...]
) -> None:
    """Exit code 130, and no word of a traceback."""
    with SimServer() as sim:
        sim.play('[[rule]]\nfault = { kind = "stall" }')
        program = start("analyze", *files, *MODEL, sim=sim, folder=logs)
        wait_until(program, lambda: sim.simulator.open > 0)
        program.send_signal(number)
        _, said = program.communicate(timeout=WAIT_S)
    assert program.returncode == 130, said
    assert "stopped; the request went out" in said
    assert "Traceback" not in said


def test_logs_can_be_followed_by_a_closed_reader(sim: SimServer, logs: Path) -> None:
    """As in `| head -c 1`: no traceback."""
    ended = shell("penstock analyze bad.log -m openai:gpt-4o-mini | head -c 1; exit ${PIPESTATUS[0]}", sim, logs)
    assert "Traceback" not in ended.stderr
