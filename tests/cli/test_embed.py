"""`penstock embed` as a process: texts from anywhere, vectors into any file, killed, interrupted and run again."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from penstock.batch.vector_table import ids_path, vectors_journal
from penstock.sim import Embedding, Latency, Limits, SimConfig, SimServer
from tests.cli.terminal import WAIT_S, penstock, results, start, wait_for_lines

MODEL = ("-m", "openai:text-embedding-3-small", "--dimensions", "8")
TEXTS = [f"ticket {number}: the service {number} is slow" for number in range(400)]
PACKED = 50
"""Texts in a request, so that a job of a few hundred takes several."""


def small(**more: Any) -> SimConfig:
    """A simulator whose requests hold few texts and take a moment."""
    return SimConfig(embeddings=Embedding(inputs=PACKED, **more), latency=Latency(first_token_s=0.05))


def settings(folder: Path) -> None:
    """Tell the client how many texts that simulator takes."""
    (folder / "penstock.toml").write_text(f"[providers.openai]\nembeddings_inputs = {PACKED}\n", "utf-8")


def lines(folder: Path, texts: list[str] = TEXTS) -> Path:
    """A file with a text a line."""
    path = folder / "in.txt"
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return path


@pytest.fixture
def sim() -> Any:
    with SimServer() as server:
        yield server


def test_texts_of_the_command_line_become_lines_of_json(tmp_path: Path, sim: SimServer) -> None:
    """In their order, on stdout."""
    ended = penstock("embed", "one text", "another", *MODEL, sim=sim, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [row["id"] for row in found] == [1, 2]
    assert {len(row["embedding"]) for row in found} == {8}


def test_json_has_vectors_usage_and_cost(tmp_path: Path, sim: SimServer) -> None:
    """In one object."""
    ended = penstock("embed", "one text", "one text", *MODEL, "--json", sim=sim, folder=tmp_path)
    found = json.loads(ended.stdout)
    assert found["requests"] == 1
    assert found["embeddings"][0] == found["embeddings"][1]
    assert found["usage"]["input"] > 0
    assert found["cost"] > 0
    assert found["dimensions"] == 8


def test_what_was_answered_before_a_refused_text_is_printed(tmp_path: Path) -> None:
    """It is paid; the error names the text."""
    with SimServer(SimConfig(embeddings=Embedding(poison="POISON"))) as sim:
        ended = penstock("embed", "one", "two", "three", "POISON", *MODEL, sim=sim, folder=tmp_path)
        assert sim.bill()["total_nano"] > 0
    assert ended.returncode == 65
    assert "the text at index 3 cannot be embedded" in ended.stderr
    assert [json.loads(line)["id"] for line in ended.stdout.splitlines()] == [1, 2, 3]


def test_lines_that_are_piped_in_are_texts(tmp_path: Path, sim: SimServer) -> None:
    """With their numbers; blank ones are none."""
    ended = penstock("embed", *MODEL, sim=sim, folder=tmp_path, stdin="one\n\ntwo\n")
    assert [json.loads(line)["id"] for line in ended.stdout.splitlines()] == [1, 3]


@pytest.mark.parametrize("form", ["jsonl", "csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_a_column_of_a_table_is_embedded(tmp_path: Path, sim: SimServer, form: str) -> None:
    """Each row keeps its id."""
    path = tmp_path / f"in.{form}"
    rows = [{"id": f"r{number}", "body": text} for number, text in enumerate(TEXTS[:20])]
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif form == "csv":
        path.write_text("id,body\n" + "".join(f"{row['id']},{row['body']}\n" for row in rows), "utf-8")
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(rows), path)
    ended = penstock("embed", "-f", path.name, "--column", "body", *MODEL, "-o", "out.jsonl", sim=sim, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert [row["id"] for row in results(tmp_path / "out.jsonl")] == [row["id"] for row in rows]
    assert sim.bill()["attempts"] == 1


@pytest.mark.slow
def test_numpy_parquet_and_json_hold_the_same_vectors(tmp_path: Path, sim: SimServer) -> None:
    """A NumPy array has its ids beside it."""
    numpy, parquet = pytest.importorskip("numpy"), pytest.importorskip("pyarrow.parquet")
    lines(tmp_path, TEXTS[:30])
    for output in ("out.jsonl", "out.npy", "out.parquet"):
        ended = penstock("embed", "-f", "in.txt", *MODEL, "-o", output, sim=sim, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
    plain = [row["embedding"] for row in results(tmp_path / "out.jsonl")]
    assert numpy.load(tmp_path / "out.npy").tolist() == plain
    assert [json.loads(line) for line in ids_path(tmp_path / "out.npy").read_text().splitlines()] == list(range(1, 31))
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("embedding").to_pylist() == plain
    assert table.column("id").to_pylist() == [str(number) for number in range(1, 31)]


def test_repeated_texts_are_paid_once_over_the_whole_job(tmp_path: Path) -> None:
    """Also where they are in other requests; each row has its vector, and the costs add up to the bill."""
    settings(tmp_path)
    lines(tmp_path, TEXTS[:120] * 3)
    with SimServer(small()) as sim:
        ended = penstock("embed", "-f", "in.txt", *MODEL, "-o", "out.jsonl", "--json", sim=sim, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert sim.bill()["attempts"] == 3
        paid = sim.bill()["total_nano"]
    found = results(tmp_path / "out.jsonl")
    assert [row["id"] for row in found] == list(range(1, 361))
    assert found[0]["embedding"] == found[120]["embedding"] == found[240]["embedding"]
    costs = [row["cost"] for row in results(vectors_journal(tmp_path / "out.jsonl"))]
    assert round(sum(costs) * 10**9) == paid
    assert round(json.loads(ended.stdout.splitlines()[-1])["cost"] * 10**9) == paid


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(0, marks=pytest.mark.slow, id="clean"),
        pytest.param(1, marks=pytest.mark.slow, id="end of line missing"),
        pytest.param(57, id="torn line"),
    ],
)
def test_a_killed_run_goes_on_and_pays_only_what_was_under_way(tmp_path: Path, torn: int) -> None:
    """After kill -9 the same command leaves every id once, and asks no text again whose vector was written."""
    settings(tmp_path)
    lines(tmp_path)
    job = ("embed", "-f", "in.txt", *MODEL, "-o", "out.jsonl", "--concurrency", "2")
    journal = vectors_journal(tmp_path / "out.jsonl")
    with SimServer(small()) as sim:
        program = start(*job, sim=sim, folder=tmp_path)
        wait_for_lines(program, journal, 2 * PACKED)
        program.kill()
        program.communicate()
        assert sim.settle()
        journal.write_bytes(journal.read_bytes()[: -torn or None])
        kept = journal.read_bytes().count(b"\n") + (torn == 1)
        before = sim.bill()["by_model"]["text-embedding-3-small"]["input_tokens"]
        again = penstock(*job, sim=sim, folder=tmp_path)
        assert again.returncode == 0, again.stderr
        paid = sim.bill()["by_model"]["text-embedding-3-small"]["input_tokens"] - before
        everything = penstock(
            *job[:5], "-m", "openai:text-embedding-3-large", "-o", "all.jsonl", sim=sim, folder=tmp_path
        )
        assert everything.returncode == 0, everything.stderr
        whole = sim.bill()["by_model"]["text-embedding-3-large"]["input_tokens"]
    assert [row["id"] for row in results(tmp_path / "out.jsonl")] == list(range(1, len(TEXTS) + 1))
    assert f"{kept:,} answered before" in again.stderr
    per_text = whole / len(TEXTS)
    assert abs(paid - per_text * (len(TEXTS) - kept)) < per_text


def test_ctrl_c_brings_home_what_is_under_way_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Nothing is paid for nothing; the same command does the rest."""
    settings(tmp_path)
    lines(tmp_path)
    job = ("embed", "-f", "in.txt", *MODEL, "-o", "out.jsonl", "--concurrency", "2")
    journal = vectors_journal(tmp_path / "out.jsonl")
    with SimServer(small()) as sim:
        program = start(*job, sim=sim, folder=tmp_path)
        wait_for_lines(program, journal, PACKED)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=WAIT_S)
        assert program.returncode == 130
        assert "penstock embed -f in.txt" in said
        assert "Traceback" not in said
        assert sim.bill()["attempts"] * PACKED == len(results(journal)) < len(TEXTS)
        assert not (tmp_path / "out.jsonl").exists()
        assert penstock(*job, sim=sim, folder=tmp_path).returncode == 0
        assert sim.bill()["attempts"] == len(TEXTS) // PACKED
    assert len(results(tmp_path / "out.jsonl")) == len(TEXTS)


