// Charts over time, drawn by uPlot: stacked bars and lines, each with a legend, a reading by keyboard, and a table.

import { h, redraw, scroller, table, write } from "./dom.js";
import { moment, rounded, tick } from "./format.js";

const HEIGHT = 220;
const THIN_PX = 6; // bars thinner than this have no room for a gap between their segments
const FONT = "12px Inter, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

const WHOLE = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10].flatMap((size) => [size, 2 * size, 5 * size]);

const charts = new Set();

/** What the colours of the page are now; a canvas knows no `var()` and no `light-dark()`. */
function inks(element) {
  const probe = h("span", { hidden: true });
  element.append(probe);
  const found = new Map();
  return (name) => {
    if (!found.has(name)) {
      probe.style.setProperty("color", `var(${name})`);
      found.set(name, getComputedStyle(probe).color);
    }
    return found.get(name);
  };
}

/** Draw all charts anew, in the colours that hold now. */
export function recolour() {
  for (const chart of charts) chart.rebuild();
}

/**
 * A chart in `host`. `stacked` bars or lines; `format` turns a value into text; values may be `whole` numbers. `show` gives it what to draw:
 * {t, step_s, since, until, series: [{name, ink, values, dash, mark, total}], summary, empty}; a value of null is a gap.
 */
export class Chart {
  constructor(host, { title, stacked = false, format, whole = false }) {
    Object.assign(this, { title, stacked, format, whole, shown: null, plot: null, made: "" });
    this.tip = h("div", { class: "tip", "aria-hidden": "true", hidden: true });
    this.said = h("p", { class: "hidden", role: "status" });
    this.none = h("p", { class: "none", hidden: true });
    this.canvas = h("div", {
      class: "plot", tabindex: "0", role: "group", "aria-roledescription": "chart", onkeydown: (event) => this.key(event),
      onblur: () => this.leave(),
    });
    this.legend = h("ul", { class: "legend" });
    this.rows = h("div", { class: "rows" });
    this.details = h("details", { class: "data", ontoggle: () => this.fillTable() }, h("summary", null, "Show as a table"), this.rows);
    host.append(this.legend, h("div", { class: "plot-box" }, this.canvas, this.tip, this.none), this.said, this.details);
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    charts.add(this);
  }

  show(what) {
    this.shown = what;
    this.canvas.setAttribute("aria-label", `${this.title}. ${what.summary} The arrow keys read its values.`);
    const blank = !what.series.some((series) => series.values.some((value) => value));
    this.none.hidden = !blank;
    if (blank) write(this.none, what.empty);
    this.canvas.parentElement.classList.toggle("blank", blank);
    const made = JSON.stringify([what.series.map(({ name, ink, dash }) => [name, ink, dash]), what.step_s]);
    if (made !== this.made || !this.plot) {
      this.made = made;
      this.rebuild();
    } else {
      this.plot.setData(this.data());
      this.point(this.plot);
    }
    redraw(this.legend, what.series.map(({ name, ink, mark, total }) => [name, ink, mark, total]), () => this.keys());
    this.fillTable();
  }

  keys() {
    return this.shown.series.map(({ name, ink, mark, total, pick }) => {
      const key = h("span", { class: "key", "data-ink": ink, "data-mark": mark, "aria-hidden": "true" });
      const text = [key, h("span", null, name), total === undefined ? null : h("b", null, total)];
      return h("li", null, pick ? h("button", { type: "button", onclick: pick, title: `Only ${name}`, "data-focus": name }, text) : text);
    });
  }

  data() {
    const { t, step_s: step, series } = this.shown;
    if (!this.stacked) return [t.map((start) => start + step / 2), ...series.map((each) => each.values)];
    const sums = [];
    const below = new Array(t.length).fill(0);
    for (const { values } of series) {
      values.forEach((value, index) => (below[index] += value ?? 0));
      sums.unshift(below.map((sum) => sum || null)); // the highest sum is drawn first, and the lower ones over it
    }
    return [t, ...sums];
  }

