"""The page in a real Chromium: it loads, lives, filters, opens calls, obeys the keyboard and is readable for all."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from penstock._io.ledger.schema import open_to_write
from penstock.dashboard import serve
from tests.dashboard.browser import a_browser
from tests.dashboard.served import served
from tests.dashboard.writing import USD, events, write

pytestmark = pytest.mark.slow

PATIENCE_MS = 8_000
DRAWN_SINCE = """(count) => new Promise((done) => {
  const look = () => (performance.getEntriesByName("drawn").length > count ? done() : setTimeout(look, 2));
  look();
})"""
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    yield from a_browser()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new profile, as wide as a desk's screen."""
    context = browser.new_context(viewport=DESK)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


class Watch:
    """What a page complained of and asked for."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.hosts.add(re.sub(r"^(\w+://[^/]+).*", r"\1", request.url)))


@pytest.fixture
def shown(context: BrowserContext, ledger: Path) -> Iterator[tuple[Page, serve.Page]]:
    """The page of the seeded ledger, drawn; at the end it must not have complained nor asked anyone else."""
    with served(ledger) as server:
        page = context.new_page()
        watch = Watch(page)
        page.goto(f"{server.url}?period=all")
        expect(page.locator("#cards .card")).to_have_count(6)
        yield page, server
        page.close()
    assert watch.complaints == []
    assert watch.hosts == {server.url.rstrip("/")}


def card(page: Page, title: str) -> str:
    """What a big number says."""
    return page.locator(".card", has_text=title).locator(".big").inner_text()


def calls_of(page: Page) -> int:
    """How many calls the page shows."""
    return int(page.locator(".card", has_text=re.compile("^Calls")).locator(".big").get_attribute("title") or "")


def test_the_page_shows_every_part(shown: tuple[Page, serve.Page]) -> None:
    """Figures, charts with something in them, budgets, lanes and calls; nothing else is asked for."""
    page, _ = shown
    assert calls_of(page) == 121
    assert card(page, "Spend today").startswith("$")
    for chart in ("spend", "tokens", "latency", "errors"):
        assert page.locator(f"#{chart} canvas").count() == 1
        assert page.evaluate(
            """(id) => { const canvas = document.querySelector(`#${id} canvas`);
               const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
               return new Set(new Uint32Array(data.buffer)).size > 3; }""",
            chart,
        ), chart
    assert page.locator("#budgets [role=meter]").count() >= 3
    assert page.locator("#lanes tbody tr").count() == 3
    assert page.locator("#calls tbody tr").count() == 12
    expect(page.locator("#live-word")).to_have_text("Live")
    assert "today" in page.title()


def test_a_commit_is_on_the_screen_without_a_reload(shown: tuple[Page, serve.Page], ledger: Path) -> None:
    """Numbers, lists and the title; the announcer stays silent, as nobody asked."""
    page, _ = shown
    write(ledger, events("brand-new", cost_nano=1234 * USD))
    expect(page.locator(".card", has_text=re.compile("^Calls")).locator(".big")).to_have_attribute("title", "122")
    expect(page.locator("#calls tbody tr").first).to_contain_text("$1,234")
    assert "$1,23" in card(page, "Spend today")
    assert page.locator("#said").inner_text() == ""


def test_an_update_is_drawn_within_200_ms_of_its_commit(shown: tuple[Page, serve.Page], ledger: Path) -> None:
    """The best of some, as this machine does other things as well; the figure with 10 million rows is the bench's."""
    page, _ = shown
    took = []
    for number in range(5):
        drawn = page.evaluate("performance.getEntriesByName('drawn').length")
        write(ledger, events(f"new-{number}"))
        begun = time.monotonic()
        page.evaluate(DRAWN_SINCE, drawn)
        took.append(time.monotonic() - begun)
    assert min(took) <= 0.2, took


