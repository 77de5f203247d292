// One call and its attempts, in a sheet over the page. The address has its id after #call=.

import { result, tagList } from "./calls.js";
import { byId, h, scroller, table } from "./dom.js";
import { count, counted, durationText, exactMoney, moment, money, percent, shortText } from "./format.js";

const PREFIX = "#call=";
const BUCKETS = [
  ["input", "input"], ["cache_read", "cache read"], ["cache_write_5m", "cache write, 5 min"], ["cache_write_30m", "cache write, 30 min"],
  ["cache_write_1h", "cache write, 1 h"], ["cache_write_12h", "cache write, 12 h"], ["output", "output"], ["reasoning", "reasoning"],
  ["audio_in", "audio in"], ["audio_out", "audio out"],
];

function fact(name, ...value) {
  return h("div", null, h("dt", null, name), h("dd", null, value));
}

function total(usage) {
  return BUCKETS.reduce((all, [key]) => all + (usage[key] ?? 0), 0);
}

function words(usage) {
  if (!usage) return "unknown";
  const parts = BUCKETS.filter(([key]) => usage[key] > 0).map(([key, name]) => `${count(usage[key])} ${name}`);
  return `${parts.join(", ") || "none"}${usage.estimated ? " (estimated)" : ""}`;
}

/** JSON with line breaks; a text that was cut, or is none, as it is. */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export class Detail {
  constructor(filters) {
    this.filters = filters;
    this.sheet = byId("sheet");
    this.sheet.addEventListener("close", () => {
      if (location.hash.startsWith(PREFIX)) history.replaceState(null, "", location.pathname + location.search);
    });
    this.sheet.addEventListener("click", (event) => event.target === this.sheet && this.sheet.close());
    addEventListener("hashchange", () => this.fromAddress());
    this.fromAddress();
  }

  fromAddress() {
    if (location.hash.startsWith(PREFIX)) this.load(decodeURIComponent(location.hash.slice(PREFIX.length)));
    else if (this.sheet.open) this.sheet.close();
  }

  open(id) {
    history.replaceState(null, "", `${location.pathname}${location.search}${PREFIX}${encodeURIComponent(id)}`);
    this.load(id);
  }

  async load(id) {
    this.fill(h("p", { class: "nothing" }, "Loading …"), id);
    if (!this.sheet.open) this.sheet.showModal();
    let content;
    try {
      const answer = await fetch(`api/calls/${encodeURIComponent(id)}`);
      const found = await answer.json();
      content = answer.ok ? this.content(found) : h("p", { class: "banner" }, found.error);
    } catch {
      content = h("p", { class: "banner" }, "There is no answer from penstock dashboard. Is it still running?");
    }
    if (location.hash === `${PREFIX}${encodeURIComponent(id)}`) this.fill(content, id);
  }

  fill(content, id) {
    const close = h("button", { class: "button", type: "button", onclick: () => this.sheet.close() }, "Close");
    this.sheet.replaceChildren(
      h("header", { class: "sheet-head" }, h("div", null, h("h2", null, "Call"), h("p", { class: "sub id" }, id)), close),
      h("div", { class: "sheet-body" }, content),
    );
    close.focus();
  }

  content({ call, attempts, prompt, answer, message }) {
    return [
      h("p", { class: "sheet-sum" }, result(call.outcome, call.cached), h("b", { title: exactMoney(call.cost_nano) }, money(call.cost_nano)),
        h("span", null, durationText(call.latency_s)), h("span", null, `${call.provider}:${call.model}`)),
      message ? h("p", { class: "quote" }, message) : null,
      this.facts(call),
      h("h3", null, attempts.length ? counted(attempts.length, "attempt") : "No attempt"),
      attempts.length ? this.waterfall(call, attempts) : h("p", { class: "nothing" },
        call.cached ? "The cache had the answer; nothing was sent." : "Nothing was sent, or the attempts are no longer kept."),
      attempts.length ? this.table(attempts) : null,
      ...[["Prompt", prompt], ["Answer", answer]].filter(([, text]) => text).map(([name, text]) =>
        h("details", { class: "data" }, h("summary", null, name), h("pre", null, pretty(text)))),
    ].filter(Boolean);
  }

  facts(call) {
    const facts = [
      fact("Ended", moment(call.at_s)), fact("Asked as", call.operation), fact("Asked for", call.asked), fact("Answered by", `${call.provider}:${call.model}`),
      fact("Tags", tagList(call.tags, (tag) => this.only(tag))), fact("Tokens", words(call.usage)),
      fact("Cost", exactMoney(call.cost_nano), call.usage?.estimated ? " (estimated)" : ""),
      fact("First token", durationText(call.first_token_s)), fact("Waited for a turn", durationText(call.wait_s)),
      fact("Stopped by", call.stop_reason ?? "–"),
    ];
    if (call.saved_nano) facts.push(fact("Saved by the cache", exactMoney(call.saved_nano)));
    if (call.batch) facts.push(fact("Through a batch", call.full_nano === null ? "yes" : `instead of ${exactMoney(call.full_nano)}`));
    if (call.tier) facts.push(fact("Tier", `${call.tier}${call.reason ? `: ${call.reason}` : ""}`));
    if (call.strongest_nano !== null) facts.push(fact("At the strongest model", exactMoney(call.strongest_nano)));
    if (call.prices) facts.push(fact("Price table of", call.prices));
    return h("dl", { class: "facts" }, facts);
  }

  /** Leave the call for all that have a tag: those of its task, say, which no menu has. */
  only(tag) {
    this.sheet.addEventListener("close", () => this.filters.set({ tag }), { once: true });
    this.sheet.close();
  }

  /** When each attempt ran within the call; waiting for a turn is hatched. */
  waterfall(call, attempts) {
    const begun = Math.min(call.at_s - call.latency_s, ...attempts.map((each) => each.at_s - each.latency_s - each.wait_s));
    const span = Math.max(call.at_s, ...attempts.map((each) => each.at_s)) - begun || 1;
    const place = (element, from, length) => {
      element.style.setProperty("--from", `${(100 * from) / span}%`);
      element.style.setProperty("--length", `${Math.max(0.6, (100 * length) / span)}%`);
      return element;
    };
    return h("ol", { class: "waterfall", "aria-hidden": "true" }, attempts.map((each) => {
      const start = each.at_s - each.latency_s - begun;
      return h("li", null, h("span", { class: "number" }, String(each.number)), h("span", { class: "track" },
        each.wait_s > 0 ? place(h("span", { class: "bar waiting" }), start - each.wait_s, each.wait_s) : null,
        place(h("span", { class: "bar", "data-level": each.outcome === "ok" ? "good" : "bad", title: percent(each.latency_s, span) }), start, each.latency_s)));
    }));
  }

  table(attempts) {
    const columns = [
      { name: "No." }, { name: "Lane" }, { name: "Result" }, { name: "Status", number: true }, { name: "Waited", number: true },
      { name: "First token", number: true }, { name: "Took", number: true }, { name: "Tokens", number: true }, { name: "Cost", number: true }, { name: "Request id" },
    ];
    const rows = attempts.map((each) => [
      String(each.number), `${each.provider}:${each.model}`, result(each.outcome), each.status === null ? (each.sent ? "–" : "not sent") : String(each.status),
      durationText(each.wait_s), durationText(each.first_token_s), durationText(each.latency_s), h("span", { title: words(each.usage) }, each.usage ? shortText(total(each.usage)) : "–"),
      h("span", { title: exactMoney(each.cost_nano) }, money(each.cost_nano)), h("span", { class: "id" }, each.request_id ?? "–"),
    ]);
    return scroller("Attempts", table("Attempts of this call", columns, rows));
  }
}
