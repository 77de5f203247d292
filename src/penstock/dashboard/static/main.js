// The page: one view comes in, every part draws what it needs of it.

import { Calls } from "./calls.js";
import { recolour } from "./charts.js";
import { Detail } from "./detail.js";
import { byId, h, redraw, write } from "./dom.js";
import { drawFigures } from "./figures.js";
import { Filters } from "./filters.js";
import { ago, counted, moment, money } from "./format.js";
import { Lanes } from "./lanes.js";
import { Live } from "./live.js";
import { Panels } from "./panels.js";

const WORDS = { waiting: "Loading", live: "Live", trouble: "No data", refused: "Refused", lost: "Not connected" };

class Page {
  constructor() {
    this.view = null;
    this.frame = 0;
    this.state = "waiting";
    this.announce = false;
    this.filters = new Filters(() => this.follow(true));
    this.panels = new Panels(this.filters);
    this.lanes = new Lanes();
    this.detail = new Detail(this.filters);
    this.calls = new Calls((id) => this.detail.open(id));
    this.live = new Live({ seen: (view) => this.seen(view), told: (news) => this.told(news) });
    this.follow(false);
    setInterval(() => this.age(), 1000);
  }

  follow(announce) {
    this.announce = announce;
    byId("main").setAttribute("aria-busy", "true");
    this.live.follow(this.filters.query());
  }

  /** Draw once per frame of the screen, however fast views come. */
  seen(view) {
    this.view = view;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw(this.view);
    });
  }

  draw(view) {
    const { period, ledger, totals } = view;
    const nothing = totals.calls === 0 && totals.attempts === 0;
    byId("main").setAttribute("aria-busy", "false");
    write(byId("ledger-name"), ledger.name);
    byId("ledger-name").title = ledger.path;
    write(byId("range"), `${moment(period.since, 60)} – ${period.until >= view.at - 60 ? "now" : moment(period.until, 60)}`);
    write(byId("foot"), `${ledger.path}. Times are yours; days, weeks and budgets begin at 00:00 UTC.`);
    this.filters.offer(view.names);
    this.empty(view, nothing);
    byId("figures").hidden = nothing;
    if (!nothing) {
      drawFigures(view);
      this.panels.draw(view);
      this.lanes.draw(view);
      this.calls.draw(view);
    }
    document.title = `${money(view.today.spent_nano)} today · Penstock`;
    this.age();
    if (this.announce) {
      this.announce = false;
      const of = [this.filters.values.model, this.filters.values.tag].filter(Boolean).join(", ");
      write(byId("said"), `${period.label}${of ? `, ${of}` : ""}: ${money(totals.cost_nano)}, ${counted(totals.calls, "call")}.`);
    }
    performance.mark("drawn", { detail: view.version });
  }

  empty(view, nothing) {
    const place = byId("empty");
    place.hidden = !nothing;
    if (!nothing) return;
    const fresh = view.ledger.empty;
    redraw(place, [fresh, this.filters.narrowed, view.period.label], () => fresh ? [
      h("h2", null, "No calls yet"),
      h("p", null, "Every call that goes through Penstock appears here by itself. Make the first one:"),
      h("pre", null, 'penstock ask "Why is the sky blue?"'),
    ] : [
      h("h2", null, "Nothing here"),
      h("p", null, `No call ${this.filters.narrowed ? "fits these filters " : ""}in this period (${view.period.label}).`),
      h("p", null,
        h("button", { class: "button", type: "button", onclick: () => this.filters.set({ period: "all", model: "", tag: "" }) }, "Show all calls")),
    ]);
  }

  told({ state, message = "" }) {
    this.state = state;
    byId("live").dataset.state = state;
    write(byId("live-word"), WORDS[state]);
    const text = {
      lost: "There is no answer from penstock dashboard. Start it again; this page then goes on by itself.",
      trouble: message, refused: message,
    }[state] ?? "";
    const trouble = byId("trouble");
    trouble.hidden = !text;
    write(trouble, text);
    if (text) byId("main").setAttribute("aria-busy", "false");
    this.age();
  }

  age() {
    const old = this.view && this.state !== "waiting" ? Date.now() / 1000 - this.view.at : 0;
    write(byId("live-age"), this.view && (this.state !== "live" || old > 30) ? `as of ${ago(old)}` : "");
  }
}

function themes() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const paint = () => {
    button.setAttribute("aria-checked", String(isDark()));
    recolour();
  };
  button.addEventListener("click", () => {
    const wanted = isDark() ? "light" : "dark";
    const system = dark.matches ? "dark" : "light";
    if (wanted === system) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = wanted;
    try {
      if (wanted === system) localStorage.removeItem("penstock-theme");
      else localStorage.setItem("penstock-theme", wanted);
    } catch {
      // Storage is forbidden: the choice lasts as long as the page.
    }
    paint();
  });
  dark.addEventListener("change", paint);
  paint();
}

new Page();
themes();
