"""The list of who owns what in CONTRIBUTING.md is that of the files that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SRC = ROOT / "src" / "penstock"
ROWS = re.findall(r"^\| `([\w./]+)` \| (.+?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
PLACES = {place for place, _ in ROWS}


def test_every_place_has_an_owner_and_every_owner_a_place() -> None:
    """A new module or folder of the package is put on the list, and a removed one is taken off."""
    here = {path.name for path in SRC.glob("*.py")}
    here |= {f"{path.name}/" for path in SRC.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert here - PLACES == set()
    assert [place for place in PLACES - here if not (ROOT / place).is_dir()] == []


def test_every_file_that_an_owner_names_exists() -> None:
    """Also after a move."""
    named = [
        (SRC / place if (SRC / place).is_dir() else ROOT / place, name)
        for place, owns in ROWS
        for name in re.findall(r"`([\w*]+\.(?:py|toml|json))`", owns)
    ]
    assert named
    assert [f"{home}/{name}" for home, name in named if home.is_dir() and not list(home.glob(name))] == []
