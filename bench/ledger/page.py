"""The cost page on a large ledger, in a real Chromium: how soon it is drawn, and how soon a commit is on the screen.

By itself: python -m bench.ledger.page LEDGER (calls are added to it, so it should be a copy).
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from tools.chromium import dashboard, launched

from penstock._io.ledger.settings import Ledger
from penstock._io.ledger.writer import LedgerWriter
from penstock.events import AttemptEnded, CallEnded
from penstock.types import Usage

FIRST_PAINT_MAX_S = 1.0
UPDATE_MAX_S = 0.2
OPENED = 5
COMMITS = 20
WAITS_MS = 30_000

# The mark is set when everything is drawn; the frame after next is on the screen.
ON_SCREEN = """() => new Promise((done) => {
  const look = () => (performance.getEntriesByName("drawn").length
    ? requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))) : setTimeout(look, 1));
  look();
})"""
CALLS = (
    '[...document.querySelectorAll(".card")].find((e) => e.textContent.startsWith("Calls")).querySelector(".big").title'
)
WATCH = f"""() => {{
  let before = {CALLS};
  window.seen = [];
  new MutationObserver(() => {{
    const now = {CALLS};
    if (now !== before) {{
      before = now;
      const shown = () => window.seen.push(performance.timeOrigin + performance.now());
      requestAnimationFrame(() => requestAnimationFrame(shown));
    }}
  }}).observe(document.getElementById("cards"), {{ childList: true, subtree: true, attributes: true }});
}}"""
SEEN = f"""(count) => new Promise((done, give_up) => {{
  const until = performance.now() + {WAITS_MS};
  const look = () => (window.seen.length >= count ? done(window.seen[count - 1])
    : performance.now() > until ? give_up(new Error("the call did not appear")) : setTimeout(look, 2));
  look();
}})"""


def measure(ledger: str | os.PathLike[str]) -> dict[str, float]:
    """The figures, in seconds; `ledger` gets some more calls.

    First paint is from the navigation to the frame that shows all figures and charts, by a server that has just begun
    and a browser with nothing in its cache. An update is from before a call is given to the ledger's writer to the
    frame that shows it.
    """
    path = os.fspath(Path(ledger).absolute())
    with launched() as browser:
        paints = [_first_paint(browser, path) for _ in range(OPENED)]
        updates = _updates(browser, path)
    return {
        "page_first_paint_s": statistics.median(paints),
        "page_first_paint_max_s": max(paints),
        "page_update_s": statistics.median(updates),
        "page_update_p95_s": sorted(updates)[int(len(updates) * 0.95)],
    }


def _first_paint(browser: Browser, path: str) -> float:
    with dashboard(path) as url:
        context = browser.new_context()
        page = _opened(context.new_page(), url)
        painted_ms: float = page.evaluate(ON_SCREEN)
        context.close()
    return painted_ms / 1000


def _opened(page: Page, url: str) -> Page:
    page.set_default_timeout(WAITS_MS)
    page.goto(url, wait_until="commit")
    return page


def _updates(browser: Browser, path: str) -> list[float]:
    writer = LedgerWriter(Ledger(path=path, interval_s=0.01, keep_days=None), path)
    took = []
    with dashboard(path) as url:
        page = _opened(browser.new_page(), url)
        page.evaluate(ON_SCREEN)
        page.evaluate(WATCH)
        for number in range(COMMITS):
            begun_s = time.time()
            for event in _call(number, begun_s):
                writer.post(event)
            seen_ms: float = page.evaluate(SEEN, number + 1)
            took.append(seen_ms / 1000 - begun_s)
            page.wait_for_timeout(37 * (number % 7))  # so that commits meet the server's polls at any phase
        page.close()
    writer.settle()
    return took


def _call(number: int, at_s: float) -> list[Any]:
    same: dict[str, Any] = {
        "call_id": f"page-{at_s:.3f}-{number}",
        "operation": "complete",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "outcome": "ok",
        "at_s": at_s,
        "latency_s": 1.2,
        "wait_s": 0.0,
        "tags": {},
        "status": 200,
        "usage": Usage(input=900, output=120),
        "cost_nano": 207_000,
    }
    lane = "openai:gpt-4o-mini"
    return [
        AttemptEnded(number=1, wire="openai_chat", lane=lane, sent=True, **same),
        CallEnded(asked=lane, attempts=1, **same),
    ]


def main(args: list[str]) -> int:
    """Measure one ledger and print the figures as JSON; 1 when a promise is missed."""
    if len(args) != 1:
        print("usage: python -m bench.ledger.page LEDGER", file=sys.stderr)
        return 64
    found = measure(args[0])
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=2))
    return int(found["page_first_paint_s"] > FIRST_PAINT_MAX_S or found["page_update_s"] > UPDATE_MAX_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
