// Which model and version is meant: what the address says, else the default.

import { expect, Problem } from "./api.js";
import { h } from "./dom.js";

export function labelsOf(model, version) {
  const labels = Object.keys(model.labels).filter((label) => model.labels[label] === version);
  return model.default_version === version ? ["default", ...labels] : labels;
}

// catalogue: what /models answers. Returns {model, version}; null if there is no model at all.
export function choose(catalogue, query) {
  expect(Array.isArray(catalogue.models), "predict", "a list of models");
  const sound = catalogue.models.find(({ versions }) => versions.some(({ state }) => state === "AVAILABLE"));
  const named = query.get("model") ?? catalogue.default_model ?? (sound ?? catalogue.models[0])?.name;
  if (named === undefined) return null;
  const model = catalogue.models.find(({ name }) => name === named);
  if (!model) throw new Problem("No such model", `${named} is not served here; there is ${catalogue.models.map(({ name }) => name).join(", ")}`);
  const number = query.get("version") ?? model.default_version ?? model.versions[0].version;
  const version = model.versions.find((one) => one.version === number);
  if (!version) throw new Problem("No such version", `${named} has no version ${number}`);
  if (!version.signatures) throw new Problem("This version cannot be served", version.problem || "it says nothing of what it takes");
  return { model, version };
}

// A list to choose from; another choice is another address, by a button: the arrow keys go through the list.
export function chooser(catalogue, { model, version } = {}) {
  const options = catalogue.models.flatMap((one) => one.versions.map((its) => {
    const labels = labelsOf(one, its.version);
    const text = `${one.name} ${its.version}${labels.length ? ` (${labels.join(", ")})` : ""}${its.state === "AVAILABLE" ? "" : " – cannot be served"}`;
    return h("option", { value: new URLSearchParams({ model: one.name, version: its.version }), selected: one === model && its === version }, text);
  }));
  const list = h("select", { id: "model" }, options);
  const choose = (event) => {
    event.preventDefault();
    location.search = list.value;
  };
  return h("form", { class: "row end chooser", onsubmit: choose }, h("label", {}, "Model and version", list), h("button", {}, "Choose"));
}

// The input that is an image, of a signature with no other; null if there is none that could be drawn.
export function imageInput(version) {
  const signature = version.signatures.serving_default;
  const [input, ...others] = signature?.inputs ?? [];
  if (!input || others.length || !input.shape) return null;
  const [, height, width, channels = 1, ...more] = input.shape;
  const declared = version.interface?.kind === "image";
  const square = height >= 6 && width >= 6 && height <= 64 && width <= 64 && channels === 1 && !more.length;
  if (!square || input.dtype === "string" || !(declared || (input.shape.length >= 3 && height === width))) return null;
  return { name: input.name, height, width, deep: input.shape.length === 4, whole: /int/.test(input.dtype),
    minimum: input.minimum ?? 0, maximum: input.maximum ?? (/int/.test(input.dtype) ? 255 : 1) };
}