def test_a_refused_text_fails_alone_and_is_handed_back(tmp_path: Path) -> None:
    """The others have their vectors; mended, it alone is asked."""
    settings(tmp_path)
    lines(tmp_path, [*TEXTS[:60], "POISON here", *TEXTS[60:100]])
    job = ("embed", "-f", "in.txt", *MODEL, "-o", "out.jsonl")
    with SimServer(small(poison="POISON")) as sim:
        ended = penstock(*job, sim=sim, folder=tmp_path)
        assert ended.returncode == 1
        assert "1 failed (1 invalid_request)" in ended.stderr
        assert [row["id"] for row in results(tmp_path / "out.jsonl")] == [n for n in range(1, 102) if n != 61]
        failed = results(tmp_path / "out.failed.jsonl")
        assert [(row["id"], row["text"]) for row in failed] == [(61, "POISON here")]
        lines(tmp_path, [*TEXTS[:60], "mended", *TEXTS[60:100]])
        before = sim.bill()["attempts"]
        assert penstock(*job, sim=sim, folder=tmp_path).returncode == 0
        assert sim.bill()["attempts"] == before + 1
    assert [row["id"] for row in results(tmp_path / "out.jsonl")] == list(range(1, 102))
    assert not (tmp_path / "out.failed.jsonl").exists()