  rebuild() {
    this.plot?.destroy();
    this.plot = null;
    this.canvas.replaceChildren();
    const width = this.canvas.clientWidth;
    if (!this.shown || !width) return;
    this.plot = new window.uPlot(this.options(width), this.data(), this.canvas);
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (!this.plot) this.rebuild();
    else if (width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  options(width) {
    const ink = inks(this.canvas);
    const axis = { stroke: ink("--muted"), font: FONT, ticks: { show: false } };
    return {
      width, height: HEIGHT, padding: [10, 18, 0, 0], legend: { show: false },
      cursor: {
        y: false, drag: { x: false, y: false }, points: { show: !this.stacked, size: 7 }, dataIdx: (_plot, _series, nearest, at) => this.indexAt(nearest, at),
      },
      scales: {
        x: { time: true, range: () => [this.shown.since, this.shown.until] },
        y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.06 : 1] },
      },
      axes: [
        {
          ...axis, grid: { show: false }, space: 64, size: 28, gap: 6,
          values: (_plot, marks) => marks.map((mark) => tick(mark, this.shown.until - this.shown.since)),
        },
        {
          ...axis, grid: { stroke: ink("--hairline"), width: 1 }, space: 40, ...(this.whole ? { incrs: WHOLE } : {}),
          values: (_plot, marks) => marks.map((mark) => (mark === 0 ? "0" : rounded(this.format(mark)))),
          size: (_plot, texts) => Math.max(32, 14 + 7 * Math.max(0, ...(texts ?? []).map((text) => text.length))),
        },
      ],
      series: [{}, ...(this.stacked ? this.bars(ink, width) : this.lines(ink))],
      hooks: { setCursor: [(plot) => this.point(plot)] },
    };
  }

  bars(ink, width) {
    const paths = window.uPlot.paths.bars({ size: [0.82, 64], align: 1, gap: 0, radius: 0 });
    const thin = width / Math.max(1, this.shown.t.length) < THIN_PX * 1.6;
    return this.shown.series.map((series) => ({
      paths, fill: ink(series.ink), stroke: ink("--surface"), width: thin ? 0 : 1, points: { show: false },
    })).reverse();
  }

  lines(ink) {
    return this.shown.series.map((series) => ({
      stroke: ink(series.ink), width: 2, dash: series.dash, spanGaps: false,
      points: { show: (_plot, _series, first, last) => last - first < 60, size: 4, fill: ink(series.ink) },
    }));
  }

  /** Which step a place on the time axis belongs to: a bar stands for the whole of it, a point for the nearest. */
  indexAt(nearest, at) {
    const { t, step_s: step } = this.shown;
    if (!this.stacked || !t.length) return nearest;
    return Math.min(t.length - 1, Math.max(0, Math.floor((at - t[0]) / step)));
  }

  point(plot) {
    const index = plot.cursor.idxs?.[1];
    const hidden = index === null || index === undefined || plot.cursor.left < 0 || this.shown.t[index] === undefined;
    this.tip.hidden = hidden;
    if (hidden) return;
    const found = this.reading(index);
    this.tip.replaceChildren(
      h("p", null, found.when),
      ...found.lines.map(([name, text, ink]) =>
        h("p", { class: "tip-row" }, h("span", { class: "key", "data-ink": ink }), h("span", null, name), h("b", null, text))),
    );
    const left = plot.cursor.left + plot.bbox.left / devicePixelRatio;
    const room = this.canvas.clientWidth - left;
    this.tip.classList.toggle("left", room < 240);
    this.tip.style.setProperty("--at", `${Math.round(room < 240 ? room : left)}px`);
  }

  reading(index) {
    const { t, step_s: step, series } = this.shown;
    const lines = series.map(({ name, ink, values }) => [name, values[index], ink]).filter(([, value]) => value);
    const texts = lines.map(([name, value, ink]) => [name, this.format(value), ink]);
    if (this.stacked && lines.length > 1) {
      texts.push(["All", this.format(lines.reduce((sum, [, value]) => sum + value, 0)), null]);
    }
    if (this.stacked) texts.reverse();
    return { when: moment(t[index], step), lines: texts.length ? texts : [["nothing", "", null]] };
  }

  key(event) {
    const length = this.shown?.t.length;
    if (!length || !this.plot) return;
    const now = this.plot.cursor.left >= 0 ? this.plot.cursor.idxs[1] : null;
    const to = {
      ArrowLeft: now === null ? length - 1 : now - 1, ArrowRight: now === null ? 0 : now + 1, Home: 0, End: length - 1, Escape: -1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0 && event.key === "Escape") {
      this.leave();
      return;
    }
    const index = Math.min(length - 1, Math.max(0, to));
    const middle = this.shown.t[index] + this.shown.step_s / 2;
    this.plot.setCursor({ left: this.plot.valToPos(middle, "x"), top: 20 });
    const { when, lines } = this.reading(index);
    write(this.said, `${when}: ${lines.map(([name, text]) => `${name} ${text}`).join(", ")}`);
  }

  leave() {
    this.plot?.setCursor({ left: -10, top: -10 });
    this.tip.hidden = true;
  }

  fillTable() {
    if (!this.details.open || !this.shown) return;
    const { t, step_s: step, series } = this.shown;
    redraw(this.rows, [t, series.map(({ name, values }) => [name, values])], () => {
      const columns = [{ name: "From" }, ...series.map(({ name }) => ({ name, number: true }))];
      const rows = t.map((start, index) => [moment(start, step), ...series.map(({ values }) => (values[index] === null ? "–" : this.format(values[index])))]);
      return scroller(`${this.title}, as a table`, table(this.title, columns, rows.reverse()));
    });
  }
}
