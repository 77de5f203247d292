// Elements without markup strings: text stays text, whatever a model or a tag is called.

/** Make an element. A property that is a function listens, `null` and `false` leave an attribute out. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Change a text only when it differs, so that a screen reader and a selection are left in peace. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replace the children only when what they were made from differs. */
export function redraw(element, facts, make) {
  const key = JSON.stringify(facts);
  if (element.drawn === key) return false;
  element.drawn = key;
  const focused = document.activeElement;
  const handle = element.contains(focused) ? focused.dataset.focus : undefined;
  element.replaceChildren(...[make()].flat().filter(Boolean));
  if (handle) [...element.querySelectorAll("[data-focus]")].find((each) => each.dataset.focus === handle)?.focus();
  return true;
}

/**
 * A table: `columns` are {name, number}, `rows` are lists of texts or elements; the first cell of a row names it. Each cell
 * has the name of its column, so that a narrow screen can place it; the roles hold there, too, where the cells are a grid.
 */
export function table(caption, columns, rows) {
  const place = ({ name, number }) => ({ class: number ? "number" : null, "data-column": name });
  const head = columns.map((column) => h("th", { scope: "col", role: "columnheader", ...place(column) }, column.name));
  const body = rows.map((cells) =>
    h("tr", { role: "row" }, cells.map((cell, index) => index === 0
      ? h("th", { scope: "row", role: "rowheader", ...place(columns[index]) }, cell)
      : h("td", { role: "cell", ...place(columns[index]) }, cell))),
  );
  return h("table", { role: "table" }, h("caption", { class: "hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)), h("tbody", { role: "rowgroup" }, body));
}

/** A box that scrolls by keyboard too. */
export function scroller(label, ...children) {
  return h("div", { class: "scroller", role: "region", "aria-label": label, tabindex: "0" }, children);
}
