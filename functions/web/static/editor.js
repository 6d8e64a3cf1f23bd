// A request as JSON, to be edited by hand; what is wrong with it is shown at its place.

import { parse } from "./api.js";
import { h } from "./dom.js";
import { faultOf, lineAndColumn, pathIn, rangeOf } from "./locate.js";
import { pretty } from "./prediction.js";

const EXAMPLE_VALUES = { string: "text", bool: false };

export class Editor {
  constructor(send) {
    this.problem = h("p", { id: "editor-problem", class: "field-problem", role: "alert" });
    this.area = h("textarea", { class: "json", id: "request", rows: "14", spellcheck: "false", autocomplete: "off",
      "aria-describedby": "editor-problem editor-how" });
    this.element = h("div", {},
      h("label", { for: "request" }, "Request"), this.area, this.problem,
      h("p", { id: "editor-how", class: "quiet small" }, "Ctrl+Enter sends it."));
    this.area.addEventListener("input", () => {
      this.touched = true;
      this.complain("");
    });
    this.area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
    });
  }

  set(request) {
    this.show(pretty(request, Infinity));
  }

  show(text) {
    this.area.value = text;
    this.touched = false;
    this.complain("");
  }

  // The request, or null with a complaint where it is no JSON.
  get() {
    const at = faultOf(this.area.value);
    if (at === null) return parse(this.area.value);
    const { line, column } = lineAndColumn(this.area.value, at);
    this.complain(`This is not JSON from line ${line}, column ${column} on.`, [at, Math.min(at + 1, this.area.value.length)]);
    return null;
  }

  get text() {
    return this.area.value;
  }

  // Shows what a function said of the request, at the field that it names. Returns whether it named one.
  explain(message) {
    const path = pathIn(message);
    const range = path && rangeOf(this.area.value, path);
    if (!range) return false;
    const { line } = lineAndColumn(this.area.value, range.start);
    this.complain(`Line ${line}: ${message}`, [range.start, range.end]);
    return true;
  }

  complain(text, range = null) {
    this.problem.textContent = text;
    this.area.setAttribute("aria-invalid", text ? "true" : "false");
    if (!range) return;
    this.area.focus();
    this.area.setSelectionRange(...range);
    const { line } = lineAndColumn(this.area.value, range[0]);
    this.area.scrollTop = Math.max(0, (line - 4) * parseFloat(getComputedStyle(this.area).lineHeight));
  }
}

// A request that fits a signature, where the model brings no example: zeros, and one row.
export function requestFor(signature) {
  const inputs = signature?.inputs ?? [];
  const values = inputs.map(({ dtype, shape }) => filled((shape ?? [-1]).slice(1), EXAMPLE_VALUES[dtype] ?? 0));
  if (inputs.length === 1) return { instances: [values[0]] };
  return { instances: [Object.fromEntries(inputs.map(({ name }, index) => [name, values[index]]))] };
}

function filled([size, ...rest], value) {
  return size === undefined ? value : Array.from({ length: size < 0 ? 1 : Math.min(size, 64) }, () => filled(rest, value));
}
