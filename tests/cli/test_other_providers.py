"""Commands with models of Cohere and Gemini, whose addresses and keys come from the variables of their own SDKs."""

from __future__ import annotations

import json
from pathlib import Path

from penstock.sim import SimServer
from tests.cli.terminal import penstock, results, write_rows


def test_gemini_answers_ask(tmp_path: Path) -> None:
    """Plainly, and as it comes."""
    with SimServer() as sim:
        plain = penstock("ask", "Error or not? ERROR [db]", "-m", "gemini:gemini-2.5-flash", sim=sim, folder=tmp_path)
        streamed = penstock(
            "ask", "--stream", "Error or not? ERROR [db]", "-m", "gemini-2.5-flash", sim=sim, folder=tmp_path
        )
        assert [entry["stream"] for entry in sim.log()] == [False, True]
    assert (plain.returncode, plain.stdout, plain.stderr) == (0, "Error\n", "")
    assert (streamed.returncode, streamed.stdout) == (0, plain.stdout)


def test_cohere_answers_a_bulk_run(tmp_path: Path) -> None:
    """Every row once, at the price of the bill."""
    write_rows(tmp_path / "in.jsonl", 12)
    job = ("batch", "run", "in.jsonl", "-o", "out.jsonl", "--prompt", "Error or not? {log}", "--json")
    with SimServer() as sim:
        ended = penstock(*job, "-m", "cohere:command-a-03-2025", sim=sim, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        bill = sim.bill()
    rows = results(tmp_path / "out.jsonl")
    assert len(rows) == bill["attempts"] == 12
    assert all(row["error"] is None for row in rows)
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert round(float(summary["cost"]) * 1e9) == bill["total_nano"]


def test_cohere_embeds_for_a_purpose(tmp_path: Path) -> None:
    """Which the command line must name."""
    with SimServer() as sim:
        bare = penstock("embed", "a text", "-m", "cohere:embed-v4.0", sim=sim, folder=tmp_path)
        told = penstock(
            "embed", "a text", "-m", "cohere:embed-v4.0", "--input-type", "search_query", sim=sim, folder=tmp_path
        )
        assert sim.bill()["attempts"] == 1
    assert bare.returncode == 65
    assert "give input_type=" in bare.stderr
    assert (told.returncode, len(json.loads(told.stdout)["embedding"])) == (0, 1536)
