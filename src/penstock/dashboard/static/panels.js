// The four charts: spend by model, tokens by bucket, latency, errors.

import { Chart } from "./charts.js";
import { byId, h, redraw } from "./dom.js";
import { count, counted, durationText, money, outcome, percent, shortText } from "./format.js";

const INKS = ["--c1", "--c2", "--c3", "--c4", "--c5"];
const REST = "--c-rest";
const BUCKETS = [
  ["input", "Input"], ["cache_read", "Cache read"], ["cache_write", "Cache write"], ["output", "Output"], ["reasoning", "Reasoning"], ["audio", "Audio"],
];
const PERCENTILES = [
  ["p50", "p50", "--c1", [], "line"], ["p95", "p95", "--c2", [8, 4], "dashes"], ["p99", "p99", "--c4", [2, 3], "dots"],
];

/** Radio buttons that look like one control; the arrow keys move between them. */
export function segments(name, legend, options, chosen, changed) {
  return h("fieldset", { class: "segments small", onchange: (event) => changed(event.target.value) },
    h("legend", { class: "hidden" }, legend),
    options.map(([value, text]) => h("label", null, h("input", { type: "radio", name, value, checked: value === chosen }), h("span", null, text))),
  );
}

export function head(id, title, ...right) {
  return h("header", { class: "panel-head" }, h("h2", { id: `${id}-title` }, title), h("p", { class: "panel-sub", id: `${id}-sub` }), right);
}

function sum(values) {
  return values.reduce((all, value) => all + (value ?? 0), 0);
}

export class Panels {
  constructor(filters) {
    this.filters = filters;
    this.by = "cost_nano";
    this.of = "latency";
    const again = (name) => (value) => {
      this[name] = value;
      if (this.view) this.draw(this.view);
    };
    byId("spend").append(head("spend", "Spend by model",
      segments("spend-by", "Spend by model shows", [["cost_nano", "Dollars"], ["calls", "Calls"]], this.by, again("by"))));
    byId("tokens").append(head("tokens", "Tokens"));
    byId("latency").append(head("latency", "Latency",
      segments("latency-of", "Latency shows", [["latency", "Whole answer"], ["first_token", "First token"]], this.of, again("of"))));
    byId("errors").append(head("errors", "Errors and 429s"));
    const amount = (value) => (this.by === "calls" ? count(value) : money(value));
    this.spend = new Chart(byId("spend"), { title: "Spend by model", stacked: true, format: amount });
    this.tokens = new Chart(byId("tokens"), { title: "Tokens by bucket", stacked: true, format: shortText });
    this.latency = new Chart(byId("latency"), { title: "Latency", format: durationText });
    this.errors = new Chart(byId("errors"), { title: "Errors and 429s", stacked: true, format: count, whole: true });
  }

  draw(view) {
    this.view = view;
    const { series, period } = view;
    const frame = { t: series.t, step_s: period.step_s, since: period.since, until: period.until };
    this.drawSpend(frame, view);
    this.drawTokens(frame, view);
    this.drawLatency(frame, view);
    this.drawErrors(frame, view);
  }

  drawSpend(frame, { series: { models }, totals, period }) {
    const text = this.by === "calls" ? count : money;
    const shown = models.map((model, index) => ({
      name: model.name || "other models", ink: INKS[index] ?? REST, values: model[this.by],
      total: text(sum(model[this.by])), pick: model.name ? () => this.filters.set({ model: model.name }) : null,
    }));
    const words = this.by === "calls" ? `${counted(totals.calls, "call")}` : money(totals.cost_nano);
    this.spend.show({ ...frame, series: shown, summary: `${words}, ${period.label}.`, empty: "Nothing was spent in this period." });
    this.sub("spend", [words, period.label]);
  }

  drawTokens(frame, { series, totals: { usage } }) {
    const used = BUCKETS.map(([key, name], index) => ({
      name, ink: INKS[index] ?? REST, values: series.tokens[key], total: shortText(usage[key]), any: usage[key] > 0,
    }));
    const shown = used.filter(({ any }) => any);
    const sent = usage.input + usage.cache_read + usage.cache_write;
    const note = usage.cache_read ? `${percent(usage.cache_read, sent)} of the prompts read from a cache` : "by bucket";
    this.tokens.show({ ...frame, series: shown.length ? shown : used.slice(0, 1), summary: note, empty: "No tokens in this period." });
    this.sub("tokens", [shortText(BUCKETS.reduce((all, [key]) => all + usage[key], 0)), note]);
  }

  drawLatency(frame, view) {
    const whole = view[this.of];
    const series = PERCENTILES.map(([key, name, ink, dash, mark]) => ({
      name, ink, dash, mark, values: view.series[this.of][key], total: durationText(whole[key]),
    }));
    const what = this.of === "latency" ? "answers" : "first tokens";
    const summary = whole.count ? series.map(({ name, total }) => `${name} ${total}`).join(", ") : "none";
    this.latency.show({ ...frame, series, summary: `${summary}.`, empty: `No ${what} in this period.` });
    this.sub("latency", [durationText(whole.p95), `p95 of ${counted(whole.count, what.slice(0, -1))}`]);
  }

  drawErrors(frame, { series: { errors }, totals }) {
    const shown = errors.map(({ code, values }, index) => ({
      name: code ? outcome(code) : "others", ink: INKS[index] ?? REST, values, total: count(sum(values)),
    }));
    const limited = `${count(totals.rate_limited)} of ${counted(totals.attempts, "attempt")} got a 429`;
    const series = shown.length ? shown : [{ name: "none", ink: REST, values: frame.t.map(() => 0) }];
    this.errors.show({ ...frame, series, summary: limited, empty: "No attempt failed in this period." });
    this.sub("errors", [totals.calls ? percent(totals.failed, totals.calls) : "–", `of calls failed; ${limited}`]);
  }

  sub(id, [strong, rest]) {
    redraw(byId(`${id}-sub`), [strong, rest], () => [h("b", null, strong), ` ${rest}`]);
  }
}