def test_filters_narrow_the_page_and_are_in_its_address(shown: tuple[Page, serve.Page]) -> None:
    """By period, model and tag, by hand and by legend; back and reload keep them; what is shown is announced."""
    page, server = shown
    everything = calls_of(page)
    page.select_option("#model", "openai:gpt-5-mini")
    expect(page.locator("#said")).to_contain_text("openai:gpt-5-mini")
    narrowed = calls_of(page)
    assert 0 < narrowed < everything
    page.select_option("#tag", "team=search")
    expect(page.locator("#said")).to_contain_text("team=search")
    assert 0 < calls_of(page) < narrowed
    assert page.url == f"{server.url}?period=all&model=openai%3Agpt-5-mini&tag=team%3Dsearch"
    page.reload()
    expect(page.locator("#tag")).to_have_value("team=search")
    expect(page.locator("#cards .card")).to_have_count(6)
    assert 0 < calls_of(page) < narrowed
    page.go_back()
    expect(page.locator(".card", has_text=re.compile("^Calls")).locator(".big")).to_have_attribute(
        "title", str(narrowed)
    )
    page.click("#clear")
    expect(page.locator(".card", has_text=re.compile("^Calls")).locator(".big")).to_have_attribute(
        "title", str(everything)
    )
    page.click("#spend .legend button >> nth=0")
    expect(page.locator("#model")).not_to_have_value("")
    page.check("input[value='7d']")
    expect(page.locator(".card", has_text="Spend, last 7 days")).to_be_visible()


def test_a_call_opens_with_its_attempts(shown: tuple[Page, serve.Page]) -> None:
    """By a click and by its address; Escape closes it and gives the focus back."""
    page, _ = shown
    page.check("input[value=failed]")
    row = page.locator("#calls tbody button").first
    row.click()
    sheet = page.locator("#sheet")
    expect(sheet.locator("h3")).to_contain_text("attempt")
    tries = int(sheet.locator("h3").inner_text().split()[0])
    assert sheet.locator("tbody tr").count() == sheet.locator(".waterfall li").count() == tries
    assert "NaN" not in sheet.inner_text()
    assert "undefined" not in sheet.inner_text()
    assert "#call=" in page.url
    page.keyboard.press("Escape")
    expect(sheet).not_to_be_visible()
    expect(row).to_be_focused()


def test_a_tag_of_a_call_leads_to_the_calls_that_have_it(shown: tuple[Page, serve.Page]) -> None:
    """Also to those of its task, which no menu has."""
    page, _ = shown
    page.check("input[value=latest]")
    task = page.locator("#calls .tag", has_text="task=").first.inner_text()
    page.locator("#calls tbody tr", has_text=task).locator("button").click()
    page.locator("#sheet .tag", has_text=task).click()
    expect(page.locator("#sheet")).not_to_be_visible()
    expect(page.locator("#tag")).to_have_value(task)
    expect(page.locator("#calls tbody tr")).to_have_count(1)
    assert calls_of(page) == 1


def test_of_a_lane_that_is_silent_nothing_is_claimed(context: BrowserContext, ledger: Path) -> None:
    """When it was heard of is said; what it did then may be over."""
    db = open_to_write(str(ledger))
    db.execute("UPDATE state SET at_ms = ?", (int(time.time() - 60) * 1000,))
    db.close()
    with served(ledger) as server:
        page = context.new_page()
        page.goto(server.url)
        lane = page.locator("#lanes tbody tr", has_text="openai:gpt-5-mini")
        expect(lane.locator(".pill")).to_contain_text("Seen 1 min ago")
        assert lane.locator("td").all_inner_texts()[1:] == ["–", "–", "–"]
        page.close()


def test_a_call_that_is_not_there_says_so(context: BrowserContext, seeded: Path) -> None:
    """As the address of one that is no longer kept."""
    with served(seeded) as server:
        page = context.new_page()
        page.goto(f"{server.url}#call=no-such-call")
        expect(page.locator("#sheet .banner")).to_contain_text("has no call 'no-such-call'")
        page.close()


