"""Servers of the Model Context Protocol, real ones of the official SDK: over a pipe and over HTTP, in both colours."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import AgentResult, AsyncAgent, AsyncClient, McpServer
from penstock.errors import ConfigError
from penstock.sim import SimServer

from .scripts import COLOURS, Outcome, calls, play, run, says, settings

PROGRAM = Path(__file__).with_name("mcp_server.py")
STDIO = f"stdio: {sys.executable} {PROGRAM}"
WAIT_S = 20.0


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Where servers write their log."""
    with open(tmp_path_factory.mktemp("mcp") / "log", "w", encoding="utf-8") as log:
        yield log


def serve() -> tuple[subprocess.Popen[bytes], str]:
    """Start a server over HTTP."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = subprocess.Popen([sys.executable, PROGRAM, str(port)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + WAIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < until
            assert server.poll() is None
            time.sleep(0.02)
        else:
            return server, f"http://127.0.0.1:{port}/mcp"


def _work(sim: SimServer, server: McpServer, colour: str) -> Outcome:
    """Use its tools for good and for bad."""
    play(
        sim,
        calls(("ops_disk_usage", {"host": "db1"}), ("ops_restart", {"host": "db2", "delay_s": "3"})),
        calls(("ops_broken", {}), ("ops_picture", {})),
        says("done"),
    )
    return run(sim, colour, tools=[server], approve=lambda name, arguments: True, model="anthropic:claude-haiku-4-5")


def _check(outcome: Outcome) -> None:
    usage, restarted, broken, picture = outcome.ended.uses
    assert (usage.content, usage.is_error) == ("db1: 95 %", False)
    assert '"delay_s": 3' in restarted.content
    assert restarted.repairs
    assert "no route to the database" in broken.content
    assert broken.is_error
    assert not picture.is_error
    assert outcome.ended.answer == "done"


def _die(sim: SimServer, server: McpServer, colour: str) -> None:
    """It ends in the middle of a run: the model is told, and the run goes on to a clean end."""
    play(sim, calls(("ops_die", {})), *[calls(("ops_disk_usage", {"host": "db1"}))] * 5)
    ended = run(sim, colour, tools=[server]).ended
    assert ended.stopped == "loop"
    assert all(use.is_error and "the MCP server" in use.content for use in ended.uses)


@pytest.mark.slow
@pytest.mark.parametrize("colour", COLOURS)
def test_tools_over_a_pipe(sim: SimServer, colour: str, quiet: Any) -> None:
    """Used, failing, and gone when the server dies."""
    with McpServer(STDIO, prefix="ops_", errors=quiet) as server:
        marked = {each.name: each.side_effects for each in server.tools}
        assert marked["ops_restart"]
        assert not marked["ops_disk_usage"]
        _check(_work(sim, server, colour))
        _die(sim, server, colour)


@pytest.mark.slow
@pytest.mark.parametrize("colour", COLOURS)
def test_tools_over_http(sim: SimServer, colour: str) -> None:
    """The same over streamable HTTP, with headers of one's own."""
    process, url = serve()
    try:
        with McpServer(url, prefix="ops_", headers={"authorization": "Bearer k-secret"}) as server:
            _check(_work(sim, server, colour))
            _die(sim, server, colour)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_server_in_an_async_block(sim: SimServer, quiet: Any) -> None:
    """Entered and left without stopping the loop; one that hangs is left after its time."""
    play(sim, calls(("disk_usage", {"host": "db1"}), ("hang", {})), says("done"))
    server = McpServer(STDIO, errors=quiet, timeout_s=0.5)

    async def main() -> AgentResult:
        async with AsyncClient(**settings(sim)) as client, server:
            return await AsyncAgent(client, tools=[server], model="openai:gpt-4o-mini").run("Look.")

    result = asyncio.run(main())
    assert [use.is_error for use in result.uses] == [False, True]
    with pytest.raises(ConfigError, match="is not connected"):
        _ = server.tools


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("stdio:", "names no command"),
        ("stdio: 'open", "cannot be read"),
        ("ftp://x", "expected 'stdio: COMMAND"),
        (7, "expected 'stdio: COMMAND"),
    ],
)
def test_an_address_that_is_none_is_refused(address: Any, words: str) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError, match=words):
        McpServer(address)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("stdio: /no/such/program", "there is no such program"),
        (f"stdio: {sys.executable} -c pass", "may say why on stderr"),
        ("http://127.0.0.1:9/mcp", "is it there"),
    ],
)
def test_a_server_that_cannot_be_reached_is_said_so(address: str, hint: str, quiet: Any) -> None:
    """Not there, ended at once, or nobody listening: one sentence with where to look, and no thread is left."""
    errors = quiet if address.startswith("stdio") else None
    with pytest.raises(ConfigError, match=f"cannot use the MCP server .*{hint}"), McpServer(address, errors=errors):
        pass


def test_a_server_that_never_speaks_is_left_after_its_time(quiet: Any) -> None:
    """And its program is ended."""
    silent = f"stdio: {sys.executable} -c 'import sys; sys.stdin.read()'"
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"did not say within 0\.2 s"), McpServer(silent, errors=quiet, connect_s=0.2):
        pass
    assert time.monotonic() - began < WAIT_S


def test_what_may_be_secret_in_an_address_is_not_shown() -> None:
    """User, password, query and the arguments of a command."""
    for address in ("https://me:k-secret@127.0.0.1/mcp?key=k-secret", "stdio: serve --key k-secret"):
        with pytest.raises(ConfigError) as caught:
            _ = McpServer(address).tools
        assert "k-secret" not in str(caught.value)
