// One result, whole: what was asked, what was answered, and the way back into Try.

import { ask, environment, expect } from "./api.js";
import { card, facts, h } from "./dom.js";
import { moment, plural } from "./format.js";
import { rangeOf } from "./locate.js";
import { imageIn, picture } from "./picture.js";
import { cut, shown } from "./prediction.js";
import { into } from "./problems.js";
import { labels, summaryOf } from "./results.js";

const MOST_IMAGES = 24;

export async function show(place, { pathname }) {
  const id = decodeURIComponent(pathname.split("/").pop());
  await into(place, async () => {
    const { data, text } = await ask(`/results/${encodeURIComponent(id)}`);
    expect(data.id === id && "instances" in data && "predictions" in data, "list_results", "this result");
    document.title = `Result of ${new Date(data.created_at).toLocaleString("en-GB")} · Nightshift ${environment.environment}`;
    return [about(data), h("div", { class: "columns" }, asked(data, rawOf(text, "instances")), answered(data, rawOf(text, "predictions")))];
  });
}

function about(result) {
  const again = new URLSearchParams({ model: result.model, version: result.version, result: result.id });
  return card("", facts([
    ["When", moment(result.created_at)], ["Model", `${result.model} ${result.version}`],
    ["Labels", Object.keys(result.labels).length ? labels(result.labels) : "none"],
    ["In short", summaryOf(result.summary)],
    ["Id", h("code", {}, result.id)], ["Idempotency key", result.request_id], ["Kept until", moment(result.expires_at)],
  ]), h("p", { class: "row after" },
    h("a", { class: "button", href: `/?${again}` }, "Load into Try"),
    h("a", { class: "button", href: "/results" }, "All results")));
}

// As it was stored: JavaScript's numbers are not JSON's.
function rawOf(text, name) {
  const { start, end } = rangeOf(text, [name]);
  return h("pre", { tabindex: "0" }, cut(text.slice(start, end)));
}

function asked({ instances }, raw) {
  const list = Array.isArray(instances) ? instances : [];
  const images = list.slice(0, MOST_IMAGES).map((instance, index) => {
    const image = imageIn(instance);
    return image && picture(image, `Instance ${index + 1}`);
  }).filter(Boolean);
  if (images.length === 1) images[0].classList.add("large");
  return card(list.length > 1 ? plural(list.length, "instance") : "Instance",
    images.length ? h("div", { class: "row images" }, images) : null,
    list.length > MOST_IMAGES && images.length ? h("p", { class: "quiet" }, `The first ${MOST_IMAGES} of them`) : null,
    h("details", { open: !images.length }, h("summary", {}, "As JSON"), raw));
}

function answered({ predictions }, raw) {
  const single = Array.isArray(predictions) && predictions.length === 1;
  return card(Array.isArray(predictions) && !single ? plural(predictions.length, "prediction") : "Prediction",
    shown(single ? predictions[0] : predictions),
    h("details", {}, h("summary", {}, "As JSON"), raw));
}
