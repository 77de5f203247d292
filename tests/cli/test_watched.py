"""Commands that are watched while they run: metrics for Prometheus, log lines for people and machines."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import click
import pytest

from penstock.cli.watched import Address
from penstock.sim import SimConfig, SimServer
from penstock.sim.config import Latency
from tests.cli.terminal import WAIT_S, penstock, start


def scraped(url: str, wanted: str) -> str:
    """The metrics, once they have what is wanted."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        with urllib.request.urlopen(url) as answer:
            text: str = answer.read().decode()
        if wanted in text:
            return text
        time.sleep(0.02)
    raise AssertionError(f"there was no {wanted}")


BATCH = "batch run rows.jsonl -o out.jsonl -m openai:gpt-4o-mini --concurrency 4 --max-tokens 9 --yes"
EXTRACT = f"extract --schema schema.json -m openai:gpt-4o-mini {'-f log.txt ' * 24}"


@pytest.mark.parametrize(("line", "operation"), [(BATCH, "complete"), (EXTRACT, "extract")], ids=["batch", "extract"])
def test_a_long_command_serves_its_metrics_while_it_runs(line: str, operation: str, tmp_path: Path) -> None:
    """It says where, and the port is free again when it ends."""
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"prompt": "row {number}"}}\n' for number in range(20)))
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"service": {"type": "string"}}}')
    (tmp_path / "log.txt").write_text("ERROR [db] connection refused\n")
    with SimServer(SimConfig(latency=Latency(first_token_s=0.2, tokens_per_s=0))) as sim:
        child = start(*line.split(), "--metrics", "0", sim=sim, folder=tmp_path)
        assert child.stderr is not None
        for line in child.stderr:
            if found := re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", line):
                break
        assert found is not None
        text = scraped(found[1], f'penstock_calls_total{{model="gpt-4o-mini",operation="{operation}",outcome="ok"')
        assert "penstock_attempts_in_flight" in text
        assert child.wait(WAIT_S) == 0
        child.communicate()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(found[1])


@pytest.mark.parametrize("line", ["embed hi -m openai:text-embedding-3-small", "demo -o out.jsonl"])
def test_a_port_that_is_taken_is_said_before_anything_is_sent(line: str, tmp_path: Path) -> None:
    """With what to do; nothing is paid."""
    with SimServer() as sim, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = penstock(*line.split(), "--metrics", str(port), sim=sim, folder=tmp_path)
        assert (ended.returncode, ended.stdout, len(sim.log())) == (78, "", 0)
    assert f"metrics cannot be served at 127.0.0.1:{port}: " in ended.stderr
    assert "choose another port" in ended.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (":9464", ("", 9464)),
        ("9464", ("127.0.0.1", 9464)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_an_address_is_written_as_people_do(typed: str, meant: tuple[str, int]) -> None:
    """A bare port is for this machine alone."""
    assert Address().convert(typed, None, None) == meant


@pytest.mark.parametrize("typed", ["", "x", ":", ":70000", "a b:1", "::1:9464", "http://x:1"])
def test_what_is_no_address_is_said_to_be_none(typed: str) -> None:
    """And how one is written."""
    with pytest.raises(click.BadParameter, match="is no address; write :9464"):
        Address().convert(typed, None, None)


def test_log_lines_go_to_stderr_and_leave_stdout_alone(tmp_path: Path) -> None:
    """-vv says attempts and calls, --log-json writes JSON."""
    with SimServer() as sim:
        people, machine = (
            penstock(*options, "ask", "Error or not? all fine", sim=sim, folder=tmp_path)
            for options in (["-vv"], ["--log-json", "--log-level", "info"])
        )
    assert {people.stdout, machine.stdout} == {"Not an error\n"}
    first, second = people.stderr.splitlines()
    assert re.fullmatch(r"\S+ \S+ DEBUG complete anthropic:claude-haiku-4-5 ok in .*, attempt 1", first)
    assert re.fullmatch(r"\S+ \S+ INFO complete anthropic:claude-haiku-4-5 ok in .* tokens, \$0\.\d+", second)
    found = json.loads(machine.stderr)
    assert (found["level"], found["logger"], found["kind"], found["outcome"]) == ("info", "penstock", "call", "ok")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", found["time"])
    assert "k-secret" not in people.stderr + machine.stderr
