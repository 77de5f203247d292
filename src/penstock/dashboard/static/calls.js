// The calls worth a look: dearest, slowest, failed, latest. Each opens its attempts.

import { byId, h, redraw, scroller, table } from "./dom.js";
import { count, durationText, exactMoney, moment, money, outcome, shortText } from "./format.js";
import { head, segments } from "./panels.js";

const SORTS = [["dearest", "Dearest"], ["slowest", "Slowest"], ["failed", "Failed"], ["latest", "Latest"]];
const NOTHING = {
  dearest: "No call with a known price in this period.", slowest: "No call in this period.",
  failed: "No call failed in this period.", latest: "No call in this period.",
};

/** What became of a call or an attempt, in a word and never in colour alone. */
export function result(code, cached = false) {
  const level = code === "ok" ? "good" : code === "rate_limited" || code === "cancelled" ? "warn" : "bad";
  return h("span", { class: "pill", "data-level": cached ? "none" : level }, cached ? "cached" : outcome(code));
}

/** Tags, each a button where `pick` narrows the page to one. */
export function tagList(tags, pick = null) {
  const texts = Object.entries(tags).map(([name, value]) => `${name}=${value}`);
  if (!texts.length) return "–";
  return h("span", { class: "tags" }, texts.map((text) => pick
    ? h("button", { type: "button", class: "tag", title: `Only ${text}`, onclick: () => pick(text) }, text)
    : h("span", { class: "tag" }, text)));
}

export class Calls {
  constructor(open) {
    this.open = open;
    this.sort = "dearest";
    byId("calls").append(
      head("calls", "Calls", segments("calls-sort", "Which calls", SORTS, this.sort, (value) => {
        this.sort = value;
        if (this.view) this.draw(this.view);
      })),
      h("div", { class: "fill", id: "calls-list" }),
    );
  }

  draw(view) {
    this.view = view;
    const calls = view.calls[this.sort];
    const part = !view.calls.whole && (this.sort === "dearest" || this.sort === "slowest");
    redraw(byId("calls-list"), [this.sort, calls, part], () => [
      calls.length ? this.list(calls) : h("p", { class: "nothing" }, NOTHING[this.sort]),
      part ? h("p", { class: "hint" }, `Looked for among the ${this.sort} calls of each day and model: so many calls of a tag are not all gone through.`) : null,
    ]);
  }

  list(calls) {
    const columns = [
      { name: "When" }, { name: "Model" }, { name: "Asked as" }, { name: "Tags" }, { name: "Tokens", number: true },
      { name: "Attempts", number: true }, { name: "First token", number: true }, { name: "Latency", number: true },
      { name: "Cost", number: true }, { name: "Result" },
    ];
    const rows = calls.map((call) => [
      h("button", { type: "button", class: "link", "data-focus": call.id, "aria-haspopup": "dialog", onclick: () => this.open(call.id) }, moment(call.at_s)),
      call.model,
      call.operation,
      tagList(call.tags),
      shortText(call.tokens),
      count(call.attempts),
      durationText(call.first_token_s),
      durationText(call.latency_s),
      h("span", { title: exactMoney(call.cost_nano) }, `${call.estimated ? "≈ " : ""}${money(call.cost_nano)}`),
      result(call.outcome, call.cached),
    ]);
    const [, name] = SORTS.find(([value]) => value === this.sort);
    return scroller(`${name} calls`, table(`${name} calls; the time of a call opens its attempts`, columns, rows));
  }
}
