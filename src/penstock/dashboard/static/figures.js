// The big numbers on top: each a value, its unit, and one line that puts it into place.

import { byId, h, redraw } from "./dom.js";
import { count, counted, duration, durationText, exactMoney, money, percent, short, shortText } from "./format.js";

function card(title, value, unit, sub, { exact = null, extra = null } = {}) {
  return h("div", { class: "card" },
    h("dt", null, title),
    h("dd", { class: "big", title: exact }, value, unit ? h("span", { class: "unit" }, unit) : null),
    extra ? h("dd", null, extra) : null,
    h("dd", { class: "sub" }, sub),
  );
}

/** How full something is, as a bar and as words; from 80 % on it asks for attention. */
export function meter(label, part, whole) {
  const share = whole > 0 ? part / whole : part > 0 ? 1 : 0;
  const level = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "good";
  const bar = h("span", { class: "meter-fill" });
  bar.style.setProperty("--share", `${Math.min(100, Math.max(share > 0 ? 1 : 0, share * 100))}%`);
  return h("span", {
    class: "meter", role: "meter", "data-level": level, "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100",
    "aria-valuenow": String(Math.min(100, Math.round(share * 100))), "aria-valuetext": percent(part, whole),
  }, bar);
}

function today({ spent_nano: spent, daily }) {
  if (!daily) return card("Spend today", money(spent), null, "since 00:00 UTC; no daily budget", { exact: exactMoney(spent) });
  const { spent_nano: used, cap_nano: cap, held_nano: held } = daily;
  const holds = held > 0 ? `, ${money(held)} held` : "";
  return card("Spend today", money(spent), null, `${percent(used, cap)} of the daily ${money(cap)}${holds}`, {
    exact: exactMoney(spent), extra: meter("Daily budget used", used, cap),
  });
}

function spend({ totals, previous, period }) {
  const { cost_nano: cost, estimated_nano: estimated, unpriced } = totals;
  const notes = [];
  if (previous && previous.cost_nano > 0) {
    const change = (100 * (cost - previous.cost_nano)) / previous.cost_nano;
    const size = Math.abs(change) >= 1000 ? `${(cost / previous.cost_nano).toFixed(0)} times` : `${Math.abs(change).toFixed(0)} % ${change < 0 ? "less than" : "more than"}`;
    notes.push(`${size} the ${period.words} before`);
  }
  if (estimated) notes.push(`${money(estimated)} of it estimated`);
  if (unpriced) notes.push(`${counted(unpriced, "attempt")} without a price`);
  if (!notes.length) notes.push(totals.calls ? `${money(Math.round(cost / totals.calls))} a call` : "nothing spent");
  return card(`Spend, ${period.label}`, money(cost), null, notes.join("; "), { exact: exactMoney(cost) });
}

function calls({ totals }) {
  const [value, unit] = short(totals.calls);
  const notes = [totals.failed ? `${percent(totals.failed, totals.calls)} failed` : "none failed"];
  if (totals.cached) notes.push(`${percent(totals.cached, totals.calls)} from the cache`);
  return card("Calls", value, unit, notes.join(", "), { exact: count(totals.calls) });
}

function tokens({ totals: { usage } }) {
  const sent = usage.input + usage.cache_read + usage.cache_write;
  const made = usage.output + usage.reasoning;
  const [value, unit] = short(sent + made + usage.audio);
  return card("Tokens", value, unit, `${shortText(sent)} in, ${shortText(made)} out`, { exact: count(sent + made + usage.audio) });
}

function latency({ latency: whole, first_token: first }) {
  const [value, unit] = duration(whole.p95);
  const note = whole.count ? `median ${durationText(whole.p50)}` : "no answers";
  return card("Latency, p95", value, unit, first.count ? `${note}; first token ${durationText(first.p50)}` : note);
}

function saved({ totals }) {
  const parts = [["cache", totals.saved_cache_nano], ["batch", totals.saved_batch_nano], ["routing", totals.saved_routing_nano]];
  const sum = parts.reduce((all, [, nano]) => all + nano, 0);
  const words = parts.filter(([, nano]) => nano > 0).map(([name, nano]) => `${name} ${money(nano)}`);
  return card("Saved", money(sum), null, words.join(", ") || "by cache, batches, routing", { exact: exactMoney(sum) });
}

export function drawFigures(view) {
  const { today: day, totals, previous, period, latency: whole, first_token: first } = view;
  redraw(byId("cards"), [day, totals, previous, period.label, whole, first], () => [
    today(day), spend(view), calls(view), tokens(view), latency(view), saved(view),
  ]);
}
