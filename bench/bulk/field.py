"""Who takes part, in which environment, and where each leaves its answers."""

import json
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from bench.processes import ROOT, VENV

BULK_VENV: Final = ROOT / ".venv-bench-bulk" / "bin" / "python"
CURATOR_VENV: Final = ROOT / ".venv-bench-bulk-curator" / "bin" / "python"
"""curator and lm-deluge ask for versions that exclude each other."""
OURS: Final = "penstock"
ASK_S: Final = 60.0


@dataclass
class Answers:
    """What a contestant left behind: rows with an answer, rows with an error, lines that nobody can read."""

    answered: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    twice: int = 0
    unreadable: int = 0

    def add(self, row: str, *, good: bool) -> None:
        """Count a row once; an answer beats an error."""
        if row in self.answered and good:
            self.twice += 1
        (self.answered if good else self.failed).add(row)
        self.failed -= self.answered


@dataclass(frozen=True)
class Contestant:
    """One tool. `rpm`, `tokens`, `anthropic` say what it can be told; `journal` is what it resumes from, as a glob."""

    name: str
    label: str
    package: str
    python: Path
    answers: str
    read: Callable[[Answers, Any], None]
    rpm: bool = True
    tokens: bool = False
    anthropic: bool = False
    journal: str = ""

    @property
    def module(self) -> str:
        """Its program."""
        return f"bench.bulk.contestants.{self.name}_"

    def answered(self, folder: Path) -> Answers:
        """Read what it left; a torn or foreign line counts as unreadable."""
        found = Answers()
        path = folder / self.answers
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                self.read(found, json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError):
                found.unreadable += 1
        return found


def row_id(number: int) -> str:
    """The id of a row by its place in the file, from 0."""
    return f"r{number:06d}"


def of_penstock(found: Answers, line: Any) -> None:
    found.add(line["id"], good=line["error"] is None)


def of_flexllm(found: Answers, line: Any) -> None:
    if "index" in line:
        found.add(row_id(line["index"]), good=line["status"] == "success")


def of_cookbook(found: Answers, line: Any) -> None:
    found.add(line[2]["row"], good=isinstance(line[1], dict))


def of_async_batch_llm(found: Answers, line: Any) -> None:
    if line["record_type"] == "item":
        found.add(line["item_id"], good=line["result"]["error"] is None)


def of_memory(found: Answers, line: Any) -> None:
    found.add(line["id"], good=line["text"] is not None)


EVERYBODY: Final = (
    Contestant(
        OURS, "Penstock", "penstock", VENV, "penstock.jsonl", of_penstock,
        tokens=True, anthropic=True, journal="penstock.jsonl",
    ),
    Contestant(
        "curator", "curator", "bespokelabs-curator", CURATOR_VENV, "answers.jsonl", of_memory,
        tokens=True, anthropic=True, journal="cache/*/responses_0.jsonl",
    ),
    Contestant(
        "async_batch_llm", "async-batch-llm", "async-batch-llm", BULK_VENV, "artifacts.jsonl", of_async_batch_llm,
        tokens=True, journal="artifacts.jsonl",
    ),
    Contestant("flexllm", "flexllm", "flexllm", BULK_VENV, "flexllm.jsonl", of_flexllm, journal="flexllm.jsonl"),
    Contestant(
        "lm_deluge", "lm-deluge", "lm-deluge", BULK_VENV, "answers.jsonl", of_memory, tokens=True, anthropic=True
    ),
    Contestant("langchain", "LangChain abatch", "langchain-openai", BULK_VENV, "answers.jsonl", of_memory),
    Contestant("cookbook", "cookbook script", "aiohttp", VENV, "cookbook.jsonl", of_cookbook, tokens=True),
)  # fmt: skip


@cache
def version_of(contestant: Contestant) -> str:
    """The version that is installed, empty when there is none."""
    if not contestant.python.exists():
        return ""
    ask = f"from importlib.metadata import version; print(version({contestant.package!r}))"
    done = subprocess.run([contestant.python, "-c", ask], capture_output=True, text=True, timeout=ASK_S, check=False)
    return done.stdout.strip()


def absent(everybody: Iterable[Contestant]) -> dict[str, str]:
    """Who cannot take part, with the reason."""
    found = {}
    for each in everybody:
        if not each.python.exists():
            found[each.name] = f"{each.python.relative_to(ROOT)} does not exist; run make bench-bulk"
        elif not version_of(each):
            found[each.name] = f"{each.package} is not installed in {each.python.parent.parent.name}"
    return found
