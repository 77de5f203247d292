"""`penstock rerank` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.sim import SimServer
from tests.cli.terminal import penstock

MODEL = ("-m", "cohere:rerank-v3.5")
LINES = "a cat on a mat\n\nthe database refused the connection\n"


def test_documents_are_printed_best_first(tmp_path: Path) -> None:
    """With their scores; from a file, from stdin, or as arguments."""
    (tmp_path / "docs.txt").write_text(LINES, "utf-8")
    query = "why did the database refuse?"
    with SimServer() as sim:
        of_file = penstock("rerank", query, "-f", "docs.txt", "-n", "1", *MODEL, sim=sim, folder=tmp_path)
        piped = penstock("rerank", query, *MODEL, "--json", sim=sim, folder=tmp_path, stdin=LINES)
        assert sim.bill()["attempts"] == 2
    assert (of_file.returncode, of_file.stderr) == (0, "")
    score, _, text = of_file.stdout.strip().partition("  ")
    assert (0 < float(score) < 1, text) == (True, "the database refused the connection")
    told = json.loads(piped.stdout)
    assert [result["index"] for result in told["results"]] == [1, 0]
    assert (told["model"], told["search_units"], told["cost"]) == ("cohere:rerank-v3.5", 1, None)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("q", "a", "-f", "x", *MODEL), 64, "there are documents and a file"),
        (("q", "-f", "missing.txt", *MODEL), 65, "cannot read missing.txt"),
        (("q", "-f", "bytes.txt", *MODEL), 65, "bytes.txt is not text in UTF-8"),
        (("q", "-f", "-", *MODEL), 65, "the list of documents is empty"),
        (("q", "a", "-m", "openai:gpt-4o"), 65, "offers no ranking of documents"),
        (("q", "a", "--budget", "1", *MODEL), 75, "budget"),
    ],
)
def test_what_cannot_be_ranked_is_said(tmp_path: Path, args: tuple[str, ...], code: int, words: str) -> None:
    """In one sentence, with a sensible exit code."""
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    with SimServer() as sim:
        ended = penstock("rerank", *args, sim=sim, folder=tmp_path)
        assert sim.bill()["attempts"] == 0
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode == code
