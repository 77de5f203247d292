"""`penstock agent` as a user runs it: in pipes, on a terminal that is asked, stopped and gone on with."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.sim import SimConfig, SimServer
from penstock.sim.config import Latency

from ..agent.scripts import billed, calls, play, says
from .screen import Screen
from .terminal import WAIT_S, penstock, start

OPS = '''
import pathlib
from penstock import tool

@tool
def disk_usage(host: str) -> str:
    """How full the disk of a host is."""
    return f"{host}: 95 %"

@tool(side_effects=True)
def restart(host: str) -> str:
    """Restart a host."""
    pathlib.Path("restarted").write_text(host)
    return f"{host} was restarted"

@tool(timeout_s=None)
def hang() -> str:
    """Never end."""
    import threading
    threading.Event().wait()
    return ""
'''
TOOLS = ("--tool", "ops.py:disk_usage", "--tool", "ops.py:restart", "-m", "openai:gpt-4o-mini")
BOTH = calls(("disk_usage", {"host": "db1"}), ("restart", {"host": "db1"}))


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ops.py").write_text(OPS, encoding="utf-8")
    return tmp_path


def test_in_a_pipe_what_changes_something_is_not_done_unless_told(sim: SimServer, folder: Path) -> None:
    """The answer is on stdout, the steps are on stderr; --yes allows it."""
    play(sim, BOTH, says("It is full."))
    ended = penstock("agent", "How full?", *TOOLS, sim=sim, folder=folder)
    assert (ended.returncode, ended.stdout) == (0, "It is full.\n")
    assert "→ disk_usage(host='db1')" in ended.stderr
    assert "not approved: there is no terminal to ask at" in ended.stderr
    assert not (folder / "restarted").exists()
    play(sim, BOTH, says("It is up."))
    ended = penstock("agent", "How full?", *TOOLS, "--yes", "--json", sim=sim, folder=folder)
    told = json.loads(ended.stdout)
    assert (told["answer"], told["stopped"], told["steps"]) == ("It is up.", "answered", 2)
    assert [use["content"] for use in told["uses"]] == ["db1: 95 %", "db1 was restarted"]
    assert round(told["cost"] * 1e9) == billed(sim)
    assert ended.stderr == ""
    assert (folder / "restarted").exists()


@pytest.mark.slow
def test_a_limit_leaves_a_conversation_that_is_gone_on_with(sim: SimServer, folder: Path) -> None:
    """Exit code 75, the file, and the command for it."""
    play(sim, *[calls(("disk_usage", {"host": f"db{number}"})) for number in range(3)], says("All full."))
    ended = penstock(
        "agent", "How full?", *TOOLS, "--max-steps", "2", "--transcript", "kept.json", sim=sim, folder=folder
    )
    assert (ended.returncode, ended.stdout) == (75, "")
    reason, _, way = ended.stderr.partition("the conversation is in kept.json; to go on:\n  ")
    assert "it used its 2 steps" in reason
    tools = "--tool ops.py:disk_usage --tool ops.py:restart"
    assert way == f"penstock agent --resume kept.json {tools} --model openai:gpt-4o-mini\n"
    ended = penstock("agent", "--resume", "kept.json", "-q", *TOOLS, sim=sim, folder=folder)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "All full.\n", "")
    kept = json.loads((folder / "kept.json").read_text("utf-8"))
    assert (kept["steps"], kept["cost_nano"]) == (4, billed(sim))


@pytest.mark.slow
def test_an_answer_of_a_type_is_printed_as_json(sim: SimServer, folder: Path) -> None:
    """Checked against the schema."""
    (folder / "disk.schema.json").write_text(
        json.dumps({"type": "object", "properties": {"percent": {"type": "integer"}}, "required": ["percent"]})
    )
    play(sim, calls(("disk_usage", {"host": "db1"})), says('```json\n{"percent": "95"}\n```'))
    ended = penstock("agent", "How full?", *TOOLS, "--schema", "disk.schema.json", sim=sim, folder=folder)
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"percent": 95})


BAD = {
    "no function": (("--tool", "ops"), 78, "names no function"),
    "no such function": (("--tool", "ops.py:nothing"), 78, "ops.py has no nothing"),
    "no such module": (("--tool", "nowhere:nothing"), 78, "cannot load the tool's nowhere"),
    "no tool": (("--tool", "ops.py:OPS"), 78, "has no OPS"),
    "no transcript": (("--resume", "ops.py"), 65, "is no transcript of an agent"),
    "no file": (("--resume", "nothing.json"), 65, "cannot read the transcript"),
    "no server": (("--mcp", "nothing"), 78, "expected 'stdio: COMMAND"),
    "a server that speaks something else": (("--mcp", "stdio: echo 5"), 78, "does not speak MCP"),
    "no steps": (("--max-steps", "0"), 64, "max-steps"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_is_said_in_a_sentence(sim: SimServer, folder: Path, mistake: str) -> None:
    """With its exit code, and no traceback; nothing is sent."""
    sim.reset()
    args, code, words = BAD[mistake]
    ended = penstock("agent", "hi", *args, "-m", "openai:gpt-4o-mini", sim=sim, folder=folder)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sim.bill()["attempts"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("where", ["tool", "model"])
def test_ctrl_c_settles_and_leaves_the_conversation(folder: Path, where: str) -> None:
    """While a tool hangs as well as while the model speaks; another run goes on from there."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0 if where == "tool" else 60))) as slow:
        play(slow, calls(("hang", {})))
        running = start(
            "agent", "Wait.", "--tool", "ops.py:hang", *TOOLS, "--transcript", "kept.json", sim=slow, folder=folder
        )
        until = time.monotonic() + WAIT_S
        while not (folder / "kept.json").exists() or (where == "tool" and slow.bill()["attempts"] == 0):
            assert time.monotonic() < until
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=WAIT_S)
    assert running.returncode == 130, stderr
    assert "penstock agent --resume kept.json --tool ops.py:hang" in stderr
    assert "Traceback" not in stderr
    assert json.loads((folder / "kept.json").read_text("utf-8"))["messages"][0]["content"] == "Wait."