def test_the_keyboard_reaches_everything(shown: tuple[Page, serve.Page]) -> None:
    """In the order of the page: skip link, theme, filters, charts and their tables, calls; each visibly focused."""
    page, _ = shown
    seen: list[str] = []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the figures"
    for _ in range(60):
        page.keyboard.press("Tab")
        name, ring = page.evaluate(
            """() => { const at = document.activeElement; const seen = at.matches("input") ? at.nextElementSibling : at;
               const style = getComputedStyle(seen);
               return [at.id || at.name || at.getAttribute("aria-label") || at.textContent, style.outlineStyle]; }"""
        )
        seen.append(name)
        assert ring != "none" or name in {"", None}, name
        if re.match(r"\w{3} \d+ \w{3}, ", name or ""):
            break
    text = "\n".join(seen)
    for wanted in ("theme", "period", "model", "tag", "spend-by", "Spend by model.", "Show as a table", "latency-of",
                   "Errors and 429s.", "Lanes", "calls-sort"):  # fmt: skip
        assert wanted in text, wanted
    page.keyboard.press("Enter")
    expect(page.locator("#sheet")).to_be_visible()


def test_a_chart_is_read_by_the_arrow_keys_and_as_a_table(shown: tuple[Page, serve.Page]) -> None:
    """What the picture shows is said in words, and only to whoever asks."""
    page, _ = shown
    plot = page.locator("#spend .plot")
    plot.focus()
    page.keyboard.press("End")
    said = page.locator("#spend [role=status]")
    last = said.inner_text()
    assert "$" in last
    page.keyboard.press("ArrowLeft")
    assert said.inner_text() != last
    expect(page.locator("#spend .tip")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#spend .tip")).not_to_be_visible()
    page.click("#spend summary")
    rows = page.locator("#spend table tbody tr")
    assert rows.count() >= 12
    assert rows.first.locator("td").first.inner_text() in last
    page.check("input[value=first_token]")
    expect(page.locator("#latency .panel-sub")).to_contain_text("first token")


def test_numbers_and_times_are_written_alike(shown: tuple[Page, serve.Page]) -> None:
    """As many digits below each other, axes without idle zeros, and another year is said."""
    page, _ = shown
    written = page.evaluate(
        """async () => { const { money, moment, rounded } = await import("/format.js");
           const then = new Date(2001, 5, 4, 12, 30).getTime() / 1000;
           return [money(380_000), money(1_500_000_000), rounded(money(10_000_000)), rounded(money(25_000_000)),
             rounded(money(2_000_000_000)), moment(then), moment(Date.now() / 1000)]; }"""
    )
    *amounts, then, now = written
    assert amounts == ["$0.000380", "$1.50", "$0.01", "$0.025", "$2"]
    assert then == "4 Jun 2001, 12:30:00"
    assert re.fullmatch(r"\w{3} \d+ \w{3,4}, [\d:]{8}", now)


def test_it_is_dark_where_the_system_is_and_where_one_wants_it(browser: Browser, seeded: Path) -> None:
    """The switch wins over the system and is kept; charts are drawn in the colours of the theme."""
    with served(seeded) as server:
        context = browser.new_context(color_scheme="dark")
        page = context.new_page()
        page.goto(server.url)
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(14, 17, 22)"
        expect(page.locator("#theme")).to_have_attribute("aria-checked", "true")
        page.click("#theme")
        assert page.evaluate(ground) == "rgb(245, 246, 248)"
        page.reload()
        assert page.evaluate(ground) == "rgb(245, 246, 248)"
        page.click("#theme")
        assert page.evaluate(ground) == "rgb(14, 17, 22)"
        assert page.evaluate("localStorage.getItem('penstock-theme')") is None
        context.close()


def test_it_fits_a_phone(browser: Browser, seeded: Path) -> None:
    """Nothing sticks out at the side; what a call cost is on the screen, and a screen reader still finds a table."""
    with served(seeded) as server:
        context = browser.new_context(viewport=PHONE, device_scale_factor=2)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(server.url)
        expect(page.locator("#cards .card")).to_have_count(6)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for part in ("#calls [data-column=Cost]", "#calls [data-column=Result]", "#lanes [data-column=State]"):
            box = page.locator(part).last.bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= PHONE["width"], part
        assert page.get_by_role("table", name="Dearest calls").get_by_role("row").count() == 13
        page.locator("#calls tbody button").first.click()
        expect(page.locator("#sheet h3")).to_be_visible()
        assert page.evaluate("document.getElementById('sheet').getBoundingClientRect().width") <= PHONE["width"]
        context.close()


def test_an_empty_ledger_says_how_to_fill_it_and_fills(context: BrowserContext, tmp_path: Path) -> None:
    """The first call appears by itself; a filter that nothing fits says so."""
    path = tmp_path / "ledger.db"
    open_to_write(str(path)).close()
    with served(path) as server:
        page = context.new_page()
        page.goto(server.url)
        expect(page.locator("#empty")).to_contain_text("No calls yet")
        expect(page.locator("#empty")).to_contain_text("penstock ask")
        write(path, events("first"))
        expect(page.locator("#cards .card")).to_have_count(6)
        page.goto(f"{server.url}?model=nobody:nothing")
        expect(page.locator("#empty")).to_contain_text("No call fits these filters")
        page.click("text=Show all calls")
        expect(page.locator("#cards .card")).to_have_count(6)
        page.close()


def test_trouble_is_said_and_gone_when_it_is_over(
    context: BrowserContext, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger goes away, and comes back; a question that cannot be asked; the server ends."""
    monkeypatch.setattr("penstock.dashboard.desk.CHECKED_S", 0.05)
    monkeypatch.setattr("penstock.dashboard.feed.AGAIN_S", 0.05)
    with served(ledger) as server:
        page = context.new_page()
        page.goto(server.url)
        expect(page.locator("#live-word")).to_have_text("Live")
        os.rename(ledger, tmp_path / "away.db")
        expect(page.locator("#trouble")).to_contain_text("there is no ledger at")
        expect(page.locator("#live-word")).to_have_text("No data")
        os.rename(tmp_path / "away.db", ledger)
        expect(page.locator("#live-word")).to_have_text("Live")
        expect(page.locator("#trouble")).not_to_be_visible()
        page.goto(f"{server.url}?period=fortnight")
        expect(page.locator("#trouble")).to_contain_text("one of: 1h")
        page.goto(server.url)
        expect(page.locator("#live-word")).to_have_text("Live")
    expect(page.locator("#live-word")).to_have_text("Not connected")
    expect(page.locator("#trouble")).to_contain_text("Start it again")
    page.close()


def test_the_token_opens_the_page_once_and_the_cookie_from_then_on(browser: Browser, seeded: Path) -> None:
    """It is in no address afterwards; without it there is a form, which takes it as well."""
    with served(seeded, host="0.0.0.0") as server:
        at = f"http://127.0.0.1:{server.port}/"
        context = browser.new_context()
        page = context.new_page()
        page.goto(at)
        expect(page.locator("form.login, main.login")).to_be_visible()
        page.fill("#token", "wrong")
        page.get_by_role("button", name="Open").click()
        expect(page.locator(".banner")).to_have_text("That is not the token.")
        page.fill("#token", server.token or "")
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#cards .card")).to_have_count(6)
        context.close()
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{at}?token={server.token}")
        expect(page.locator("#cards .card")).to_have_count(6)
        assert (server.token or "-") not in page.url
        context.close()


RULES = """() => {
  const found = [];
  const name = (e) => (e.getAttribute("aria-label") || (e.getAttribute("aria-labelledby") || "").split(" ")
    .map((id) => document.getElementById(id)?.textContent || "").join("") || e.labels?.[0]?.textContent || e.textContent
    || e.title || "").trim();
  const say = (rule, e) => found.push(`${rule}: ${e.outerHTML.slice(0, 120)}`);
  const shown = (e) => e.checkVisibility();
  for (const e of document.querySelectorAll("button, select, input, a, summary, [tabindex='0'], [role=meter]"))
    if (shown(e) && !name(e)) say("has no name", e);
  for (const e of document.querySelectorAll("[aria-labelledby], [aria-controls]"))
    for (const id of (e.getAttribute("aria-labelledby") || e.getAttribute("aria-controls")).split(" "))
      if (!document.getElementById(id)) say("names an id that is not there", e);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids.filter((id, at) => ids.indexOf(id) !== at)) found.push(`id twice: ${id}`);
  for (const e of document.querySelectorAll("th")) if (!e.scope) say("has no scope", e);
  for (const e of document.querySelectorAll("table")) if (!e.caption) say("has no caption", e);
  for (const e of document.querySelectorAll("svg, canvas"))
    if (!e.closest("[aria-hidden=true], [role]")) say("is neither hidden nor named", e);
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) say("jumps the queue", e);
  for (const e of document.querySelectorAll("dl > :not(div), dl > div > :not(dt, dd)")) say("is no part of a list", e);
  for (const e of document.querySelectorAll("ul > :not(li), ol > :not(li)")) say("is no item", e);
  let level = 1;
  for (const e of document.querySelectorAll("h1, h2, h3")) {
    const is = Number(e.tagName[1]);
    if (is > level + 1) say("skips a level", e);
    level = is;
  }
  for (const landmark of ["header", "main", "footer", "form[aria-label]"])
    if (document.querySelectorAll(`body > ${landmark}`).length !== 1) found.push(`not one ${landmark}`);
  for (const e of document.querySelectorAll("button, select, summary, .segments label")) {
    const { width, height } = e.getBoundingClientRect();
    if (shown(e) && (width < 16 || height < 16)) say("is too small to hit", e);
  }
  if (document.documentElement.lang !== "en" || !document.title) found.push("no language or title");
  return found;
}"""


def test_a_screen_reader_finds_its_way(shown: tuple[Page, serve.Page]) -> None:
    """Names, landmarks, headings, tables, live regions: checked on the page, its tables and an open call."""
    page, _ = shown
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate(RULES) == []
    assert page.locator("[aria-live=assertive]").count() == 0
    page.locator("#calls tbody button").first.click()
    expect(page.locator("#sheet h3")).to_be_visible()
    assert page.evaluate(RULES) == []
    page.evaluate("document.querySelector('#sheet').append(document.createElement('button'))")
    assert [found.split(":")[0] for found in page.evaluate(RULES)][:1] == ["has no name"]


def test_an_open_menu_and_a_focused_row_survive_updates(shown: tuple[Page, serve.Page], ledger: Path) -> None:
    """What somebody is at is not taken away."""
    page, _ = shown
    page.check("input[value=latest]")
    row = page.locator("#calls tbody button").nth(2)
    key = row.get_attribute("data-focus")
    row.focus()
    write(ledger, events("above"))
    expect(page.locator("#calls tbody button").first).to_have_attribute("data-focus", "above")
    assert page.evaluate("document.activeElement.dataset.focus") == key


def test_a_hidden_page_lets_go_of_its_stream(shown: tuple[Page, serve.Page]) -> None:
    """A browser has few connections; a page in the background uses none, and catches up when it is looked at."""
    page, server = shown
    feed = server._server.feed
    assert feed.viewers == 1
    hide = "Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {}}});"
    change = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide.format("true") + change)
    deadline = time.monotonic() + 30
    while feed.viewers and time.monotonic() < deadline:
        page.wait_for_timeout(10)
    assert feed.viewers == 0
    page.evaluate(hide.format("false") + change)
    page.evaluate(DRAWN_SINCE, 1)
    assert feed.viewers == 1
