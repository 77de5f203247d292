"""The files of the page: complete, from nowhere else, and the library among them the one that was checked in."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import penstock.dashboard
from penstock.dashboard.asked import PERIODS

STATIC = Path(penstock.dashboard.__file__).parent / "static"
OURS = [path for path in sorted(STATIC.rglob("*")) if path.is_file() and "vendor" not in path.parts]
PAGES = [path for path in OURS if path.suffix == ".html"]
MODULES = [path for path in OURS if path.suffix == ".js"]

# docs/howto/see-what-it-costs.md says how to update it. npm's dist.integrity of the package it is from:
# sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==
UPLOT = "1.6.32"
UPLOT_SHA256 = {
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


def test_the_chart_library_is_the_one_that_was_checked_in() -> None:
    """Its files, byte by byte, its version and its licence."""
    folder = STATIC / "vendor" / "uplot"
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert found == UPLOT_SHA256
    assert f"uPlot (v{UPLOT})" in (folder / "uPlot.iife.min.js").read_text(encoding="utf-8")[:200]
    assert "MIT License" in (folder / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*PAGES, *MODULES, STATIC / "page.css"], ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    """No address of another server in anything that is loaded."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text) == []
    assert "url(" not in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_no_script_or_style_of_its_own(path: Path) -> None:
    """The policy of the server forbids them, and a page that relied on them would break."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", text) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_module_makes_markup_of_text(path: Path) -> None:
    """What a model or a tag is called is never markup."""
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text("utf-8")) == []


def test_every_file_that_is_named_exists_and_every_module_is_named() -> None:
    """The page names all modules, so that none is found late."""
    index = (STATIC / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:href|src)="([\w./-]+)"', index))
    assert {name for name in named if not (STATIC / name).is_file()} == set()
    assert {path.name for path in MODULES} == {name for name in named if name.endswith(".js") and "/" not in name}
    for path in MODULES:
        imported = re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8"))
        assert {name for name in imported if not (STATIC / name).is_file()} == set()


def test_the_page_offers_the_periods_that_the_server_knows() -> None:
    """In its order."""
    index = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'name="period" value="(\w+)"', index) == list(PERIODS)


def test_the_page_is_small() -> None:
    """It is there at once over a slow tunnel, too."""
    sizes = {str(path.relative_to(STATIC)): path.stat().st_size for path in STATIC.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 200_000, sizes
