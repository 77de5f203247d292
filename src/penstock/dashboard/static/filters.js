// What is shown: period, model, tag. The address has them, so that a view can be reloaded, kept and sent to someone.

import { byId, h, redraw } from "./dom.js";
import { money } from "./format.js";

const NAMES = ["period", "model", "tag"];
const PERIOD = "24h";

export class Filters {
  constructor(changed) {
    this.form = byId("filters");
    this.changed = changed;
    this.values = this.fromAddress();
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", (event) => this.set({ [event.target.name]: event.target.value }));
    byId("clear").addEventListener("click", () => {
      this.set({ model: "", tag: "" });
      byId("model").focus();
    });
    addEventListener("popstate", () => {
      const before = this.query();
      this.values = this.fromAddress();
      this.paint();
      if (this.query() !== before) this.changed();
    });
    this.paint();
  }

  fromAddress() {
    const asked = new URLSearchParams(location.search);
    return { period: asked.get("period") || PERIOD, model: asked.get("model") ?? "", tag: asked.get("tag") ?? "" };
  }

  query() {
    return new URLSearchParams(NAMES.filter((name) => this.values[name]).map((name) => [name, this.values[name]])).toString();
  }

  set(values) {
    const before = this.query();
    Object.assign(this.values, values);
    if (this.query() === before) return;
    history.pushState(null, "", `?${this.query()}`);
    this.paint();
    this.changed();
  }

  get narrowed() {
    return Boolean(this.values.model || this.values.tag);
  }

  paint() {
    for (const radio of this.form.querySelectorAll("[name=period]")) radio.checked = radio.value === this.values.period;
    for (const name of ["model", "tag"]) this.choose(byId(name), this.values[name]);
    byId("clear").hidden = !this.narrowed;
  }

  choose(select, value) {
    if (value && ![...select.options].some((option) => option.value === value)) select.append(h("option", { value }, value));
    select.value = value;
  }

  /** Fill the menus with what the ledger has, most spent first. */
  offer({ models, tags }) {
    for (const [id, all, found] of [["model", "All models", models], ["tag", "All tags", tags]]) {
      const select = byId(id);
      if (select === document.activeElement && select.options.length > 1) continue; // an open menu is not changed under the hand
      const names = found.map(({ name }) => name);
      redraw(select, [names, this.values[id]], () => [
        h("option", { value: "" }, all),
        found.map(({ name, cost_nano: cost }) => h("option", { value: name, title: cost === null ? null : money(cost) }, name)),
      ].flat());
      this.choose(select, this.values[id]);
    }
  }
}