@pytest.mark.slow
def test_a_budget_stops_the_run_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    """Never above the budget, what was paid by earlier runs included."""
    settings(tmp_path)
    lines(tmp_path)
    job = ("embed", "-f", "in.txt", *MODEL, "-o", "out.jsonl")
    with SimServer(small()) as sim:
        ended = penstock(*job, "--budget", "0.00006", sim=sim, folder=tmp_path)
        assert ended.returncode == 75
        assert "raise the budget" in ended.stderr
        assert 0 < sim.bill()["total_nano"] <= 60_000
        paid = sim.bill()["total_nano"]
        ended = penstock(*job, "--budget", "0.001", sim=sim, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "by earlier runs" in ended.stderr
        assert sim.bill()["total_nano"] > paid


@pytest.mark.parametrize(
    ("key", "words", "code"),
    [("bad-key", "Incorrect API key", 77), ("good", "to embed", 0)],
)
def test_a_refused_key_stops_the_run_with_nothing_recorded(tmp_path: Path, key: str, words: str, code: int) -> None:
    """The same command goes on once the key is mended."""
    lines(tmp_path, TEXTS[:10])
    with SimServer() as sim:
        ended = penstock(
            "embed", "-f", "in.txt", *MODEL, "-o", "out.jsonl", sim=sim, folder=tmp_path, OPENAI_API_KEY=key
        )
    assert ended.returncode == code
    assert words in ended.stderr
    assert (tmp_path / "out.jsonl").exists() is (code == 0)


@pytest.mark.slow
def test_passing_faults_are_asked_once_more(tmp_path: Path) -> None:
    """A server that fails for a while and a limit that is met lose no text."""
    settings(tmp_path)
    lines(tmp_path, TEXTS[:200])
    config = SimConfig(embeddings=Embedding(inputs=PACKED), limits={"openai": Limits(rpm=600, burst_requests=2)})
    with SimServer(config) as sim:
        sim.play('[[rule]]\nfault = { kind = "status", status = 500 }\ntimes = 2\n')
        ended = penstock("embed", "-f", "in.txt", *MODEL, "-o", "out.jsonl", sim=sim, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(results(tmp_path / "out.jsonl")) == 200


def test_bad_rows_are_named_before_anything_is_paid(tmp_path: Path, sim: SimServer) -> None:
    """By their lines; skipped, they fail alone."""
    (tmp_path / "in.csv").write_text("id,body\na,hello\nb,\nc,world\nd\n", "utf-8")
    job = ("embed", "-f", "in.csv", "--column", "body", *MODEL, "-o", "out.jsonl")
    ended = penstock(*job, sim=sim, folder=tmp_path)
    assert ended.returncode == 65
    assert "line 3: has an empty text in column 'body'" in ended.stderr
    assert sim.bill()["attempts"] == 0
    assert not (tmp_path / "out.jsonl.journal").exists()
    ended = penstock(*job, "--on-bad-row", "skip", sim=sim, folder=tmp_path)
    assert ended.returncode == 1
    assert [row["id"] for row in results(tmp_path / "out.jsonl")] == ["a", "c"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("embed", "x", "-m", "anthropic:claude-haiku-4-5"), 65, "anthropic offers no embeddings"),
        (("embed", "x", "-f", "in.txt", *MODEL), 64, "give one of them"),
        (("embed", "in.txt", *MODEL), 64, "'in.txt' is a file here; to embed what is in it write -f in.txt"),
        (("embed", "x", *MODEL, "-o", "out.xyz"), 78, "let it end with .jsonl, .parquet, .npy"),
        (("embed", "-f", "none.txt", *MODEL), 65, "cannot read none.txt"),
        (("embed", "-f", "in.txt", "--column", "body", *MODEL), 78, "has one text a line"),
        (("embed", "-f", "in.txt", *MODEL, "-o", "in.txt"), 78, "let it end with"),
        (("embed", "-f", "in.jsonl", *MODEL, "-o", "in.jsonl"), 65, "is also the input"),
        (("embed", "-f", "in.jsonl", "--column", "nobody", *MODEL), 65, "has no column 'nobody' (it has text)"),
        (("embed", "-f", "in.jsonl", *MODEL, "-o", "taken.jsonl"), 73, "is there already and is not of this job"),
        (("embed", "-f", "latin.txt", *MODEL), 65, "latin.txt line 2 is not UTF-8"),
    ],
)
def test_a_mistake_is_said_in_one_sentence(
    tmp_path: Path, sim: SimServer, args: tuple[str, ...], code: int, words: str
) -> None:
    """With nothing sent and nothing written."""
    lines(tmp_path, TEXTS[:3])
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n', "utf-8")
    (tmp_path / "taken.jsonl").write_text("mine\n", "utf-8")
    (tmp_path / "latin.txt").write_bytes(b"fine\nf\xe4n\n")
    ended = penstock(*args, sim=sim, folder=tmp_path)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sim.bill()["attempts"] == 0
    assert (tmp_path / "taken.jsonl").read_text() == "mine\n"


