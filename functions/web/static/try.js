// Try: draw, click a sample or write JSON, and see what the model makes of it.

import { ask, post, expect, Problem } from "./api.js";
import { curlBox, curlOf } from "./curl.js";
import { announce, button, card, h } from "./dom.js";
import { Drawing } from "./drawing.js";
import { Editor, requestFor } from "./editor.js";
import { number, percent } from "./format.js";
import { rangeOf } from "./locate.js";
import { choose, chooser, imageInput } from "./models.js";
import { imageIn, picture } from "./picture.js";
import { scoresOf, pretty, shown } from "./prediction.js";
import { into, problemBox } from "./problems.js";
import { rasterise } from "./raster.js";
import { samplesBox } from "./samples.js";
import { savingBox } from "./saving.js";
import { about, modelTable } from "./status.js";

const SLOW_MS = 1500;

export async function show(place, { search }) {
  await into(place, async () => {
    const query = new URLSearchParams(search);
    const { data: catalogue } = await ask("/models");
    try {
      const chosen = choose(catalogue, query);
      return chosen ? new Bench(catalogue, chosen).build(query.get("result")) : [modelTable(catalogue)];
    } catch (error) {
      if (!(error instanceof Problem) || !catalogue.models?.length) throw error;
      return [chooser(catalogue), problemBox(error), modelTable(catalogue)];
    }
  }, "Asking which models there are");
}

// The place where one version is tried.
class Bench {
  constructor(catalogue, { model, version }) {
    Object.assign(this, { catalogue, model, version, input: imageInput(version) });
    this.path = `/models/${encodeURIComponent(model.name)}/versions/${version.version}`;
    this.outcome = h("div", { class: "outcome" }, h("p", { class: "quiet" }, this.input ? "Draw something, or click a sample." : "Send a request."));
    this.seen = h("div", { class: "seen" });
    this.editor = new Editor(() => this.sendText());
    this.drawing = this.input && new Drawing((strokes) => this.sendStrokes(strokes));
  }

  async build(resultId) {
    const { data } = await ask(`${this.path}/example`).catch((error) => ({ data: { problem: error } }));
    this.editor.set(data.example ?? requestFor(Object.values(this.version.signatures)[0]));
    const byHand = h("div", {}, this.editor.element, button("Predict", () => this.sendText(), { class: "primary" }));
    const entry = this.input
      ? [this.drawing.element, samplesBox(data.samples ?? [], this.input, (instance) => this.sendSample(instance)), h("details", { class: "as-json" }, h("summary", {}, "As JSON"), byHand)]
      : byHand;
    if (resultId) this.load(resultId);
    return [
      chooser(this.catalogue, this),
      this.version.description ? h("p", {}, this.version.description) : null,
      data.problem ? problemBox(data.problem) : null,
      h("div", { class: "columns" }, card(this.input ? "Draw" : "Request", entry), card("Prediction", this.seen, this.outcome)),
      about(this.version, this.catalogue),
    ];
  }

  // As it was stored, to the last digit; what was begun in the meantime goes before.
  async load(resultId) {
    const begun = () => this.asking || this.editor.touched || this.drawing?.strokes.length;
    try {
      const { text } = await ask(`/results/${encodeURIComponent(resultId)}?fields=instances`);
      if (begun()) return;
      const { start, end } = rangeOf(text, ["instances"]);
      this.editor.show(`{"instances": ${text.slice(start, end)}}`);
      this.sendText();
    } catch (error) {
      if (!begun()) this.outcome.replaceChildren(problemBox(error));
    }
  }

  sendStrokes(strokes) {
    const rows = rasterise(strokes, this.input);
    if (!rows) {
      this.asking?.abort();
      this.seen.replaceChildren();
      this.outcome.replaceChildren(h("p", { class: "quiet" }, "Draw something, or click a sample."));
      return;
    }
    const value = (one) => (this.input.whole ? Math.round(one) : one);
    this.sendInstance({ [this.input.name]: rows.map((row) => row.map((one) => (this.input.deep ? [value(one)] : value(one)))) });
  }

  sendSample(instance) {
    this.drawing.clear(true);
    this.sendInstance(instance);
  }

  sendInstance(instance) {
    this.sendRequest({ instances: [instance] });
  }

  sendRequest(request) {
    this.editor.set(request);
    return this.predict(request, JSON.stringify(request));
  }

  sendText() {
    const request = this.editor.get();
    if (request !== null) this.predict(request, this.editor.text);
  }

  // Of several questions only the last is of interest.
  async predict(request, text) {
    this.asking?.abort();
    const asking = this.asking = new AbortController();
    const image = request?.instances?.length === 1 ? imageIn(request.instances[0]) : null;
    const seen = image && picture(image, "What the model sees", this.input ?? {});
    this.seen.replaceChildren(...(seen ? [seen, h("span", { class: "quiet small", "aria-hidden": "true" }, "The model sees")] : []));
    this.outcome.setAttribute("aria-busy", "true");
    const slow = setTimeout(() => this.outcome.replaceChildren(
      h("p", { class: "quiet waiting" }, "Waiting for the model. A function that has scaled to zero takes some seconds to start…")), SLOW_MS);
    try {
      this.answer(request, text, await post(`${this.path}:predict`, text, { signal: asking.signal }));
    } catch (error) {
      if (asking.signal.aborted) return;
      const placed = error instanceof Problem && error.status === 400 && this.explain(error.detail);
      this.outcome.replaceChildren(problemBox(error, placed ? null : () => this.predict(request, text)));
    } finally {
      clearTimeout(slow);
      if (this.asking === asking) this.outcome.removeAttribute("aria-busy");
    }
  }

  explain(message) {
    this.editor.element.closest("details")?.setAttribute("open", "");
    return this.editor.explain(message);
  }

  answer(request, text, { data, headers, milliseconds, text: answered }) {
    const predictions = data.predictions ?? data.outputs;
    expect(predictions !== undefined && (!data.predictions || Array.isArray(predictions)), "predict", "predictions");
    const first = Array.isArray(predictions) && predictions.length === 1 ? predictions[0] : predictions;
    const version = headers.get("X-Nightshift-Version") ?? this.version.version;
    const found = scoresOf(first, this.version.summary);
    announce(found ? `Prediction ${found.winner}, ${percent(Math.max(...found.scores))}` : "The model has answered");
    this.outcome.replaceChildren(
      ...shown(first, this.version.summary),
      h("p", { class: "row small" }, start(headers), h("span", {}, `${number(Math.round(milliseconds))} ms`),
        h("span", { class: "quiet" }, `${this.model.name} ${version}`)),
      request.instances && data.predictions
        ? savingBox({ model: this.model.name, version }, { instances: text, predictions: answered }) : "",
      curlBox(curlOf(this.model.name, version, text)),
      h("details", {}, h("summary", {}, "Answer as JSON"), h("pre", { tabindex: "0" }, pretty(data))));
  }
}

function start(headers) {
  const cold = headers.get("X-Nightshift-Start") === "cold";
  return h("span", { class: `badge ${cold ? "busy" : "good"}`, title: cold ? "The first answer of a new instance" : "An instance was ready" },
    h("span", { "aria-hidden": "true" }, cold ? "❄" : "●"), cold ? "cold start" : "warm");
}
