// Budgets and lanes: how much room is left, and what is shut and why.

import { byId, h, redraw, scroller, table } from "./dom.js";
import { meter } from "./figures.js";
import { ago, count, exactMoney, money, percent, shortText } from "./format.js";
import { head } from "./panels.js";

const STATES = {
  closed: ["good", "Healthy"],
  half_open: ["warn", "Probing"],
  open: ["bad", "Shut"],
  paused: ["warn", "Paused"],
};

function pill(state) {
  const [level, word] = STATES[state] ?? ["warn", state];
  return h("span", { class: "pill", "data-level": level }, word);
}

export class Lanes {
  constructor() {
    byId("budgets").append(head("budgets", "Budgets"), h("div", { class: "fill", id: "budgets-list" }));
    byId("lanes").append(head("lanes", "Lanes"), h("div", { class: "fill", id: "lanes-list" }));
  }

  draw({ budgets, lanes, at }) {
    redraw(byId("budgets-list"), budgets, () => this.budgets(budgets));
    const shown = lanes.map((lane) => ({ ...lane, age: lane.stale ? ago(at - lane.at_s) : "", left: lane.until_s ? Math.max(0, Math.ceil(lane.until_s - at)) : 0 }));
    redraw(byId("lanes-list"), shown.map(({ at_s: _, until_s: __, ...rest }) => rest), () => this.lanes(shown));
  }

  budgets(budgets) {
    if (!budgets.length) {
      return h("div", { class: "nothing" },
        h("p", null, "No budget is set."),
        h("p", { class: "hint" }, "A hard cap cannot be overspent: ", h("code", null, 'Budget(daily="20.00")'), " in Python, or ",
          h("code", null, "[budget]"), " in penstock.toml."));
    }
    return h("ul", { class: "budgets" }, budgets.map((scope) => {
      const { name, where, cap_nano: cap, spent_nano: spent, held_nano: held } = scope;
      const left = Math.max(0, cap - spent - held);
      return h("li", null,
        h("p", { class: "budget-top" }, h("span", null, name),
          h("span", { title: `${exactMoney(spent)} of ${exactMoney(cap)}` }, h("b", null, money(spent)), ` of ${money(cap)}`)),
        meter(`${name}: used`, spent, cap),
        h("p", { class: "sub" }, `${percent(spent, cap)} used, ${money(left)} left${held > 0 ? `, ${money(held)} held` : ""}${where ? ` · ${where}` : ""}`),
      );
    }));
  }

  lanes(lanes) {
    if (!lanes.length) {
      return h("div", { class: "nothing" }, h("p", null, "No lane has been in use lately."),
        h("p", { class: "hint" }, "A running client tells the state of its lanes once a second."));
    }
    const columns = [{ name: "Lane" }, { name: "State" }, { name: "Limit used" }, { name: "In flight", number: true }, { name: "Waiting", number: true }];
    const rows = lanes.map((lane) => [
      h("span", { class: "lane", "data-stale": lane.stale ? "" : null }, lane.name, lane.where ? h("span", { class: "sub" }, lane.where) : null,
        lane.reason ? h("span", { class: "sub" }, lane.left ? `${lane.reason}; probed in ${lane.left}\u00a0s` : lane.reason) : null),
      lane.stale ? h("span", { class: "pill", "data-level": "none" }, `Seen ${lane.age}`) : pill(lane.state),
      lane.limits.length
        ? h("span", { class: "limits" }, lane.limits.map(({ name, used, limit }) =>
            h("span", { class: "limit" }, meter(`${lane.name}, ${name}`, used, limit),
              h("span", { class: "sub" }, `${percent(used, limit)} of ${shortText(Math.round(limit))} ${name}`))))
        : h("span", { class: "sub" }, lane.stale ? "–" : "no limit known"),
      lane.stale ? "–" : count(lane.in_flight),
      lane.stale ? "–" : count(lane.queued),
    ]);
    return scroller("Lanes", table("Lanes: state, use of their limits, calls in flight and waiting", columns, rows));
  }
}
