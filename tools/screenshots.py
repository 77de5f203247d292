"""Take the pictures of the cost page that the documentation shows, from a ledger that differs in its dates only.

.venv/bin/python tools/screenshots.py; it looks best where the font Inter is installed (Debian, Ubuntu: fonts-inter).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tools.chromium import dashboard, launched  # noqa: E402
from tools.seeded_ledger import seed  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
BYTES_MAX = 300_000
DESK = {"width": 1280, "height": 800}
TALL = {"width": 1280, "height": 1160}
PHONE = {"width": 390, "height": 844}


class Shot(NamedTuple):
    """A picture: its file, the screen, what is asked for, and what is done before it is taken."""

    name: str
    query: str = ""
    screen: dict[str, int] = DESK
    scheme: str = "light"
    before: Callable[[Page], object] | None = None


def open_last(page: Page) -> None:
    """Open the last call, which had to be tried again."""
    page.check("input[value=latest]")
    page.locator("#calls tbody button").first.click()
    page.wait_for_selector("#sheet h3")


SHOTS = (
    Shot("cost-page.png", screen=TALL),
    Shot("cost-page-dark.png", query="?period=7d", scheme="dark"),
    Shot("cost-page-call.png", before=open_last),
    Shot("cost-page-phone.png", screen=PHONE),
)


def take(browser: Browser, url: str, shot: Shot, folder: Path) -> int:
    """Take one picture and return its size in bytes."""
    options: dict[str, Any] = {"viewport": shot.screen, "color_scheme": shot.scheme, "reduced_motion": "reduce"}
    context = browser.new_context(**options)
    page = context.new_page()
    page.goto(url + shot.query)
    page.wait_for_selector("#cards .card")
    if shot.before is not None:
        shot.before(page)
    page.evaluate("document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => done(true))))")
    path = folder / shot.name
    page.screenshot(path=path)
    context.close()
    return path.stat().st_size


def main(args: list[str] | None = None) -> int:
    """Take all of them; 1 when one is larger than a picture of the documentation may be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--to", type=Path, default=PICTURES, metavar="FOLDER")
    folder = parser.parse_args(args).to
    folder.mkdir(parents=True, exist_ok=True)
    large = 0
    with tempfile.TemporaryDirectory() as home, launched() as browser:
        ledger = Path(home) / "ledger.db"
        seed(ledger, now_s=time.time())
        with dashboard(ledger) as url:
            for shot in SHOTS:
                size = take(browser, url, shot, folder)
                large += size > BYTES_MAX
                print(f"{size:>8,} bytes  {folder / shot.name}")
    return int(large > 0)


if __name__ == "__main__":
    sys.exit(main())
