// Status: each function's health and deployment, and the models that are served.

import { ask, environment, expect } from "./api.js";
import { card, facts, h, table } from "./dom.js";
import { bytes, moment, number, percent } from "./format.js";
import { labelsOf } from "./models.js";
import { into } from "./problems.js";

export async function show(place) {
  const functions = h("div", {}), models = h("div", {});
  place.append(
    card("This environment", facts([
      ["Environment", environment.environment],
      ["Where", environment.inCloud === "yes" ? "Google Cloud" : "this machine"],
      ["The page", environment.readOnly === "yes" ? "read-only: it predicts and shows, and changes nothing" : "may store results and run jobs"],
    ])),
    card("Functions", functions),
    card("Models", models));
  await Promise.all([into(functions, showFunctions, "Asking every function"), into(models, showModels)]);
}

async function showFunctions() {
  const { data } = await ask("/status");
  expect(Array.isArray(data.functions), "web", "a list of functions");
  return table("Functions", [
    ["Function", (one) => one.name, "fixed"],
    ["Health", (one) => one.ok
      ? h("span", { class: "badge good" }, h("span", { "aria-hidden": "true" }, "✓"), "healthy")
      : h("span", { class: "badge bad" }, h("span", { "aria-hidden": "true" }, "✗"), "not healthy")],
    ["What it said", (one) => one.ok
      ? [one.environment, one.milliseconds === undefined ? null : ` · ${number(Math.round(one.milliseconds))} ms`]
      : one.problem, "text"],
    ["Deployed", (one) => one.revision ?? "unknown", "text"],
    ["Log", (one) => /^https:/.test(one.log)
      ? h("a", { href: one.log, target: "_blank", rel: "noreferrer" }, `Log of ${one.name}`)
      : h("code", {}, one.log), "text"],
  ], data.functions);
}

async function showModels() {
  const { data } = await ask("/models");
  return modelTable(data);
}

// Also shown beside the model that is tried.
export function modelTable(data) {
  expect(Array.isArray(data.models), "predict", "a list of models");
  const rows = data.models.flatMap((model) => model.versions.map((version) => ({ model, version })));
  if (!rows.length) return h("p", { class: "empty" }, "There is no model yet. Add one: python -m model add FOLDER --name NAME");
  return table("Models and versions", [
    ["Model", ({ model }) => model.name, "fixed"],
    ["Version", ({ version }) => version.version, "number"],
    ["Labels", ({ model, version }) => labelsOf(model, version.version).map((label) => [h("span", { class: "badge" }, label), " "])],
    ["State", ({ version }) => version.state === "AVAILABLE"
      ? h("span", { class: "badge good" }, h("span", { "aria-hidden": "true" }, "✓"), "available")
      : h("span", { class: "badge bad" }, h("span", { "aria-hidden": "true" }, "✗"), version.problem || "cannot be served"), "text"],
    ["Size", ({ version }) => version.size_bytes === undefined ? "" : bytes(version.size_bytes), "number fixed"],
    ["Runtime", ({ version }) => (version.runtimes ?? []).join(", "), "fixed"],
    ["Accuracy", ({ version }) => accuracy(version), "number fixed"],
  ], rows);
}

// What is known of one version, and of the others.
export function about(version, catalogue) {
  return h("details", { class: "card about" }, h("summary", {}, "About this model, and the others"),
    facts([
      ["Size", bytes(version.size_bytes)], ["Runtime", version.runtimes.join(", ")], ["Made", moment(version.created_at)],
      ["Accuracy", accuracy(version)],
      ...Object.entries(version.signatures).map(([name, { inputs, outputs }]) => [name, `${tensors(inputs)} → ${tensors(outputs)}`]),
    ]),
    modelTable(catalogue));
}

function accuracy({ metrics }) {
  return typeof metrics?.accuracy === "number" ? percent(metrics.accuracy) : "";
}

function tensors(list) {
  return list.map(({ name, dtype, shape }) => `${name}: ${dtype} ${shape ? `[${shape.join(", ")}]` : "of any shape"}`).join(", ");
}