@pytest.mark.parametrize("form", ["npy", pytest.param("jsonl", marks=pytest.mark.slow),
                                  pytest.param("parquet", marks=pytest.mark.slow)])  # fmt: skip
def test_batch_status_knows_a_finished_job_of_vectors(tmp_path: Path, sim: SimServer, form: str) -> None:
    """How many texts have their vector, and what they cost; nothing is left to resume."""
    lines(tmp_path, TEXTS[:20])
    output = f"out.{form}"
    assert penstock("embed", "-f", "in.txt", *MODEL, "-o", output, sim=sim, folder=tmp_path).returncode == 0
    found = penstock("batch", "status", output, "--json", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert (told["state"], told["rows"], told["answered"], told["failed"], told["left"]) == ("done", 20, 20, 0, 0)
    assert round(told["cost"] * 10**9) == sim.bill()["total_nano"]
    assert told["models"] == {"openai:text-embedding-3-small": 20}
    resumed = penstock("batch", "resume", output, folder=tmp_path)
    assert "there is nothing to resume" in resumed.stderr


@pytest.mark.slow
def test_a_job_of_vectors_is_looked_at_cancelled_and_resumed_from_elsewhere(tmp_path: Path) -> None:
    """As one of answers is: the command that goes on is told, and `batch resume` is it."""
    settings(tmp_path)
    lines(tmp_path)
    with SimServer(SimConfig(embeddings=Embedding(inputs=PACKED), latency=Latency(first_token_s=0.5))) as sim:
        program = start(
            "embed", "-f", "in.txt", *MODEL, "-o", "out.npy", "--concurrency", "1", sim=sim, folder=tmp_path
        )
        wait_for_lines(program, vectors_journal(tmp_path / "out.npy"), PACKED)
        running = penstock("batch", "status", "out.npy", folder=tmp_path)
        assert "out.npy: running for" in running.stdout
        cancelled = penstock("batch", "cancel", "out.npy", folder=tmp_path)
        assert cancelled.returncode == 0, cancelled.stderr
        assert "penstock batch resume out.npy" in cancelled.stderr
        program.communicate(timeout=WAIT_S)
        stopped = penstock("batch", "status", "out.npy", folder=tmp_path).stdout
        assert "out.npy: stopped on request" in stopped
        assert "400:" in stopped
        assert "resume    penstock batch resume out.npy" in stopped
        assert not (tmp_path / "out.npy").exists()
        assert penstock("batch", "resume", "out.npy", sim=sim, folder=tmp_path).returncode == 0
        assert sim.bill()["attempts"] == len(TEXTS) // PACKED
    assert (tmp_path / "out.npy").exists()
    assert "out.npy: done" in penstock("batch", "status", "out.npy", folder=tmp_path).stdout


@pytest.mark.slow
def test_texts_that_were_piped_in_are_to_be_piped_in_again(tmp_path: Path) -> None:
    """`batch resume` has no way to them, and says the command that has."""
    settings(tmp_path)
    piped = "".join(f"{text}\n" for text in TEXTS)
    with SimServer(small(poison="number 7")) as sim:
        texts = piped.replace("ticket 7:", "number 7")
        failed = penstock("embed", *MODEL, "-o", "out.npy", sim=sim, folder=tmp_path, stdin=texts)
        assert failed.returncode != 0
        found = penstock("batch", "resume", "out.npy", sim=sim, folder=tmp_path)
    assert found.returncode == 65
    assert "penstock embed -m openai:text-embedding-3-small --dimensions 8 -o out.npy -f -" in found.stderr
