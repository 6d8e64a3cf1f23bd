// What a model answered: the most likely class with bars, a number, or the JSON itself.

import { h } from "./dom.js";
import { number, percent } from "./format.js";

const MOST_BARS = 10;

// summary: which outputs the model's description calls class and scores. Returns null where there are no scores.
export function scoresOf(prediction, summary = {}) {
  const named = prediction !== null && typeof prediction === "object" && !Array.isArray(prediction);
  const scores = named ? (prediction[summary.scores] ?? Object.values(prediction).find(areScores)) : prediction;
  if (!areScores(scores)) return null;
  const winner = named && summary.class in prediction ? prediction[summary.class] : scores.indexOf(Math.max(...scores));
  return { winner, scores };
}

function areScores(value) {
  return Array.isArray(value) && value.length > 1 && value.length <= 1000
    && value.every((one) => typeof one === "number" && one >= 0 && one <= 1) && Math.abs(value.reduce((a, b) => a + b) - 1) < 0.02;
}

export function shown(prediction, summary) {
  const found = scoresOf(prediction, summary);
  if (found) return [h("p", { class: "winner" }, h("span", { class: "hidden" }, "Prediction: "), String(found.winner)), bars(found.scores)];
  const value = summary?.value && prediction && typeof prediction === "object" ? prediction[summary.value] : prediction;
  if (typeof value === "number") return [h("p", { class: "winner" }, number(value))];
  return [h("pre", { tabindex: "0" }, pretty(prediction))];
}

// Ten classes in their order, or the ten likeliest of more.
function bars(scores) {
  let entries = [...scores.entries()];
  if (entries.length > MOST_BARS) entries = entries.sort(([, a], [, b]) => b - a).slice(0, MOST_BARS);
  const most = Math.max(...scores);
  return h("ol", { class: "bars", "aria-label": "Confidence of each class" }, entries.map(([index, score]) => {
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", score);
    return h("li", { class: score === most ? "most" : null }, h("span", { class: "name" }, String(index)), bar, h("span", { class: "share" }, percent(score)));
  }));
}

export function cut(text, most = 20_000) {
  return text.length > most ? `${text.slice(0, most)}\n… ${number(text.length - most)} more characters` : text;
}

// As JSON, rows of numbers on one line; cut, and not laid out, where it is too long to be looked at.
export function pretty(value, most = 20_000) {
  const text = JSON.stringify(value) ?? "";
  if (text.length > most) return cut(text, most);
  const rows = /"(?:[^"\\]|\\.)*"|\[\s+([-+\d.eE,\s]*?)\s+\]/g;
  return JSON.stringify(value, null, 2).replace(rows, (all, inner) => (inner === undefined ? all : `[${inner.replace(/\s+/g, " ")}]`));
}
