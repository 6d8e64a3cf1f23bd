// Keeps a prediction with labels, by one click; clicked twice, it is kept once.

import { newId, post, readOnly } from "./api.js";
import { announce, busy, button, h } from "./dom.js";
import { rangeOf } from "./locate.js";
import { problemBox } from "./problems.js";

const LABEL = /^([A-Za-z][A-Za-z0-9_.-]{0,62})\s*=\s*(.{1,256})$/u;

// result: {model, version}; texts: the JSON objects that hold the instances and the predictions, by those names.
export function savingBox(result, texts) {
  if (readOnly) return h("p", { class: "quiet" }, "This page is read-only: predictions are shown and not kept.");
  const outcome = h("div", {});
  const problem = h("p", { id: "labels-problem", class: "field-problem" });
  const labels = h("input", { id: "labels", name: "labels", placeholder: "who=ada, set=odd", autocomplete: "off", "aria-describedby": "labels-problem" });
  const keys = new Map();
  const buttons = [["Save", {}], ["Save as right", { verdict: "right" }], ["Save as wrong", { verdict: "wrong" }]]
    .map(([text, verdict], index) => button(text, () => save(verdict), { class: index ? null : "primary" }));

  async function save(verdict) {
    const chosen = read(labels, problem);
    if (!chosen) return;
    const told = JSON.stringify({ ...chosen, ...verdict });
    // The same key for the same click tried again: an answer that was lost on the way back makes no second result.
    if (!keys.has(told)) keys.set(told, newId());
    const headers = { "Idempotency-Key": keys.get(told) };
    try {
      const { data } = await busy(buttons, () => post("/results", bodyOf(result, told, texts), { headers }));
      outcome.replaceChildren(h("span", { class: "badge good" }, h("span", { "aria-hidden": "true" }, "✓"), "Saved"), " ",
        h("a", { href: `/results/${encodeURIComponent(data.id)}` }, "Open the result"));
      announce("Saved");
    } catch (error) {
      outcome.replaceChildren(problemBox(error, () => save(verdict)));
    }
  }

  return h("div", { class: "saving" },
    h("label", { for: "labels" }, "Labels, name=value"), labels, problem,
    h("div", { class: "row" }, buttons),
    h("p", { class: "quiet small" }, "Right and wrong become the label verdict, by which Results finds them."), outcome);
}

// What was sent and answered goes in character for character: numbers of 64 bits and NaN are more than JavaScript has.
function bodyOf(result, labels, texts) {
  const payloads = Object.entries(texts).map(([name, text]) => {
    const { start, end } = rangeOf(text, [name]);
    return `"${name}":${text.slice(start, end)}`;
  });
  return [JSON.stringify(result).slice(0, -1), `"labels":${labels}`, ...payloads].join(",") + "}";
}

function read(input, problem) {
  const parts = input.value.split(",").map((part) => part.trim()).filter(Boolean).map((part) => [part, LABEL.exec(part)]);
  const names = parts.map(([, found]) => found?.[1]);
  const wrong = parts.find(([, found], index) => !found || names.indexOf(found[1]) !== index)?.[0];
  input.setAttribute("aria-invalid", wrong ? "true" : "false");
  problem.textContent = wrong ? `Expected name=value, each name once and of letters and digits; got ${wrong}` : "";
  if (wrong) input.focus();
  return wrong ? null : Object.fromEntries(parts.map(([, [, name, value]]) => [name, value]));
}