@pytest.mark.slow
def test_on_a_terminal_the_user_is_asked_and_sees_each_step(sim: SimServer, folder: Path) -> None:
    """A no is told to the model, a yes lets it happen; the answer comes as it is said, with what it took."""
    for key, there in (("n\n", False), ("y\n", True)):
        play(sim, BOTH, says("It is full."))
        with Screen("agent", "How full?", *TOOLS, sim=sim, folder=folder) as screen:
            screen.wait_for("restart(host='db1') changes something. Use it? [y/N]")
            assert not (folder / "restarted").exists()
            screen.press(key)
            assert screen.end() == 0, screen.seen
        assert (folder / "restarted").exists() == there
        for words in ("→ disk_usage(host='db1')", "✓ db1: 95 %", "It is full.", "2 steps · 2 uses of tools"):
            assert words in screen.seen


@pytest.mark.slow
def test_ctrl_c_at_the_question_stops_the_run(sim: SimServer, folder: Path) -> None:
    """And nothing was changed."""
    play(sim, BOTH, says("It is full."))
    with Screen("agent", "How full?", *TOOLS, sim=sim, folder=folder) as screen:
        screen.wait_for("Use it? [y/N]")
        screen.interrupt()
        assert screen.end() == 130, screen.seen
    assert "[y/N]: \nstopped; settled at" in screen.seen
    assert "penstock agent --resume penstock-agent-" in screen.seen
    assert "Traceback" not in screen.seen
    assert not (folder / "restarted").exists()


@pytest.mark.slow
def test_who_approves_a_call_sees_all_of_it(sim: SimServer, folder: Path) -> None:
    """However long it is, and whatever a terminal would do with its letters."""
    host = f"db1{'.' * 400}\x1b[2K; rm -rf /"
    play(sim, calls(("restart", {"host": host})), says("Done."))
    with Screen("agent", "Restart it", *TOOLS, sim=sim, folder=folder) as screen:
        screen.wait_for("\\x1b[2K; rm -rf /') changes something. Use it? [y/N]")
        screen.press("n\n")
        assert screen.end() == 0, screen.seen
    assert not (folder / "restarted").exists()
