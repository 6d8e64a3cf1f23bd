// Elements out of plain values. What comes from elsewhere becomes text and never markup: there is no other way in here.

const SVG = "http://www.w3.org/2000/svg";

// h("a", {href: "/x", class: "y", onclick: f}, "text", another): attributes that are false or null are left out.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Said by a screen reader once it has finished its sentence.
export function announce(text) {
  const place = document.getElementById("announcements");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
}

// A table whose columns are [heading, cell of a row, class of the column].
export function table(caption, columns, rows, options = {}) {
  const head = columns.map(([heading, , kind]) => h("th", { scope: "col", class: kind }, heading));
  const body = rows.map((row) => h("tr", {}, columns.map(([, cell, kind], index) =>
    index === 0 ? h("th", { scope: "row", class: kind }, cell(row)) : h("td", { class: kind }, cell(row)))));
  const made = h("table", { class: options.class },
    h("caption", { class: options.showCaption ? null : "hidden" }, caption),
    h("thead", {}, h("tr", {}, head)),
    h("tbody", {}, body));
  // Wider than the screen, it scrolls by itself, also by keyboard.
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" }, made);
}

// [[term, description], ...]; what has no description is left out.
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

export function button(text, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, text);
}

// Works with buttons out of use; the one that was pressed keeps the focus.
export async function busy(buttons, work) {
  const pressed = document.activeElement;
  for (const one of buttons) one.disabled = true;
  try {
    return await work();
  } finally {
    for (const one of buttons) one.disabled = false;
    if (buttons.includes(pressed) && document.activeElement === document.body) pressed.focus();
  }
}

export function card(title, ...children) {
  return h("section", { class: "card" }, title ? h("h2", {}, title) : null, children);
}
