"""`penstock chat` as a process: a conversation through a pipe, and on a terminal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.conversation import Conversation, Turn, load
from penstock.errors import InputError
from penstock.sim import Latency, SimConfig, SimServer
from penstock.types import Choice, Response, Text, Usage
from tests.cli.screen import Screen
from tests.cli.terminal import WAIT_S, command, environment, penstock, wait_until

MODEL = ("-m", "openai:gpt-4o-mini")


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    with SimServer(SimConfig(latency=Latency(first_token_s=0.02, tokens_per_s=500))) as running:
        yield running


def test_each_line_of_a_pipe_is_a_turn_and_the_model_is_told_all_before(sim: SimServer, tmp_path: Path) -> None:
    """Answers on stdout, a line of JSON each when told; what is saved can be gone on with."""
    sim.reset()
    said = "Answer with exactly: one\nAnswer with exactly: two\n/save talk.json\n/cost\n"
    ended = penstock("chat", *MODEL, sim=sim, folder=tmp_path, stdin=said)
    assert (ended.returncode, ended.stdout) == (0, "one\ntwo\n"), ended.stderr
    assert "saved to talk.json" in ended.stderr
    assert "2 calls" in ended.stderr
    first, second = (entry["input_tokens"] for entry in sim.log())
    assert second > first
    ended = penstock("chat", "--resume", "talk.json", "--json", sim=sim, folder=tmp_path, stdin="Say exactly: three\n")
    answer = json.loads(ended.stdout)
    assert (answer["text"], answer["model"]) == ("three", "openai:gpt-4o-mini")
    saved = json.loads((tmp_path / "talk.json").read_text())
    assert [turn["text"] for turn in saved["turns"][1::2]] == ["one", "two", "three"], "it is saved after each turn"


def test_on_a_terminal_ctrl_c_stops_the_answer_and_ctrl_d_the_conversation(tmp_path: Path) -> None:
    """What came stays in the conversation; the next question is answered."""
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { nth = 1 }\nfault = { kind = "stall", when = "mid_stream", after_chunks = 3 }')
        with Screen("chat", *MODEL, sim=sim, folder=tmp_path) as screen:
            at = screen.wait_for("Ctrl-D ends.\n")
            at = screen.wait_for("> ", after=at)
            screen.press("Why is the sky blue?\n")
            wait_until(screen.process, lambda: sim.simulator.open > 0)
            screen.wait_for(" ", after=screen.wait_for("blue?\n", after=at))
            screen.interrupt()
            at = screen.wait_for("stopped; settled at", after=at)
            at = screen.wait_for("> ", after=at)
            screen.press("Please: \\\n")
            at = screen.wait_for("... ", after=at)
            screen.press("answer with exactly: fine\n")
            at = screen.wait_for("\nfine", after=at)
            at = screen.wait_for("first token", after=at)
            screen.press("/model\n")
            at = screen.wait_for("model: openai:gpt-4o-mini", after=at)
            screen.press("/nonsense\n")
            at = screen.wait_for("there is no /nonsense", after=at)
            screen.wait_for("> ", after=at)
            screen.interrupt()
            at = screen.wait_for("Ctrl-D or /quit ends", after=at)
            screen.wait_for("> ", after=at)
            screen.press("\x04")
            assert screen.end() == 0
        assert "2 calls" in screen.seen[at:], "what all of it cost"
        assert "Traceback" not in screen.seen


def test_an_error_ends_a_turn_and_not_the_conversation(sim: SimServer, tmp_path: Path) -> None:
    """The question is taken back; from a pipe the exit code tells of it."""
    said = "/model openai:gpt-nosuch\nhello\n/model openai:gpt-4o-mini\nAnswer with exactly: fine\n/save a.json\n"
    ended = penstock("chat", *MODEL, sim=sim, folder=tmp_path, stdin=said)
    assert (ended.returncode, ended.stdout) == (65, "fine\n")
    assert "not exist" in ended.stderr
    assert [turn.text for turn in load(tmp_path / "a.json").turns] == ["Answer with exactly: fine", "fine"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--resume", "missing.json"), 65, "cannot read the conversation missing.json"),
        (("--resume", "odd.json"), 65, "no conversation that /save wrote"),
        (("-m", "nosuch:model"), 78, "no provider is called 'nosuch'"),
    ],
)
def test_what_cannot_be_begun_is_said(tmp_path: Path, args: tuple[str, ...], code: int, words: str) -> None:
    """In one sentence."""
    (tmp_path / "odd.json").write_text('{"kind": "something", "model": 1}')
    with SimServer() as sim:
        ended = penstock("chat", *args, sim=sim, folder=tmp_path, stdin="hi\n")
    assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("stdin", "words"),
    [("", "stdin is empty"), ("a\0b", "line 1 of stdin is binary"), ("hi\n\udcff\n", "line 2 of stdin is not UTF-8")],
)
def test_what_is_piped_in_and_no_text_is_said(sim: SimServer, tmp_path: Path, stdin: str, words: str) -> None:
    """In one sentence, whatever the locale; nothing of it is sent."""
    ended = subprocess.run(
        command("chat", *MODEL),
        cwd=tmp_path,
        env=environment(sim, tmp_path, PYTHONIOENCODING="utf-8:strict"),
        input=stdin.encode(errors="surrogateescape"),
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    assert ended.returncode == 65
    assert words in ended.stderr.decode()
    assert len(ended.stderr.splitlines()) == 1


def answer(text: str, total: int) -> Response:
    return Response(provider="openai", model="m", choices=(Choice(content=(Text(text),)),), usage=Usage(input=total))


def test_a_window_that_fills_up_is_told_by_what_the_provider_counted() -> None:
    """Its count of the last turn, and an estimate of what came after."""
    talk = Conversation("openai:gpt-4")
    assert talk.near(8_192) is None
    talk.ask("hello")
    talk.answered(answer("hi", 7_000))
    assert talk.near(8_192) == (7_000, 8_192)
    talk.ask("x" * 12_000)
    filled = talk.near(8_192)
    assert filled is not None
    assert filled[0] > 8_192
    talk.stopped("")
    assert talk.near(8_192) == (7_000, 8_192)
    talk.clear()
    assert talk.near(8_192) is None
    assert Conversation("openai:some-new-model", turns=[Turn("user", "x" * 10**6)]).near(None) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "no conversation"),
        ('{"kind": "other", "model": "m"}', "kind is 'other'"),
        ('{"model": "m", "turns": [{"role": "tool", "text": "x"}]}', "a turn of 'tool'"),
    ],
)
def test_a_file_that_is_no_conversation_is_said(tmp_path: Path, text: str, words: str) -> None:
    """And how it is none."""
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=words):
        load(tmp_path / "x.json")
