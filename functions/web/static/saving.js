// Keeps a prediction with labels, by one click; clicked twice, it is kept once.

import { post, readOnly } from "./api.js";
import { announce, button, h } from "./dom.js";
import { rangeOf } from "./locate.js";
import { problemBox } from "./problems.js";

const LABEL = /^[A-Za-z][A-Za-z0-9_.-]{0,62}=.{1,256}$/u;

// result: {model, version}; texts: the JSON objects that hold the instances and the predictions, by those names.
export function savingBox(result, texts) {
  if (readOnly) return h("p", { class: "quiet" }, "This page is read-only: predictions are shown and not kept.");
  const outcome = h("div", { role: "status" });
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
    if (!keys.has(told)) keys.set(told, crypto.randomUUID());
    for (const one of buttons) one.disabled = true;
    try {
      const { data } = await post("/results", bodyOf(result, told, texts), { headers: { "Idempotency-Key": keys.get(told) } });
      outcome.replaceChildren(h("span", { class: "badge good" }, h("span", { "aria-hidden": "true" }, "✓"), "Saved"), " ",
        h("a", { href: `/results/${encodeURIComponent(data.id)}` }, "Open the result"));
      announce("Saved");
    } catch (error) {
      outcome.replaceChildren(problemBox(error, () => save(verdict)));
    }
    for (const one of buttons) one.disabled = false;
  }

  return h("div", { class: "saving" },
    h("label", { for: "labels" }, "Labels, name=value"), labels, problem,
    h("div", { class: "row" }, buttons), outcome);
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
  const parts = input.value.split(",").map((part) => part.trim()).filter(Boolean);
  const wrong = parts.find((part) => !LABEL.test(part));
  input.setAttribute("aria-invalid", wrong ? "true" : "false");
  problem.textContent = wrong ? `Expected name=value with a name of letters and digits, got ${wrong}` : "";
  if (wrong) input.focus();
  return wrong ? null : Object.fromEntries(parts.map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]));
}
