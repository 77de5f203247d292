"""The smaller commands, and what all commands share: help, errors, exit codes, and no key on any screen."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock import cli
from penstock.cli.shown import usd
from penstock.sim import SimServer
from tests.cli.terminal import WAIT_S, penstock, shell, start, wait_until


def test_help_imports_no_command() -> None:
    """Nothing that costs time is loaded before a command is chosen."""
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from penstock.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'aiohttp', 'asyncio', 'msgspec', 'rich', 'penstock.client', 'ssl'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_a_single_call_loads_nothing_of_bulk_runs_of_the_simulator_or_of_rare_ways() -> None:
    """What only some calls need comes with them, not with every start."""
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "for name in sys.argv[1:]: import_module(f'penstock.cli.{name}')\n"
        "print(*sorted(sys.modules))"
    )
    commands = ("ask", "classify", "analyze", "compare", "extract", "rerank", "sim")
    said = subprocess.run([sys.executable, "-c", code, *commands], capture_output=True, text=True, check=True).stdout
    loaded = set(said.split())
    assert "penstock.client" in loaded
    rare = {"penstock._flow.cached", "penstock._io.race", "penstock._text.complexity", "penstock._text.parse"}
    assert not loaded & {"aiohttp", "difflib", "penstock.batch", "penstock.sim", "urllib3", *rare}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    """Its first line is the one in the list of commands, or says the same at more length."""
    shown = CliRunner().invoke(cli.root, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert f"penstock {name}" in shown.output.split("\n\n", 1)[1]


def test_an_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    """Exit code 64, as sysexits has it."""
    assert penstock("frobnicate", folder=tmp_path).returncode == 64


def test_without_a_key_ask_says_in_three_lines_what_to_do(tmp_path: Path) -> None:
    """Set a key, or try the simulator."""
    ended = penstock("ask", "hello", folder=tmp_path)
    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 3
    assert "OPENAI_API_KEY" in ended.stderr
    assert "penstock sim" in ended.stderr


def test_ask_prints_plain_text_into_a_pipe(tmp_path: Path) -> None:
    """The answer and nothing else."""
    with SimServer() as sim:
        ended = penstock("ask", "Error", "or not? ERROR [db] refused", sim=sim, folder=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Error\n", "")


def test_ask_streams_when_told(tmp_path: Path) -> None:
    """The same text, as it is produced."""
    with SimServer() as sim:
        ended = penstock("ask", "--stream", "Error or not? all fine", sim=sim, folder=tmp_path)
        assert sim.log()[0]["stream"] is True
    assert (ended.returncode, ended.stdout) == (0, "Not an error\n")


def test_ask_reads_files_and_stdin(tmp_path: Path) -> None:
    """Text from both is added to the prompt; the JSON has what it took."""
    (tmp_path / "log.txt").write_text("ERROR [db] refused")
    with SimServer() as sim:
        ended = penstock("ask", "Error or not?", "-f", "log.txt", "--json", sim=sim, folder=tmp_path, stdin="more\n")
        alone = penstock("ask", "Error or not?", "--json", sim=sim, folder=tmp_path)
    found = json.loads(ended.stdout)
    assert (found["text"], found["stop_reason"], found["attempts"][0]["status"]) == ("Error", "stop", 200)
    assert found["cost"] > 0
    assert found["usage"]["input"] > json.loads(alone.stdout)["usage"]["input"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("ask",), 64, "there is no prompt"),
        (("ask", "  "), 64, "there is no prompt"),
        (("ask", "x", "-f", "missing.txt"), 65, "cannot read the file 'missing.txt': No such file"),
        (("ask", "x", "-f", "."), 65, "cannot read the file '.': Is a directory"),
        (("ask", "x", "-f", ""), 65, "cannot read the file ''"),
        (("ask", "x", "-f", "empty.txt"), 65, "empty.txt is empty"),
        (("ask", "x", "-m", ""), 78, "is not the name of a model"),
        (("ask", "x", "-m", "opnai:gpt-4o"), 78, "did you mean 'openai'"),
        (("ask", "x", "-m", "openai:gpt-4o-minii"), 65, "did you mean openai:gpt-4o-mini?"),
        (("ask", "x", "--max-tokens", "0"), 64, "'--max-tokens': 0 is not in the range x>=1"),
        (("ask", "x", "--temperature", "hot"), 64, "'--temperature': 'hot' is no finite number"),
        (("ask", "x", "--temperature", "nan"), 64, "'--temperature': 'nan' is no finite number"),
        (("ask", "x", "--budget", "-1"), 64, "'--budget': '-1' is no amount of dollars above 0"),
        (("ask", "x", "--budget", "nan"), 64, "'--budget': 'nan' is no amount of dollars above 0"),
        (("ask", "x", "--budget", "five"), 64, "'--budget': 'five' is no amount of dollars above 0"),
        (("ask", "x", "--deadline", "0"), 64, "'--deadline': '0' is no finite number above 0"),
        (("demo", "--budget", "0"), 64, "'--budget': '0' is no amount of dollars above 0"),
        (("ask", "x", "--frobnicate"), 64, "penstock ask --help"),
        (("ask", "x", "-f", "noise.bin"), 65, "neither UTF-8 text nor"),
        (("ask", "x", "-m", "nosuch:model"), 78, "nosuch"),
        (("ask", "x", "--budget", "0.0000001", "--max-tokens", "100"), 75, "budget"),
        (("providers", "nosuch"), 78, "nosuch"),
        (("models", "nosuch-model"), 78, "no known model is like 'nosuch-model'"),
        (("models", "--provider", "opena"), 78, "did you mean 'openai'"),
        (("prices", "nosuch-model"), 78, "no price is known"),
        (("sim", "--scenario", "missing.toml"), 78, "missing.toml"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, args: tuple[str, ...], code: int, words: str) -> None:
    """With an exit code of its own and never a traceback."""
    (tmp_path / "noise.bin").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.txt").touch()
    with SimServer() as sim:
        ended = penstock(*args, sim=sim, folder=tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_bad_settings_file_is_one_sentence_with_its_place(tmp_path: Path) -> None:
    """Also for the command that looks for what is wrong."""
    (tmp_path / "penstock.toml").write_text("[limits.openai]\nrmp = 5\n")
    for name in ("doctor", "providers", "models", "ask"):
        ended = penstock(name, *(["x"] if name == "ask" else []), folder=tmp_path)
        assert ended.returncode == 78
        assert "penstock.toml" in ended.stderr
        assert "'rpm'" in ended.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    """For whoever reports a bug."""
    ended = penstock("--debug", "ask", "x", "-m", "nosuch:model", folder=tmp_path)
    assert "Traceback" in ended.stderr


@pytest.mark.prove(25)
def test_a_rejected_key_is_exit_code_77(tmp_path: Path) -> None:
    """And the key is not shown."""
    with SimServer() as sim:
        ended = penstock("ask", "x", "-m", "openai:gpt-4o-mini", sim=sim, folder=tmp_path, OPENAI_API_KEY="bad-canary")
    assert ended.returncode == 77
    assert "bad-canary" not in ended.stderr


@pytest.mark.prove(25)
@pytest.mark.parametrize("name", ["doctor", "providers"])
def test_no_key_is_shown(tmp_path: Path, name: str) -> None:
    """Where it came from is."""
    (tmp_path / ".env").write_text("GROQ_API_KEY=k-secret-too\n")
    with SimServer() as sim:
        for form in ([], ["--json"]):
            ended = penstock(name, *form, sim=sim, folder=tmp_path)
            assert ended.returncode == 0, ended.stderr
            assert "secret" not in ended.stdout + ended.stderr
            assert "environment OPENAI_API_KEY" in ended.stdout
            assert ".env GROQ_API_KEY" in ended.stdout


def test_doctor_says_what_is_there(tmp_path: Path) -> None:
    """Versions, files, settings, and the date of the prices."""
    (tmp_path / "penstock.toml").write_text('model = "openai:gpt-4o-mini"\n')
    found = json.loads(penstock("doctor", "--json", folder=tmp_path).stdout)
    assert found["files"] == ["penstock.toml"]
    assert found["settings"]["model"] == "openai:gpt-4o-mini"
    assert found["keys"] == {}
    assert found["parts"]["aiohttp"]


def test_prices_are_dollars_per_million_with_their_date(tmp_path: Path) -> None:
    """A pattern chooses; your own prices are in it."""
    (tmp_path / "penstock.toml").write_text('[prices."openai:my-own"]\ninput = "1.5"\noutput = "2"\n')
    found = json.loads(penstock("prices", "openai:gpt-4o-mini", "--json", folder=tmp_path).stdout)
    assert len(found["date"]) == 10
    row = next(row for row in found["prices"] if row["model"] == "gpt-4o-mini")
    assert (row["input"], row["output"]) == (0.15, 0.6)
    own = json.loads(penstock("prices", "my-own", "--json", folder=tmp_path).stdout)["prices"]
    assert [row["source"] for row in own] == ["your own price"]


def test_the_simulator_says_how_to_use_it_and_ends_cleanly(tmp_path: Path) -> None:
    """Two lines to paste; Ctrl-C ends it with exit code 0 and the bill."""
    program = start("sim", "--port", "0", "--seed", "3", "--rpm", "60", sim=None, folder=tmp_path)
    assert program.stdout is not None
    lines = [program.stdout.readline(), program.stdout.readline()]
    assert lines[0].startswith("export OPENAI_BASE_URL=http://127.0.0.1:")
    assert lines[1].startswith("export ANTHROPIC_BASE_URL=http://127.0.0.1:")
    address = lines[1].split("=")[1].split()[0]
    with urllib.request.urlopen(f"{address}/__sim__/health") as answer:
        assert answer.status == 200
    more = dict(part.split("=", 1) for line in lines for part in line.split()[1:])
    assert penstock("ask", "Error or not? ok", sim=None, folder=tmp_path, **more).stdout == "Not an error\n"
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=WAIT_S)
    assert program.returncode == 0
    assert "1 request, billed $" in said


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    """With the remedy."""
    with SimServer() as sim:
        ended = penstock("sim", "--port", str(sim.port), folder=tmp_path)
    assert ended.returncode == 78
    assert "choose another --port" in ended.stderr


@pytest.mark.slow
def test_the_demo_answers_every_row_and_its_cost_is_the_bill(tmp_path: Path) -> None:
    """The first rows of it; all 600 are `make demo`."""
    ended = penstock("demo", "--limit", "60", "-o", "out.jsonl", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "60: 60 answered, 0 failed" in ended.stdout
    assert "equal to the last digit" in ended.stdout
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 60


def test_a_short_demo_does_not_say_how_much_of_the_limit_was_used(tmp_path: Path) -> None:
    """A burst of a second is no use by the minute. And each demo starts afresh."""
    for _ in range(2):
        ended = penstock("demo", "--limit", "10", "-o", "out.jsonl", folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "10: 10 answered, 0 failed\n" in ended.stdout
        assert "equal to the last digit" in ended.stdout
        used = [line for line in ended.stdout.splitlines() if line.startswith("limit used")]
        assert len(used) == 2
        assert all("are too few to say, of 700 a minute" in line and "%" not in line for line in used), used


def test_the_demo_with_real_needs_a_key(tmp_path: Path) -> None:
    """And says that without --real it needs none."""
    ended = penstock("demo", "--real", folder=tmp_path)
    assert ended.returncode == 78
    assert "needs none" in ended.stderr


def test_the_demo_with_real_runs_against_the_provider_of_the_environment(tmp_path: Path) -> None:
    """What it may cost is said first."""
    with SimServer() as sim:
        ended = penstock("demo", "--real", "--limit", "5", "-o", "out.jsonl", sim=sim, folder=tmp_path)
        assert sim.bill()["attempts"] == 5
        again = penstock("demo", "--real", "--limit", "5", "-o", "out.jsonl", sim=sim, folder=tmp_path)
        assert sim.bill()["attempts"] == 5, "what was paid is not paid again"
    assert (ended.returncode, again.returncode) == (0, 0), ended.stderr
    assert "at most $0.50" in ended.stderr
    assert "5 answered before" in again.stdout


def test_a_real_demo_takes_no_answer_of_the_simulated_one(tmp_path: Path) -> None:
    """Even in the same file."""
    assert penstock("demo", "--limit", "5", "-o", "out.jsonl", folder=tmp_path).returncode == 0
    with SimServer() as sim:
        ended = penstock("demo", "--real", "--limit", "5", "-o", "out.jsonl", sim=sim, folder=tmp_path)
        assert sim.bill()["attempts"] == 5
    assert "5: 5 answered, 0 failed\n" in ended.stdout


def test_ctrl_c_in_a_stream_settles_and_exits_130(tmp_path: Path) -> None:
    """What came stays on the screen, and what it cost is said."""
    with SimServer() as sim:
        sim.play('[[rule]]\nfault = { kind = "stall", when = "mid_stream", after_chunks = 3 }')
        program = start("ask", "--stream", "Why?", "-m", "openai:gpt-4o-mini", sim=sim, folder=tmp_path)
        assert program.stdout is not None
        assert program.stdout.read(1)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=WAIT_S)
    assert program.returncode == 130
    assert "settled at about $0.0" in said
    assert "Traceback" not in said


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """As in `penstock prices | head -1`."""
    program = start("prices", sim=None, folder=tmp_path)
    assert program.stdout is not None
    program.stdout.close()
    assert program.stderr is not None
    assert program.stderr.read() == ""
    assert program.wait(WAIT_S) == cli.EXIT_PIPE
    program.stderr.close()


def test_the_demo_removes_no_file_of_another_kind(tmp_path: Path) -> None:
    """Only results of a run are replaced."""
    (tmp_path / "notes.txt").write_text("mine")
    ended = penstock("demo", "-o", "notes.txt", folder=tmp_path)
    assert ended.returncode == 65
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("ask", "x"), "so nothing was sent"),
        (("doctor",), "cannot write to stdout"),
        (("prices",), "cannot write to stdout"),
        (("--help",), "cannot write to stdout"),
        (("sim", "--port", "0"), "cannot write to stdout"),
        (("batch", "run", "in.jsonl", "-o", "out.jsonl", "--json"), "out.jsonl is written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("stdout", [">/dev/full", ">&-"])
@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_a_stdout_that_cannot_be_written_is_exit_code_74(
    tmp_path: Path, args: tuple[str, ...], words: str, stdout: str, unbuffered: str
) -> None:
    """In one sentence, and never as if all were well."""
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n')
    with SimServer() as sim:
        ended = shell(f"penstock {shlex.join(args)} {stdout}", sim, tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert ended.returncode == 74, ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("penstock: ")]
    assert len(said) == 1
    assert words in said[0]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("penstock ask x <&-", 0),
        ("penstock ask x 2>&-", 0),
        ("penstock ask x >/dev/full 2>/dev/full", 74),
        ("penstock ask x <&- >&- 2>&-", 74),
        ("penstock batch run in.jsonl -o out.jsonl <&- >&- 2>&-", 0),
        ("penstock batch run - -o out.jsonl <&-", 65),
        ("penstock <&- >&- 2>&-", 64),
    ],
)
def test_streams_that_a_shell_closed_are_no_crash(tmp_path: Path, line: str, code: int) -> None:
    """No socket takes their numbers, and what needs none of them goes on."""
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n')
    with SimServer() as sim:
        ended = shell(line, sim, tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr


def test_an_answer_that_cannot_be_printed_is_said_to_be_lost(tmp_path: Path) -> None:
    """With what it cost; a limit on the size of files stands for a full disk."""
    with SimServer() as sim:
        ended = shell("ulimit -f 0; penstock ask x >out", sim, tmp_path)
        assert sim.bill()["attempts"] == 1
    assert ended.returncode == 74, ended.stderr
    assert "the answer came ($0.0" in ended.stderr
    assert "is lost" in ended.stderr


def test_ask_leaves_the_stdin_of_a_loop_alone(tmp_path: Path) -> None:
    """A file that somebody reads already is not ours, a pipe is unless told otherwise."""
    (tmp_path / "in").write_text("one\ntwo\nthree\n")
    with SimServer() as sim:

        def asked(line: str) -> int:
            before: int = sim.bill()["attempts"]
            assert shell(line, sim, tmp_path).returncode == 0
            after: int = sim.bill()["attempts"]
            return after - before

        assert asked('while read l; do penstock ask "Error or not? $l"; done <in') == 3
        assert asked('cat in | while read l; do penstock ask --no-stdin "Error or not? $l"; done') == 3
        assert asked('cat in | while read l; do penstock ask "Error or not? $l"; done') == 1
        whole = [shell(f"{line} --json", sim, tmp_path).stdout for line in ("penstock ask x <in", "penstock ask <in")]
        assert [json.loads(said)["usage"]["input"] > 3 for said in whole] == [True, True]
        assert shell("penstock ask - <in", sim, tmp_path).returncode == 0


def test_ask_says_that_it_waits_for_stdin(tmp_path: Path) -> None:
    """A pipe that nobody writes into looks like a program that hangs."""
    with SimServer() as sim:
        program = start("ask", "Error or not?", sim=sim, folder=tmp_path, stdin=subprocess.PIPE)
        assert program.stderr is not None
        said = program.stderr.readline()
        _, rest = program.communicate()
    assert (program.returncode, said, rest) == (0, "waiting for stdin to end; --no-stdin asks without it\n", "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("penstock ask x -f /dev/zero", "/dev/zero has more than 10 MiB"),
        ("penstock ask x -f - </dev/zero", "stdin has more than 10 MiB"),
        ("penstock ask x -f - </dev/null", "stdin is empty"),
        ("cat /dev/zero | penstock ask x", "stdin has more than 10 MiB"),
    ],
)
def test_what_never_ends_is_not_read_to_its_end(tmp_path: Path, line: str, words: str) -> None:
    """One sentence, and exit code 65."""
    with SimServer() as sim:
        ended = shell(line, sim, tmp_path)
    assert ended.returncode == 65
    assert words in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_a_stopped_ask_does_not_say_that_a_call_was_free(tmp_path: Path, number: signal.Signals, how: str) -> None:
    """The request went out; what it cost nobody told."""
    with SimServer() as sim:
        sim.play('[[rule]]\nfault = { kind = "stall" }')
        program = start("ask", how, "Why?", "-m", "openai:gpt-4o-mini", sim=sim, folder=tmp_path)
        wait_until(program, lambda: sim.simulator.open > 0)
        program.send_signal(number)
        answer, said = program.communicate(timeout=WAIT_S)
    assert (program.returncode, answer) == (130, "")
    assert "the request went out, and what it cost is unknown" in said
    assert "$0" not in said


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--latency", "nan"), "'nan' is no finite number from 0 to 86,400"),
        (("--latency", "inf"), "'inf' is no finite number"),
        (("--speed", "nan"), "'nan' is no finite number"),
        (("--speed", "-1"), "'-1' is no finite number"),
        (("--latency", "١"), "is no finite number"),
        (("--host", "nowhere.invalid"), "--host 'nowhere.invalid' is no address of this machine"),
        (("--host", "203.0.113.7"), "--host '203.0.113.7' is no address of this machine"),
        (("--host", "a" * 70), "is no address of this machine"),
    ],
)
def test_the_simulator_refuses_what_it_cannot_be(tmp_path: Path, args: tuple[str, ...], words: str) -> None:
    """In one sentence that names the option."""
    ended = penstock("sim", "--port", "0", *args, folder=tmp_path)
    assert ended.returncode == (78 if args[0] == "--host" else 64)
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_option_budget_leaves_the_other_caps_of_the_settings(tmp_path: Path) -> None:
    """It is a total for this run; what is allowed and what one call may cost stays."""
    with SimServer() as sim:
        (tmp_path / "penstock.toml").write_text('[budget]\ntotal = "0.0000001"\nper_call = "0.0000002"\n')
        ended = penstock("ask", "x", "--budget", "1", sim=sim, folder=tmp_path)
        assert (ended.returncode, "per_call" in ended.stderr) == (75, True)
        (tmp_path / "penstock.toml").write_text("[budget]\nallow_unpriced = true\n")
        ended = penstock("ask", "x", "--budget", "1", "-m", "openai:gpt-unheard-of", sim=sim, folder=tmp_path)
        assert "not exist" in ended.stderr, "it was sent"


@pytest.mark.parametrize(
    ("nano", "said"),
    [(0, "$0"), (1, "$0.000000001"), (12_300, "$0.0000123"), (200_000, "$0.000200"), (12_000_000_000, "$12.00")],
)
def test_no_amount_is_shown_as_nothing(nano: int, said: str) -> None:
    """However small it is."""
    assert usd(nano) == said


def test_models_are_filtered_by_what_is_known(tmp_path: Path) -> None:
    """What nobody knows is not found by a filter, and that is said."""
    ended = penstock(
        "models", "--provider", "openai", "--vision", "--tools", "--min-context", "1000000", folder=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    names = [line.split()[0] for line in ended.stdout.splitlines()[1:]]
    assert "openai:gpt-4.1" in names
    assert "openai:gpt-4o" not in names
    assert all(name.startswith("openai:") for name in names)
    assert "nobody knows whether they take vision and tools" in ended.stderr


def test_models_as_json_have_their_limits_and_prices(tmp_path: Path) -> None:
    """Unknown is null, never 0."""
    ended = penstock("models", "gpt-3.5-turbo", "--provider", "openai-responses", "--json", folder=tmp_path)
    rows = {row["model"]: row for row in json.loads(ended.stdout)}
    row = rows["openai:gpt-3.5-turbo"]
    assert (row["context"], row["max_output"], row["vision"], row["schema"]) == (16_385, 4_096, False, False)
    assert row["input"] == 0.5
    assert row["counting"] == "prompt+max"
    assert rows["openai:gpt-3.5-turbo-instruct"]["wires"] is None


def test_what_was_adapted_to_the_model_is_said_beside_the_answer(tmp_path: Path) -> None:
    """On stderr, and in the JSON."""
    args = ("ask", "Reply with exactly: pong", "-m", "openai:gpt-5-mini", "--temperature", "1", "--no-stdin")
    with SimServer() as sim:
        told = penstock(*args, sim=sim, folder=tmp_path)
        figures = json.loads(penstock(*args, "--json", sim=sim, folder=tmp_path).stdout)
    assert told.stdout == "pong\n"
    assert "temperature=1.0 was left out: models like 'gpt-5*' reject it" in told.stderr
    assert figures["notices"] == [line for line in told.stderr.splitlines() if "left out" in line]
