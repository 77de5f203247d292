"""Every code block of the README and of docs/ works as written.

Python blocks run as programs and shell blocks as commands, each by itself, in an empty folder beside `examples/`, with
the keys and base URLs of a running simulator. A shell block that shows a session runs its `$` lines; the other lines
show output and are not compared. TOML and JSON blocks must parse. A block that cannot run says why in a comment right
above it: `<!-- not run: needs a real key -->`.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock import Client
from penstock.sim import SimServer

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 60

BLOCK = re.compile(
    r"(?P<excuse><!-- not run: [^\n]+ -->\n+)?^```(?P<language>[a-z]+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
SHELL = {"console", "bash", "sh", "shell"}


@dataclass(frozen=True)
class Block:
    """One fenced block: where it starts, what it is, what it says."""

    page: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page that must work."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        if not match["excuse"]:
            line = text.count("\n", 0, match.start("language")) + 1
            yield Block(page, line, match["language"], match["code"])


def commands_of(code: str) -> str:
    """A shell block as a script: the `$` lines of a session with their continuations, or all of it."""
    if not re.search(r"^\$ ", code, re.MULTILINE):
        return code
    return "\n".join(re.findall(r"^\$ ((?:.*\\\n)*.*)", code, re.MULTILINE))


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUNNABLE = [
    pytest.param(block, id=str(block), marks=() if block.page.parent == ROOT else pytest.mark.slow)
    for block in BLOCKS
    if block.language in {"python", *SHELL}
]
PARSED = [block for block in BLOCKS if block.language in {"toml", "json"}]


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    """The base URL of a simulator that answers all blocks."""
    with SimServer() as sim:
        yield sim.url


@pytest.mark.parametrize("block", RUNNABLE)
def test_a_block_runs(block: Block, simulator_url: str, tmp_path: Path) -> None:
    """The block exits with 0, as a reader who copies it expects."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_API_KEY": "sim-docs",
        "OPENAI_BASE_URL": f"{simulator_url}/v1",
        "ANTHROPIC_API_KEY": "sim-docs",
        "ANTHROPIC_BASE_URL": simulator_url,
        "PENSTOCK_HOME": str(tmp_path / "state"),
        "CO_API_KEY": "sim-docs",
        "CO_API_URL": simulator_url,
        "GEMINI_API_KEY": "sim-docs",
        "GOOGLE_GEMINI_BASE_URL": simulator_url,
    }
    command = ["sh", "-ec", commands_of(block.code)] if block.language in SHELL else [sys.executable, "-c", block.code]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{block} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", PARSED, ids=str)
def test_a_block_of_data_parses(block: Block) -> None:
    """Settings and rows that a reader copies are well formed."""
    if block.language == "toml":
        tomllib.loads(block.code)
    else:
        json.loads(block.code)


SETTINGS = [block for block in PARSED if block.language == "toml" and block.page.name != "simulator.md"]


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_a_block_of_settings_is_accepted(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page shows of penstock.toml has no unknown field and no wrong value."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "penstock.toml"
    file.write_text(block.code, encoding="utf-8")
    with Client(config=file, env={}):
        pass


def test_a_session_runs_only_what_was_typed() -> None:
    """Output lines of a shown session are not commands; continued lines are."""
    session = "$ penstock ask \\\n    hello\nHello!\n$ penstock models\nopenai:gpt\n"
    assert commands_of(session) == "penstock ask \\\n    hello\npenstock models"


def test_a_block_with_a_reason_is_left_out(tmp_path: Path) -> None:
    """Only the comment right above a block excuses it."""
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs a key -->\n```python\nleft\n```\n\n```python\nkept\n```\n", encoding="utf-8")
    assert [(block.line, block.code) for block in blocks_of(page)] == [(6, "kept\n")]


def test_links_between_pages_lead_somewhere() -> None:
    """A relative link in a page names a file of the project."""
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken, "Links to nothing:\n" + "\n".join(broken)
