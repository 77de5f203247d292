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

/** A table: `columns` are {name, number}, `rows` are lists of texts or elements; the first cell of a row names it. */
export function table(caption, columns, rows) {
  const head = columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.name));
  const body = rows.map((cells) =>
    h("tr", null, cells.map((cell, index) => {
      const kind = columns[index].number ? "number" : null;
      return index === 0 ? h("th", { scope: "row", class: kind }, cell) : h("td", { class: kind }, cell);
    })),
  );
  return h("table", null, h("caption", { class: "hidden" }, caption), h("thead", null, h("tr", null, head)), h("tbody", null, body));
}

/** A box that scrolls by keyboard too. */
export function scroller(label, ...children) {
  return h("div", { class: "scroller", role: "region", "aria-label": label, tabindex: "0" }, children);
}
